"""What units are made of: words of logic and registers, counted in the structure of their RTL.

A part is a circuit that grows bit by bit: its cost on a target is a figure a bit and a figure for
each, measured on small circuits (`designs.cells`). Registers are counted as synthesis keeps them:
those of the generated netlist without the bits that nothing reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = [
    "ADDERS",
    "KINDS",
    "MULTIPLIERS",
    "REGISTERS",
    "Part",
    "added_bits",
    "multiplier",
    "register_bits",
    "scaler",
    "times",
]

KINDS = {
    "adder": "sum of two words, with or without carry input; bits of the result",
    "four-adder": "sum of four words; bits of the result",
    "table": "the eight sums of four words, out of six sums of two; bits of an entry",
    "accumulator": "adder whose one operand is a register or 0; without the register",
    "running-total": "accumulator whose other operand is a register of the same width",
    "half-difference": "half the difference of two words, or the first; bits of the result",
    "rounding-negation": "word inverted or not, plus one bit",
    "magnitude": "absolute value; bits of the word",
    "comparison": "larger of two words: comparison and selector; bits of a word",
    "lookup": "one of eight words, inverted or not; bits of a word",
    "lookup-pair": "sum of two lookups; bits of one of their words",
    "selector-2": "one of two words; bits of a word",
    "selector-3": "one of three words; bits of a word",
    "selector-4": "one of four words; bits of a word",
    **{f"shift-{n}": f"left shift of {n} levels; bits of the shifted word" for n in range(1, 7)},
    "rounding-shifter": "right shift that keeps a guard and a sticky bit; bits times levels",
    "multiplier": "signed product; product of the operands' bits",
    "scaler": "product of a signed word and an unsigned scale; product of their bits",
    "rounding-scaler": "scaler whose product loses its lowest bits, rounded; likewise",
    "term-1": "word shifted by up to 1 place, inverted or not, or 0; bits of the result",
    "term-3": "the same, by up to 3 places",
    "term-pair-1": "sum of two words of term-1; bits of the sum",
    "term-pair-3": "sum of two words of term-3; bits of the sum",
    "booth-terms": "term generator of integers of even widths; codes",
    "booth-terms-odd": "the same, odd widths too; codes",
    "float-terms": "term generator of integers and floating codes of even widths; codes",
    "float-terms-odd": "the same, odd widths too; codes",
    **{
        f"serial-scaler-{n}": f"word times {n} bits of a scale, plus a running product; bits of the"
        " word"
        for n in (1, 2, 4)
    },
    "shortened-total": "running total of a word or its upper part; bits of the total",
    "gate": "enable of a stage: AND of three signals",
    "register": "word with an enable",
    "control-register": "word with an enable and a reset",
    "delay-line": "words one behind another under one enable; bits of all of them",
}
"""Every kind of part: what it is, and what its ``bits`` count."""

ADDERS = {
    "adder": 1,
    "four-adder": 3,
    "table": 14,
    "accumulator": 1,
    "running-total": 1,
    "half-difference": 1,
    "rounding-negation": 1,
    "magnitude": 1,
    "comparison": 1,
    "lookup-pair": 1,
    "term-pair-1": 1,
    "term-pair-3": 1,
    "serial-scaler-1": 1,
    "serial-scaler-2": 2,
    "serial-scaler-4": 4,
    "shortened-total": 1,
}
"""Kinds with carry chains, and how many of them."""

REGISTERS = frozenset({"register", "control-register", "delay-line"})
"""Kinds that are made of flip-flops."""

MULTIPLIERS = frozenset({"multiplier", "scaler", "rounding-scaler"})
"""Kinds that are made of DSP blocks on an FPGA."""

WORKS = ("cycle", "step", "group")


@dataclass(frozen=True)
class Part:
    """Equal circuits of a unit.

    Attributes
    ----------
    name : str
        Where they are, e.g. ``adder tree``.
    kind : str
        One of `KINDS`.
    bits : int
        Of one of them, as the kind counts.
    count : int
        How many there are.
    works : str
        How often the operands change: every ``cycle``, once a ``step``, once a ``group``.
    length : int
        ``delay-line``: words one behind another.
    operands : tuple of (int, int)
        `MULTIPLIERS`: widths as signed numbers.
    """

    name: str
    kind: str
    bits: int
    count: int = 1
    works: str = "cycle"
    length: int = 1
    operands: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.works in WORKS, self.works
        assert self.bits >= 0, self
        assert self.count >= 0, self

    @property
    def all_bits(self) -> int:
        """Bits of all of them."""
        return self.bits * self.count


def times(parts: Iterable[Part], count: int) -> list[Part]:
    """Parts of something there are ``count`` of."""
    return [replace(part, count=part.count * count) for part in parts]


def register_bits(parts: Iterable[Part]) -> int:
    """Register bits of parts."""
    return sum(part.all_bits for part in parts if part.kind in REGISTERS)


def added_bits(parts: Iterable[Part], works: Iterable[str] = WORKS) -> int:
    """Bits of the carry chains of parts whose operands change that often."""
    wanted = set(works)
    return sum(
        part.all_bits * ADDERS[part.kind]
        for part in parts
        if part.kind in ADDERS and part.works in wanted
    )


def multiplier(name: str, first: int, second: int, count: int, works: str) -> Part:
    """Equal signed multipliers."""
    return Part(name, "multiplier", first * second, count, works, operands=(first, second))


def scaler(name: str, bits: int, scale_bits: int, rounded: bool = False) -> Part:
    """One multiplier of a signed sum by an unsigned scale, once a group."""
    kind = "rounding-scaler" if rounded else "scaler"
    return Part(name, kind, bits * scale_bits, 1, "group", operands=(bits, scale_bits + 1))
