"""Matrix products in closed form: linear layers of an array that is simulated only.

An output-stationary array of R rows (output features), C columns (tokens) and dot products of D
elements computes a tile in ``beats`` cycles a step of K; tiles follow each other without a gap. An
array of equal parts (the SMs of a GPU) computes as many tiles at a time, of whatever product.
Operands stream from DRAM through two buffers; where neither fits its buffer, one of them is read
again for every bufferful of the other one, or both for every tile (`sim.cost.refetch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from designs.spec import Design
from designs.units import ArraySpec
from mapping.formats import WeightFormat, storage_bits
from mapping.workload import Phase, Work
from sim.activity import Activity, SramUse
from sim.conventions import Conventions
from sim.cost.base import Cost, Cycles, no_reasons, split_stall
from sim.cost.memory import Stream, stream_of
from sim.cost.refetch import Order, orders, refetch
from sim.memory.sram import SramGeometry, conflict_cycles

__all__ = [
    "Stored",
    "Traffic",
    "activation_port",
    "fastest_shape",
    "linear_cost",
    "product_cost",
    "weight_stored",
    "words",
]

_WORD = 64
"""Bits of a write into a buffer; rows are padded to it, as BitMoD's simulator does
(BitMoD-HPCA-25 at commit e445a5f, energy of writes)."""


@dataclass(frozen=True)
class Stored:
    """How the operand in the place of the weights is stored.

    Parameters
    ----------
    beat_bits : float
        Width of a code, which decides the beats of a step.
    port_bits : float
        Width that decides how wide the buffer's port is.
    row_bits : float
        Bits of a code with its share of what is stored a group.
    extra_row_bits : int
        Further bits a row (channel scale).
    """

    beat_bits: float
    port_bits: float
    row_bits: float
    extra_row_bits: int = 0

    def row_bytes(self, k: Cycles | int) -> Cycles:
        """Bytes of a row of ``k`` codes, whole bytes."""
        bits = np.ceil(np.asarray(k) * self.row_bits).astype(np.int64) + self.extra_row_bits
        return -(-bits // 8)


def weight_stored(fmt: WeightFormat, k: int, rules: Conventions) -> Stored:
    """Storage of a weight matrix with ``k`` columns, as its format or the conventions say.

    Raises
    ------
    InputError
        ``k`` is not divisible by the group.
    """
    fmt.groups(k)
    fixed = storage_bits(fmt, 1, 0)
    if rules.group_bits and fmt.group is not None:
        mean = fmt.mean_bits + rules.group_bits / fmt.group
    elif fmt.group is not None:
        mean = (storage_bits(fmt, 1, fmt.group) - fixed) / fmt.group
    else:
        mean = fmt.mean_bits
    port = mean if rules.port_width == "stored" else fmt.mean_bits
    return Stored(fmt.mean_bits, port, mean, fixed if rules.channel_scale else 0)


@dataclass(frozen=True, eq=False)
class Traffic:
    """Bytes of one execution in each pass, and 64-bit words written into the buffers."""

    weights: Cycles
    inputs: Cycles
    outputs: Cycles
    weight_words: NDArray[Any]
    input_words: NDArray[Any]
    output_words: NDArray[Any]


def words(elements: Cycles | int, bits: float) -> Cycles:
    """64-bit words of a row of codes."""
    return np.ceil(np.asarray(elements) * bits / _WORD).astype(np.int64)


def _shapes(design: Design, rules: Conventions, phase: str) -> tuple[tuple[int, int], ...]:
    """(columns, rows) to choose from."""
    unit = design.unit
    if not isinstance(unit, ArraySpec):
        return ((unit.lanes_m, unit.lanes_n),)
    if rules.array_shape == "phase":
        return (unit.shapes[0] if phase == "prefill" else unit.shapes[-1],)
    return unit.shapes


def _side_by_side(design: Design, shape: tuple[int, int]) -> int:
    """Tiles of a shape that are computed at a time."""
    unit = design.unit
    return unit.side_by_side(shape) if isinstance(unit, ArraySpec) else 1


def _steps(
    design: Design, sizes: tuple[Cycles, Cycles, Cycles], shape: tuple[int, int], products: int
) -> Cycles:
    """Steps of equal products on all lanes: rounds of tiles, each as long as K."""
    m, n, k = sizes
    columns, rows = shape
    tiles = -(-m // columns) * -(-n // rows) * products
    return -(-tiles // _side_by_side(design, shape)) * -(-k // design.unit.lanes_k)


def fastest_shape(
    design: Design,
    rules: Conventions,
    phase: str,
    sizes: tuple[Cycles, Cycles, Cycles],
    pieces: bool,
    products: int,
) -> tuple[Cycles, tuple[int, int]]:
    """Steps of all products in each pass, and the (columns, rows) that need fewest."""
    best: tuple[Cycles, tuple[int, int]] | None = None
    for shape in _shapes(design, rules, phase):
        steps = _steps(design, sizes, shape, products)
        steps = steps.sum(keepdims=True) if pieces else steps
        if best is None or steps.sum() < best[0].sum():
            best = steps, shape
    assert best is not None
    return best


def product_cost(
    design: Design,
    rules: Conventions,
    sizes: tuple[Cycles, Cycles, Cycles],
    tiling: tuple[Cycles, tuple[int, int]],
    stored: Stored,
    linear: Stored,
    traffic: Traffic,
    macs: Cycles,
) -> Cost:
    """Cycles and activity of a product whose traffic is known.

    Parameters
    ----------
    sizes : three int64 (B,)
        M, N and K of one product in each pass, or in each piece of the one pass.
    tiling : int64 (P,) and two int
        Steps of all products in each pass, and the columns and rows of the array or its parts.
    stored, linear : Stored
        Storage of this operand, and of the weights the ports are built for.
    """
    unit = design.unit
    beats = unit.beats(stored.beat_bits)
    steps, (columns, rows) = tiling
    compute = steps * beats
    stream = stream_of(design, rules)
    read, written = traffic.weights + traffic.inputs, traffic.outputs
    if rules.overlap == "perfect":
        period = stream.line_bytes * stream.beat.denominator
        many, rest = np.divmod(read + written, period)
        memory = many * stream.beat.numerator + rest * stream.beat.numerator // period
        reasons = no_reasons(compute)
        stall = np.maximum(memory - compute, 0)
        cycles = compute + stall
    else:
        memory = stream.cycles(read, written)
        cycles, stall, reasons = _exposed(
            design, stream, (columns, rows), sizes, stored, traffic, compute, memory
        )
    reasons |= split_stall(stall, traffic.weights, traffic.inputs, traffic.outputs)
    reasons["compute"] = compute
    reasons["fill_drain"] = cycles - compute - stall
    reads = steps * _side_by_side(design, (columns, rows))
    uses = _sram_uses(design, rules, (columns, rows), stored, linear, traffic, reads)
    cost = Cost(
        cycles,
        compute,
        memory,
        read,
        written,
        reasons,
        Activity(
            unit_cycles=compute,
            macs=macs,
            dram_read_bytes=read,
            dram_write_bytes=written,
            srams=uses,
        ),
    )
    return cost if rules.overlap == "perfect" else _with_conflicts(design, cost)


def activation_port(design: Design, columns: int | None = None) -> int:
    """Bits of the activation buffer's port, in a shape with so many columns or the first one."""
    unit = design.unit
    if isinstance(unit, ArraySpec):
        return unit.activation_port_bits(columns or unit.lanes_m, design.formats.activation_bits)
    return 8 * unit.activation_word_bytes


