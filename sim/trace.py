"""A simulated model as a Perfetto / chrome://tracing file: who did what, when, and why.

Operators follow one another in execution order. Of every group of equal operators the first
execution is drawn in detail (every instruction and burst where the generated RTL runs it, an
outline elsewhere); what repeats is folded into one slice ("x31 more layers", "x255 more passes")
that carries its exact cycles and bytes. So the file stays small and nothing is lost: ``dram_bytes``
of all slices add up to the bytes of the report, and the last slice ends in its last cycle.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TextIO

from designs.errors import InputError
from designs.spec import Design
from mapping.formats import WeightFormat
from sim.results import ModelResult, OperatorResult, PhaseResult
from sim.trace_detail import BUFFERS, Detail, Piece, outline_detail
from sim.trace_events import EventWriter
from sim.trace_plan import TracePlan, is_layer, product_shape
from sim.trace_program import program_detail
from sim.trace_totals import trace_totals

__all__ = ["MOST_EVENTS", "trace_totals", "write_trace"]

MOST_EVENTS = 200_000
"""Events of a file by default; some 40 MB."""

_ENGINE = {"matrix": "compute", "vector": "vector"}

_ABOUT = {
    "units": "times are microseconds at the design's clock, rounded to nanoseconds; args hold "
    "exact cycles from the start of the trace (start_cycle, cycles)",
    "dram_bytes": "in slices of the DRAM channels only, so that nothing counts twice: they add up "
    "to the bytes of the report; 'bytes' of load and store slices are the same data once more",
    "folding": "the first execution of every group of equal operators is drawn in detail; a slice "
    "'x31 more layers' or 'x255 more passes' stands for the others, with their exact cycles and "
    "bytes. Where the context grows from pass to pass, the detailed execution has the mean cost",
    "outline": "an operator without a program (simulated only) is drawn from its totals: lengths "
    "are the simulator's, places inside the operator are not known",
    "long programs": "of a product with very many instructions, the beginning is drawn, as a "
    "program of its own; a slice 'the rest of it' carries what is left of its cycles and bytes",
    "load and store": "cycles in which their data is on the memory bus",
    "channels": "all channels work in step, so a burst is on each of them; with several cores, a "
    "channel stands for that channel of every core",
    "occupancy": "means between two samples; known, and not 0, only for operators with a program",
    "arrows": "from a load to the multiplication that waited for it, and on to its store",
    "joined": "where an operator would have taken more than its part of most_events, neighbouring "
    "instructions and bursts are joined, 'weights x4', bytes and busy cycles added up",
}


@dataclass(frozen=True)
class _Share:
    """Some of the executions of an operator."""

    operator: OperatorResult
    executions: int
    cycles: int
    dram_bytes: int
    written_bytes: int
    reasons: Mapping[str, int]


def _share(operator: OperatorResult, first: int, last: int) -> _Share:
    """Executions [first, last); shares that follow one another add up to the totals."""

    def part(total: int) -> int:
        count = operator.count
        return total * last // count - total * first // count

    return _Share(
        operator,
        last - first,
        part(operator.total_cycles),
        part(operator.total_dram_bytes),
        part(operator.write_bytes),
        {reason: part(cycles) for reason, cycles in operator.total_reasons.items()},
    )


class _Drawing:
    """Draws phase after phase from the cycle on where the last one ended."""

    def __init__(
        self,
        result: ModelResult,
        design: Design,
        fmt: WeightFormat,
        writer: EventWriter,
        plan: TracePlan,
    ) -> None:
        self.result, self.design, self.fmt = result, design, fmt
        self.writer, self.plan = writer, plan
        self.cycle = 0
        self.phase = ""
        self.outlined: list[str] = []
        self.mark = ""
        self.begun: list[str] = []
        self.joined: dict[str, int] = {}
        self.mean_occupancy: dict[str, dict[str, float]] = {}

    def draw(self, name: str, phase: PhaseResult) -> None:
        """One phase: its first pass, and the others folded."""
        self.phase = name
        operators = [o for o in self.result.operators if o.phase == name]
        start, passes = self.cycle, max(1, phase.passes)
        args = {"tokens": phase.tokens, "passes": passes, "bytes": phase.dram_bytes}
        self._slice("operator", name, start, start + phase.cycles, args)
        one_pass = [_share(o, 0, o.layers) for o in operators]
        end = start + sum(share.cycles for share in one_pass)
        if passes > 1:
            self._slice("operator", f"pass 1 of {passes}", start, end)
        for layered, run in groupby(operators, is_layer):
            group = list(run)
            for operator in group:
                self._first(_share(operator, 0, 1))
            if layered:
                most = max(operator.layers for operator in group) - 1
                title = f"x{most} more layers" if most > 1 else "x1 more layer"
                self._fold(title, [_share(o, 1, o.layers) for o in group])
            else:
                self._fold("more executions", [_share(o, 1, o.layers) for o in group])
        title = f"x{passes - 1} more passes" if passes > 2 else "x1 more pass"
        self._fold(title, [_share(o, o.layers, o.count) for o in operators])
        if self.cycle != start + phase.cycles:
            found = f"{self.cycle - start} cycles of operators, {phase.cycles} of the phase"
            raise ValueError(f"{name}: {found}")

    def _slice(
        self,
        track: str,
        name: str,
        start: int,
        end: int,
        args: Mapping[str, object] | None = None,
    ) -> None:
        marked = name if track == "operator" else name + self.mark
        self.writer.slice(track, self.phase, marked, start, end, args)

    def _operator(self, share: _Share, name: str, cycles: int) -> None:
        operator = share.operator
        args: dict[str, object] = {
            "kind": operator.kind,
            "size": f"{operator.m} x {operator.n} x {operator.k}",
            "products": operator.products,
            "executions": share.executions,
            "bytes": share.dram_bytes,
            "bound": operator.bound,
            "reasons": {reason: part for reason, part in share.reasons.items() if part},
            "simulated_only": operator.simulated_only,
        }
        if operator.context is not None:
            args["context"] = list(operator.context)
        # what its engines do carries the mark too, until the next operator
        self.mark = " (simulated only)" if operator.simulated_only else ""
        self._slice("operator", name + self.mark, self.cycle, self.cycle + cycles, args)

    def _detail(self, share: _Share) -> Detail | None:
        """Every instruction, where the program's figures are those of the report.

        Of a long program it is the beginning, which may be nothing but shorter.
        """
        operator = share.operator
        shape = product_shape(operator)
        if shape is None:
            return None
        try:
            detail = program_detail(self.design, shape, self.fmt)
        except InputError:
            return None
        if detail is None:
            return None
        times = operator.products
        if detail.whole:
            drawn = detail.cycles * times, detail.dram_bytes * times
            return detail if drawn == (share.cycles, share.dram_bytes) else None
        shorter = detail.cycles <= share.cycles and detail.dram_bytes <= share.dram_bytes
        return detail if shorter else None

    def _first(self, share: _Share) -> None:
        """The first execution of an operator."""
        operator = share.operator
        self._operator(share, operator.name, share.cycles)
        detail = self._detail(share)
        if detail is None:
            self._note(operator)
            self._pieces(
                outline_detail(
                    _ENGINE.get(operator.engine, "memory"),
                    share.cycles,
                    share.dram_bytes,
                    share.written_bytes,
                    operator.compute_cycles,
                    operator.memory_cycles,
                    operator.reasons.get("store", 0),
                )
            )
            return
        means = [sum(s[name] for _, s in detail.occupancy) for name in BUFFERS]
        count = max(1, len(detail.occupancy))
        key = f"{operator.phase} {operator.name}"
        self.mean_occupancy[key] = {
            name: mean / count for name, mean in zip(BUFFERS, means, strict=True)
        }
        shape = product_shape(operator)
        assert shape is not None
        fitted = self.plan.fit(shape, detail)
        if fitted.merged > 1:
            self.joined[key] = fitted.merged
        self._pieces(fitted)
        cycles, size = share.cycles - detail.cycles, share.dram_bytes - detail.dram_bytes
        if cycles or size:
            left = operator.products - 1
            name = f"{operator.name} x{left} more products"
            if not detail.whole:
                self.begun.append(key)
                name = f"{operator.name}, the rest of it"
            drawn = sum(piece.size for piece in detail.tracks["store"])
            self._block(operator, name, cycles, size, share.written_bytes - drawn)

    def _note(self, operator: OperatorResult) -> None:
        self.outlined.append(f"{operator.phase} {operator.name}")

    def _pieces(self, detail: Detail) -> None:
        """A detail at the current cycle; time goes on to its end."""
        base, writer = self.cycle, self.writer
        for track, pieces in detail.tracks.items():
            for piece in pieces:
                self._slice(
                    track, piece.name, base + piece.start, base + piece.end, _piece_args(piece)
                )
        for piece in detail.bus:
            writer.bursts(self.phase, piece.name, base + piece.start, base + piece.end, piece.size)
        for arrow in detail.arrows:
            writer.arrow(self.phase, [(track, base + cycle) for track, cycle in arrow])
        for cycle, read, write in detail.bandwidth:
            scale = self.design.clock.frequency_hz / 1e6
            writer.bandwidth(base + cycle, read * scale, write * scale)
        for cycle, values in detail.occupancy or [(0, dict.fromkeys(BUFFERS, 0.0))]:
            writer.occupancy(base + cycle, values)
        self.cycle += detail.cycles

    def _fold(self, title: str, shares: Sequence[_Share]) -> None:
        """Executions like those drawn before, one slice an operator on every track it uses."""
        shares = [share for share in shares if share.cycles or share.dram_bytes]
        if not shares:
            return
        cycles = sum(share.cycles for share in shares)
        args = {
            "bytes": sum(share.dram_bytes for share in shares),
            "executions": sum(share.executions for share in shares),
        }
        self._slice("operator", title, self.cycle, self.cycle + cycles, args)
        for share in shares:
            name = f"{share.operator.name} x{share.executions}"
            self._operator(share, name, share.cycles)
            self._block(share.operator, name, share.cycles, share.dram_bytes, share.written_bytes)

    def _block(
        self, operator: OperatorResult, name: str, cycles: int, size: int, written: int
    ) -> None:
        """Repeated executions on the tracks of engines and channels; time goes on."""
        start, end = self.cycle, self.cycle + cycles
        track = _ENGINE.get(operator.engine)
        if track is not None and cycles:
            self._slice(track, name, start, end)
        for moved, engine in ((size - written, "load"), (written, "store")):
            if moved:
                self._slice(engine, name, start, end, {"bytes": moved})
        if size:
            self.writer.bursts(self.phase, name, start, end, size)
        if cycles:
            scale = self.design.clock.frequency_hz / 1e6 / cycles
            self.writer.bandwidth(start, (size - written) * scale, written * scale)
            none = dict.fromkeys(BUFFERS, 0.0)
            key = f"{operator.phase} {operator.name}"
            self.writer.occupancy(start, self.mean_occupancy.get(key, none))
        self.cycle = end


def _piece_args(piece: Piece) -> dict[str, object]:
    args: dict[str, object] = {}
    if piece.size:
        args["bytes"] = piece.size
    if piece.held_by:
        args["held_by"] = piece.held_by
    if piece.busy != piece.end - piece.start:
        args["busy_cycles"] = piece.busy
    if piece.parts > 1:
        args["parts"] = piece.parts
    return args


def write_trace(
    result: ModelResult,
    design: Design,
    fmt: WeightFormat,
    path: str | os.PathLike[str],
    most_events: int = MOST_EVENTS,
) -> None:
    """Write a result as a trace, under a temporary name that is renamed when it is whole.

    Parameters
    ----------
    result : ModelResult
        What was simulated.
    design : Design
        On which accelerator.
    fmt : WeightFormat
        Number format of the linear layers.
    path : path
        The file; ``.json`` opens in Perfetto (ui.perfetto.dev) and chrome://tracing.
    most_events : int
        Bound of the file's events. Where detail would pass it, neighbouring instructions are
        joined; ``otherData`` says of which operators.

    Raises
    ------
    InputError
        ``most_events`` is below one slice of every operator on every track, or the file cannot
        be written.
    """
    plan = TracePlan(result, design, fmt, most_events)
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                _draw(result, design, fmt, plan, most_events, stream)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        allowed = f"a file that can be written ({error.strerror or error})"
        raise InputError("--trace", "", str(path), allowed) from None


def _draw(
    result: ModelResult,
    design: Design,
    fmt: WeightFormat,
    plan: TracePlan,
    most_events: int,
    stream: TextIO,
) -> None:
    writer = EventWriter(
        stream,
        design.clock.frequency_hz,
        f"{design.name}: {result.model}",
        f"DRAM {design.dram.technology}",
        design.dram.channels,
    )
    drawing = _Drawing(result, design, fmt, writer, plan)
    for name, phase in result.phases.items():
        if phase.cycles:
            drawing.draw(name, phase)
    writer.close(
        {
            "model": result.model,
            "design": result.design,
            "design_digest": design.digest,
            "weights": result.weights,
            "batch": result.batch,
            "conventions": result.conventions,
            "clock_hz": design.clock.frequency_hz,
            "phases": {
                name: {"cycles": phase.cycles, "dram_bytes": phase.dram_bytes}
                for name, phase in result.phases.items()
            },
            "about": _ABOUT,
            "most_events": most_events,
            "events": writer.events,
            "drawn_from_totals": drawing.outlined,
            "drawn_by_beginning": drawing.begun,
            "joined": drawing.joined,
        }
    )
