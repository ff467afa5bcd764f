"""Timing of external memory: a queue in order of arrival in front of one data bus.

All channels move in step (every burst goes to all of them), so one bus stands for all.
A read whose address is accepted in cycle t occupies the bus from cycle t + latency, or when it is
free; a write from the cycle after its last beat. The C++ memory of the fast runner
(templates/verilated.cpp.jinja) does the same arithmetic.
"""

from designs.spec import Design

__all__ = ["MemoryBus"]


class MemoryBus:
    """Reservations of the data bus, in units of 1 / ``cycle_units`` clock cycles.

    Parameters
    ----------
    design : Design
        ``dram_latency_cycles`` and ``dram_beat_cycles`` are read.

    Attributes
    ----------
    latency : int
        Cycles from accepting a read address to its first beat.
    beat_units, cycle_units : int
        A beat occupies the bus for ``beat_units / cycle_units`` cycles.
    """

    def __init__(self, design: Design) -> None:
        beat = design.dram_beat_cycles
        self.latency = design.dram_latency_cycles
        self.beat_units = beat.numerator
        self.cycle_units = beat.denominator
        self._free = 0
        self._start = 0

    @property
    def free_cycle(self) -> int:
        """First cycle that begins after everything reserved so far."""
        return -(-self._free // self.cycle_units)

    def read(self, cycle: int, beats: int) -> tuple[int, int]:
        """Reserve a read accepted in ``cycle``; the cycles of its first and last beat."""
        start = max((cycle + self.latency) * self.cycle_units, self._free)
        self._free = start + beats * self.beat_units
        self._start = start
        last = start + (beats - 1) * self.beat_units
        return -(-start // self.cycle_units), -(-last // self.cycle_units)

    def beat_cycle(self, index: int) -> int:
        """Cycle of beat ``index`` of the read reserved last."""
        return -(-(self._start + index * self.beat_units) // self.cycle_units)

    def write(self, cycle: int, beats: int) -> tuple[int, int]:
        """Reserve a write whose last beat came in ``cycle``; its start and acknowledgement."""
        start = max((cycle + 1) * self.cycle_units, self._free)
        self._free = start + beats * self.beat_units
        return -(-start // self.cycle_units), -(-self._free // self.cycle_units)
