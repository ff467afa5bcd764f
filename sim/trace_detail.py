"""What one execution of an operator looks like in a trace: slices, arrows and counters.

`program_detail` has every instruction and burst, as the timeline simulator found them;
`outline_detail` draws an operator that has no program from its totals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from math import ceil

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

__all__ = ["BUFFERS", "Detail", "Piece", "drawn_program", "outline_detail", "program_detail"]

BUFFERS = ("activation", "weight", "scale", "output")
"""Buffers whose occupancy is counted."""

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


@dataclass(frozen=True, slots=True)
class Piece:
    """Cycles [start, end) of a track, counted from the start of the execution.

    Attributes
    ----------
    start, end : int
        Cycles.
    name : str
        What viewers show.
    size : int
        Bytes moved.
    busy : int
        Cycles of the parts, when it stands for ``parts`` of them with gaps between.
    parts : int
        Instructions or bursts it stands for.
    held_by : str
        What a multiplication waited for.
    """

    start: int
    end: int
    name: str
    size: int = 0
    busy: int = 0
    parts: int = 1
    held_by: str = ""


@dataclass(frozen=True)
class Detail:
    """One execution.

    Attributes
    ----------
    cycles, dram_bytes : int
        Of the execution; the pieces of ``bus`` add up to ``dram_bytes``.
    tracks : dict of str to list of Piece
        Pieces of an engine, in order, without overlap.
    bus : list of Piece
        What the memory channels carry, in order, without overlap.
    arrows : list of tuple of (str, int)
        Tracks and cycles an arrow goes through.
    bandwidth : list of (int, float, float)
        Cycle, and bytes read and written a cycle from there on.
    occupancy : list of (int, dict)
        Cycle, and bytes in use by buffer from there on.
    whole : bool
        False where a long program is drawn by its beginning.
    merged : int
        Instructions or bursts that one slice stands for at most; 1: none are joined.
    """

    cycles: int
    dram_bytes: int
    tracks: dict[str, list[Piece]]
    bus: list[Piece]
    arrows: list[tuple[tuple[str, int], ...]] = field(default_factory=list)
    bandwidth: list[tuple[int, float, float]] = field(default_factory=list)
    occupancy: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    whole: bool = True
    merged: int = 1

    def events(self, channels: int) -> int:
        """Trace events it takes."""
        slices = sum(map(len, self.tracks.values())) + channels * len(self.bus)
        return slices + sum(map(len, self.arrows)) + len(self.bandwidth) + len(self.occupancy)

    def fitted(self, most: int, channels: int) -> Detail:
        """The same with neighbours joined until it takes at most ``most`` events.

        Nothing is dropped but arrows and samples of counters: a joined slice carries the bytes,
        the busy cycles and the number of its parts. When all are joined that can be, it may take
        more than ``most``.
        """
        total = self.events(channels)
        if total <= most:
            return self
        longest = max(len(self.bus), *map(len, self.tracks.values()))
        factor = ceil(total / max(1, most))
        while True:
            factor = min(factor, longest)
            joined = replace(
                self,
                tracks={track: _joined(p, factor) for track, p in self.tracks.items()},
                bus=_joined(self.bus, factor),
                arrows=self.arrows[::factor],
                bandwidth=_averaged(self.bandwidth, self.cycles, factor),
                occupancy=self.occupancy[::factor],
                merged=factor,
            )
            if joined.events(channels) <= most or factor >= longest:
                return joined
            factor += max(1, factor // 8)


def _joined(pieces: list[Piece], factor: int) -> list[Piece]:
    result = []
    for index in range(0, len(pieces), factor):
        group = pieces[index : index + factor]
        if len(group) == 1:
            result.append(group[0])
            continue
        names = " and ".join(sorted({piece.name for piece in group}))
        result.append(
            Piece(
                group[0].start,
                group[-1].end,
                f"{names} x{sum(piece.parts for piece in group)}",
                sum(piece.size for piece in group),
                sum(piece.busy for piece in group),
                sum(piece.parts for piece in group),
            )
        )
    return result


def _averaged(
    samples: list[tuple[int, float, float]], cycles: int, factor: int
) -> list[tuple[int, float, float]]:
    """Means over ``factor`` neighbours, so that the area under the counter stays the bytes."""
    ends = [*(cycle for cycle, _, _ in samples[1:]), cycles]
    result = []
    for index in range(0, len(samples), factor):
        group = samples[index : index + factor]
        spans = [end - sample[0] for sample, end in zip(group, ends[index:], strict=False)]
        length = max(1, sum(spans))
        read, write = (
            sum(sample[column] * span for sample, span in zip(group, spans, strict=True)) / length
            for column in (1, 2)
        )
        result.append((group[0][0], read, write))
    return result


# Operators without a program --------------------------------------------------------------------


def outline_detail(
    engine: str,
    cycles: int,
    dram_bytes: int,
    written_bytes: int,
    compute_cycles: float,
    memory_cycles: float,
    store_wait: float,
) -> Detail:
    """Draw an execution from its totals: reads from the first cycle on, writes up to the last.

    The lengths are the simulator's, the places are not known: compute is drawn to end when the
    cycles begin that wait for stores.

    Parameters
    ----------
    engine : str
        ``compute``, ``vector`` or ``memory``, which has no track of its own.
    cycles, dram_bytes, written_bytes : int
        Of the execution; ``written_bytes`` are a part of ``dram_bytes``.
    compute_cycles, memory_cycles : float
        Cycles the engine and the bus are busy; what is longer than the execution is cut.
    store_wait : float
        Cycles put down to stores.
    """
    read_bytes = dram_bytes - written_bytes
    busy = min(cycles, round(memory_cycles)) if dram_bytes else 0
    reads = round(busy * read_bytes / dram_bytes) if dram_bytes else 0
    writes = busy - reads
    tracks: dict[str, list[Piece]] = {}
    bus = []
    if read_bytes:
        load = Piece(0, reads, "operands", read_bytes, reads)
        tracks["load"] = [load]
        bus.append(load)
    if written_bytes:
        store = Piece(cycles - writes, cycles, "results", written_bytes, writes)
        tracks["store"] = [store]
        bus.append(store)
    work = min(cycles, round(compute_cycles))
    end = max(work, cycles - round(store_wait))
    arrows = []
    if engine in ("compute", "vector") and work:
        tracks[engine] = [Piece(end - work, end, "compute", 0, work)]
        points = []
        if reads:
            points.append(("load", 0))
        points.append((engine, end - 1))
        if writes:
            points.append(("store", cycles - 1))
        if len(points) > 1:
            arrows.append(tuple(points))
    bandwidth = _steps(bus, cycles, lambda piece: piece.name == "results")
    return Detail(cycles, dram_bytes, tracks, bus, arrows, bandwidth)


def _steps(
    bus: list[Piece], cycles: int, is_write: Callable[[Piece], bool]
) -> list[tuple[int, float, float]]:
    """Bandwidth that changes where pieces begin and end."""
    edges = sorted({0, *(p.start for p in bus), *(p.end for p in bus)} - {cycles})
    result: list[tuple[int, float, float]] = []
    for edge in edges:
        rates = [0.0, 0.0]
        for piece in bus:
            if piece.start <= edge < piece.end:
                rates[is_write(piece)] += piece.size / (piece.end - piece.start)
        result.append((edge, rates[0], rates[1]))
    return result


# Programs ---------------------------------------------------------------------------------------


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
                (Buffer.ACTIVATION, i.activation_word * unit.activation_word_bytes),
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
