"""The golden model of lookup units against the arithmetic contract, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.parts import Formats
from designs.spec import Design
from mapping.contract import contract_sums
from mapping.formats import parse_format
from mapping.half_precision import half_scale
from mapping.program import check, compile_gemm
from mapping.quantise import QuantisedWeights
from mapping.tiling import GemmShape
from silicast.memory import (
    clear_outputs,
    memory_for,
    read_sums,
    write_activations,
    write_instructions,
    write_weights,
)
from silicast.simulation import with_activations
from silicast.verification import random_activations, random_weights
from sim.cost.program import simulate_gemm
from sim.golden import run_program
from sim.golden_products import scale_groups
from sim.timeline import simulate_program

TINY = load_design("lut-tiny")
BIG = load_design("lut-int8")
DENSE = load_design("dense-int8-tiny")
FORMATS = [
    *(f"int{bits}{group}" for bits in (1, 2, 3, 4, 8) for group in ("", "_g32", "_g128")),
    *("ternary", "ternary_g64", "bipolar2", "bipolar3_g32", "bipolar4_g128"),
    *("bcq1_g32", "bcq2_g64", "bcq3_g128", "bcq3_asym_g32", "bcq4_g32"),
]


def _variant(**unit) -> Design:
    """lut-tiny with another unit, and buffers so small that K and the tokens are cut."""
    buffers = dataclasses.replace(TINY.buffers, weight_bytes=4096, scale_bytes=512)
    changed = dataclasses.replace(TINY.unit, **unit)
    return dataclasses.replace(TINY, name="variant", unit=changed, buffers=buffers)


VARIANTS = {
    "tiny": TINY,
    "small buffers": _variant(),
    "quantised": _variant(table_bits=8),
    "flat": _variant(lanes_m=4, lanes_n=4, lanes_k=4),
    "deep": _variant(lanes_m=1, lanes_n=8, lanes_k=32, max_k=2048),
    "deep quantised": _variant(lanes_m=1, lanes_n=8, lanes_k=32, max_k=2048, table_bits=8),
}


def _golden(design: Design, m: int, n: int, k: int, name: str, seed: int) -> np.ndarray:
    fmt = parse_format(name)
    program = compile_gemm(design, GemmShape(m, n, k), fmt)
    check(program)
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, n, k, fmt)
    activations = random_activations(rng, m, k, design.activations)
    memory = memory_for(program)
    write_instructions(memory, program)
    write_weights(memory, program, weights)
    write_activations(memory, program, activations)
    clear_outputs(memory, program)
    run_program(design, program.binary, memory)
    sums = read_sums(memory, program)
    unit = design.unit
    expected = contract_sums(activations, weights, unit.lanes_k, unit.table_bits)
    np.testing.assert_array_equal(sums, expected)
    return sums


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_equals_the_contract(variant: str) -> None:
    """Every format with both activations on odd sizes: packing, replays, planes, tables, scales."""

    @settings(deadline=None, max_examples=40, database=None)
    @given(
        m=st.integers(1, 9),
        n=st.integers(1, 40),
        k=st.integers(1, 600),
        name=st.sampled_from(FORMATS),
        activations=st.sampled_from(["int8", "fp16"]),
        seed=st.integers(0, 2**32 - 1),
    )
    def run(m, n, k, name, activations, seed):
        fmt = parse_format(name)
        if fmt.group is not None:
            k = max(k // fmt.group, 1) * fmt.group
        _golden(with_activations(VARIANTS[variant], activations), m, n, k, name, seed)

    run()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("activations", ["int8", "fp16"])
def test_every_pair(name: str, activations: str) -> None:
    """No pair is left to chance; a K of several groups and of no whole step."""
    k = 256 if parse_format(name).group else 203
    sums = _golden(with_activations(TINY, activations), 3, 21, k, name, 5)
    assert len(np.unique(sums)) > 10


def test_scaling_of_half_precision_sums_is_exact() -> None:
    """(sum * scale + 128) >> 8 by halves equals Python's integers, up to the largest sums."""
    rng = np.random.default_rng(1)
    sums = rng.integers(-(1 << 62), 1 << 62, (2, 3, 50))
    sums[0, 0, :4] = [(1 << 62) - 1, -(1 << 62), 127, -129]
    scales = rng.integers(0, 256, (2, 3, 1))
    expected = [
        [(int(v) * int(s) + 128) >> 8 for v in row]
        for plane, weights in zip(sums, scales, strict=True)
        for row, (s,) in zip(plane, weights, strict=True)
    ]
    found = scale_groups(sums, scales, True).reshape(-1, 50)
    assert found.tolist() == expected


