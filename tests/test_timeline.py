"""The timeline's own invariants; equality with the RTL is in rtl_tests/test_cycles.py."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.files import load_design
from designs.memory_timing import memory_timing, sequential_fraction
from mapping.formats import parse_format
from mapping.isa import Opcode
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from sim.attribution import REASONS, attribute_cycles
from sim.memory.channel import MemoryBus
from sim.timeline import simulate_program

TINY, BIG = load_design("dense-int8-tiny"), load_design("dense-int8")


def _timeline(design, m, n, k, fmt):
    return simulate_program(design, compile_gemm(design, GemmShape(m, n, k), parse_format(fmt)))


@settings(deadline=None, max_examples=60)
@given(
    design=st.sampled_from([TINY, BIG]),
    m=st.integers(1, 64),
    n=st.integers(1, 512),
    k=st.integers(1, 2048),
    fmt=st.sampled_from(["int8", "int4"]),
)
def test_every_cycle_has_a_reason(design, m, n, k, fmt) -> None:
    timeline = _timeline(design, m, n, k, fmt)
    reasons = attribute_cycles(timeline)
    assert list(reasons) == list(REASONS)
    assert sum(reasons.values()) == timeline.cycles
    assert min(reasons.values()) >= 0
    unit = design.unit
    tiles = -(-m // unit.lanes_m) * -(-n // unit.lanes_n) * -(-k // unit.lanes_k)
    assert reasons["compute"] == timeline.compute_cycles == tiles


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 512), k=st.integers(1, 2048), fmt=st.sampled_from(["int8", "int4"]))
def test_spans_do_not_overlap(n, k, fmt) -> None:
    for design in (TINY, BIG):
        timeline = _timeline(design, 3, n, k, fmt)
        used = sorted(timeline.memory + timeline.overhead, key=lambda span: span.start)
        for spans in (timeline.compute, used):
            for one, two in pairwise(spans):
                # Bursts behind a refresh or a turn begin inside a cycle.
                assert one.start < one.end <= two.start + (design is BIG and spans is used)
        lines = sum(span.lines for span in timeline.memory)
        assert lines == timeline.read_lines + timeline.write_lines
        # One beat a cycle in these designs; on BIG every burst may share its last cycle.
        assert 0 <= timeline.memory_cycles - lines <= (design is BIG) * len(timeline.memory)


@pytest.mark.parametrize("fmt", ["int8", "int4", "int4_g128", "int4_g64"])
@pytest.mark.parametrize(("n", "k"), [(1024, 640), (640, 2048), (4096, 4096)])
def test_decode_keeps_memory_busy(n: int, k: int, fmt: str) -> None:
    for design in (TINY, BIG):
        assert _timeline(design, 1, n, k, fmt).weight_window_busy >= 0.90


def test_more_bandwidth_or_less_latency_never_costs_cycles() -> None:
    slower = dataclasses.replace(
        TINY, dram=dataclasses.replace(TINY.dram, bandwidth_bytes_per_second=800_000_000)
    )
    later = dataclasses.replace(TINY, dram=dataclasses.replace(TINY.dram, latency_ns=400.0))
    base = _timeline(TINY, 1, 256, 640, "int8").cycles
    assert _timeline(slower, 1, 256, 640, "int8").cycles > 1.8 * base
    assert _timeline(later, 1, 256, 640, "int8").cycles > base


def test_a_token_that_never_comes_is_an_error() -> None:
    program = compile_gemm(TINY, GemmShape(1, 64, 640), parse_format("int8"))
    stuck = []
    for instruction in program.relative:
        if instruction.opcode is Opcode.MATMUL and not _has_matmul(stuck):
            instruction = _without_signals(instruction)
        stuck.append(instruction)
    with pytest.raises(ValueError, match="never given"):
        simulate_program(TINY, dataclasses.replace(program, relative=tuple(stuck)))


def _has_matmul(instructions) -> bool:
    return any(i.opcode is Opcode.MATMUL for i in instructions)


def _without_signals(instruction):
    """The same instruction, giving no tokens."""
    return type(instruction)(
        instruction.opcode,
        instruction.operands,
        instruction.wait_upstream,
        instruction.wait_downstream,
        False,
        False,
    )


def test_a_slow_bus_is_busy_between_its_beats() -> None:
    """At 20 cycles a beat the bus is reserved in nearly every cycle, and so says the timeline."""
    slow = dataclasses.replace(
        TINY,
        dram=dataclasses.replace(
            TINY.dram, bandwidth_bytes_per_second=80_000_000, max_burst_beats=16
        ),
    )
    timeline = _timeline(slow, 1, 512, 512, "int8")
    lines = timeline.read_lines + timeline.write_lines
    assert timeline.memory_cycles == 20 * lines
    assert timeline.weight_window_busy > 0.99
    fetch = sum(span.end - span.start for span in timeline.memory if span.kind == "instruction")
    assert attribute_cycles(timeline)["dependency"] <= fetch


def test_a_long_decode_stream_has_the_efficiency_of_the_technology() -> None:
    """What DDR4 takes from a product of 4096 x 4096 is its refresh and little else."""
    timeline = _timeline(BIG, 1, 4096, 4096, "int8")
    fraction = sequential_fraction(memory_timing(BIG))
    assert 0.94 < fraction < 0.96
    assert timeline.weight_window_busy == pytest.approx(fraction, rel=0.01)
    assert timeline.refreshes == pytest.approx(timeline.cycles / 2340, abs=1)
    ideal = dataclasses.replace(BIG, dram=dataclasses.replace(BIG.dram, technology="ideal"))
    best = _timeline(ideal, 1, 4096, 4096, "int8")
    assert best.overhead == []
    assert best.refreshes == best.row_misses == 0
    lost = sum(span.end - span.start for span in timeline.overhead)
    assert 0.95 * lost <= timeline.cycles - best.cycles <= 1.05 * lost


def test_bus_serves_in_order_of_arrival() -> None:
    bus = MemoryBus(TINY)  # 20 cycles of latency, a beat a cycle
    assert bus.read(0, 0, 4) == (20, 23)
    assert bus.read(1, 4, 2) == (24, 25)
    assert bus.write(10, 8, 3) == 29
    assert bus.read(100, 0, 1) == (120, 120)
    half = dataclasses.replace(
        TINY, dram=dataclasses.replace(TINY.dram, bandwidth_bytes_per_second=640_000_000)
    )
    slow = MemoryBus(half)  # 2.5 cycles a beat
    assert slow.read(0, 0, 4) == (20, 28)  # beats at 20, 22.5, 25, 27.5
    assert slow.read(1, 4, 1) == (30, 30)
