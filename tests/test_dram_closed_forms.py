"""What a DRAM channel sustains in closed form, against the command-level simulator."""

import dataclasses

import pytest

from designs.memory_technology import load_memory, memory_names
from sim.memory.dram.clocks import Clocks
from sim.memory.dram.controller import serve
from sim.memory.dram.patterns import run_pattern
from sim.memory.dram.stream import has_closed_form, row_miss_ns, stream_fraction, turnaround_ns


@pytest.mark.parametrize("name", memory_names())
def test_stream_fraction(name: str) -> None:
    technology = load_memory(name)
    assert has_closed_form(technology)
    simulated = run_pattern(technology, "sequential", requests=25_000).efficiency
    assert float(stream_fraction(technology)) == pytest.approx(simulated, rel=0.02)


@pytest.mark.parametrize("name", memory_names())
def test_turnaround(name: str) -> None:
    """Writes amid reads of open rows of all bank groups."""
    technology = load_memory(name)
    kinds = [False] * 400 + [True] * technology.queue_depth + [False] * 400
    groups, in_group = technology.bank_groups, technology.banks_per_group
    banks = [i % groups * in_group for i in range(len(kinds))]
    rows = [0] * len(kinds)
    mixed, plain = (
        serve(technology, banks, rows, kinds),
        serve(technology, banks, rows, [False] * len(kinds)),
    )
    assert mixed.turnarounds == 2
    lost = (mixed.clocks - plain.clocks) * technology.clock_ns
    assert float(turnaround_ns(technology)) == pytest.approx(float(lost), rel=0.02)


@pytest.mark.parametrize("name", memory_names())
def test_row_miss(name: str) -> None:
    technology = load_memory(name)
    clocks = Clocks.of(technology)
    hit = serve(technology, [0] * 65, [0] * 65, [False] * 65)
    miss = serve(technology, [0] * 65, [0] * 64 + [1], [False] * 65)
    unused = (miss.clocks - hit.clocks + clocks.tccd_l - clocks.burst) * technology.clock_ns
    assert row_miss_ns(technology) == unused


@pytest.mark.parametrize(
    ("mapping", "least", "most"),
    [("rochrababgco", 0.77, 0.80), ("bank-row-column-bankgroup", 0.93, 0.948)],
)
def test_stream_fraction_of_other_mappings_is_simulated(mapping, least, most) -> None:
    technology = dataclasses.replace(load_memory("ddr4-2400"), address_mapping=mapping)
    assert not has_closed_form(technology)
    assert least < stream_fraction(technology) < most
