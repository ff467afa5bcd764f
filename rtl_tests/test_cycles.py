"""The claim of the project: same bits as the golden model, the cycles the simulator promised.

Random products on the fast runner. Cycles are compared exactly, where 1 % would be allowed.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.spec import Design
from hwgen.verilated.runner import VerilatedAccelerator
from mapping.contract import contract_sums
from mapping.formats import WeightFormat, parse_format
from mapping.program import check, compile_gemm
from mapping.quantise import QuantisedWeights
from mapping.tiling import GemmShape, choose_weight_tiling
from rtl_tests.odd_designs import ODD_DESIGNS
from silicast.memory import (
    clear_outputs,
    read_sums,
    write_activations,
    write_instructions,
    write_weights,
)
from silicast.simulation import with_activations
from silicast.verification import random_activations, random_weights, verify
from sim.attribution import attribute_cycles
from sim.golden import run_program
from sim.timeline import simulate_program

pytestmark = pytest.mark.rtl

TINY = load_design("dense-int8-tiny")
BIG = load_design("dense-int8")
LUT = load_design("lut-tiny")
BITMOD = load_design("bitmod-tiny")
LIBRARY = (TINY, BIG, LUT, BITMOD)
MEMORY_BYTES = 16 << 20
COUNTS = {
    "dense-int8-tiny": 6,
    "dense-int8": 6,
    "lut-tiny": 26,
    "bitmod-tiny": 39,
    "two-channels": 6,
    "wide-line": 3,
    "flat-tile": 3,
    "ddr4": 6,
    "hbm2": 6,
    "short-rows": 6,
    "lut-tables": 14,
    "lut-flat": 17,
    "lut-long": 23,
    "serial-short": 28,
    "serial-tiles": 19,
    "serial-long": 16,
}
"""Formats of the matrix that each design takes."""


@pytest.fixture(scope="module")
def machines():
    """One simulated accelerator a design, made on first use."""
    made: dict[str, VerilatedAccelerator] = {}

    def machine(design: Design) -> VerilatedAccelerator:
        if design.name not in made:
            lines = MEMORY_BYTES // design.line_bytes
            memory = np.zeros((lines, design.line_bytes), np.uint8)
            made[design.name] = VerilatedAccelerator(design, memory)
        return made[design.name]

    yield machine
    for accelerator in made.values():
        accelerator.close()


def prove(
    machine,
    design: Design,
    shape: GemmShape,
    fmt: WeightFormat,
    seed: int,
    activations_format: str = "int8",
):
    """One product on every executor; the timeline and the hardware's counters."""
    accelerator = machine(design)
    design = with_activations(design, activations_format)
    program = compile_gemm(design, shape, fmt)
    check(program)
    generator = np.random.default_rng(seed)
    codes = random_weights(generator, shape.n, shape.k, fmt)
    activations = random_activations(generator, shape.m, shape.k, activations_format)
    memory = accelerator.memory
    write_instructions(memory, program)
    write_weights(memory, program, codes)
    write_activations(memory, program, activations)
    clear_outputs(memory, program)
    golden = memory.copy()
    run_program(design, program.binary, golden)
    timeline = simulate_program(design, program)
    limit = 2 * timeline.cycles + 10_000
    counters = accelerator.run(program.placement.program_line, program.blocks, limit)

    table_bits = getattr(design.unit, "table_bits", 0)
    expected = contract_sums(activations, codes, design.unit.lanes_k, table_bits)
    np.testing.assert_array_equal(read_sums(golden, program), expected)
    np.testing.assert_array_equal(read_sums(memory, program), expected)
    assert timeline.cycles == counters.cycles
    assert timeline.compute_cycles == counters.compute_busy
    assert timeline.read_lines == counters.read_lines
    assert timeline.write_lines == counters.write_lines
    assert timeline.weight_lines == counters.weight_lines
    assert timeline.weight_window == counters.weight_window
    assert sum(attribute_cycles(timeline).values()) == counters.cycles
    return timeline, counters


def formats_of(design: Design) -> list[str]:
    """Formats the verification matrix holds for a design: all it takes of these."""
    names = [f"int{bits}{group}" for bits in range(1, 9) for group in ("", "_g32", "_g128")]
    names += [f"bipolar{bits}{group}" for bits in range(2, 8) for group in ("", "_g64")]
    names += ["ternary", "ternary_g64", "bcq2_g32", "bcq3_g128", "bcq2_asym_g64"]
    names += [f"{book}{group}" for book in ("fp4", "fp3", "flint4") for group in ("", "_g64")]
    names += ["mxfp4", "mxfp3", "nvfp4", "bitmod_fp4_g128", "bitmod_fp3_g128", "fp4_er_g64"]
    names += ["fp3_ea_g32", "bitmod_fp4_g32", "bitmod_fp3_g64_sv5_7", "bitmod_fp4_g64_sv3.5_12"]
    return [name for name in names if _takes(design, parse_format(name))]