def test_half_precision_is_near_float64() -> None:
    """Aligning costs less than rounding the product to FP16 would."""
    design = with_activations(TINY, "fp16")
    fmt = parse_format("int4_g64")
    rng = np.random.default_rng(2)
    weights = random_weights(rng, 64, 1024, fmt)
    activations = rng.standard_normal((16, 1024)).astype(np.float16)
    sums = contract_sums(activations, weights, design.unit.lanes_k) * half_scale(fmt)
    exact = activations.astype(float) @ weights.dequantise().astype(float).T
    error = np.sqrt(np.mean((sums - exact) ** 2) / np.mean(exact**2))
    assert 0 < error < 2.0**-12


@pytest.mark.parametrize(
    ("design", "activations", "weights", "message"),
    [
        (DENSE, "int8", "bipolar4", "dense-int8-tiny: weights: found 'bipolar4'; .*two's compl"),
        (DENSE, "int8", "int2", "dense-int8-tiny: weights: found 'int2'; .*no other code widths"),
        (DENSE, "fp16", "int8", "simulate: activations: found 'fp16'; allowed: int8"),
        (DENSE, "int8", "bcq2_g32", "dense-int8-tiny: weights: found 'bcq2_g32'; "),
        (TINY, "int4", "int8", "simulate: activations: found 'int4'; allowed: int8 or fp16"),
        (TINY, "int8", "int5", "lut-tiny: weights: found 'int5'; .*no other code widths"),
        (TINY, "int8", "int4_g12", "lut-tiny: weights: found 'int4_g12'; .*steps of that many"),
        (TINY, "int8", "int4_asym_g32", "lut-tiny: weights: .*no zero points"),
    ],
)
def test_what_a_unit_cannot_do_is_refused(design, activations, weights, message) -> None:
    def compile_it() -> None:
        compile_gemm(with_activations(design, activations), GemmShape(2, 8, 64), fmt)

    fmt = parse_format(weights)
    with pytest.raises(InputError, match=message):
        compile_it()


@pytest.mark.parametrize(
    ("bits", "max_k", "table_bits", "name"),
    [
        (8, 1 << 15, 0, "int8"),
        (8, 1 << 15, 8, "int8"),
        (4, 1 << 19, 0, "bipolar4"),
        (4, 1 << 19, 8, "int4"),
        (7, 1 << 16, 0, "bipolar7"),
    ],
)
def test_the_longest_reduction_of_the_largest_values(bits, max_k, table_bits, name) -> None:
    """All operands at the ends of their range over all of max_k, in one instruction."""
    unit = dataclasses.replace(
        TINY.unit,
        lanes_m=1,
        lanes_n=8,
        lanes_k=32,
        weight_bits=(bits,),
        max_k=max_k,
        table_bits=table_bits,
    )
    buffers = dataclasses.replace(
        TINY.buffers, weight_bytes=1 << 23, activation_bytes=1 << 20, output_bytes=1 << 14
    )
    design = with_activations(dataclasses.replace(TINY, unit=unit, buffers=buffers), "fp16")
    fmt = parse_format(name)
    program = compile_gemm(design, GemmShape(1, 4, max_k), fmt)
    low, high = min(fmt.code_values), max(fmt.code_values)
    low = low if fmt.bipolar else -(1 << (bits - 1))
    codes = np.repeat(np.array([[low], [high], [low], [high]], np.int8), max_k, axis=1)
    weights = QuantisedWeights(fmt, codes, None, None, np.ones(4, np.float32))
    activations = np.full((1, max_k), -65504, np.float16)
    memory = memory_for(program)
    write_instructions(memory, program)
    write_weights(memory, program, weights)
    write_activations(memory, program, activations)
    run_program(design, program.binary, memory)
    expected = [-65504 * 2**24 * max_k * int(code) for code in codes[:, 0]]
    if not table_bits:
        assert read_sums(memory, program)[0].tolist() == expected
    contract = contract_sums(activations, weights, unit.lanes_k, table_bits)
    assert read_sums(memory, program)[0].tolist() == contract[0].tolist()


