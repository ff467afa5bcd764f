"""Memories, queues and registers of the generated RTL, derived with the RTL's own formulas.

The formulas are those of hwgen/memory/buffer.py, hwgen/engines and hwgen/control;
tests/test_resources.py compares them with the netlist.
"""

from dataclasses import dataclass
from math import ceil

from designs.spec import INSTRUCTION_BYTES, Design
from designs.units import UnitSpec
from designs.units.base import SPECIAL_VALUES
from sim.area import buffer_ports

__all__ = [
    "CONTROL_REGISTERS",
    "DESCRIPTOR_BITS",
    "LOAD_TRANSFER_BITS",
    "Ram",
    "port_widths",
    "queues",
    "rams",
    "registers",
    "repeated_registers",
    "unread_registers",
]

CONTROL_REGISTERS = {"control port": 874, "load engine": 81, "tokens": 32}
"""Register bits of the parts that no field of the design changes, counted in the netlist."""

_COMPUTE_REGISTERS = 517
"""Compute engine of a unit that reads a word a step, counted in the netlist."""

_CODE_BITS = 1 + 1 + 8 * SPECIAL_VALUES
"""What units are told of codes that are no integers: a second bit of their type, numbers to take,
special values (hwgen/units/base.py, `StepControl`)."""

_SECOND_BIT = 1
"""Beat of the second step of a pair of odd width, as units are told."""

_IDENTIFY_REGISTERS = 2 + 1
"""Group of four, and start of a group (hwgen/engines/compute.py, ``_identify``)."""

_PAIR_REGISTERS = 1 + 1
"""Second step of a pair, and beats without a word (hwgen/engines/compute.py, ``_place``)."""

_STEP_WORD_REGISTERS = 3
"""Position in a step of several words (hwgen/engines/compute.py, ``_word_of_step``)."""

_REPLAY_REGISTERS = 4 + 1 + 25
"""Planes read, start of a group and its first step, where groups of activations are read again
(hwgen/engines/compute.py, ``_replay``)."""

DESCRIPTOR_BITS = 35
"""One pass: two tile numbers of 16 bits and three flags (hwgen/engines/compute.py)."""

LOAD_TRANSFER_BITS = 51
"""One load in flight: buffer, line, lines and token (hwgen/engines/load.py)."""

_BURST_BITS = 40
"""A request: 32 bits of line, 8 of length (hwgen/memory/striped.py)."""

_STORE_REGISTERS = 196
"""Store engine without its address and its count of bursts, counted in the netlist."""


@dataclass(frozen=True)
class Ram:
    """Equal RAMs of the generated RTL, each one instance of ``silicast_ram``.

    Attributes
    ----------
    owner : str
        Buffer or engine they belong to.
    width, depth : int
        Bits of a word, and words.
    count : int
        How many.
    """

    owner: str
    width: int
    depth: int
    count: int


