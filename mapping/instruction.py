"""Instructions as objects, as 32-byte words and as a readable listing.

Everything here follows mapping/isa.py: no field name, width or offset is repeated.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.code_books import decode_special
from mapping.isa import FORMS, HEADER, INSTRUCTION_BITS, Buffer, Field, Opcode

__all__ = ["FLAGS", "Instruction", "decode", "encode", "listing", "operand_names"]

_RESERVED = "reserved"
_BYTES = INSTRUCTION_BITS // 8
_WORDS = INSTRUCTION_BITS // 64
_OPCODE_BITS = HEADER[0].bits

FLAGS: tuple[str, ...] = tuple(field.name for field in HEADER[1:])
"""Token flags in the order of their bits."""

_OPERANDS: dict[Opcode, tuple[tuple[Field, int], ...]] = {
    opcode: tuple((f, form.offset(f.name)) for f in form.fields if f.name != _RESERVED)
    for opcode, form in FORMS.items()
}
_POSITION: dict[Opcode, dict[str, int]] = {
    opcode: {field.name: index for index, (field, _) in enumerate(fields)}
    for opcode, fields in _OPERANDS.items()
}
_ENGINES = {"load": ("", "compute"), "compute": ("load", "store"), "store": ("compute", "")}


def operand_names(opcode: Opcode) -> tuple[str, ...]:
    """Names of an opcode's operands, in the order ``Instruction.operands`` holds them."""
    return tuple(_POSITION[opcode])


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; operands read as attributes, e.g. ``instruction.dram_line``.

    Parameters
    ----------
    opcode : Opcode
        Operation.
    operands : tuple of int
        Values in the order of ``operand_names(opcode)``.
    wait_upstream, wait_downstream, signal_upstream, signal_downstream : bool
        Dependency tokens, as in mapping/isa.py.
    """

    opcode: Opcode
    operands: tuple[int, ...] = ()
    wait_upstream: bool = False
    wait_downstream: bool = False
    signal_upstream: bool = False
    signal_downstream: bool = False

    @classmethod
    def make(cls, opcode: Opcode, *flags: str, **operands: int) -> "Instruction":
        """An instruction from operand names; ``flags`` names the tokens that are set.

        Raises
        ------
        ValueError
            An operand or flag is unknown, or an operand is missing.
        """
        names = operand_names(opcode)
        if set(names) != set(operands):
            wrong = ", ".join(sorted(set(names) ^ set(operands)))
            raise ValueError(f"{opcode.name} takes exactly {', '.join(names) or '-'}, not {wrong}")
        unknown = set(flags) - set(FLAGS)
        if unknown:
            raise ValueError(f"flags are {', '.join(FLAGS)}, not {', '.join(sorted(unknown))}")
        return cls(
            opcode, tuple(int(operands[name]) for name in names), **dict.fromkeys(flags, True)
        )

    def __getattr__(self, name: str) -> int:
        # reached only for names that are no slot, so reading opcode cannot recurse
        if name not in _SLOTS:
            position = _POSITION[self.opcode].get(name)
            if position is not None:
                return self.operands[position]
        raise AttributeError(f"no operand {name!r}")

    @property
    def engine(self) -> str:
        """Engine that runs it: load, compute, store or control."""
        return FORMS[self.opcode].engine

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the token flags that are set."""
        return tuple(flag for flag in FLAGS if getattr(self, flag))


_SLOTS = frozenset(("opcode", "operands", *FLAGS))


def encode(instructions: Sequence[Instruction]) -> bytes:
    """Instructions as 32 little-endian bytes each.

    Raises
    ------
    ValueError
        An operand does not fit its field, or a control instruction has tokens.
    """
    count = len(instructions)
    words = np.zeros((count, _WORDS), np.uint64)
    header = [
        i.opcode
        | i.wait_upstream << 4
        | i.wait_downstream << 5
        | i.signal_upstream << 6
        | i.signal_downstream << 7
        for i in instructions
    ]
    words[:, 0] = header
    opcodes = words[:, 0] & np.uint64(15)
    for opcode, fields in _OPERANDS.items():
        rows = np.flatnonzero(opcodes == opcode)
        if not len(rows):
            continue
        if FORMS[opcode].engine == "control" and (words[rows, 0] >> np.uint64(4)).any():
            raise ValueError(f"{opcode.name} carries no tokens")
        if not fields:
            continue
        values = _columns(instructions, rows, opcode)
        part = np.zeros((len(rows), _WORDS), np.uint64)
        for column, (field, offset) in enumerate(fields):
            word, shift = divmod(offset, 64)
            value = values[:, column]
            part[:, word] |= value << np.uint64(shift)
            if shift + field.bits > 64:
                part[:, word + 1] |= value >> np.uint64(64 - shift)
        words[rows] |= part
    return words.astype("<u8").tobytes()


def _columns(
    instructions: Sequence[Instruction], rows: NDArray[np.intp], opcode: Opcode
) -> NDArray[np.uint64]:
    """Operands of the instructions of one opcode (count, fields), proven to fit their fields."""
    fields = _OPERANDS[opcode]
    table = [instructions[row].operands for row in rows.tolist()]
    limits = [1 << field.bits for field, _ in fields]
    try:
        values = np.array(table, np.int64)
        fits = bool(((values >= 0) & (values < np.array(limits, np.int64))).all())
    except (OverflowError, ValueError):
        fits = False
    if fits and values.shape[1] == len(fields):
        return values.astype(np.uint64)
    for row, operands in zip(rows.tolist(), table, strict=True):
        if len(operands) != len(fields):
            raise ValueError(f"instruction {row}: {opcode.name} takes {len(fields)} operands")
        for (field, _), limit, value in zip(fields, limits, operands, strict=True):
            if not 0 <= value < limit:
                raise ValueError(
                    f"instruction {row}: {opcode.name}.{field.name} = {value} is not in "
                    f"0 .. {limit - 1} ({field.bits} bits)"
                )
    raise ValueError(f"operands of {opcode.name} must be integers")


