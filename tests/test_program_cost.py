"""Costs of large programs, continued from shorter ones, against their whole simulation."""

import dataclasses

import pytest

import sim.cost.program
from designs.files import load_design
from mapping.formats import parse_format
from mapping.isa import Opcode
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from sim.cost.program import program_cost, simulate_gemm

DESIGN = load_design("dense-int8")


@pytest.fixture
def whole(monkeypatch):
    """A function that simulates whole programs, however large."""

    def cost(shape, fmt):
        monkeypatch.setattr(sim.cost.program, "MOST_SLOTS", 1 << 40)
        monkeypatch.setattr(sim.cost.program, "MOST_SLOTS_OF_ONE", 1 << 40)
        simulate_gemm.cache_clear()
        found = simulate_gemm(DESIGN, shape, fmt)
        monkeypatch.undo()
        simulate_gemm.cache_clear()
        return found

    return cost


@pytest.mark.parametrize(
    ("m", "n", "k", "weights"),
    [
        (1, 47184, 4096, "int8_g64"),
        (2, 200000, 2048, "int4"),
        (300, 7530, 4096, "int4"),
        (200, 4096, 11008, "int8"),
        (70, 9999, 5120, "int4_g128"),
        (1000, 2560, 4096, "int8"),
    ],
)
def test_continued_programs_agree_with_whole_ones(whole, m, n, k, weights):
    shape, fmt = GemmShape(m, n, k), parse_format(weights)
    simulate_gemm.cache_clear()
    short, full = simulate_gemm(DESIGN, shape, fmt), whole(shape, fmt)
    assert full.exact
    assert not short.exact
    assert short.cycles == pytest.approx(full.cycles, rel=0.01)
    assert short.dram_bytes == pytest.approx(full.dram_bytes, rel=0.001)
    assert short.compute_cycles == pytest.approx(full.compute_cycles, rel=0.001)
    assert sum(short.reasons.values()) == short.cycles
    assert min(short.reasons.values()) >= 0


def test_small_programs_are_simulated_whole():
    cost = simulate_gemm(DESIGN, GemmShape(6, 200, 512), parse_format("int8"))
    assert cost.exact
    assert cost.dram_bytes == sum(cost.lines.values()) * DESIGN.line_bytes


def test_experts_run_one_after_the_other():
    shape, fmt = GemmShape(2, 512, 512), parse_format("int4")
    one, eight = program_cost(DESIGN, shape, fmt, 1), program_cost(DESIGN, shape, fmt, 8)
    assert eight.cycles == 8 * one.cycles
    assert eight.read_bytes == 8 * one.read_bytes
    assert eight.activity.srams[0].reads == 8 * one.activity.srams[0].reads


def test_buffer_accesses_follow_the_steps():
    shape, fmt = GemmShape(4, 64, 256), parse_format("int8")
    cost = program_cost(DESIGN, shape, fmt, 1)
    uses = {use.buffer: use for use in cost.activity.srams}
    steps = 2 * 2 * 16  # token tiles x feature tiles x steps of K
    assert uses["weight"].reads == uses["activation"].reads == steps
    assert uses["weight"].writes * uses["weight"].port_bits / 8 >= 64 * 256
    assert uses["output"].writes == 2 * 2  # tiles of 2 tokens x 32 features


def test_scales_and_partial_sums_are_read_and_written():
    small = dataclasses.replace(
        DESIGN, buffers=dataclasses.replace(DESIGN.buffers, weight_bytes=65536)
    )
    shape, fmt = GemmShape(6, 96, 4096), parse_format("int8_g128")
    program = compile_gemm(small, shape, fmt)
    resumed = [i for i in program.instructions if i.opcode is Opcode.MATMUL and i.accumulate]
    uses = {use.buffer: use for use in program_cost(small, shape, fmt, 1).activity.srams}
    assert resumed
    assert uses["partial"].reads == sum(i.m_tiles * i.n_tiles for i in resumed)
    assert uses["partial"].writes == uses["partial"].reads
    assert uses["scale"].reads == 3 * 3 * 4096 // 128
    whole = {use.buffer: use for use in program_cost(DESIGN, shape, fmt, 1).activity.srams}
    assert whole["partial"].reads == 0
