"""Look-up tables of an accelerator around its unit, part by part.

Widths and depths are those of the RTL; figures that no width gives were measured by synthesising
modules of `dense-int8-tiny` and ``narrow`` (``benchmarks/accelerator_area.py``), unless another
design is named; docs/unit-area.md compares with whole accelerators. Figures are look-up tables of
six inputs.
"""

from dataclasses import dataclass
from math import ceil

from designs.cells import load_cells
from designs.fpga import FpgaDevice
from designs.spec import Design
from designs.units.base import SPECIAL_VALUES
from mapping.isa import FORMS, Buffer, Opcode
from sim.rtl_storage import DESCRIPTOR_BITS, LOAD_TRANSFER_BITS, port_widths, rams
from sim.units import UNIT_COSTS
from sim.units.estimate import FPGA

__all__ = [
    "LUT_RAM_DEPTH",
    "MODULES",
    "Part",
    "around_unit",
    "lut_ram",
    "saved_in_place",
    "selector_luts",
]

MODULES = {
    "control port": 521,
    "fetch": 177,
    "load engine": 185,
    "store engine": 356,
    "compute engine": 401,
    "token counters": 4 * 19,
    "read arbiter": 12,
    "accumulate": 34,
}
"""Modules without memories, queues and the parts below; ``compute engine`` is that of ``narrow``.

``accumulate`` is what its adders leave: comparison of tiles, enables. Addresses and constants of a
design change the others: of four designs, the control port takes 499 to 576.
"""

LUT_RAM_DEPTH = {"amd": 64, "intel": 32}
"""Deepest RAM that goes into look-up tables: one RAM64M8 (AMD UG574) or MLAB (Intel) deep."""

_QUEUE, _QUEUE_POINTER_BIT = 4.5, 2.25
"""Levels and pointers of a queue: 7 look-up tables at 2 entries, 11 at 8, 14 at 16, measured."""

_MEMORY, _CHANNEL = 3, 7
"""Striped memory, and each channel: 10, 18 and 30 look-up tables for 1, 2 and 4 of
``striped``, measured."""

_REQUEST_BITS = 40
"""Line and length of a burst: the arbiter selects one of two (hwgen/memory/arbiter.py)."""

_WORD_ADDRESS_BITS = 24
"""Of the compute engine: selected when codes, or activations, take half a word."""

_PLANES = 84
"""Compute engine that reads planes and replays groups: 509 measured for `lut-tiny`, less 401 and
the selector of its two formats."""

_DIGITS = 30
"""Compute engine that counts words of two bits and groups of special values: 455 measured for
`bitmod-tiny`, less 401 and the selector of its two formats."""


@dataclass(frozen=True)
class Part:
    """Look-up tables of one thing around the unit.

    Attributes
    ----------
    name : str
    luts : float
    memory : bool
        They are used as RAM: not shared with logic, and counted otherwise on Intel devices.
    """

    name: str
    luts: float
    memory: bool = False


def lut_ram(vendor: str, width: int, depth: int) -> int:
    """Look-up tables (AMD) or memory ALMs (Intel) of a small RAM.

    AMD UG574: eight look-up tables of a slice hold 14 bits of 32 words or 7 bits of 64, with one
    write and one read port. Intel: an MLAB of ten ALMs holds 20 bits of 32 words.
    """
    if vendor == "intel":
        return 10 * ceil(width / 20) * ceil(depth / 32)
    if depth <= 32:
        return 8 * ceil(width / 14)
    return 8 * ceil(width / 7) * ceil(depth / 64)


def selector_luts(ways: int) -> int:
    """Look-up tables of one bit of a selector: trees of 4:1, one of 2:1 where two are left.

    Measured, of 128 bits: 1, 1, 3 and 5.9 a bit for 2, 4, 8 and 16 words.

    Examples
    --------
    >>> [selector_luts(ways) for ways in (1, 2, 4, 8, 16)]
    [0, 1, 1, 3, 5]
    """
    return 0 if ways <= 1 else ceil(ways / 4) + selector_luts(ceil(ways / 4))


def _bits(words: int) -> int:
    """Address bits."""
    return (words - 1).bit_length()


def _field(code: Opcode, name: str) -> int:
    """Bits of an operand."""
    return next(field.bits for field in FORMS[code].fields if field.name == name)


