"""Burst-level timing of one memory channel, in integers that two executors share.

`MemoryTiming` is what the timeline's bus (sim/memory/channel.py) and the fast runner's memory
(templates/verilated.cpp.jinja) compute with; it is derived here from ``dram.technology``, and both
follow these rules. The bus serves bursts whole, reads in order of arrival. All times are *units*,
a fraction of the accelerator's clock.

- **Set.** The rows that a run of consecutive lines needs at once form a *region*; the banks that
  hold it are a *bank set*. One region of a set is open. Region r lies in set r mod ``bank_sets``.
- **Writes** are posted. One that is complete while the bus is idle or already writes goes on the
  bus next; others wait in the controller until no read is known when the bus is free, or until
  more than ``queue`` of them wait, and go on the bus together. A write is acknowledged in the cycle
  after its last beat or, when the writes in front of it and itself are more than ``queue``, when
  it is over.
- **Request.** A read of address cycle t could have data at t + ``read_latency``, a write from the
  cycle after its last beat. Its column command goes out ``lead`` before its data; the controller
  sees it when the commands of at most ``queue`` of bus time are left in front of it.
- **Hit.** Data starts when the request could have it and the bus is free, after ``read_to_write``
  or ``write_to_read`` when the direction changes.
- **Miss.** The set's old row is closed once ``row_hold`` has passed since it was opened and its
  last burst is over (``read_release``, ``write_release``), then the new one is opened, at least
  ``activate_gap`` after the last activate; data starts ``open`` + ``lead`` later, or with the bus.
  Banks work while the bus does, so a miss that is seen early is hidden.
- **Refresh.** One is due every ``refresh_interval``, the first half an interval after the program
  starts (the mean of a start at any time). It takes place before the first burst whose data would
  start after it is due, when all rows are closed, and lasts ``refresh_time``: it is postponed by a
  burst at most, where JESD79-4B (section 4.26) allows eight intervals. All rows are closed then.
- **Access.** The device moves ``access_lines`` lines at a time; parts of them cost the whole.

Not modelled: the column order inside a burst, ranks, and reordering of requests.
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
    access_lines : int
        Lines one access of the device moves, at least 1.
    region_lines : int
        Consecutive lines whose rows are open together.
    bank_sets : int
        Sets of banks that hold one region each.
    region_banks : int
        Banks of a set: rows opened by a miss.
    queue : int
        Bus time of the requests a controller holds; 0: writes are not posted.
    read_lead, write_lead : int
        From a column command to its data.
    open, close : int
        From the activate of a region to its column command; from precharge to activate.
    row_hold : int
        Least time a row is open.
    activate_gap : int
        Least time from opening a region to opening the next.
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
    region_lines: int = 1 << 40
    bank_sets: int = 1
    region_banks: int = 1
    queue: int = 0
    read_lead: int = 0
    write_lead: int = 0
    open: int = 0
    close: int = 0
    row_hold: int = 0
    activate_gap: int = 0
    read_release: int = 0
    write_release: int = 0
    read_to_write: int = 0
    write_to_read: int = 0
    refresh_interval: int = 0
    refresh_time: int = 0

    @property
    def period_lines(self) -> int:
        """Lines after which bank sets repeat: streams placed at multiples of it meet equally."""
        return self.region_lines * self.bank_sets


def _technology(name: str) -> MemoryTechnology:
    try:
        return load_memory(name)
    except InputError as error:
        if error.field != "dram.technology":
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
    counts = {"bank": technology.banks_per_group, "bankgroup": technology.bank_groups}
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
    # Activates of a region follow each other by tRRD, four in a tFAW; the stream needs the bank
    # of its i-th access i bursts after the first.
    row_gap = clocks("trrd_s") if technology.bank_groups > 1 and banks > 1 else clocks("trrd_l")
    four = max(clocks("tfaw"), 4 * row_gap)
    opened = [i // 4 * four + i % 4 * row_gap for i in range(banks + 1)]
    spread = max(0, *(opened[i] - i * burst for i in range(banks)))
    rotates = address_fields(technology.address_mapping)[-1] == "bankgroup"
    turn = clocks("twtr_s" if rotates else "twtr_l")
    access_lines = max(1, technology.access_bytes // dram.data_bytes)
    return MemoryTiming(
        cycle_units=cycle_units,
        beat_units=beat_units,
        read_latency=read_latency,
        access_lines=access_lines,
        region_lines=region_bytes // dram.data_bytes,
        bank_sets=sets,
        region_banks=banks,
        queue=ceil(
            Fraction(technology.queue_depth * technology.access_bytes, dram.data_bytes) * beat_units
        ),
        read_lead=units(clocks("cl")),
        write_lead=units(clocks("cwl")),
        open=units(clocks("trcd") + spread),
        close=units(clocks("trp")),
        row_hold=units(clocks("tras")),
        activate_gap=units(max(Fraction(opened[banks]), Fraction(clocks("tfaw") * banks, 4))),
        read_release=units(clocks("trtp") - burst - clocks("cl")),
        write_release=units(clocks("twr")),
        read_to_write=units(clocks("trtw")),
        write_to_read=units(turn + clocks("cl")),
        refresh_interval=units(clocks("trefi")),
        refresh_time=units(clocks("trfc")),
    )


def sequential_fraction(timing: MemoryTiming) -> float:
    """Part of the time in which the bus of a long, saturated read stream carries data.

    Every region boundary costs what the controller does not see early enough; every refresh costs
    closing the rows, the refresh itself and opening a row again. Burst-level, in closed form; the
    simulated bus agrees to a fraction of a percent (tests/test_memory_bus.py).
    """
    if not timing.refresh_interval:
        return 1.0
    region = timing.region_lines * timing.beat_units
    reopen = timing.open + timing.read_lead
    if timing.bank_sets > 1:
        # Regions that come first after a refresh find their set closed already.
        again = max(0.0, 1 - timing.bank_sets * region / timing.refresh_interval)
        lost = max(0, timing.open - timing.queue) * (1 - again)
        lost += max(0, timing.close + timing.open - timing.queue) * again
    else:
        lost = max(timing.read_release, timing.row_hold - reopen - region) + timing.close + reopen
    row_cycle = timing.row_hold + timing.close
    lost = max(lost, timing.activate_gap - region, row_cycle / timing.bank_sets - region, 0)
    gap = timing.read_release + timing.close + timing.refresh_time + reopen
    return region / (region + lost) * (1 - gap / timing.refresh_interval)


def sequential_bytes_per_second(design: Design) -> float:
    """Rate of a long read stream over all channels, from `sequential_fraction`."""
    timing = memory_timing(design)
    lines = design.clock.frequency_hz * timing.cycle_units / timing.beat_units
    return lines * design.line_bytes * sequential_fraction(timing)