def _sram_uses(
    design: Design,
    rules: Conventions,
    shape: tuple[int, int],
    stored: Stored,
    linear: Stored,
    traffic: Traffic,
    steps: Cycles,
) -> tuple[SramUse, ...]:
    """Accesses of both buffers: a read of each a step, of the weights' one a plane where words are
    planes; what comes from or goes to DRAM.
    """
    unit = design.unit
    columns, rows = shape
    words = 1
    if isinstance(unit, ArraySpec):
        weight_port = unit.weight_port_bits(rows, linear.port_bits)
    else:
        weight_port = 8 * unit.weight_word_bytes
        words = max(1, int(unit.step_words(int(stored.beat_bits))))
    input_port = activation_port(design, columns)
    output_reads = traffic.output_words * _WORD / input_port if rules.output_reads else 0.0
    return (
        SramUse(
            "weight",
            design.buffers.weight_bytes,
            weight_port,
            (steps * words).astype(float),
            traffic.weight_words * _WORD / weight_port,
        ),
        SramUse(
            "activation",
            design.buffers.activation_bytes,
            input_port,
            steps + output_reads,
            (traffic.input_words + traffic.output_words) * _WORD / input_port,
        ),
    )


def _with_conflicts(design: Design, cost: Cost) -> Cost:
    """Add the cycles in which a read and a write meet in a bank with one port."""
    if design.sram.ports == "1r1w":
        return cost
    geometry = SramGeometry(design.sram.banks, design.sram.ports)
    for use, reason in zip(cost.activity.srams, ("weight_load", "activation_load"), strict=True):
        pairs = zip(
            np.broadcast_to(use.reads, cost.cycles.shape).tolist(),
            np.broadcast_to(use.writes, cost.cycles.shape).tolist(),
            cost.memory_cycles.tolist(),
            strict=True,
        )
        waits = [
            conflict_cycles(
                round(reads),
                ceil(writes),
                geometry,
                design.sram.double_buffered,
                max(1, int(memory / max(writes, 1))),
            )
            for reads, writes, memory in pairs
        ]
        cost = cost.delayed(reason, np.array(waits, np.int64))
    return cost


