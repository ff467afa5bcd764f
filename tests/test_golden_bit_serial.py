"""The golden model of bit-serial units against the arithmetic contract, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.spec import Design
from mapping.code_books import encode_special
from mapping.contract import contract_sums
from mapping.formats import parse_format, storage_bits
from mapping.instruction import decode
from mapping.isa import Opcode
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
from sim.attribution import attribute_cycles
from sim.golden import run_program
from sim.timeline import simulate_program

TINY = load_design("bitmod-tiny")
DENSE = load_design("dense-int8-tiny")
LUT = load_design("lut-tiny")
FORMATS = [
    *(f"int{bits}{group}" for bits in range(2, 9) for group in ("", "_g32", "_g64", "_g128")),
    *("ternary", "ternary_g64", "fp4", "fp3", "flint4", "fp4_g64", "fp3_g32", "flint4_g128"),
    *("mxfp4", "mxfp3", "nvfp4", "bitmod_fp4_g128", "bitmod_fp3_g128", "bitmod_fp4_g32"),
    *("fp4_er_g64", "fp4_ea_g64", "fp3_er_g64", "fp3_ea_g64", "bitmod_fp3_g64_sv5_6"),
    "bitmod_fp4_g64_sv3.5_12",
]


def _variant(**unit) -> Design:
    """bitmod-tiny with another unit, and buffers so small that K and the tokens are cut."""
    buffers = dataclasses.replace(TINY.buffers, weight_bytes=8192, scale_bytes=512)
    changed = dataclasses.replace(TINY.unit, **({"tile_m": 0, "tile_n": 0} | unit))
    return dataclasses.replace(TINY, name="variant", unit=changed, buffers=buffers)


VARIANTS = {
    "tiny": TINY,
    "small buffers": _variant(),
    "deep": _variant(lanes_m=1, lanes_n=8, lanes_k=16, scale_bits_per_beat=4),
    "flat": _variant(lanes_m=2, lanes_n=32, lanes_k=2, scale_bits_per_beat=2),
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
    expected = contract_sums(activations, weights, design.unit.lanes_k)
    np.testing.assert_array_equal(sums, expected)
    timeline = simulate_program(design, program)
    assert sum(attribute_cycles(timeline).values()) == timeline.cycles
    return sums


@pytest.mark.parametrize("name", VARIANTS)
def test_random_products(name: str) -> None:
    """Any shape, format and activations: the interpreted program gives the contract's sums."""

    @settings(deadline=None, max_examples=40, database=None, derandomize=True)
    @given(
        m=st.integers(1, 40),
        n=st.integers(1, 140),
        k=st.integers(1, 1000),
        fmt=st.sampled_from(FORMATS),
        activations=st.sampled_from(("int8", "fp16")),
        seed=st.integers(0, 2**32 - 1),
    )
    def run(m, n, k, fmt, activations, seed):
        group = parse_format(fmt).group
        if group is not None:
            k = max(k // group, 1) * group
        _golden(with_activations(VARIANTS[name], activations), m, n, k, fmt, seed)

    run()


@pytest.mark.parametrize("name", FORMATS)
def test_memory_holds_codes_at_their_true_width(name: str) -> None:
    """Codes, scales and numbers of special values take what the format says, where sizes fit."""
    fmt = parse_format(name)
    unit = TINY.unit
    n, k = 8 * unit.lanes_n, 512
    program = compile_gemm(TINY, GemmShape(1, n, k), fmt)
    bits = 8 * TINY.line_bytes * (program.lines.weights + program.lines.scales)
    channel_scales = 32 * n  # on the host
    assert bits == storage_bits(fmt, n, k) - channel_scales


def test_special_values_are_operands_of_the_product() -> None:
    """The four registers, as two terms each; other values need no other hardware."""
    for name, values in (
        ("bitmod_fp4_g128", (10, -10, 16, -16)),
        ("fp3_ea_g128", (12, -12, 0, 0)),
        ("bitmod_fp3_g128_sv5_6", (10, -10, 12, -12)),
        ("fp4_g128", (0, 0, 0, 0)),
    ):
        program = compile_gemm(TINY, GemmShape(1, 16, 128), parse_format(name))
        product = next(i for i in decode(program.binary) if i.opcode is Opcode.MATMUL)
        found = tuple(getattr(product, f"special_{index}") for index in range(4))
        assert found == tuple(encode_special(value) for value in values)
        assert product.special == (name != "fp4_g128")


def test_another_special_value_changes_the_sums() -> None:
    """The numbers stored a group decide: each of the four values is used where it says so."""
    fmt = parse_format("bitmod_fp4_g128")
    values = np.array(fmt.special_values, np.int8)
    special = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    special = np.tile(special, (4, 2))  # (16, 8) groups: every number in every place of a word
    codes = np.repeat(values[special], 128, axis=1)
    scales = np.ones(special.shape, np.uint8)
    weights = QuantisedWeights(fmt, codes, scales, None, np.ones(16, np.float32), special)
    program = compile_gemm(TINY, GemmShape(1, 16, 1024), fmt)
    memory = memory_for(program)
    write_instructions(memory, program)
    write_weights(memory, program, weights)
    write_activations(memory, program, np.ones((1, 1024), np.int8))
    run_program(TINY, program.binary, memory)
    expected = 128 * values[special].astype(np.int64).sum(axis=1)
    np.testing.assert_array_equal(read_sums(memory, program)[0], expected)


def test_a_pass_is_never_too_short() -> None:
    """K = 1 is padded to the shortest pass, which the dequantiser needs."""
    unit = TINY.unit
    for name in ("int8", "int2", "fp3", "int5"):
        fmt = parse_format(name)
        program = compile_gemm(TINY, GemmShape(1, 1, 1), fmt)
        product = next(i for i in decode(program.binary) if i.opcode is Opcode.MATMUL)
        assert product.k_steps * unit.beats(fmt.bits) >= unit.least_group_beats
        assert product.k_steps % unit.step_grain(fmt.bits) == 0
        _golden(TINY, 1, 1, 1, name, 3)


@pytest.mark.parametrize(
    ("design", "weights", "message"),
    [
        (DENSE, "fp4_g32", "dense-int8-tiny: weights: found 'fp4_g32'; .*two's complement codes"),
        (LUT, "bitmod_fp4_g128", "lut-tiny: weights: .*two's complement and odd codes only"),
        (TINY, "bipolar4", "bitmod-tiny: weights: .*bitmod_fp4_gG.*floating and flint codes only"),
        (TINY, "ant4_g128", "bitmod-tiny: weights: found 'ant4_g128'; .*one code book"),
        (TINY, "int4_asym_g128", "bitmod-tiny: weights: .*no zero points"),
        (TINY, "int1", "bitmod-tiny: weights: .*two's complement, floating and flint codes only"),
        (TINY, "int4_g6", "bitmod-tiny: weights: .*steps of that many elements"),
        (TINY, "int2_g16", "bitmod-tiny: weights: .*groups of 2-bit codes from 32 elements on"),
        (TINY, "fp3_g20", "bitmod-tiny: weights: .*from 16 elements on, multiples of 8"),
    ],
)
def test_what_a_unit_cannot_do_is_refused(design, weights, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        compile_gemm(design, GemmShape(2, 8, 1920), parse_format(weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fp4_g128", {"codes": 5}, "weights: codes: .*values of fp4_g128 in halves"),
        ("bitmod_fp4_g128", {"codes": 9}, "weights: codes: .*special value of their group"),
        ("bitmod_fp4_g128", {"codes": 16}, "weights: codes: "),  # another group's
        ("fp3_ea_g128", {"special": 2}, "weights: special: found 2; allowed: numbers below 2"),
    ],
)
def test_codes_that_cannot_be_stored_are_refused(name: str, change: dict, message: str) -> None:
    fmt = parse_format(name)
    program = compile_gemm(TINY, GemmShape(1, 16, 128), fmt)
    weights = random_weights(np.random.default_rng(0), 16, 128, fmt)
    if weights.special is not None:
        weights.special[:] = 0
        weights.codes[:] = 0
    for field, value in change.items():
        getattr(weights, field)[3, 0] = value
    with pytest.raises(InputError, match=message):
        write_weights(memory_for(program), program, weights)


@pytest.mark.parametrize(("name", "k"), [("int2", 1000), ("int8", 1000), ("int3", 1000)])
@pytest.mark.parametrize("weight_bytes", [512, 1024, 2048])
def test_small_buffers_give_runnable_programs_or_one_line(name, k, weight_bytes) -> None:
    """Chunks of K are never shorter than the unit takes; else the buffer is named."""
    buffers = dataclasses.replace(TINY.buffers, weight_bytes=weight_bytes)
    for unit in ({}, {"lanes_m": 4, "lanes_n": 8, "lanes_k": 16}):
        changed = dataclasses.replace(TINY.unit, **({"tile_m": 0, "tile_n": 0} | unit))
        refused = ""
        try:
            design = dataclasses.replace(TINY, name="small", unit=changed, buffers=buffers)
            program = compile_gemm(design, GemmShape(1, 16, k), parse_format(name))
        except InputError as error:
            refused = str(error)
        if refused:
            assert "buffers.weight_bytes" in refused
            continue
        check(program)
        _golden(design, 1, 16, k, name, 5)
