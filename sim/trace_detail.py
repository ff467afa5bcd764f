"""What one execution of an operator looks like in a trace: slices, arrows and counters.

`sim.trace_program` makes it from a program; `outline_detail` draws an operator that has none from
its totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil

__all__ = ["BUFFERS", "Detail", "Piece", "outline_detail"]

BUFFERS = ("activation", "weight", "scale", "output")
"""Buffers whose occupancy is counted."""


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
