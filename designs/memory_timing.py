"""Burst-level timing of one memory channel, in integers that two executors share.

`MemoryTiming` is what the timeline's bus (sim/memory/channel.py) and the fast runner's memory
(templates/memory_bus.hpp.jinja) compute with; it is derived here from ``dram.technology``, and both
follow these rules. The bus serves bursts whole, reads in order of arrival. All times are *units*,
a fraction of the accelerator's clock.

- **Set.** The rows that a run of consecutive lines needs at once form a *region*, one row in each
  of ``region_banks`` banks; these banks are a *bank set*. Region r lies in set r mod ``bank_sets``.
- **Request.** A read whose address comes in cycle t could have data at t + ``read_latency``, a
  write from the cycle after its last beat. Its column command goes out ``lead`` before its data;
  the controller sees it when at most ``queue`` of bus time is reserved in front of it.
- **Rows.** A bank whose row is another one closes it (``close``) once it was open for ``row_hold``
  and its last burst is over (``read_release``, ``write_release`` from the end of the data), and
  opens the new one: ``activate_gap`` after the last activate, ``four_activates`` after the fourth
  last, and ``open`` + ``lead`` before the data. Banks work while the bus does, so a miss that is
  seen early is hidden. While a burst waits for its rows, bursts behind it use the bus, ahead of it
  by at most ``queue``; reads are returned in order of arrival all the same.
- **Direction.** When it changes the bus is idle for ``read_to_write`` or ``write_to_read``.
- **Writes** are posted. One that is complete while the bus is idle or already writes goes on the
  bus next; others wait in the controller until no read is known when the bus is free, or until
  more than ``queue`` of them wait, and go on the bus together. A write is acknowledged in the cycle
  after its last beat or, when the writes in front of it and itself are more than ``queue``, when
  it is over.
- **Refresh.** One is due every ``refresh_interval``, the first half an interval after the program
  starts (the mean of a start at any time). It takes place before the first burst whose turn on the
  bus is after that, when all rows are closed, and lasts ``refresh_time``: it is postponed by a
  burst at most, where JESD79-4B (section 4.26) allows eight intervals. All rows are closed then.
- **Access.** The device moves ``access_lines`` lines at a time; parts of them cost the whole.

Not modelled: tCCD_L between two bursts that meet in a bank group, and of ranks anything but their
banks (tRTRS, refresh of one rank at a time). With an address mapping whose lowest field is not the
bank group every access is charged tCCD_L; controllers that reorder between rows do better (DDR4
at 2400 with row-bank-bankgroup-column: 63 % of the peak here, 79 % command by command).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from designs.errors import InputError
from designs.memory_technology import (
    MemoryTechnology,
    address_fields,
    load_memory,
    memory_names,
)

if TYPE_CHECKING:
    from designs.spec import Design, Dram

__all__ = [
    "IDEAL",
    "MemoryTiming",
    "check_channel",
    "memory_timing",
    "sequential_bytes_per_second",
    "sequential_fraction",
]

IDEAL = "ideal"
"""``dram.technology`` of a memory without banks, refresh and turnaround."""

_FINEST_UNITS = 1024
"""Least units a cycle for a real technology: rounding up its timings costs under 0.1 % of one."""

_MOST_UNITS = 1 << 31
"""Most units a cycle, so that times of 2^31 cycles fit a signed 64-bit integer."""


@dataclass(frozen=True)
class MemoryTiming:
    """Timing of a channel; times in units of 1 / ``cycle_units`` clock cycles.

    Attributes
    ----------
    cycle_units : int
        Units of a clock cycle.
    beat_units : int
        Units a beat occupies the data bus.
    read_latency : int
        From accepting a read address to its first beat, bus idle and row open.
    access_lines, line_accesses : int
        Lines one access of the device moves, and accesses that move one line; one of them is 1.
    access_units : int
        Time an access occupies the data bus.
    region_lines : int
        Consecutive lines whose rows are open together.
    region_banks, bank_sets : int
        Banks that hold a region, and sets of them.
    queue : int
        Bus time of the requests a controller holds; 0: in order, and writes are not posted.
    read_lead, write_lead : int
        From a column command to its data.
    open, close : int
        From activate to column command; from precharge to activate.
    row_hold : int
        Least time a row is open.
    activate_gap, four_activates : int
        Least time between two activates; between the first and the last of five.
    read_release, write_release : int
        From the end of a burst's data to the precharge of its row; reads: negative.
    read_to_write, write_to_read : int
        Least idle time of the bus when the direction changes.
    refresh_interval, refresh_time : int
        Both 0: no refresh.
    """

    cycle_units: int
    beat_units: int
    read_latency: int
    access_lines: int = 1
    line_accesses: int = 1
    access_units: int = 0
    region_lines: int = 1 << 40
    region_banks: int = 1
    bank_sets: int = 1
    queue: int = 0
    read_lead: int = 0
    write_lead: int = 0
    open: int = 0
    close: int = 0
    row_hold: int = 0
    activate_gap: int = 0
    four_activates: int = 0
    read_release: int = 0
    write_release: int = 0
    read_to_write: int = 0
    write_to_read: int = 0
    refresh_interval: int = 0
    refresh_time: int = 0

    @property
    def period_lines(self) -> int:
        """Lines after which bank sets repeat, 1 without banks.

        Streams that begin at multiples of it meet in the same sets, whatever the multiples.
        """
        return self.region_lines * self.bank_sets if self.refresh_interval else 1


def _technology(name: str) -> MemoryTechnology:
    try:
        return load_memory(name)
    except InputError as error:
        missing = error.where == name and not error.field  # a file that cannot be read
        if error.field != "dram.technology" and not missing:
            raise
        allowed = f"{IDEAL}, {', '.join(memory_names())}, or a TOML file"
        raise InputError("design", "dram.technology", name, allowed) from None


def check_channel(dram: Dram) -> None:
    """Check that the channel a design describes can be one of its technology.

    Raises
    ------
    InputError
        The technology is not known, or bandwidth, latency or burst length do not fit it.
    """
    if dram.technology == IDEAL:
        return
    technology = _technology(dram.technology)
    peak = technology.peak_bytes_per_second
    if dram.bandwidth_bytes_per_second > peak:
        field, found = "dram.bandwidth_bytes_per_second", dram.bandwidth_bytes_per_second
        allowed = f"at most {int(peak)}, the peak of one channel of {technology.name}"
        raise InputError("design", field, found, allowed)
    if dram.latency_ns < technology.timing.cl:
        allowed = f"at least {technology.timing.cl}, the read latency of {technology.name}"
        raise InputError("design", "dram.latency_ns", dram.latency_ns, allowed)
    if dram.data_bytes > technology.row_bytes:
        allowed = f"at most {technology.row_bytes}, a row of {technology.name}"
        raise InputError("design", "dram.data_bytes", dram.data_bytes, allowed)
    region_lines = _region(technology)[0] // dram.data_bytes
    if dram.max_burst_beats > region_lines:
        allowed = f"at most {region_lines}: rows of {technology.name} that are open together"
        raise InputError("design", "dram.max_burst_beats", dram.max_burst_beats, allowed)


def _region(technology: MemoryTechnology) -> tuple[int, int, int]:
    """Bytes of a region, its banks, and the number of bank sets, from the address mapping.

    Counted from the least significant field: banks below the column are open together, banks
    between column and row follow each other; banks above the row hold other parts of memory, and
    streams are taken to share one of them.
    """
    counts = {
        "rank": technology.ranks,
        "bank": technology.banks_per_group,
        "bankgroup": technology.bank_groups,
    }
    size, banks, sets, whole_rows = technology.access_bytes, 1, 1, False
    for field in reversed(address_fields(technology.address_mapping)):
        if field == "row":
            break
        if field == "column":
            size, whole_rows = size * technology.columns, True
        elif whole_rows:
            sets *= counts[field]
        else:
            size, banks = size * counts[field], banks * counts[field]
    return size, banks, sets


def _beat_cycles(design: Design, technology: MemoryTechnology | None) -> Fraction:
    """Cycles of a beat: the port's data rate, or that of column commands in a stream."""
    beat = design.dram_beat_cycles
    if technology is not None:
        # A stream that rotates through the bank groups meets each again after all the others.
        rotates = address_fields(technology.address_mapping)[-1] == "bankgroup"
        groups = technology.bank_groups if rotates else 1
        column = Fraction(technology.clocks("tccd_l"), groups)
        if groups > 1:
            column = max(column, Fraction(technology.clocks("tccd_s")))
        accesses = Fraction(design.dram.data_bytes, technology.access_bytes)
        cycles_a_clock = technology.clock_ns * design.clock.frequency_hz / 10**9
        beat = max(beat, column * cycles_a_clock * accesses)
    if beat.denominator > _MOST_UNITS:
        beat = Fraction(ceil(beat * _MOST_UNITS), _MOST_UNITS)
    return beat


