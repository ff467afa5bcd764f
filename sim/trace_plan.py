"""How much of each operator a trace may show, so that the file stays within its bound."""

from itertools import groupby

from designs.errors import InputError
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.isa import Opcode
from mapping.tiling import GemmShape
from sim.results import ModelResult, OperatorResult
from sim.trace_detail import Detail
from sim.trace_events import EventWriter
from sim.trace_program import drawn_program

__all__ = ["TracePlan", "is_layer", "product_shape"]


def is_layer(operator: OperatorResult) -> bool:
    """Whether an operator belongs to the layers that repeat."""
    return operator.name.startswith("layers.")


def product_shape(operator: OperatorResult) -> GemmShape | None:
    """The product whose program is drawn, None for operators that have none."""
    if operator.engine != "matrix" or operator.simulated_only:
        return None
    return GemmShape(operator.m, operator.n, operator.k)


class TracePlan:
    """How many events each operator may take, so that all together stay within the bound."""

    def __init__(self, result: ModelResult, design: Design, fmt: WeightFormat, most: int) -> None:
        self.channels = design.dram.channels
        phases = sum(1 for phase in result.phases.values() if phase.cycles)
        # first, more products, layers and passes of an operator, as coarse as they can be
        fixed = (30 + 6 * self.channels) * len(result.operators) + 2 * phases
        runs = sum(1 for _ in groupby(result.operators, is_layer)) + 2 * phases
        least = EventWriter.heading_events(self.channels) + fixed + runs
        if most < least:
            allowed = f"at least {least}, one slice of every operator on every track"
            raise InputError("trace", "most_events", most, allowed)
        shapes = [shape for o in result.operators if (shape := product_shape(o)) is not None]
        self._wanted = {s: _wanted(design, s, fmt, self.channels) for s in set(shapes)}
        left = most - least
        self._limit = left
        events = sorted(self._wanted[shape] for shape in shapes)
        for index, wanted in enumerate(events):
            fair = left // (len(events) - index)
            if wanted > fair:  # from here on all get the same
                self._limit = fair
                break
            left -= wanted

    def fit(self, shape: GemmShape, detail: Detail) -> Detail:
        """The detail of a product within its part of the bound."""
        return detail.fitted(min(self._limit, self._wanted[shape]), self.channels)


def _wanted(design: Design, shape: GemmShape, fmt: WeightFormat, channels: int) -> int:
    """Events of a product in full detail, or some more."""
    try:
        instructions = drawn_program(design, shape, fmt)[0].relative
    except InputError:
        return 0
    moves = sum(i.opcode in (Opcode.LOAD, Opcode.STORE) for i in instructions)
    blocks = -(-len(instructions) // design.fetch_block_instructions)
    # Slices and arrows of engines, samples of the counters; and a slice on each channel of every
    # burst, of the pieces it may be cut into by others, and of what rows and refresh take.
    return 4 * len(instructions) + blocks + 3 * (moves + blocks) * channels + 128
