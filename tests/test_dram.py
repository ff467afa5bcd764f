"""The DRAM channel simulator: against a reference, against the standard's timing."""

import dataclasses
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest

from designs.errors import InputError
from designs.memory_technology import MemoryTechnology, load_memory, memory_names
from sim.memory.dram.addresses import decode, pattern_addresses
from sim.memory.dram.clocks import Clocks
from sim.memory.dram.controller import ROW_HITS, serve
from sim.memory.dram.patterns import run_pattern
from sim.memory.dram.records import Command

# Share of the peak rate of 10,000 reads with the transaction queue kept full, measured with a
# cycle-by-cycle reimplementation of DRAMsim3's controller (docs/memory.md): technology, mapping,
# ranks, pattern, stride in bytes, share.
REFERENCE = [
    ("ddr4-2400", "rochrababgco", 1, "sequential", None, 0.7859),
    ("ddr4-2400", "rochrababgco", 1, "strided", 128, 0.9529),
    ("ddr4-2400", "rochrababgco", 1, "strided", 1024, 0.9525),
    ("ddr4-2400", "rochrababgco", 1, "strided", 4096, 0.8980),
    ("ddr4-2400", "rochrababgco", 1, "strided", 8192, 0.5728),
    ("ddr4-2400", "rochrababgco", 1, "strided", 131072, 0.0694),
    ("ddr4-2400", "rochrababgco", 1, "random", None, 0.5714),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "sequential", None, 0.9541),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 128, 0.9487),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 1024, 0.6370),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 4096, 0.6367),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 8192, 0.6354),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 131072, 0.0694),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "random", None, 0.5773),
    ("ddr4-2400", "rochrababgco", 2, "sequential", None, 0.7814),
    ("ddr4-2400", "rochrababgco", 2, "strided", 1024, 0.9709),
    ("ddr4-2400", "rochrababgco", 2, "strided", 4096, 0.9358),
    ("ddr4-2400", "rochrababgco", 2, "strided", 8192, 0.8483),
    ("ddr4-2400", "rochrababgco", 2, "strided", 131072, 0.1386),
    ("ddr4-2400", "rochrababgco", 2, "random", None, 0.8711),
    ("ddr4-3200", "rochrababgco", 2, "sequential", None, 0.6612),
    ("ddr4-3200", "rochrababgco", 2, "strided", 1024, 0.9579),
    ("ddr4-3200", "rochrababgco", 2, "strided", 4096, 0.9199),
    ("ddr4-3200", "rochrababgco", 2, "strided", 8192, 0.7350),
    ("ddr4-3200", "rochrababgco", 2, "strided", 131072, 0.1031),
    ("ddr4-3200", "rochrababgco", 2, "random", None, 0.8130),
    ("hbm2", "rorabgbachco", 1, "sequential", None, 0.9283),
    ("hbm2", "rorabgbachco", 1, "strided", 1024, 0.4899),
    ("hbm2", "rorabgbachco", 1, "strided", 4096, 0.2463),
    ("hbm2", "rorabgbachco", 1, "strided", 8192, 0.1544),
    ("hbm2", "rorabgbachco", 1, "strided", 131072, 0.0387),
    ("hbm2", "rorabgbachco", 1, "random", None, 0.2445),
    ("hbm2", "row-bank-column-bankgroup", 1, "sequential", None, 0.9272),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 1024, 0.9195),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 4096, 0.3087),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 8192, 0.1539),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 131072, 0.0387),
    ("hbm2", "row-bank-column-bankgroup", 1, "random", None, 0.2455),
]


@pytest.mark.parametrize(("name", "mapping", "ranks", "pattern", "stride", "expected"), REFERENCE)
def test_reference(name, mapping, ranks, pattern, stride, expected) -> None:
    result = run_pattern(
        name,
        pattern,
        requests=10_000,
        stride_bytes=stride,
        address_mapping=mapping,
        ranks=ranks,
    )
    # Random addresses are others than the reference's; everything else is the same stream.
    tolerance = 0.03 if pattern == "random" else 0.005
    assert result.efficiency == pytest.approx(expected, rel=tolerance)


# The trace against the standard


def changed(technology: MemoryTechnology, **timing: float) -> MemoryTechnology:
    return dataclasses.replace(technology, timing=dataclasses.replace(technology.timing, **timing))


