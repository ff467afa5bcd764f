"""The burst-level memory bus against hand-computed times, invariants and the command level."""

import dataclasses
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.memory_technology import load_memory, memory_names
from designs.memory_timing import (
    MemoryTiming,
    memory_timing,
    sequential_bytes_per_second,
    sequential_fraction,
)
from sim.memory.channel import MemoryBus
from sim.memory.dram import addresses, controller

TINY, BIG = load_design("dense-int8-tiny"), load_design("dense-int8")

TOY = MemoryTiming(
    cycle_units=1,
    beat_units=1,
    read_latency=40,
    region_lines=32,
    bank_sets=2,
    queue=16,
    read_lead=6,
    write_lead=4,
    open=5,
    close=7,
    row_hold=14,
    access_units=1,
    read_release=-3,
    write_release=9,
    read_to_write=2,
    write_to_read=8,
    refresh_interval=1_000_000,
    refresh_time=100,
)
"""Round figures to compute with by hand; one beat and one unit a cycle."""

DDR4 = memory_timing(BIG)


def _design(**dram):
    return dataclasses.replace(BIG, dram=dataclasses.replace(BIG.dram, **dram))


def _saturate(bus: MemoryBus, bursts: list[tuple[int, int]]) -> None:
    """Reads (line, beats) whose addresses all come in cycle 0."""
    for line, beats in bursts:
        bus.read(0, line, beats)


requests = st.lists(
    st.tuples(
        st.integers(0, 60),  # cycles after the request before
        st.integers(0, 40),  # burst
        st.integers(1, 16),  # beats
        st.booleans(),
    ),
    max_size=60,
)


@given(requests=requests, rate=st.sampled_from([1_600_000_000, 640_000_000, 123_456_789]))
def test_ideal_is_a_queue_with_latency_and_rate(requests, rate) -> None:
    """max(arrival, free) and nothing else, in exact fractions."""
    design = dataclasses.replace(
        TINY, dram=dataclasses.replace(TINY.dram, bandwidth_bytes_per_second=rate)
    )
    bus, beat = MemoryBus(design), design.dram_beat_cycles
    cycle, free = 0, 0
    for gap, burst, beats, write in requests:
        cycle += gap
        start = max(cycle + (1 if write else design.dram_latency_cycles), free)
        free = start + beats * beat
        if write:
            assert bus.write(cycle, burst * 16, beats) == ceil(free)
        else:
            last = start + (beats - 1) * beat
            assert bus.read(cycle, burst * 16, beats) == (ceil(start), ceil(last))
            assert bus.beat_cycle(beats - 1) == ceil(last)
    assert bus.lost_units == bus.row_misses == bus.refreshes == 0


