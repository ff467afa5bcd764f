"""Linear layers on a unit with RTL: the timeline of the compiled program.

A small program is simulated whole; its cycles are the hardware's. A large one repeats itself: the
same pass over the weight slots for each block of tokens. Then four programs with fewer slots and
blocks of the same sizes are simulated, and the counts are continued in both directions; on random
large products they stay within 1 % of the whole simulation (tests/test_program_cost.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

import numpy as np

from designs.memory_timing import memory_timing
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.layout import scale_slot_lines, weight_slot_lines
from mapping.program import GemmProgram, compile_gemm, compile_tiling
from mapping.tiling import GemmShape, Split, Tiling, choose_tiling
from sim.activity import Activity, SramUse
from sim.area import buffer_ports
from sim.attribution import REASONS, attribute_cycles
from sim.cost.base import Cost
from sim.timeline import simulate_program

__all__ = ["MOST_SLOTS", "MOST_SLOTS_OF_ONE", "GemmCost", "program_cost", "simulate_gemm"]

MOST_SLOTS = 400
"""Passes over weight slots up to which a program of several token blocks is simulated whole."""

MOST_SLOTS_OF_ONE = 800
"""The same for one block: where memory is the bound, row changes and refreshes repeat later."""

_SLOTS, _SLOTS_OF_ONE, _BLOCKS = (32, 64), (128, 512), (1, 2)
"""Weight slots (columns of them) and token blocks of the programs that are continued: further
slots where there is one block, so that refreshes are met as often as on average."""

_KINDS = ("weight", "activation", "store", "instruction")


@dataclass(frozen=True)
class GemmCost:
    """Timeline figures of one matrix product.

    Attributes
    ----------
    cycles : int
        From start to done, as the hardware counts.
    compute_cycles : int
        Cycles in which the unit is fed.
    memory_cycles : int
        Cycles the memory bus is occupied, rounded up; refresh and turnaround are not in it.
    read_bytes, write_bytes : int
        Weights, scales, activations and instructions; sums. With the padding to tiles and lines.
    lines : mapping of str to int
        Memory lines by kind: weight (with scales), activation, store, instruction.
    reasons : mapping of str to int
        Cycles by reason (`sim.attribution.REASONS`); they sum to ``cycles``.
    exact : bool
        Whether the whole program was simulated.
    """

    cycles: int
    compute_cycles: int
    memory_cycles: int
    read_bytes: int
    write_bytes: int
    lines: Mapping[str, int]
    reasons: Mapping[str, int]
    exact: bool = True

    @property
    def dram_bytes(self) -> int:
        """Bytes read and written."""
        return self.read_bytes + self.write_bytes

    @property
    def bound(self) -> str:
        """``compute`` or ``memory``, whichever is busy for longer."""
        return "compute" if self.compute_cycles >= self.memory_cycles else "memory"


@lru_cache(maxsize=4096)
def simulate_gemm(
    design: Design, shape: GemmShape, fmt: WeightFormat, whole: bool = False
) -> GemmCost:
    """Compile a product and simulate its timeline; equal arguments are simulated once.

    Parameters
    ----------
    design, shape, fmt
        The accelerator, the product, and the number format of the weights.
    whole : bool
        Simulate every instruction, however many there are: the hardware's cycles, exactly.

    Raises
    ------
    InputError
        The design cannot run the product.
    """
    tiling = choose_tiling(design, shape, fmt)
    most = MOST_SLOTS_OF_ONE if tiling.blocks.parts == 1 else MOST_SLOTS
    if whole or tiling.weights.slot_count * tiling.blocks.parts <= most:
        return _counted(design, compile_gemm(design, shape, fmt))
    return _continued(design, tiling)


def _bus_cycles(design: Design, lines: int) -> int:
    timing = memory_timing(design)
    return -(-lines * timing.beat_units // timing.cycle_units)


def _counted(design: Design, program: GemmProgram) -> GemmCost:
    timeline = simulate_program(design, program)
    lines = dict.fromkeys(_KINDS, 0)
    for span in timeline.memory:
        lines[span.kind] += span.lines
    return GemmCost(
        cycles=timeline.cycles,
        compute_cycles=timeline.compute_cycles,
        memory_cycles=_bus_cycles(design, timeline.read_lines + timeline.write_lines),
        read_bytes=timeline.read_lines * design.line_bytes,
        write_bytes=timeline.write_lines * design.line_bytes,
        lines=lines,
        reasons=attribute_cycles(timeline),
    )


def _part(design: Design, tiling: Tiling, columns: Split, blocks: Split) -> GemmCost:
    unit, shape, weights = design.unit, tiling.shape, tiling.weights
    n = shape.n if columns == weights.columns else columns.total * unit.lanes_n
    m = shape.m if blocks == tiling.blocks else blocks.total * unit.lanes_m
    short = replace(
        tiling,
        shape=GemmShape(m, n, shape.k),
        weights=replace(weights, n=n, columns=columns),
        blocks=blocks,
    )
    return _counted(design, compile_tiling(design, short))


def _continued(design: Design, tiling: Tiling) -> GemmCost:
    """Counts of a long program from those of shorter ones, bilinear in slots and blocks."""

    def over_blocks(columns: Split) -> np.ndarray:
        return _along(tiling.blocks, _BLOCKS, lambda b: _vector(_part(design, tiling, columns, b)))

    slots = _SLOTS_OF_ONE if tiling.blocks.parts == 1 else _SLOTS
    found = _along(tiling.weights.columns, slots, over_blocks)
    counts = np.rint(np.maximum(found, 0)).astype(np.int64).tolist()
    lines = dict(zip(_KINDS, counts[: len(_KINDS)], strict=True))
    reasons = dict(zip(REASONS, counts[len(_KINDS) :], strict=True))
    moved = sum(lines.values())
    return GemmCost(
        cycles=sum(reasons.values()),
        compute_cycles=reasons["compute"],
        memory_cycles=_bus_cycles(design, moved),
        read_bytes=(moved - lines["store"]) * design.line_bytes,
        write_bytes=lines["store"] * design.line_bytes,
        lines=lines,
        reasons=reasons,
        exact=False,
    )


def _along(
    split: Split, parts: tuple[int, int], counts: Callable[[Split], np.ndarray]
) -> np.ndarray:
    """Counts of a whole split, from a few and a few more of its parts.

    Parts have one of two sizes; each size has a slope of its own.
    """
    if split.parts <= parts[1]:
        return counts(split)
    result = None
    for _, number, size in split.runs():
        few, more = (counts(Split(size * count, count)) for count in parts)
        slope = (more - few) / (parts[1] - parts[0])
        result = more + slope * (number - parts[1]) if result is None else result + slope * number
    assert result is not None
    return result


def _vector(cost: GemmCost) -> np.ndarray:
    lines = [cost.lines[kind] for kind in _KINDS]
    return np.array([*lines, *(cost.reasons[reason] for reason in REASONS)], float)


def _scale_words(design: Design, tiling: Tiling) -> int:
    """Words of scales that one tile of sums reads: chunk by chunk, of all planes."""
    fmt, special = tiling.weights.fmt, bool(tiling.weights.fmt.special_values)
    if not fmt.scaled:
        return 0
    return fmt.planes * sum(
        count * design.unit.scale_words(groups, special)
        for _, count, groups in tiling.weights.chunks.runs()
    )


def program_cost(design: Design, shape: GemmShape, fmt: WeightFormat, products: int) -> Cost:
    """One execution of a linear layer: ``products`` programs one after the other.

    On-chip accesses follow from the program: each step reads a word of activations and one or
    several of weights, whole words also where it uses half of one, each group of a tile a word of
    scales, and every four groups one with the numbers of their special values, each line that
    arrives is written once, each sum is written once and read once. A tile whose K is cut into
    pieces is read from the partial sums before each piece but the first, and written there after
    each but the last.
    """
    one = np.ones(1, np.int64)
    cost = simulate_gemm(design, shape, fmt)
    unit, buffers, line_bits = design.unit, design.buffers, 8 * design.line_bytes
    steps = cost.compute_cycles / unit.beats(fmt.bits)
    words = max(1.0, float(unit.step_words(fmt.bits)))  # two steps share words of odd codes
    word_bits = 8 * unit.weight_word_bytes
    tile_bits = 8 * design.tile_lines * design.line_bytes
    stored = cost.lines["store"] * line_bits / tile_bits
    activation = 8 * unit.activation_word_bytes
    ports = {port.buffer: port for port in buffer_ports(design)}
    scale, partial = ports["scale"], ports["partial"]
    tiles = ceil(shape.m / unit.lanes_m) * ceil(shape.n / unit.lanes_n) * products
    tiling = choose_tiling(design, shape, fmt)
    scales = float(tiles * _scale_words(design, tiling))
    pieces = float(tiles * (tiling.weights.chunks.parts - 1))
    # Scales come with the weights; both are stored in whole lines.
    codes, groups = weight_slot_lines(design, tiling).sum(), scale_slot_lines(design, tiling).sum()
    scale_lines = cost.lines["weight"] * float(groups / (codes + groups)) * products
    uses = (
        SramUse(
            "weight",
            buffers.weight_bytes,
            word_bits,
            steps * words * products,
            (cost.lines["weight"] * products - scale_lines) * line_bits / word_bits,
        ),
        SramUse(
            "activation",
            buffers.activation_bytes,
            activation,
            steps * products,
            cost.lines["activation"] * line_bits / activation * products,
        ),
        SramUse("output", buffers.output_bytes, tile_bits, stored * products, stored * products),
        SramUse(
            "scale",
            scale.capacity_bytes,
            scale.port_bits,
            scales,
            scale_lines * line_bits / scale.port_bits,
        ),
        SramUse("partial", partial.capacity_bytes, partial.port_bits, pieces, pieces),
    )
    activity = Activity(
        unit_cycles=one * cost.compute_cycles * products,
        dram_read_bytes=one * cost.read_bytes * products,
        dram_write_bytes=one * cost.write_bytes * products,
        srams=uses,
    )
    return Cost(
        cycles=one * cost.cycles * products,
        compute_cycles=one * cost.compute_cycles * products,
        memory_cycles=one * cost.memory_cycles * products,
        read_bytes=one * cost.read_bytes * products,
        write_bytes=one * cost.write_bytes * products,
        reasons={reason: one * count * products for reason, count in cost.reasons.items()},
        activity=activity,
    )