def _queues(design: Design) -> tuple[tuple[str, int, int], ...]:
    """Name, bits that something reads, and depth of every queue.

    Synthesis drops the other bits: padding of instructions, and of addresses what is above the
    largest buffer. Flags and opcodes that an engine does not look at go too.
    """
    unit, line = design.unit, design.line_bytes
    sizes, depth = design.buffers, design.control.queue_depth
    largest = max(sizes.activation_bytes, sizes.weight_bytes, sizes.scale_bytes) // line
    unread_line = _field(Opcode.LOAD, "buffer_line") - _bits(largest)
    tiles = sizes.output_bytes // (design.tile_lines * line)
    unread_tile = _field(Opcode.STORE, "tile") - _bits(tiles)
    width = {
        code: sum(field.bits for field in FORMS[code].fields)
        for code in (Opcode.LOAD, Opcode.MATMUL, Opcode.STORE)
    }
    buffer_high = _field(Opcode.LOAD, "buffer") - _bits(len(Buffer))
    unread = 0 if "fp16" in unit.activation_formats else _field(Opcode.MATMUL, "half")
    if "bipolar" not in unit.weight_types:
        unread += _field(Opcode.MATMUL, "planes")
    if len(unit.weight_types) == 1:
        unread += _field(Opcode.MATMUL, "code_type")
    if "float" not in unit.weight_types:
        values = sum(_field(Opcode.MATMUL, f"special_{i}") for i in range(SPECIAL_VALUES))
        unread += _field(Opcode.MATMUL, "special") + values
    passes = 1 << (unit.latency + 4).bit_length()
    return (
        ("load queue", width[Opcode.LOAD] + 2 - unread_line - buffer_high, depth),
        ("compute queue", width[Opcode.MATMUL] + 4 - unread, depth),
        ("store queue", width[Opcode.STORE] + 2 - unread_tile, depth),
        ("loads in flight", LOAD_TRANSFER_BITS - unread_line, design.control.loads_in_flight),
        ("owners of bursts", 1, design.dram.max_outstanding_reads),
        ("passes", DESCRIPTOR_BITS - unread_tile, passes),
    )


def _compute_engine(design: Design) -> float:
    unit, luts = design.unit, float(MODULES["compute engine"])
    if min(unit.weight_bits) < unit.weight_word_bits:
        luts += 2 * _WORD_ADDRESS_BITS  # of the buffer, and of the first word
    if len(unit.activation_formats) > 1:
        luts += _WORD_ADDRESS_BITS
    if "bipolar" in unit.weight_types:
        luts += _PLANES
    if unit.has_special_values:
        luts += _DIGITS
    return luts


def _buffers(design: Design) -> list[Part]:
    """Selectors of buffers written wider than read, and of the half of a word that a step takes."""
    unit, found = design.unit, []
    for name, (write, read, _) in port_widths(design).items():
        luts = 8 * read * selector_luts(write // read) if write > read else 0
        if read > write:
            luts = read // write  # the enable of each bank
        if luts:
            found.append(Part(f"{name} buffer", luts))
    # A unit that unpacks two widths has a selector at every bit, with two inputs to spare.
    if max(unit.weight_bits) < unit.weight_word_bits:
        found.append(Part("half of a weight word", 4 * unit.weight_word_bytes))
    if len(unit.activation_formats) > 1:
        found.append(Part("half of an activation word", 4 * unit.activation_word_bytes))
    return found


def around_unit(design: Design, device: FpgaDevice) -> tuple[Part, ...]:
    """Everything around the unit of one core.

    Parameters
    ----------
    design : Design
        With a unit that has RTL.
    device : FpgaDevice
        Its vendor decides what small memories take: memory ALMs on Intel devices.
    """
    unit, vendor = design.unit, device.vendor
    sums = unit.lanes_m * unit.lanes_n * unit.accumulator_bits
    parts = [
        Part(f"{ram.owner} memory", ram.count * lut_ram(vendor, ram.width, ram.depth), memory=True)
        for ram in rams(design)
        if ram.depth <= LUT_RAM_DEPTH[vendor]
    ]
    for name, bits, depth in _queues(design):
        parts += [
            Part(name, lut_ram(vendor, bits, depth), memory=True),
            Part(f"{name}: control", _QUEUE + _QUEUE_POINTER_BIT * _bits(depth)),
        ]
    parts += [Part(name, luts) for name, luts in MODULES.items() if name != "compute engine"]
    parts += [
        Part("compute engine", _compute_engine(design)),
        Part("memory", _MEMORY + _CHANNEL * design.dram.channels),
        Part("requests", _REQUEST_BITS),
        # Selection of the earlier sum and addition: five inputs a bit, one look-up table.
        Part("sums", sums),
    ]
    return (*parts, *_buffers(design))


def saved_in_place(design: Design) -> float:
    """Look-up tables that a unit takes less inside an accelerator than synthesised alone.

    A ``running-total`` adds two registers' words, one of them gated. The carry cell's direct input
    gets the plain one inside another module (one look-up table a bit) and the gated one in a top
    module (two): Yosys orders the operands differently after flattening. Both were measured with
    the circuits of benchmarks/unit_circuits.py; other kinds of adders take the same either way.
    """
    cells = load_cells(FPGA)
    return sum(
        part.count * (cells.figure(part.kind, "lut").of(part.bits) - part.bits)
        for part in UNIT_COSTS[design.unit.kind].parts(design.unit)
        if part.kind == "running-total"
    )