def _exposed(
    design: Design,
    stream: Stream,
    shape: tuple[int, int],
    sizes: tuple[Cycles, Cycles, Cycles],
    stored: Stored,
    traffic: Traffic,
    compute: Cycles,
    memory: Cycles,
) -> tuple[Cycles, Cycles, dict]:
    """Cycles, stall and empty reasons where the first step and the last tile are not hidden.

    Operands lie in the order of use: the first step starts when its own are there; lanes beyond
    the product's size wait for nothing.
    """
    m, n, k = (int(size.max()) for size in sizes)
    columns, rows, lanes_k = min(shape[0], m), min(shape[1], n), min(design.unit.lanes_k, k)
    step = ceil(rows * lanes_k * stored.row_bits / 8)
    step += ceil(columns * lanes_k * design.formats.activation_bits / 8)
    together = _side_by_side(design, shape)
    first = stream.cycles(np.minimum(traffic.weights + traffic.inputs, step * together))
    last = stream.cycles(np.minimum(traffic.outputs, columns * rows * 2 * together))
    middle = np.maximum(memory - first - last, 0)
    # With whole buffers, what is loaded next has to wait until what is in use is done with.
    stall = np.maximum(middle - compute, 0) if design.sram.double_buffered else middle
    latency = stream.latency * (traffic.weights + traffic.inputs > 0)
    edges = latency + first + design.unit.latency + last
    return compute + stall + edges, stall, no_reasons(compute)


def _cheapest_order(
    design: Design, rules: Conventions, phase: str, work: Work, stored: Stored
) -> tuple[tuple[int, int], Order]:
    """The shape and the loop order with fewest cycles; among equals, with fewest bytes."""
    stream, beats = stream_of(design, rules), design.unit.beats(stored.beat_bits)
    row_bytes = int(stored.row_bytes(work.k)), -(-work.k * design.formats.activation_bits // 8)
    depth = ceil(work.k / design.unit.lanes_k)

    def cost(found: tuple[tuple[int, int], Order]) -> tuple[int, int, int]:
        shape, order = found
        rounds = -(-order.tiles * work.products // _side_by_side(design, shape))
        read = (
            order.weight_times * work.n * row_bytes[0] + order.input_times * work.m * row_bytes[1]
        )
        read *= work.products
        memory = int(stream.cycles(read, 2 * work.m * work.n * work.products))
        return max(rounds * depth * beats, memory), read, rounds

    sizes = work.m, work.n
    shapes = _shapes(design, rules, phase)
    return min(
        (
            (shape, order)
            for shape in shapes
            for order in orders(design, rules, sizes, row_bytes, shape)
        ),
        key=cost,
    )


def linear_cost(
    design: Design, rules: Conventions, phase: Phase, work: Work, fmt: WeightFormat
) -> Cost:
    """A linear layer on a simulated-only array.

    Inputs come from DRAM in the activation format, outputs go there as FP16 (two bytes), the way
    the published simulators and silicast's RTL do it; weights of active experts are read.

    Raises
    ------
    InputError
        The group of the format does not divide K.
    """
    stored = weight_stored(fmt, work.k, rules)
    bits = design.formats.activation_bits
    one = np.ones(1, np.int64)
    apart = phase.name == "prefill" and work.products == 1 and not rules.mixed_sequences
    sequences = phase.batch if apart else 1
    m, products = work.m // sequences, work.products * sequences
    total_m = m * products
    weights = one * stored.row_bytes(work.k) * work.n * work.products
    inputs = one * -(-work.k * bits // 8) * total_m
    outputs = one * work.n * 2 * total_m
    sizes = (one * m, one * work.n, one * work.k)
    if rules.buffers_hold == "operator" or apart:
        tiling = fastest_shape(design, rules, phase.name, sizes, False, products)
        columns, rows = tiling[1]
        tiles = -(-sizes[0] // columns), -(-sizes[1] // rows)
        weight_times, input_times = refetch(design, rules, weights, inputs, tiles)
    else:
        shape, order = _cheapest_order(design, rules, phase.name, work, stored)
        rounds = -(-order.tiles * products // _side_by_side(design, shape))
        tiling = one * rounds * ceil(work.k / design.unit.lanes_k), shape
        weight_times, input_times = one * order.weight_times, one * order.input_times
    traffic = Traffic(
        weights * weight_times,
        inputs * input_times,
        outputs,
        words(work.k, stored.row_bits) * work.n * work.products * weight_times,
        words(work.k, bits) * total_m * input_times,
        one * words(work.n, 16) * total_m,
    )
    assert work.macs is not None
    return product_cost(design, rules, sizes, tiling, stored, stored, traffic, work.macs)