def violations(technology: MemoryTechnology, commands: list[Command]) -> set[str]:
    """Names of the rules of JESD79-4 and JESD235 that a trace breaks, pair by pair."""
    clocks, broken = Clocks.of(technology), set()
    in_rank = technology.banks // technology.ranks
    last: dict[tuple, int] = defaultdict(lambda: -(10**9))
    open_row = dict.fromkeys(range(technology.banks), -1)
    acts: dict[int, list[int]] = defaultdict(list)
    pins: dict[str, tuple[int, int]] = {}  # clock until which command pins are taken
    bus_free, bus_rank, bus_write = -(10**9), -1, False

    def least(rule: str, now: int, since: int, apart: int) -> None:
        if now - since < apart:
            broken.add(rule)

    for now, name, bank, row in commands:
        rank, group = bank // in_rank, bank // technology.banks_per_group
        side = "column" if technology.dual_command and name in ("RD", "WR") else "row"
        free = pins.get(side, (0, 0))[0]
        if now < free:
            broken.add("command pins")
        occupied = technology.activate_clocks if name == "ACT" else 1
        pins[side] = (now + occupied, 0)
        if name == "ACT":
            if open_row[bank] >= 0:
                broken.add("state")
            open_row[bank] = row
            least("trp", now, last["PRE", bank], clocks.trp)
            least("trc", now, last["ACT", bank], clocks.tras + clocks.trp)
            least("trfc", now, last["REF", rank], clocks.trfc)
            for other in range(rank * technology.bank_groups, (rank + 1) * technology.bank_groups):
                apart = clocks.trrd_l if other == group else clocks.trrd_s
                rule = "trrd_l" if other == group else "trrd_s"
                least(rule, now, last["ACT group", other], apart)
            if len(acts[rank]) >= 4:
                least("tfaw", now, acts[rank][-4], clocks.tfaw)
            acts[rank].append(now)
            last["ACT", bank] = last["ACT group", group] = now
        elif name == "PRE":
            if open_row[bank] < 0:
                broken.add("state")
            open_row[bank] = -1
            least("tras", now, last["ACT", bank], clocks.tras)
            least("trtp", now, last["RD", bank], clocks.trtp)
            least("twr", now, last["WR", bank], clocks.cwl + clocks.burst + clocks.twr)
            last["PRE", bank] = now
        elif name == "REF":
            for other in range(bank, bank + in_rank):
                if open_row[other] >= 0:
                    broken.add("state")
                least("trp", now, last["PRE", other], clocks.trp)
            least("trfc", now, last["REF", rank], clocks.trfc)
            last["REF", rank] = now
        else:
            write = name == "WR"
            if open_row[bank] != row:
                broken.add("state")
            least("trcd", now, last["ACT", bank], clocks.trcd)
            for other in range(rank * technology.bank_groups, (rank + 1) * technology.bank_groups):
                near = "_l" if other == group else "_s"
                least(
                    "tccd" + near, now, last[name, "group", other], getattr(clocks, "tccd" + near)
                )
                if not write:
                    apart = clocks.cwl + clocks.burst + getattr(clocks, "twtr" + near)
                    least("twtr" + near, now, last["WR", "group", other], apart)
            begin = now + (clocks.cwl if write else clocks.cl)
            gap = 0
            if bus_rank not in (-1, rank):
                gap = clocks.trtrs
            elif write and not bus_write:
                gap = clocks.trtw
            least("trtrs" if bus_rank != rank else "trtw" if gap else "bus", begin, bus_free, gap)
            bus_free, bus_rank, bus_write = begin + clocks.burst, rank, write
            last[name, bank] = last[name, "group", group] = now
    return broken