def test_planes_must_fit_the_accumulator() -> None:
    """Three planes of a unit sized for one-bit codes sum three times as far."""
    unit = dataclasses.replace(TINY.unit, weight_bits=(1,), activations=("int8",), max_k=1024)
    design = dataclasses.replace(TINY, unit=unit)
    with pytest.raises(InputError, match="K: found 1024; allowed: at most 342 with 3 planes"):
        compile_gemm(design, GemmShape(1, 8, 1024), parse_format("bcq3_g32"))
    compile_gemm(design, GemmShape(1, 8, 320), parse_format("bcq3_g32"))


def test_an_infinite_activation_is_refused() -> None:
    design = with_activations(TINY, "fp16")
    program = compile_gemm(design, GemmShape(1, 8, 8), parse_format("int4"))
    memory = memory_for(program)
    with pytest.raises(InputError, match="finite"):
        write_activations(memory, program, np.full((1, 8), np.inf, np.float16))


def test_a_design_must_have_activations_its_unit_takes() -> None:
    with pytest.raises(InputError, match=r"formats\.activation_bits: found 16; allowed: 8 with"):
        dataclasses.replace(DENSE, formats=Formats(activation_bits=16))
    half = dataclasses.replace(TINY.unit, activations=("fp16",))
    with pytest.raises(InputError, match=r"formats\.activation_bits: found 8; allowed: 16 with"):
        dataclasses.replace(TINY, unit=half)


def test_formats_do_not_change_the_hardware() -> None:
    """One build serves both activations: the identity in the register map is the same."""
    assert with_activations(TINY, "fp16").digest == TINY.digest


@pytest.mark.parametrize("design", [TINY, BIG], ids=lambda d: d.name)
def test_compute_cycles_follow_the_planes(design: Design) -> None:
    """A word a plane and step: compute cycles are exactly proportional to the weights' bits."""
    shape = GemmShape(16, 4 * design.unit.lanes_n, 512)
    cycles = {b: simulate_gemm(design, shape, parse_format(f"int{b}")) for b in (1, 2, 3, 4, 8)}
    one = cycles[1].compute_cycles
    assert {b: cost.compute_cycles for b, cost in cycles.items()} == {b: b * one for b in cycles}
    assert cycles[1].lines["weight"] * 8 == cycles[8].lines["weight"]


def test_exposed_tables_have_their_reason() -> None:
    """Only the first tables of a product are waited for, and a unit without tables has none."""
    program = compile_gemm(TINY, GemmShape(4, 40, 256), parse_format("int2"))
    assert simulate_program(TINY, program).table_latency == 3  # FP16 alignment: 2, sums: 1
    cost = simulate_gemm(TINY, GemmShape(4, 40, 256), parse_format("int2"))
    assert cost.reasons["table"] == 3
    assert sum(cost.reasons.values()) == cost.cycles
    dense = simulate_gemm(DENSE, GemmShape(4, 40, 256), parse_format("int8"))
    assert dense.reasons["table"] == 0


def test_iso_throughput_with_dense_int8() -> None:
    """lut-int8 multiplies as many 8-bit weights a cycle as dense-int8 does."""
    dense = load_design("dense-int8").unit
    assert BIG.unit.macs / BIG.unit.beats(8) == dense.macs / dense.beats(8)
