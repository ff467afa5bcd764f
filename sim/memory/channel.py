"""Timing of external memory: bursts in order of arrival on one data bus, with rows and refresh.

All channels move in step (every burst goes to all of them), so one bus stands for all. The rules
are listed in designs/memory_timing.py. The C++ memory of the fast runner
(templates/memory_bus.hpp.jinja) does the same integer arithmetic in the same order.
"""

from collections.abc import Sequence
from typing import NamedTuple

from designs.memory_timing import MemoryTiming, memory_timing
from designs.spec import Design

__all__ = ["MemoryBus", "Reservation"]

_NEVER = 1 << 62


class Reservation(NamedTuple):
    """A burst on the data bus, in cycles.

    Attributes
    ----------
    write : bool
        Its direction.
    ready, start, end : int
        When it could have begun on an ideal bus, when it does, and when the bus is free again.
    lines : int
        Lines moved.
    """

    write: bool
    ready: int
    start: int
    end: int
    lines: int


class MemoryBus:
    """Reservations of the data bus, in units of 1 / ``cycle_units`` clock cycles.

    Parameters
    ----------
    design : Design or MemoryTiming
        Whose channel it is, or its timing.

    Attributes
    ----------
    timing : MemoryTiming
        What it computes with.
    row_hits, row_misses : int
        Bursts whose rows were open, and those that had to open them.
    turnarounds : int
        Bursts in the other direction than the one before.
    refreshes : int
        Refreshes that a burst came after.
    busy_units : int
        Time the bus carried data.
    lost_units : int
        Time the bus was idle after a request could have had it: what rows, refresh and turnaround
        took.
    reservations : list of Reservation
        Bursts put on the bus since the last `take`.
    """

    def __init__(self, design: Design | MemoryTiming) -> None:
        timing = design if isinstance(design, MemoryTiming) else memory_timing(design)
        self.timing = timing
        self.row_hits = self.row_misses = self.turnarounds = self.refreshes = 0
        self.busy_units = self.lost_units = 0
        self._free = self._end = self._returned = self._start = 0
        self._writing = False
        count = timing.region_banks
        banks = timing.bank_sets * count
        # Banks of a set in the order in which a burst meets them, by its first access.
        self._orders = [
            [[base + (first + i) % count for i in range(count)] for first in range(count)]
            for base in range(0, banks, count)
        ]
        self._closed = -1 if timing.refresh_interval else 0  # ideal: one row, always open
        self._row = [self._closed] * banks
        self._hold = [0] * banks
        self._release = [0] * banks
        self._last_release = 0
        self._refreshed = 0
        self._activates = [-_NEVER] * 4
        self._refresh_due = timing.refresh_interval // 2 or _NEVER
        self._waiting: list[tuple[int, int]] = []
        self._waiting_units = 0
        self._acknowledged = -1
        self.reservations: list[Reservation] = []

    def take(self) -> list[Reservation]:
        """Reservations made since the last call, in order of time."""
        taken, self.reservations = self.reservations, []
        return taken

    def read(self, cycle: int, line: int, beats: int) -> tuple[int, int]:
        """Reserve a read accepted in ``cycle``; the cycles of its first and last beat.

        Parameters
        ----------
        cycle : int
            When memory accepts the address.
        line, beats : int
            First line and number of lines; they lie in one region.
        """
        timing = self.timing
        units = timing.cycle_units
        earliest = cycle * units + timing.read_latency
        if self._waiting and earliest - timing.read_lead > self._end:
            self.drain()
        start = max(self._reserve(earliest, line, beats, False), self._returned)
        self._start = start
        self._returned = start + self._length(line, beats)
        last = start + (beats - 1) * timing.beat_units
        return -(-start // units), -(-last // units)

    def beat_cycle(self, index: int) -> int:
        """Cycle of beat ``index`` of the read reserved last."""
        timing = self.timing
        return -(-(self._start + index * timing.beat_units) // timing.cycle_units)

    def write(self, cycle: int, line: int, beats: int) -> int:
        """Take a write whose last beat came in ``cycle``; the cycle of its acknowledgement."""
        timing = self.timing
        now = (cycle + 1) * timing.cycle_units
        length = self._length(line, beats)
        done = now
        if self._waiting and now >= self._end:
            self.drain()
        if self._writing or now >= self._end:
            backlog = max(self._end - now, 0) + length
            self._reserve(now, line, beats, True)
            if backlog > timing.queue:
                done = self._end
        else:
            self._waiting.append((line, beats))
            self._waiting_units += length
            if self._waiting_units > timing.queue:
                self.drain()
                done = self._end
        self._acknowledged = max(-(-done // timing.cycle_units), self._acknowledged + 1)
        return self._acknowledged

    def drain(self) -> None:
        """Put the writes that wait in the controller on the bus, behind everything else."""
        for line, beats in self._waiting:
            self._reserve(self._end, line, beats, True)
        self._waiting.clear()
        self._waiting_units = 0

    def _length(self, line: int, beats: int) -> int:
        """Time a burst occupies the bus: accesses of the device are whole."""
        grain = self.timing.access_lines
        if grain > 1:
            beats = -(-(line + beats) // grain) * grain - line // grain * grain
        return beats * self.timing.beat_units

    def _reserve(self, earliest: int, line: int, beats: int, write: bool) -> int:
        """When the data of a burst come that could come at ``earliest``; all in units."""
        timing = self.timing
        lead = timing.write_lead if write else timing.read_lead
        free = self._free
        wanted = ready = earliest if earliest > free else free
        if write is not self._writing:
            self._writing = write
            self.turnarounds += 1
            turn = timing.read_to_write if write else timing.write_to_read
            wanted = max(earliest, self._end + turn)
        while wanted > self._refresh_due:
            self._refresh()
            wanted = max(wanted, self._refreshed + timing.open + lead)
        row, bank_set = divmod(line // timing.region_lines, timing.bank_sets)
        first = line * timing.line_accesses // timing.access_lines
        last = ((line + beats) * timing.line_accesses - 1) // timing.access_lines
        banks = self._orders[bank_set][first % timing.region_banks][: last + 1 - first]
        rows = self._row
        start = wanted
        for bank in banks:
            if rows[bank] != row:
                seen = max(earliest, free - timing.queue) - lead
                start = self._open_rows(wanted, seen, banks, row, lead)
                self.row_misses += 1
                break
        else:
            self.row_hits += 1
        # Requests behind this one may use the bus while its rows are opened.
        length = self._length(line, beats)
        begin = start - timing.queue
        if begin < wanted:
            begin = wanted
        self._free = free = begin + length
        end = start + length
        if end > self._end:
            self._end = end
        # Reads of the same rows that wait are served early, so banks are done with the bus.
        release = self._end + timing.write_release if write else free + timing.read_release
        for bank in banks:
            hold = self._hold[bank]
            self._release[bank] = release if release > hold else hold
        done = release if write else self._end + timing.read_release
        if done > self._last_release:
            self._last_release = done
        self.busy_units += length
        self.lost_units += begin - ready
        units = timing.cycle_units
        self.reservations.append(
            Reservation(write, -(-ready // units), -(-begin // units), -(-free // units), beats)
        )
        return start

    def _open_rows(self, wanted: int, seen: int, banks: Sequence[int], row: int, lead: int) -> int:
        """Start of a burst's data, once the rows it needs are open."""
        timing = self.timing
        start = wanted
        for index, bank in enumerate(banks):
            if self._row[bank] == row:
                continue
            opened = max(seen, self._release[bank])
            if self._row[bank] != self._closed:
                opened += timing.close
            activates = self._activates
            opened = max(
                opened, activates[3] + timing.activate_gap, activates[0] + timing.four_activates
            )
            self._activates = [*activates[1:], opened]
            self._row[bank] = row
            self._hold[bank] = opened + timing.row_hold
            self._last_release = max(self._last_release, self._hold[bank])
            start = max(start, opened + timing.open + lead - index * timing.access_units)
        return start

    def _refresh(self) -> None:
        """Close all rows and refresh them, once the refresh is due and the banks are done."""
        timing = self.timing
        begin = max(self._refresh_due, self._last_release + timing.close)
        self._refreshed = end = begin + timing.refresh_time
        banks = len(self._row)
        self._row = [self._closed] * banks
        self._release = [end] * banks
        self._last_release = end - timing.close
        self._refresh_due += timing.refresh_interval
        self.refreshes += 1