def trace(technology: MemoryTechnology, requests: int = 2000) -> list[Command]:
    """Commands of streams, rows that conflict and random addresses, read and written."""
    random = np.random.default_rng(5)
    stream = pattern_addresses(technology, "sequential", requests, 0, technology.access_bytes, 0)
    anywhere = pattern_addresses(technology, "random", requests, 0, technology.access_bytes, 3)
    few = anywhere[:64][random.integers(0, 64, requests)]
    addresses = np.concatenate([stream, anywhere, few, stream[: requests // 2]])
    banks, rows, _ = decode(technology, addresses)
    writes = random.random(len(addresses)) < 0.3
    writes[: requests // 3] = False
    served = serve(technology, banks.tolist(), rows.tolist(), writes.tolist(), record=True)
    columns = [command for command in served.commands if command[1] in ("RD", "WR")]
    assert len(columns) == len(addresses)
    assert sum(name == "WR" for _, name, *_ in columns) == writes.sum()
    assert served.activations == sum(name == "ACT" for _, name, *_ in served.commands)
    assert served.refreshes == sum(name == "REF" for _, name, *_ in served.commands)
    return served.commands


TECHNOLOGIES = [(name, 1) for name in memory_names()] + [("ddr4-2400", 2), ("hbm2", 2)]


@pytest.mark.parametrize(("name", "ranks"), TECHNOLOGIES)
def test_every_spacing_is_kept(name: str, ranks: int) -> None:
    technology = dataclasses.replace(load_memory(name), ranks=ranks)
    assert violations(technology, trace(technology)) == set()


def test_the_check_sees_every_spacing() -> None:
    """A trace that keeps the timing breaks any one of its rules made a clock longer."""
    technology = dataclasses.replace(load_memory("ddr4-2400"), ranks=2)
    commands = trace(technology)
    clock = float(technology.clock_ns)
    rules = "trcd trp tras trrd_s trrd_l tfaw tccd_s tccd_l trtp twtr_s twtr_l twr trfc trtw trtrs"
    for rule in rules.split():
        longer = {rule: getattr(technology.timing, rule) + clock}
        for near in ("trrd", "tccd", "twtr"):  # between groups is never more than within one
            if rule == f"{near}_s":
                longer[f"{near}_l"] = max(getattr(technology.timing, f"{near}_l"), longer[rule])
        assert rule in violations(changed(technology, **longer), commands), rule


def test_a_refresh_every_trefi() -> None:
    for name, ranks in TECHNOLOGIES:
        technology = dataclasses.replace(load_memory(name), ranks=ranks)
        clocks = Clocks.of(technology)
        result = run_pattern(technology, "random", requests=4000)
        passed = round(result.seconds * 1e9 / float(technology.clock_ns))
        assert abs(result.refreshes - ranks * passed / clocks.trefi) <= ranks


# Properties


@pytest.mark.parametrize("name", memory_names())
def test_patterns_in_order(name: str) -> None:
    technology = load_memory(name)
    conflict = technology.row_bytes * technology.banks
    sequential = run_pattern(technology, "sequential", requests=5000)
    random = run_pattern(technology, "random", requests=5000)
    worst = run_pattern(technology, "strided", stride_bytes=conflict, requests=2000)
    assert 1 > sequential.efficiency >= random.efficiency > worst.efficiency
    assert sequential.row_hit_rate > 0.9
    assert worst.activations >= 2000
    assert worst.row_hit_rate == 0
    # One bank: a row cycle a request, and nothing else but refresh.
    clocks = Clocks.of(technology)
    cycle = clocks.tras + clocks.trp
    bound = Fraction(clocks.burst, cycle) * (1 - Fraction(clocks.trfc, clocks.trefi))
    assert worst.efficiency == pytest.approx(float(bound), rel=0.03)


def test_random_reads_are_limited_by_four_activates() -> None:
    technology = load_memory("hbm2")
    clocks = Clocks.of(technology)
    bound = Fraction(4 * clocks.burst, clocks.tfaw) * (1 - Fraction(clocks.trfc, clocks.trefi))
    result = run_pattern(technology, "random", requests=20_000)  # the last ones leave banks idle
    assert result.efficiency == pytest.approx(float(bound), rel=0.03)
    assert result.efficiency <= bound


def test_row_hits_have_a_cap() -> None:
    """An older request for another row does not wait until the hits end."""
    technology = load_memory("ddr4-2400")
    rows = [row for row in [0] * 3 + [1] + [0] * 40 for _ in range(4)]
    banks = [0, 4, 8, 12] * (len(rows) // 4)  # in turn, so a bank has time to close its row
    served = serve(technology, banks, rows, [False] * len(rows), record=True)
    for bank in (0, 4, 8, 12):
        columns = [row for _, name, other, row in served.commands if name == "RD" and other == bank]
        assert len(columns) == 44
        assert 3 < columns.index(1) <= 2 * (ROW_HITS + technology.bank_queue_depth)


def test_longer_timing_is_slower() -> None:
    technology = load_memory("ddr4-2400")
    base = run_pattern(technology, "sequential", requests=20_000).efficiency
    slower = changed(technology, trfc=700.0)
    assert run_pattern(slower, "sequential", requests=20_000).efficiency < base - 0.03
    base = run_pattern(technology, "random", requests=5000).efficiency
    assert (
        run_pattern(changed(technology, tfaw=42.0), "random", requests=5000).efficiency < base / 1.5
    )


def test_writes_turn_the_bus() -> None:
    reads = run_pattern("ddr4-2400", "sequential", requests=5000)
    mixed = run_pattern("ddr4-2400", "sequential", requests=5000, write_fraction=0.5)
    writes = run_pattern("ddr4-2400", "sequential", requests=5000, write_fraction=1.0)
    assert reads.turnarounds == 0
    assert mixed.turnarounds > 50
    assert mixed.efficiency < min(reads.efficiency, writes.efficiency) - 0.03
    assert writes.average_latency_ns is None


def test_a_single_read_takes_its_latency() -> None:
    """Two clocks of queue, activate, read, data."""
    technology = load_memory("ddr4-2400")
    clocks = Clocks.of(technology)
    served = serve(technology, [3], [7], [False])
    assert served.clocks == 1 + clocks.trcd + clocks.cl + clocks.burst
    assert served.read_latency == served.clocks


def test_queue_depth_and_energy() -> None:
    shallow = run_pattern("ddr4-2400", "random", requests=10_000, queue_depth=1)
    deep = run_pattern("ddr4-2400", "random", requests=10_000, queue_depth=64)
    assert shallow.efficiency < deep.efficiency
    assert shallow.average_latency_ns is not None
    assert deep.average_latency_ns is not None
    assert shallow.average_latency_ns < deep.average_latency_ns
    energy = load_memory("ddr4-2400").energy
    access = 10_000 * 512 * energy.read_pj_per_bit * 1e-12
    background = energy.background_milliwatts * 1e-3 * deep.seconds
    assert deep.energy_joules == pytest.approx(access + background)
    assert deep.bytes == 10_000 * 64
    assert deep.bandwidth_bytes_per_second == pytest.approx(deep.bytes / deep.seconds)


def test_requests_of_several_bursts() -> None:
    one = run_pattern("ddr4-2400", "random", requests=4000, address_mapping="rochrababgco")
    four = run_pattern(
        "ddr4-2400", "random", requests=1000, request_bytes=256, address_mapping="rochrababgco"
    )
    assert four.bytes == one.bytes
    assert four.row_hit_rate == pytest.approx(0.75, abs=0.01)
    assert four.efficiency > 1.3 * one.efficiency


def test_same_seed_same_result() -> None:
    assert run_pattern("hbm2e", "random", requests=500, seed=7) == run_pattern(
        "hbm2e", "random", requests=500, seed=7
    )


@pytest.mark.parametrize(
    ("pattern", "options", "field"),
    [
        ("stream", {}, "pattern"),
        ("strided", {}, "stride_bytes"),
        ("sequential", {"stride_bytes": 64}, "stride_bytes"),
        ("strided", {"stride_bytes": 65}, "stride_bytes"),
        ("strided", {"stride_bytes": 0}, "stride_bytes"),
        ("random", {"requests": 0}, "requests"),
        ("random", {"requests": 1.5}, "requests"),
        ("random", {"request_bytes": 96}, "request_bytes"),
        ("random", {"request_bytes": 32}, "request_bytes"),
        ("random", {"write_fraction": 1.5}, "write_fraction"),
        ("random", {"write_fraction": float("nan")}, "write_fraction"),
        ("random", {"queue_depth": 0}, "queue_depth"),
        ("random", {"ranks": 3}, "ranks"),
        ("random", {"address_mapping": "row-column"}, "address_mapping"),
        ("random", {"seed": -1}, "seed"),
    ],
)
def test_wrong_options(pattern: str, options: dict, field: str) -> None:
    with pytest.raises(InputError) as caught:
        run_pattern("ddr4-2400", pattern, **options)
    assert caught.value.field == field


# Addresses


def test_mapping_orders() -> None:
    technology = load_memory("ddr4-2400")
    step = np.array([0, 64, 128 * 64, 512 * 64], np.int64)
    bank, row, column = decode(technology, step, "rochrababgco")
    assert column.tolist() == [0, 1, 0, 0]
    assert bank.tolist() == [0, 0, 4, 1]  # the next row of columns is in the next bank group
    assert row.tolist() == [0, 0, 0, 0]
    bank, row, column = decode(technology, step, "row-bank-column-bankgroup")
    assert bank.tolist() == [0, 4, 0, 1]
    assert column.tolist() == [0, 0, 32, 0]


@pytest.mark.parametrize(
    "mapping", ["rochrababgco", "row-bank-column-bankgroup", "bankgroup-row-column-bank"]
)
def test_mapping_is_one_to_one(mapping: str) -> None:
    technology = dataclasses.replace(load_memory("hbm2"), rows=4, ranks=2)
    addresses = np.arange(0, technology.capacity_bytes, technology.access_bytes, dtype=np.int64)
    bank, row, column = decode(technology, addresses, mapping)
    seen = set(zip(bank.tolist(), row.tolist(), column.tolist(), strict=True))
    assert len(seen) == len(addresses) == technology.banks * 4 * technology.columns
    assert bank.max() == technology.banks - 1