def decode(binary: bytes) -> list[Instruction]:
    """Instructions of a binary; the exact inverse of ``encode``.

    Raises
    ------
    InputError
        The length is no multiple of 32 bytes, an opcode or buffer is unknown, or a reserved
        bit is set.
    """
    if len(binary) % _BYTES:
        raise InputError("program", "length", len(binary), f"a multiple of {_BYTES} bytes")
    words = np.frombuffer(binary, "<u8").astype(np.uint64).reshape(-1, _WORDS)
    opcodes = (words[:, 0] & np.uint64((1 << _OPCODE_BITS) - 1)).astype(np.int64)
    unknown = np.flatnonzero(~np.isin(opcodes, [int(o) for o in Opcode]))
    if len(unknown):
        allowed = ", ".join(f"{o.value} {o.name}" for o in Opcode)
        row = int(unknown[0])
        raise InputError("program", f"instruction {row}: opcode", int(opcodes[row]), allowed)
    result: list[Instruction | None] = [None] * len(words)
    flags = [(words[:, 0] >> np.uint64(4 + bit) & np.uint64(1)).astype(bool) for bit in range(4)]
    for opcode, fields in _OPERANDS.items():
        rows = np.flatnonzero(opcodes == opcode)
        if len(rows):
            part = words[rows]
            _check_reserved(opcode, part, rows)
            values = np.zeros((len(rows), len(fields)), np.int64)
            for column, (field, offset) in enumerate(fields):
                values[:, column] = _extract(part, offset, field.bits)
            _check_buffer(opcode, values, rows)
            tokens = np.stack([flag[rows] for flag in flags], axis=1).tolist()
            for row, operands, token in zip(rows.tolist(), values.tolist(), tokens, strict=True):
                result[row] = Instruction(opcode, tuple(operands), *token)
    return [instruction for instruction in result if instruction is not None]


def _extract(words: NDArray[np.uint64], offset: int, bits: int) -> NDArray[np.int64]:
    word, shift = divmod(offset, 64)
    value = words[:, word] >> np.uint64(shift)
    if shift + bits > 64:
        value = value | words[:, word + 1] << np.uint64(64 - shift)
    return (value & np.uint64((1 << bits) - 1)).astype(np.int64)


def _check_reserved(opcode: Opcode, words: NDArray[np.uint64], rows: NDArray[np.intp]) -> None:
    """Raise when a bit is set that no operand of the opcode owns."""
    control = FORMS[opcode].engine == "control"
    used = (1 << (_OPCODE_BITS if control else sum(field.bits for field in HEADER))) - 1
    for field, offset in _OPERANDS[opcode]:
        used |= ((1 << field.bits) - 1) << offset
    free = [np.uint64(~used >> 64 * word & (1 << 64) - 1) for word in range(_WORDS)]
    wrong = np.flatnonzero((words & np.array(free, np.uint64)).any(axis=1))
    if len(wrong):
        row = int(rows[wrong[0]])
        found = words[wrong[0]].astype("<u8").tobytes().hex()
        raise InputError(
            "program", f"instruction {row}: {opcode.name}", found, "reserved bits that are zero"
        )


def _check_buffer(opcode: Opcode, values: NDArray[np.int64], rows: NDArray[np.intp]) -> None:
    if opcode is not Opcode.LOAD:
        return
    column = values[:, _POSITION[opcode]["buffer"]]
    wrong = np.flatnonzero(~np.isin(column, [int(b) for b in Buffer]))
    if len(wrong):
        allowed = ", ".join(f"{b.value} {b.name}" for b in Buffer)
        row = int(rows[wrong[0]])
        raise InputError(
            "program", f"instruction {row}: LOAD.buffer", int(column[wrong[0]]), allowed
        )


def listing(
    instructions: Iterable[Instruction], title: Callable[[Instruction], str] | None = None
) -> str:
    """A readable listing, one aligned line an instruction.

    Columns: index, opcode, the engines a token is taken from, the engines one is given to, and
    the operands by name; special values as values, where a product has them.

    Parameters
    ----------
    instructions : iterable of Instruction
    title : callable, optional
        What to call a MATMUL, in front of its operands.
    """
    lines = [f"{'index':>7}  {'opcode':<7} {'takes from':<13} {'gives to':<13} operands"]
    for index, i in enumerate(instructions):
        upstream, downstream = _ENGINES.get(i.engine, ("", ""))
        takes = " ".join([upstream] * i.wait_upstream + [downstream] * i.wait_downstream)
        gives = " ".join([upstream] * i.signal_upstream + [downstream] * i.signal_downstream)
        shown = []
        for name, value in zip(operand_names(i.opcode), i.operands, strict=True):
            if name.startswith("special_"):
                if i.special and value:
                    shown.append(f"{name}={decode_special(value) / 2:+g}")
                continue
            shown.append(f"{name}={Buffer(value).name.lower() if name == 'buffer' else value}")
        if title is not None and i.opcode is Opcode.MATMUL:
            shown.insert(0, title(i))
        text = f"{index:7d}  {i.opcode.name:<7} {takes:<13} {gives:<13} {' '.join(shown)}"
        lines.append(text.rstrip())
    return "\n".join(lines) + "\n"
