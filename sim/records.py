"""What a simulated program did, and when."""

from dataclasses import dataclass

__all__ = ["Span", "Timeline"]


@dataclass(frozen=True, slots=True)
class Span:
    """Cycles [start, end) an engine or the memory bus spends on one thing.

    Attributes
    ----------
    start, end : int
        Cycles; ``end`` is exclusive.
    kind : str
        Memory: ``instruction``, ``activation``, ``weight`` or ``store``. Compute: what held the
        instruction back until ``start``: ``load``, ``store``, ``dispatch`` or ``none``.
    lines : int
        Memory lines moved; 0 for compute.
    """

    start: int
    end: int
    kind: str
    lines: int = 0


@dataclass(frozen=True)
class Timeline:
    """What happened when.

    Attributes
    ----------
    cycles : int
        From start to done, as the hardware counts.
    compute : list of Span
        One a MATMUL, in order: the cycles in which steps are read.
    memory : list of Span
        Bursts on the data bus, in order, from the first beat to the end of the reservation;
        adjacent ones of one kind are merged.
    read_lines, write_lines, weight_lines : int
        Lines moved, as the hardware counts.
    weight_window : int
        Cycles from the first to the last line of weights or scales, both included.
    overhead : list of Span
        When the bus was idle though a burst could have begun: what rows, refresh and turnaround
        took, of kind ``overhead``; before the span of that burst, in order.
    row_hits, row_misses, turnarounds, refreshes : int
        Bursts whose rows were open, bursts that opened them, changes of the bus's direction, and
        refreshes between bursts; of one channel, and all channels do the same.
    table_latency : int
        Cycles from the read of a step to its tables, in units that look sums up.
    """

    cycles: int
    compute: list[Span]
    memory: list[Span]
    read_lines: int
    write_lines: int
    weight_lines: int
    weight_window: int
    overhead: list[Span]
    row_hits: int
    row_misses: int
    turnarounds: int
    refreshes: int
    table_latency: int = 0

    @property
    def compute_cycles(self) -> int:
        """Cycles in which the unit is fed."""
        return sum(span.end - span.start for span in self.compute)

    @property
    def memory_cycles(self) -> int:
        """Cycles in which the data bus is busy."""
        return sum(span.end - span.start for span in self.memory)

    @property
    def weight_window_busy(self) -> float:
        """Fraction of the weight window in which the data bus is busy; 0 without weights."""
        weights = [span for span in self.memory if span.kind == "weight"]
        if not weights:
            return 0.0
        first, last = weights[0].start, weights[-1].end
        busy = sum(min(s.end, last) - s.start for s in self.memory if first <= s.start < last)
        return busy / (last - first)