@settings(max_examples=200)
@given(requests=requests, timing=st.sampled_from([TOY, DDR4, memory_timing(TINY)]))
def test_nothing_is_lost_and_nothing_overlaps(requests, timing) -> None:
    timing = dataclasses.replace(timing, refresh_interval=timing.refresh_interval // 8)
    bus = MemoryBus(timing)
    cycle, spans, acknowledged = 0, [], [-1]
    for gap, burst, beats, write in requests:
        cycle += gap
        if write:
            acknowledged.append(bus.write(cycle, burst * 16, beats))
            assert acknowledged[-1] > max(cycle, acknowledged[-2])
        else:
            first, _ = bus.read(cycle, burst * 16, beats)
            assert first >= cycle + timing.read_latency // timing.cycle_units
        spans += bus.take()
    bus.drain()
    spans += bus.take()
    for write in (True, False):
        given_beats = [beats for _, _, beats, w in requests if w is write]
        assert sorted(s.lines for s in spans if s.write is write) == sorted(given_beats)
    for one, two in pairwise(spans):
        assert one.end <= two.start + (timing.beat_units % timing.cycle_units != 0)
    assert all(span.ready <= span.start < span.end for span in spans)
    assert bus.busy_units == sum(b for _, _, b, _ in requests) * timing.beat_units
    assert bus.row_hits + bus.row_misses == len(requests)
    turns = sum(one.write is not two.write for one, two in pairwise(spans))
    assert bus.turnarounds == turns + bool(spans and spans[0].write)


def test_a_closed_row_costs_its_opening_and_an_open_one_nothing() -> None:
    bus = MemoryBus(TOY)
    assert bus.read(0, 0, 4) == (45, 48)  # 40 of latency, 5 to open
    assert bus.read(100, 4, 4) == (140, 143)
    # Another row of the set, after a long pause: closing and opening, 7 + 5.
    assert bus.read(200, 64, 4) == (252, 255)
    # The other set has never been open.
    assert bus.read(300, 32, 4) == (345, 348)
    assert (bus.row_hits, bus.row_misses) == (1, 3)
    assert bus.lost_units == 0  # requests behind them could have used the bus
    in_order = MemoryBus(dataclasses.replace(TOY, queue=0))
    for cycle, line in ((0, 0), (100, 4), (200, 64), (300, 32)):
        in_order.read(cycle, line, 4)
    assert in_order.lost_units == 5 + 12 + 5


def test_a_row_is_held_before_it_is_closed() -> None:
    bus = MemoryBus(dataclasses.replace(TOY, row_hold=30))
    assert bus.read(0, 0, 1) == (45, 45)  # opened in 34, so closed in 64 at the earliest
    assert bus.read(1, 64, 1)[0] == 64 + 7 + 5 + 6


def test_a_write_is_recovered_before_its_row_is_closed() -> None:
    bus = MemoryBus(TOY)
    bus.write(50, 0, 4)
    end = 51 + 5 + 4  # first cycle, open, beats
    assert bus.read(51, 64, 1)[0] == 51 + 40 + 12  # later than end + 9 + 7 + 5 + 6
    short = MemoryBus(dataclasses.replace(TOY, read_latency=6))
    short.write(50, 0, 4)
    assert short.read(51, 64, 1)[0] == end + 9 + 7 + 5 + 6


def test_a_miss_that_is_seen_early_is_hidden() -> None:
    """In a saturated stream the next set is opened while this one is read."""
    stream = [(line, 8) for line in range(0, 320, 8)]

    def lost(**changes: int) -> int:
        bus = MemoryBus(dataclasses.replace(TOY, **changes))
        _saturate(bus, stream)
        assert bus.row_misses == 10
        return bus.lost_units

    assert lost() == 0
    # With one set a row is closed after its last data: late by 7 + 5 + 6 - 3, of which requests
    # in the queue fill what they can.
    assert lost(bank_sets=1) == 0
    assert lost(bank_sets=1, queue=8) == 9 * (15 - 8)
    # A queue of two looks ahead by two and fills two: of 5 + 6, 11 - 8 and eight times 18 - 8.
    assert lost(queue=2) == (5 - 2) + (3 - 2) + 8 * (10 - 2)


def test_reads_return_in_order_while_rows_are_opened() -> None:
    """The bus goes on with what is behind a miss, the port does not."""
    bus = MemoryBus(TOY)
    assert bus.read(0, 0, 8) == (45, 52)
    assert bus.read(0, 64, 8) == (66, 73)  # another row of that set: held to 48, then 7 + 5 + 6
    assert bus.read(0, 32, 8) == (74, 81)  # the other set: waits for the read before it
    # The queue fills 16 of the 18 for which the second burst waits.
    assert [span[1:] for span in bus.take()] == [(40, 40, 48, 8), (48, 50, 58, 8), (58, 58, 66, 8)]


def test_banks_of_a_region_are_opened_one_after_the_other() -> None:
    banks = dataclasses.replace(TOY, region_banks=4, activate_gap=3, four_activates=20)
    bus = MemoryBus(banks)
    # Opened in 34, 37, 40 and 43 for data in 45, 48, 51, 54; the stream wants them 1 apart.
    assert bus.read(0, 0, 8) == (45 + 3 * 2, 58)
    # The fifth activate waits for the window: 34 + 20.
    assert bus.read(0, 32, 1)[0] == max(59, 54 + 5 + 6)
    # A burst of one access needs one bank.
    assert bus.read(200, 2, 1) == (240, 240)
    assert bus.read(300, 64 + 2, 1)[0] == 340 + 7 + 5
    assert bus.read(400, 0, 2) == (440, 441)
    assert bus.read(500, 2, 1)[0] == 540 + 7 + 5
    assert (bus.row_hits, bus.row_misses) == (2, 4)


def test_two_streams_meet_in_one_bank_set_or_pass() -> None:
    """Streams in one set close each other's row at every change; in two sets they do not."""
    meet = [(64 * 100 * (i % 2) + i // 2 * 8, 8) for i in range(8)]
    passing = [((64 * 100 + 32) * (i % 2) + i // 2 * 8, 8) for i in range(8)]
    lost = {}
    for name, bursts in (("meet", meet), ("pass", passing)):
        bus = MemoryBus(dataclasses.replace(TOY, queue=4, row_hold=10))
        _saturate(bus, bursts)
        lost[name] = bus.lost_units, bus.row_misses
    assert lost == {"meet": (5 - 4 + 7 * (15 - 4), 8), "pass": (5 - 4, 2)}


def test_turning_the_bus_costs_what_the_timing_says() -> None:
    bus = MemoryBus(dataclasses.replace(TOY, queue=0))  # writes are not posted
    bus.read(0, 0, 8)  # 45 .. 52
    assert bus.write(50, 8, 8) == 53 + 2 + 8
    assert bus.read(1, 16, 8)[0] == 63 + 8
    assert bus.turnarounds == 2
    assert bus.lost_units == 5 + 2 + 8


def test_writes_wait_and_go_together() -> None:
    bus = MemoryBus(TOY)
    bus.read(0, 0, 8)  # 45 .. 52
    assert [bus.write(cycle, 8 + cycle, 4) for cycle in (20, 21, 22, 23)] == [21, 22, 23, 24]
    assert bus.turnarounds == 0
    assert bus.read(14, 16, 8)[0] == 54  # the read was known before the bus was free: it goes first
    assert bus.write(30, 31, 1) == 62 + 2 + 17  # more than the 16 that may wait: all are written
    assert bus.turnarounds == 1
    assert [span.start for span in bus.take() if span.write] == [64, 68, 72, 76, 80]
    # A controller without reads writes at once, and a read behind it waits for the turn.
    assert bus.write(200, 24, 4) == 201
    assert bus.read(201, 0, 1)[0] == 241
    assert bus.write(203, 30, 1) == 204  # waits for the read
    assert bus.read(230, 0, 1)[0] == max(270, 242 + 2 + 1 + 8)  # it was written in between
    assert bus.turnarounds == 4


def test_refreshes_come_at_their_interval_and_hide_in_idle_time() -> None:
    timing = dataclasses.replace(TOY, refresh_interval=1000)
    idle = MemoryBus(timing)
    assert idle.read(0, 0, 1)[0] == 45
    # Nine refreshes were due since, in 500, 1500, ... 8500, and are over; the rows are closed.
    assert idle.read(8700, 0, 1)[0] == 8745
    assert idle.refreshes == 9
    # A request that comes while a refresh runs (9500 .. 9600 and 7 to close before) waits.
    assert idle.read(9470, 0, 1)[0] == 9600 + 5 + 6
    busy = MemoryBus(timing)
    _saturate(busy, [(line, 8) for line in range(0, 64_000, 8)])
    end = busy.busy_units + busy.lost_units + 40
    assert busy.refreshes == round(end / 1000)
    # Each closes the rows (-3 + 7), refreshes (100) and opens one again (5 + 6).
    assert busy.lost_units == busy.refreshes * 115
    # Postponed to the end of the burst that runs when it is due.
    spans = busy.take()
    cut = [(one.end, two.start) for one, two in pairwise(spans) if two.start > one.end]
    assert [start - end for end, start in cut] == [115] * busy.refreshes
    assert all(0 < end - (500 + 1000 * i) <= 8 for i, (end, _) in enumerate(cut))


def test_parts_of_an_access_cost_the_whole() -> None:
    bus = MemoryBus(dataclasses.replace(TOY, access_lines=4))
    bus.read(0, 3, 2)  # lines 3 and 4: two accesses
    assert bus.busy_units == 8
    assert bus.read(0, 5, 1)[0] == 45 + 8


def test_timing_of_ddr4_is_the_data_sheet_s() -> None:
    """At 300 MHz a DDR4-2400 clock is a quarter of a cycle: 256 of 1024 units."""
    clock = DDR4.cycle_units // 4
    assert DDR4.beat_units == DDR4.cycle_units  # 64 bytes, four clocks
    assert DDR4.region_lines * 64 == 4 * 8192  # a row in each bank group
    assert (DDR4.bank_sets, DDR4.region_banks, DDR4.access_lines) == (4, 4, 1)
    assert (DDR4.read_lead, DDR4.open, DDR4.close) == (16 * clock, 16 * clock, 16 * clock)
    assert DDR4.row_hold == 39 * clock  # 32 ns of 0.833 are 38.4
    assert DDR4.read_release == (9 - 4 - 16) * clock
    assert DDR4.write_to_read == (3 + 16) * clock
    assert DDR4.read_to_write == 2 * clock
    assert DDR4.refresh_interval == 2340 * DDR4.cycle_units  # 7.8 us
    assert DDR4.refresh_time == 105 * DDR4.cycle_units  # 350 ns
    assert (DDR4.activate_gap, DDR4.four_activates) == (4 * clock, 26 * clock)
    assert DDR4.queue == 32 * DDR4.beat_units


@pytest.mark.parametrize(
    "timing",
    [
        DDR4,
        dataclasses.replace(DDR4, bank_sets=1),
        dataclasses.replace(DDR4, bank_sets=1, queue=DDR4.open // 2),
        dataclasses.replace(TOY, refresh_interval=5000, activate_gap=40),
        dataclasses.replace(TOY, refresh_interval=5000, bank_sets=1, row_hold=40),
        dataclasses.replace(TOY, refresh_interval=5000, region_banks=4, four_activates=40),
    ],
)
def test_closed_form_of_a_stream(timing) -> None:
    bus = MemoryBus(timing)
    beats = 8 if timing.cycle_units == 1 else 64
    _saturate(bus, [(line, beats) for line in range(0, 15_000 * beats, beats)])
    simulated = bus.busy_units / (bus.busy_units + bus.lost_units)
    assert sequential_fraction(timing) == pytest.approx(simulated, rel=0.005)


def _channel_of(name: str):
    """The big design's accelerator on one channel of a technology, at its peak rate."""
    technology = load_memory(name)
    width = min(64, max(8, technology.access_bytes))
    peak = int(technology.peak_bytes_per_second)
    burst = min(64, technology.row_bytes // width)
    clock = dataclasses.replace(BIG.clock, frequency_hz=max(300_000_000, -(-peak // width)))
    dram = dataclasses.replace(
        BIG.dram,
        technology=name,
        channels=4,
        data_bytes=width,
        bandwidth_bytes_per_second=peak,
        latency_ns=100.0,
        max_burst_beats=burst,
    )
    return technology, dataclasses.replace(BIG, clock=clock, dram=dram)


@pytest.mark.parametrize("name", memory_names())
def test_a_stream_is_as_fast_as_command_by_command(name: str) -> None:
    """Burst level against the command-level simulator, which shares only the data sheet."""
    technology, design = _channel_of(name)
    accesses = 30_000
    at = np.arange(accesses, dtype=np.int64) * technology.access_bytes
    bank, row, _ = addresses.decode(technology, at)
    served = controller.serve(technology, bank.tolist(), row.tolist(), [False] * accesses)
    seconds = served.clocks * float(technology.clock_ns) * 1e-9
    rate = accesses * technology.access_bytes / seconds
    assert sequential_bytes_per_second(design) / 4 == pytest.approx(rate, rel=0.03)


def _patterns() -> dict[str, tuple[list[tuple[int, int, bool]], float, float]]:
    """Bursts (line, beats, write), and least and most speed relative to the command level."""
    region, period = DDR4.region_lines, DDR4.period_lines
    random = np.random.default_rng(0)
    far = [int(line) * 64 for line in random.integers(0, 1 << 14, 1200)]
    streams = [i // 2 * 64 for i in range(600)]
    return {
        "reads": ([(64 * i, 64, False) for i in range(600)], 0.98, 1.02),
        "writes": ([(64 * i, 64, True) for i in range(600)], 0.98, 1.02),
        "meet": ([(s + i % 2 * period * 99, 64, False) for i, s in enumerate(streams)], 0.97, 1.03),
        "pass": (
            [(s + i % 2 * (period * 99 + region), 64, False) for i, s in enumerate(streams)],
            0.98,
            1.02,
        ),
        "random 4 KB": ([(line, 64, False) for line in far[:600]], 0.97, 1.03),
        "every 16th writes": ([(64 * i, 64, i % 16 == 0) for i in range(600)], 0.97, 1.03),
        # Rows are opened in order of arrival here: never faster than reordered.
        "random 64 bytes": ([(line, 1, False) for line in far], 0.4, 1.0),
    }


@pytest.mark.parametrize("name", _patterns())
def test_patterns_are_as_fast_as_command_by_command(name: str) -> None:
    technology = load_memory("ddr4-2400")
    bursts, least, most = _patterns()[name]
    lines = np.concatenate([np.arange(line, line + beats) for line, beats, _ in bursts])
    writes = [write for _, beats, write in bursts for _ in range(beats)]
    bank, row, _ = addresses.decode(technology, lines * 64)
    served = controller.serve(technology, bank.tolist(), row.tolist(), writes)
    bus = MemoryBus(DDR4)
    last = 0
    for line, beats, write in bursts:
        # The port keeps 60 cycles of bursts ahead of the bus.
        if write:
            bus.write(max(0, last - 60), line, beats)
        else:
            bus.read(max(0, last - 60), line, beats)
        last = max([last, *(span.end for span in bus.take())])
    bus.drain()
    seconds = max([last, *(span.end for span in bus.take())]) / BIG.clock.frequency_hz
    ratio = served.clocks * float(technology.clock_ns) * 1e-9 / seconds
    assert least <= ratio <= most


@pytest.mark.parametrize(
    ("dram", "field", "allowed"),
    [
        ({"technology": "ddr9"}, "dram.technology", "ideal, ddr4-2400"),
        ({"technology": "generic"}, "dram.technology", "ideal, ddr4-2400"),
        (
            {"bandwidth_bytes_per_second": 19_200_000_001},
            "dram.bandwidth_bytes_per_second",
            "at most 19200000000, the peak of one channel of ddr4-2400",
        ),
        ({"latency_ns": 10.0}, "dram.latency_ns", "13.32"),
    ],
)
def test_a_channel_that_cannot_be(dram, field, allowed) -> None:
    with pytest.raises(InputError) as caught:
        _design(**dram)
    assert caught.value.field == field
    assert allowed in caught.value.allowed