def _buffer(owner: str, write_bytes: int, read_bytes: int, capacity_bytes: int) -> Ram:
    """The banks of one buffer: as wide as its narrower side."""
    wide, narrow = max(write_bytes, read_bytes), min(write_bytes, read_bytes)
    return Ram(owner, 8 * narrow, max(2, capacity_bytes // wide), wide // narrow)


def port_widths(design: Design) -> dict[str, tuple[int, int, int]]:
    """Write bytes, read bytes and capacity of every buffer of the RTL."""
    unit, sizes, line = design.unit, design.buffers, design.line_bytes
    ring = design.control.fetch_blocks * design.fetch_block_bytes
    return {
        "fetch": (line, INSTRUCTION_BYTES, ring),
        "activation": (line, unit.activation_word_bytes, sizes.activation_bytes),
        "weight": (line, unit.weight_word_bytes, sizes.weight_bytes),
        "scale": (line, unit.scale_word_bytes, sizes.scale_bytes),
        "output": (design.tile_lines * line, line, sizes.output_bytes),
    }


def rams(design: Design) -> tuple[Ram, ...]:
    """Every RAM of one core.

    For a published array, which has no RTL, one RAM a buffer with the buffer's wider port: what
    is needed at least.
    """
    if design.unit.simulated_only:
        return tuple(
            Ram(
                port.buffer,
                min(port.port_bits, 8 * port.capacity_bytes),
                max(2, ceil(8 * port.capacity_bytes / port.port_bits)),
                1,
            )
            for port in buffer_ports(design)
        )
    unit = design.unit
    sums = unit.lanes_m * unit.lanes_n * unit.accumulator_bits
    partial = Ram("partial", sums, max(2, design.partial_tiles), 1)
    return (*(_buffer(name, *widths) for name, widths in port_widths(design).items()), partial)


def queues(design: Design) -> tuple[tuple[int, int], ...]:
    """Width and depth of every queue of one core of the RTL; they are made of look-up tables."""
    instruction = (8 * INSTRUCTION_BYTES, design.control.queue_depth)
    passes = 1 << (design.unit.latency + 4).bit_length()
    return (
        *(instruction,) * 3,
        (LOAD_TRANSFER_BITS, design.control.loads_in_flight),
        (1, design.dram.max_outstanding_reads),
        (DESCRIPTOR_BITS, passes),
    )


def _clog2(value: int) -> int:
    return (value - 1).bit_length()


def _pairs(unit: UnitSpec) -> bool:
    """Steps of odd widths share words."""
    return any(unit.step_grain(bits) > 1 for bits in unit.weight_bits)


def unread_registers(design: Design) -> int:
    """Register bits of the RTL that no unit of this kind reads, which synthesis drops."""
    unit = design.unit
    special = 0 if unit.has_special_values else _CODE_BITS - ("bipolar" in unit.weight_types)
    return special + (0 if _pairs(unit) else _SECOND_BIT)


def repeated_registers(design: Design) -> int:
    """Register bits of the RTL that equal others, which synthesis merges.

    Every row of the output buffer holds which of its lines is read
    (hwgen/memory/output_buffer.py).
    """
    return (design.unit.lanes_m - 1) * _clog2(design.row_lines)


def registers(design: Design) -> dict[str, int]:
    """Register bits of one core of the RTL outside its unit, by part.

    Without `unread_registers`, which the netlist has in its compute engine, and without
    `repeated_registers`.
    """
    dram, control, line = design.dram, design.control, 8 * design.line_bytes
    sums = design.unit.lanes_m * design.unit.lanes_n * design.unit.accumulator_bits
    lines = control.fetch_blocks * design.fetch_block_lines
    instructions = control.fetch_blocks * design.fetch_block_instructions
    selects = sum(
        _clog2(write // read) for write, read, _ in port_widths(design).values() if write > read
    )
    unit = design.unit
    compute = _COMPUTE_REGISTERS + _CODE_BITS + _SECOND_BIT - unread_registers(design)
    if unit.step_words(max(unit.weight_bits)) > 1:
        compute += _STEP_WORD_REGISTERS
    if "bipolar" in unit.weight_types:
        compute += _REPLAY_REGISTERS
    if unit.has_special_values:
        compute += _IDENTIFY_REGISTERS
    if _pairs(unit):
        compute += _PAIR_REGISTERS
    return {
        **CONTROL_REGISTERS,
        "compute engine": compute,
        "fetch": 67  # line and blocks left, 32 bits each, and three flags
        + control.fetch_blocks.bit_length()
        + _clog2(2 * lines)
        + _clog2(2 * instructions)
        + _clog2(design.fetch_block_instructions),
        "store engine": _STORE_REGISTERS
        + _clog2(design.buffers.output_bytes // design.line_bytes)
        + dram.max_outstanding_writes.bit_length(),
        "memory": 2 * _BURST_BITS + line + 1 + 3 * dram.channels,
        "accumulate": 2 * sums + 2 + 16 + DESCRIPTOR_BITS,
        "buffers": selects,
        "queues": sum(depth.bit_length() + 2 * _clog2(depth) for _, depth in queues(design)),
    }