@lru_cache(maxsize=1024)
def memory_timing(design: Design) -> MemoryTiming:
    """Timing of one of the design's channels.

    Timings of the data sheet are whole command clocks first (JESD79-4B section 13.5), then
    rounded up to units.

    Raises
    ------
    InputError
        The design's technology is not known.
    """
    dram = design.dram
    ideal = dram.technology == IDEAL
    technology = None if ideal else _technology(dram.technology)
    beat = _beat_cycles(design, technology)
    cycle_units = beat.denominator
    if technology is not None:
        cycle_units *= -(-_FINEST_UNITS // cycle_units)
    beat_units = int(beat * cycle_units)
    read_latency = design.dram_latency_cycles * cycle_units
    if technology is None:
        return MemoryTiming(cycle_units, beat_units, read_latency)

    per_clock = technology.clock_ns * design.clock.frequency_hz * cycle_units / 10**9

    def units(clocks: Fraction | int) -> int:
        return ceil(clocks * per_clock)

    clocks = technology.clocks
    region_bytes, banks, sets = _region(technology)
    burst = technology.burst_clocks
    rotates = address_fields(technology.address_mapping)[-1] == "bankgroup"
    turn = clocks("twtr_s" if rotates else "twtr_l")
    access = Fraction(technology.access_bytes, dram.data_bytes)
    return MemoryTiming(
        cycle_units=cycle_units,
        beat_units=beat_units,
        read_latency=read_latency,
        access_lines=max(1, int(access)),
        line_accesses=max(1, int(1 / access)),
        access_units=int(access * beat_units),
        region_lines=region_bytes // dram.data_bytes,
        region_banks=banks,
        bank_sets=sets,
        queue=ceil(technology.queue_depth * access * beat_units),
        read_lead=units(clocks("cl")),
        write_lead=units(clocks("cwl")),
        open=units(clocks("trcd")),
        close=units(clocks("trp")),
        row_hold=units(clocks("tras")),
        activate_gap=units(clocks("trrd_s" if rotates else "trrd_l")),
        four_activates=units(clocks("tfaw")),
        read_release=units(clocks("trtp") - burst - clocks("cl")),
        write_release=units(clocks("twr")),
        read_to_write=units(clocks("trtw")),
        write_to_read=units(turn + clocks("cl")),
        refresh_interval=units(clocks("trefi")),
        refresh_time=units(clocks("trfc")),
    )


def sequential_fraction(timing: MemoryTiming) -> float:
    """Part of the time in which the bus of a long, saturated read stream carries data.

    Every refresh costs closing the rows, the refresh itself and opening a row again; a region
    boundary costs what the queue does not hide, and no more regions are opened than activates
    allow. Burst-level, in closed form; the simulated bus agrees to a fraction of a percent
    (tests/test_memory_bus.py).
    """
    if not timing.refresh_interval:
        return 1.0
    region = timing.region_lines * timing.beat_units
    reopen = timing.open + timing.read_lead
    if timing.bank_sets > 1:
        late = timing.close + timing.open - timing.queue
    else:
        late = timing.read_release + timing.close + reopen
    activates = timing.region_banks * max(timing.activate_gap, timing.four_activates // 4)
    row_cycle = (timing.row_hold + timing.close) // timing.bank_sets
    lost = max(late - timing.queue, activates - region, row_cycle - region, 0)
    gap = timing.read_release + timing.close + timing.refresh_time + reopen
    return region / (region + lost) * (1 - gap / timing.refresh_interval)


def sequential_bytes_per_second(design: Design) -> float:
    """Rate of a long read stream over all channels, from `sequential_fraction`."""
    timing = memory_timing(design)
    lines = design.clock.frequency_hz * timing.cycle_units / timing.beat_units
    return lines * design.line_bytes * sequential_fraction(timing)
