"""The detail of a product with a program: every instruction and burst of the timeline simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count

import numpy as np
from numpy.typing import NDArray

from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.instruction import Instruction
from mapping.isa import Buffer, Opcode
from mapping.program import GemmProgram, compile_gemm, compile_tiling
from mapping.tiling import GemmShape, Split, choose_tiling
from sim.cost.program import MOST_SLOTS
from sim.records import Span, Timeline
from sim.timeline import simulate_program
from sim.trace_detail import BUFFERS, Detail, Piece

__all__ = ["drawn_program", "program_detail"]

_SAMPLES = 64
_DRAWN_SLOTS = 64
_LOADS = {Buffer.ACTIVATION: "activations", Buffer.WEIGHT: "weights", Buffer.SCALE: "scales"}
_BURSTS = {
    "instruction": "instructions",
    "activation": "activations",
    "weight": "weights and scales",
    "store": "results",
    "overhead": "rows, refresh or turnaround",
}


@lru_cache(maxsize=64)
def drawn_program(design: Design, shape: GemmShape, fmt: WeightFormat) -> tuple[GemmProgram, bool]:
    """The program that stands for a product, and whether it is all of it.

    A program whose cycles are the simulator's own (`sim.cost.program`) is drawn whole. Of a longer
    one the first block of tokens passes over the first weight slots, as a program of its own.

    Raises
    ------
    InputError
        The design cannot run the product.
    """
    tiling = choose_tiling(design, shape, fmt)
    weights = tiling.weights
    if weights.slot_count * tiling.blocks.parts <= MOST_SLOTS:
        return compile_gemm(design, shape, fmt), True
    _, most, size = next(weights.columns.runs())
    columns = min(most, max(1, _DRAWN_SLOTS // weights.chunks.parts))
    _, _, tokens = next(tiling.blocks.runs())
    part = GemmShape(
        min(shape.m, tokens * design.unit.lanes_m),
        min(shape.n, columns * size * design.unit.lanes_n),
        shape.k,
    )
    short = replace(
        tiling,
        shape=part,
        weights=replace(weights, n=part.n, columns=Split(columns * size, columns)),
        blocks=Split(tokens, 1),
    )
    return compile_tiling(design, short), False


@lru_cache(maxsize=4)  # q, k and v often have one shape
def program_detail(design: Design, shape: GemmShape, fmt: WeightFormat) -> Detail | None:
    """Every instruction and burst of a product, or of the beginning of a long one.

    Slices of load and store are the cycles their data is on the memory bus, those of compute the
    cycles in which steps are read. None when the timeline's bursts do not add up to the program's
    instructions.

    Raises
    ------
    InputError
        The design cannot run the product.
    """
    program, whole = drawn_program(design, shape, fmt)
    timeline = simulate_program(design, program)
    kinds: dict[Opcode, list[Instruction]] = {opcode: [] for opcode in Opcode}
    for instruction in program.instructions:
        kinds[instruction.opcode].append(instruction)
    loads, products, stores = kinds[Opcode.LOAD], kinds[Opcode.MATMUL], kinds[Opcode.STORE]
    line = design.line_bytes
    read = _cut(
        [s for s in timeline.memory if s.kind in ("weight", "activation")],
        [i.lines for i in loads],
        timeline.cycles,
    )
    written = _cut(
        [s for s in timeline.memory if s.kind == "store"],
        [i.tiles * i.lines_per_tile for i in stores],
        timeline.cycles,
    )
    if read is None or written is None or len(products) != len(timeline.compute):
        return None
    tracks = {
        "fetch": _bus([s for s in timeline.memory if s.kind == "instruction"], line, timeline),
        "load": [
            Piece(start, end, _LOADS[Buffer(i.buffer)], i.lines * line, end - start)
            for i, (start, end) in zip(loads, read, strict=True)
        ],
        "compute": [
            Piece(
                span.start,
                span.end,
                f"{i.m_tiles} x {i.n_tiles} tiles",
                0,
                span.end - span.start,
                held_by=span.kind,
            )
            for i, span in zip(products, timeline.compute, strict=True)
        ],
        "store": [
            Piece(start, end, "results", i.tiles * i.lines_per_tile * line, end - start)
            for i, (start, end) in zip(stores, written, strict=True)
        ],
    }
    if timeline.table_latency:
        tracks["tables"] = _tables(timeline, products)
    detail = Detail(
        cycles=timeline.cycles,
        dram_bytes=(timeline.read_lines + timeline.write_lines) * line,
        tracks=tracks,
        bus=_bus([*timeline.memory, *timeline.overhead], line, timeline),
        arrows=_arrows(loads, products, stores, tracks),
        bandwidth=_bandwidth(timeline, line),
        occupancy=_occupancy(program, loads, tracks, timeline.cycles),
        whole=whole,
    )
    return detail if sum(piece.size for piece in detail.bus) == detail.dram_bytes else None


def _tables(timeline: Timeline, products: Sequence[Instruction]) -> list[Piece]:
    """When tables are built: while steps are read, beside the lookups of earlier steps.

    A step's tables are built in one cycle, whatever its planes: that is the busy part. Lookups run
    ``table_latency`` cycles behind the reads throughout, so that only the product's first tables
    are exposed (`sim.attribution`).
    """
    exposed = f"tables, first ones exposed for {timeline.table_latency} of the product's cycles"
    return [
        Piece(
            span.start,
            span.end,
            "tables, overlapped" if index else exposed,
            0,
            i.n_tiles * i.m_tiles * i.k_steps,
        )
        for index, (i, span) in enumerate(zip(products, timeline.compute, strict=True))
    ]


def _cut(spans: list[Span], lines: Sequence[int], cycles: int) -> list[tuple[int, int]] | None:
    """Cycles in which each instruction's lines are on the bus; lines are evenly spaced in a span.

    None when spans and instructions do not hold the same number of lines.
    """
    spans = [span for span in spans if span.lines]
    if sum(span.lines for span in spans) != sum(lines):
        return None
    result: list[tuple[int, int]] = []
    index = done = last = 0
    for left in lines:
        start: int | None = None
        end = last
        while left:
            span = spans[index]
            length = span.end - span.start
            taken = min(left, span.lines - done)
            if start is None:
                start = span.start + length * done // span.lines
            done += taken
            left -= taken
            end = span.start - (-length * done // span.lines)
            if done == span.lines:
                index, done = index + 1, 0
        begin = last if start is None else min(cycles, max(last, start))
        last = max(begin, min(cycles, end))
        result.append((begin, last))
    return result


def _bus(spans: list[Span], line: int, timeline: Timeline) -> list[Piece]:
    """Bursts as pieces; a cycle that two of them share belongs to the first.

    Writes that memory has accepted and not yet made when the program ends are cut at its end.
    """
    result = []
    last = 0
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        start = min(max(last, span.start), timeline.cycles)
        last = max(start, min(span.end, timeline.cycles))
        result.append(Piece(start, last, _BURSTS[span.kind], span.lines * line, last - start))
    return result


def _arrows(
    loads: list[Instruction],
    products: list[Instruction],
    stores: list[Instruction],
    tracks: dict[str, list[Piece]],
) -> list[tuple[tuple[str, int], ...]]:
    """An arrow for every token: the k-th wait of an engine takes the k-th token of the other."""
    given = [k for k, i in enumerate(loads) if i.signal_downstream]
    taken = [k for k, i in enumerate(products) if i.wait_upstream]
    source = dict(zip(taken, given, strict=False))
    given = [k for k, i in enumerate(products) if i.signal_downstream]
    taken = [k for k, i in enumerate(stores) if i.wait_upstream]
    target = dict(zip(given, taken, strict=False))
    result = []
    for k, product in enumerate(tracks["compute"]):
        points = [("compute", product.start)]
        if k in source:
            load = tracks["load"][source[k]]
            if load.end > load.start:
                points.insert(0, ("load", load.end - 1))
        if k in target:
            store = tracks["store"][target[k]]
            if store.end > store.start:
                points.append(("store", store.start))
        if len(points) > 1:
            result.append(tuple(points))
    return result


def _edges(cycles: int) -> NDArray[np.int64]:
    """Where counters are sampled."""
    return np.unique(np.linspace(0, cycles, min(_SAMPLES, cycles) + 1).astype(np.int64))


def _area(pieces: Sequence[tuple[int, int, float]], edges: NDArray[np.int64]) -> NDArray:
    """Integral up to each edge of the sum of constants, each over its [start, end)."""
    area = np.zeros(len(edges))
    for block in range(0, len(pieces), 4096):
        start, end, height = np.array(pieces[block : block + 4096], dtype=float).T[:, :, None]
        area += (np.clip(edges - start, 0, end - start) * height).sum(axis=0)
    return area


def _bandwidth(timeline: Timeline, line: int) -> list[tuple[int, float, float]]:
    edges = _edges(timeline.cycles)
    rates = []
    for writes in (False, True):
        spans = [
            (s.start, s.end, s.lines * line / (s.end - s.start))
            for s in timeline.memory
            if (s.kind == "store") == writes and s.end > s.start
        ]
        area = _area(spans, edges)
        if spans:  # what the last reservation holds beyond the last cycle still counts
            area[-1] = sum((end - start) * height for start, end, height in spans)
        rates.append(np.diff(area) / np.diff(edges))
    return [(int(e), float(r), float(w)) for e, r, w in zip(edges, *rates, strict=False)]


def _occupancy(
    program: GemmProgram,
    loads: list[Instruction],
    tracks: dict[str, list[Piece]],
    cycles: int,
) -> list[tuple[int, dict[str, float]]]:
    """Mean bytes in use between two samples.

    A load's lines are in use from its first one until the last multiplication that reads them has
    ended; a tile of sums from the start of its multiplication until it is stored.
    """
    design, unit, line = program.design, program.design.unit, program.design.line_bytes
    held: dict[Buffer, dict[int, int]] = {buffer: {} for buffer in _LOADS}
    last_use = [piece.end for piece in tracks["load"]]
    made: dict[int, int] = {}
    in_use: dict[str, list[tuple[int, int, float]]] = {name: [] for name in BUFFERS}
    numbers = count()
    computed, stored = iter(tracks["compute"]), iter(tracks["store"])
    for i in program.instructions:
        if i.opcode is Opcode.LOAD:
            held[Buffer(i.buffer)][i.buffer_line] = next(numbers)
        elif i.opcode is Opcode.MATMUL:
            product = next(computed)
            reads = [
                (Buffer.WEIGHT, i.weight_word * unit.weight_word_bytes),
                (Buffer.ACTIVATION, i.activation_step * design.activation_step_bytes),
            ]
            if i.scaled:
                reads.append((Buffer.SCALE, i.scale_word * unit.scale_word_bytes))
            for buffer, start in reads:
                slots = held[buffer]
                place = max(first for first in slots if first * line <= start)
                last_use[slots[place]] = max(last_use[slots[place]], product.end)
            if i.emit:
                made[i.tile] = product.start
        elif i.opcode is Opcode.STORE:
            size = i.tiles * design.tile_lines * line
            in_use["output"].append((made[i.tile], next(stored).end, size))
    for i, piece, end in zip(loads, tracks["load"], last_use, strict=True):
        in_use[Buffer(i.buffer).name.lower()].append((piece.start, end, i.lines * line))
    edges = _edges(cycles)
    means = {n: np.diff(_area(parts, edges)) / np.diff(edges) for n, parts in in_use.items()}
    return [
        (int(edge), {name: float(mean[k]) for name, mean in means.items()})
        for k, edge in enumerate(edges[:-1])
    ]