def _takes(design: Design, fmt: WeightFormat) -> bool:
    design = with_activations(design, design.unit.activation_formats[0])
    try:
        choose_weight_tiling(design, 1, fmt.group or 128, fmt)
    except InputError:
        return False
    return True


def test_the_matrix_is_not_empty() -> None:
    """A refusal by mistake would take a format out of the tests below."""
    counts = {design.name: len(formats_of(design)) for design in (*LIBRARY, *ODD_DESIGNS.values())}
    assert counts == COUNTS


@pytest.mark.parametrize("design", [*LIBRARY, *ODD_DESIGNS.values()], ids=lambda d: d.name)
def test_random_products(machines, design: Design) -> None:
    """M in 1..64, N in 1..512, K in 1..2048, every format of the design."""

    @settings(deadline=None, max_examples=50 if design in LIBRARY else 25, database=None)
    @given(
        m=st.integers(1, 64),
        n=st.integers(1, 512),
        k=st.integers(1, 2048),
        name=st.sampled_from(formats_of(design)),
        activations=st.sampled_from(design.unit.activation_formats),
        seed=st.integers(0, 2**32 - 1),
    )
    def run(m, n, k, name, activations, seed):
        fmt = parse_format(name)
        if fmt.group is not None:
            k = max(k // fmt.group, 1) * fmt.group
        if design in ODD_DESIGNS.values():
            m, n, k = min(m, 24), min(n, 130), min(k, 640)
        prove(machines, design, GemmShape(m, n, k), fmt, seed, activations)

    run()


@pytest.mark.parametrize("activations", ["int8", "fp16"])
@pytest.mark.parametrize("name", ["int1", "int2", "int3", "int4", "int8", "ternary"])
@pytest.mark.parametrize("shape", [(7, 37, 201), (1, 130, 96), (5, 16, 8), (1, 1, 1)], ids=str)
def test_every_pair_of_the_lookup_unit(machines, shape, name: str, activations: str) -> None:
    """Every weight x activation pair, whole K and groups, sizes that divide nothing."""
    prove(machines, LUT, GemmShape(*shape), parse_format(name), 8, activations)
    m, n, k = shape
    grouped = GemmShape(m, n, max(1, k // 40) * 40)
    prove(machines, LUT, grouped, parse_format(f"{name}_g40"), 9, activations)


@pytest.mark.parametrize("activations", ["int8", "fp16"])
@pytest.mark.parametrize("name", formats_of(BITMOD))
def test_every_pair_of_the_bit_serial_unit(machines, name: str, activations: str) -> None:
    """Every weight x activation pair, sizes that divide nothing where groups allow it."""
    fmt = parse_format(name)
    for m, n, k in ((7, 37, 201), (1, 130, 96), (5, 16, 8), (1, 1, 1)):
        if fmt.group is not None:
            k = max(k // fmt.group, 1) * fmt.group
        prove(machines, BITMOD, GemmShape(m, n, k), fmt, 8, activations)


def test_cycles_follow_the_beats_of_a_format(machines) -> None:
    """A compute-bound product on the RTL: 4, 3, 2 and 2 cycles for INT8, INT6, FP4 and FP3."""
    shape = GemmShape(64, 256, 1024)
    beats = {"int8_g128": 4, "int6_g128": 3, "bitmod_fp4_g128": 2, "bitmod_fp3_g128": 2}
    steps = -(-shape.m // BITMOD.unit.lanes_m) * -(-shape.n // BITMOD.unit.lanes_n)
    steps *= shape.k // BITMOD.unit.lanes_k
    for name, each in beats.items():
        for activations in ("int8", "fp16"):
            found = prove(machines, BITMOD, shape, parse_format(name), 10, activations)
            timeline, counters = found
            assert counters.compute_busy == steps * each
            assert attribute_cycles(timeline)["compute"] > 0.95 * counters.cycles


def test_bipolar_times_bipolar(machines) -> None:
    """Odd codes of both operands: the sums that XOR and popcount give plane by plane.

    ``Y = sum_ij 2^(i+j) (K - 2 popcount(W_i ^ X_j))`` (Ma et al., arXiv 2409.17870).
    """
    m, n, k, weight_bits, activation_bits = 5, 37, 192, 3, 4
    fmt = parse_format(f"bipolar{weight_bits}")
    program = compile_gemm(LUT, GemmShape(m, n, k), fmt)
    rng = np.random.default_rng(12)
    left = rng.integers(0, 1 << weight_bits, (n, k))  # unsigned codes: bit 1 is +1
    right = rng.integers(0, 1 << activation_bits, (m, k))
    codes = (2 * left - (1 << weight_bits) + 1).astype(np.int8)
    tokens = (2 * right - (1 << activation_bits) + 1).astype(np.int8)
    memory = machines(LUT).memory
    write_instructions(memory, program)
    weights = QuantisedWeights(fmt, codes, None, None, np.ones(n, np.float32))
    write_weights(memory, program, weights)
    write_activations(memory, program, tokens)
    clear_outputs(memory, program)
    machines(LUT).run(program.placement.program_line, program.blocks, 100_000)
    expected = np.zeros((m, n), np.int64)
    for i, j in np.ndindex(weight_bits, activation_bits):
        differ = (left[None] >> i & 1) ^ (right[:, None] >> j & 1)
        expected += (k - 2 * differ.sum(axis=2)) << (i + j)
    np.testing.assert_array_equal(read_sums(memory, program), expected)


def test_cycles_are_proportional_to_weight_planes(machines) -> None:
    """A compute-bound product on the RTL: 1 : 2 : 4 : 8 within 3 %."""
    shape = GemmShape(64, 512, 1024)
    cycles = {}
    for bits in (1, 2, 4, 8):
        timeline, counters = prove(machines, LUT, shape, parse_format(f"int{bits}"), 10)
        assert attribute_cycles(timeline)["compute"] > 0.97 * counters.cycles
        cycles[bits] = counters.cycles
    for bits, found in cycles.items():
        assert found / cycles[1] == pytest.approx(bits, rel=0.03)


@pytest.mark.parametrize("name", ["int8", "int4"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (64, 1, 1), (1, 512, 1), (1, 1, 2048), (63, 509, 33), (1, 511, 2047), (2, 8, 8)],
    ids=str,
)
def test_edges_of_the_range(machines, shape, name: str) -> None:
    prove(machines, TINY, GemmShape(*shape), parse_format(name), 1)


@pytest.mark.parametrize("name", ["int8", "int4", "int4_g128", "int4_g64"])
@pytest.mark.parametrize(("n", "k"), [(1024, 640), (640, 2048)])
@pytest.mark.parametrize("design", [TINY, BIG], ids=lambda d: d.name)
def test_decode_keeps_the_channel_busy(machines, design, n: int, k: int, name: str) -> None:
    """M = 1: memory is busy in at least 90 % of the cycles from first to last weight byte."""
    timeline, counters = prove(machines, design, GemmShape(1, n, k), parse_format(name), 2)
    assert timeline.weight_window_busy >= 0.90
    assert counters.weight_window_lines >= 0.90 * counters.weight_window


@pytest.mark.parametrize("design", [TINY, ODD_DESIGNS["short-rows"]], ids=lambda d: d.name)
def test_programs_follow_each_other(machines, design: Design) -> None:
    """A second run of the same program on the same machine takes the same cycles."""
    program = GemmShape(3, 40, 100)
    first = prove(machines, design, program, parse_format("int8"), 3)[1]
    prove(machines, design, GemmShape(9, 70, 256), parse_format("int4_g32"), 4)
    assert prove(machines, design, program, parse_format("int8"), 5)[1] == first


@pytest.mark.parametrize("name", ["ddr4", "hbm2", "short-rows"])
def test_rows_refresh_and_turnaround_are_met(machines, name: str) -> None:
    """The products above are not too small for what a real memory does."""
    shape = GemmShape(24, 130, 640)
    timeline, _ = prove(machines, ODD_DESIGNS[name], shape, parse_format("int8_g32"), 6)
    assert timeline.refreshes >= 3
    assert timeline.row_misses > 5
    assert timeline.turnarounds > 3


def test_verify_agrees(machines) -> None:
    result = verify(TINY, 5, 40, 256, "int4_g128", seed=7)
    assert result.passed
    assert result.cycles_simulated == result.cycles_rtl
    assert result.outputs == 200


def test_a_wrong_bit_is_seen(machines) -> None:
    """The comparison can fail: one changed weight byte changes a sum."""
    program = compile_gemm(TINY, GemmShape(1, 8, 8), parse_format("int8"))
    accelerator = machines(TINY)
    generator = np.random.default_rng(0)
    codes = random_weights(generator, 8, 8, parse_format("int8"))
    activations = np.full((1, 8), 3, np.int8)
    write_instructions(accelerator.memory, program)
    write_weights(accelerator.memory, program, codes)
    write_activations(accelerator.memory, program, activations)
    accelerator.memory[program.placement.weight_line, 0] ^= 1
    accelerator.run(program.placement.program_line, program.blocks, 10_000)
    sums = read_sums(accelerator.memory, program)
    assert (sums != contract_sums(activations, codes, TINY.unit.lanes_k)).sum() == 1
