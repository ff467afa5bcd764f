"""Weight formats and quantisation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import silicast
from designs.errors import InputError
from mapping.formats import WeightFormat, list_formats, parse_format, storage_bits
from mapping.quantise import (
    QuantisedWeights,
    exact_sums,
    expand_activations,
    quantise,
    quantise_activations,
    scale_sums,
)


def _weights(seed: int, n: int, k: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, k)).astype(np.float32)


def test_names_round_trip():
    for fmt in list_formats():
        assert parse_format(fmt.name) == fmt
    assert parse_format("int4_asym_g96") == WeightFormat("int4_asym_g96", 4, 96, True)
    assert parse_format("int8").group is None
    assert parse_format("int1_g64") == WeightFormat("int1_g64", 1, 64, False, "bipolar")
    assert parse_format("bipolar3") == WeightFormat("bipolar3", 3, None, False, "bipolar")
    assert parse_format("ternary_g32") == WeightFormat("ternary_g32", 2, 32, False, "ternary")
    assert parse_format("bcq3_g64") == WeightFormat("bcq3_g64", 1, 64, False, "bcq", planes=3)
    assert parse_format("bcq3_asym_g64").planes == 4


@pytest.mark.parametrize(
    ("name", "codes", "stored", "bipolar"),
    [
        ("int4", (-7, 7), range(-8, 8), False),
        ("int2_asym", (0, 3), range(4), False),
        ("int1", (-1, 1), (-1, 1), True),
        ("bipolar3", (-7, 7), (-7, -5, -3, -1, 1, 3, 5, 7), True),
        ("ternary", (-1, 1), (-1, 0, 1), False),
        ("bcq2_asym_g8", (-1, 1), (-1, 1), True),
        ("int8_asym", (-128, 127), range(-128, 128), False),
        ("fp3", (-8, 8), (-8, -4, -2, 0, 2, 4, 8), False),
        ("bitmod_fp4", (-12, 12), (-12, -8, -6, *range(-4, 5), 6, 8, 12), False),
        ("flint4", (-16, 16), (-16, -8, -6, *range(-4, 5), 6, 8, 16), False),
    ],
)
def test_codes_of_a_format(name, codes, stored, bipolar):
    fmt = parse_format(name)
    assert (fmt.lowest, fmt.highest) == codes
    assert fmt.code_values == tuple(stored)
    assert fmt.bipolar == bipolar
    assert fmt.executable


def test_what_can_be_run_and_what_can_be_quantised():
    for name in ("fp16", "ant5", "olive4"):
        assert not parse_format(name).executable
        assert not parse_format(name).quantisable
    assert not parse_format("ant4_g128").executable
    assert parse_format("ant4_g128").quantisable
    for name in ("bitmod_fp4_g64", "mxfp4", "nvfp4", "flint4", "int8_asym"):
        assert parse_format(name).executable
        assert parse_format(name).quantisable


def test_special_values_of_a_name():
    """In halves, the positive one of each pair first (BitMoD's order: er+, er-, ea+, ea-)."""
    assert parse_format("bitmod_fp4").name == "bitmod_fp4_g128"
    assert parse_format("bitmod_fp4_g64").special_values == (10, -10, 16, -16)
    assert parse_format("bitmod_fp3").special_values == (6, -6, 12, -12)
    assert parse_format("fp4_er").special_values == (10, -10)
    assert parse_format("fp3_ea_g32").special_values == (12, -12)
    assert parse_format("bitmod_fp4_sv5_8") == parse_format("bitmod_fp4_g128")
    assert parse_format("bitmod_fp3_g128_sv5_6").special_values == (10, -10, 12, -12)
    assert parse_format("bitmod_fp4_g32_sv3.5_12").special_values == (7, -7, 24, -24)


@pytest.mark.parametrize(
    "name",
    [
        *("bitmod_fp4_sv5_5", "bitmod_fp4_sv0_5", "bitmod_fp4_sv1.25_5", "fp4_er_sv5_8"),
        "bitmod_fp4_sv6_8",  # a value that FP4 has
    ],
)
def test_special_values_are_two_different_magnitudes(name):
    with pytest.raises(InputError, match=r"allowed: bitmod_fp4_gG_svA_B with two different"):
        parse_format(name)


def test_special_values_must_be_sums_of_two_terms():
    with pytest.raises(
        InputError, match=r"weight format: found 'bitmod_fp4_sv5.5_8'; .*values \+- one of 0, 0\.5"
    ):
        parse_format("bitmod_fp4_sv5.5_8")


@pytest.mark.parametrize(
    "name",
    [
        *("int9", "int0", "int4_g0", "int4_g", "int04", "INT8", "int9_asym", "fp5", "", None),
        *("bitmod_fp5", "bitmod_fp4_g0", "fp4_eb", "flint3", "mxfp4_g32", "nvfp4_g16", "ant4_g0"),
        *("bitmod_fp4_sv5", "bitmod_fp4_sv5_8_g64", "bitmod_fp4_sv._8", "fp4_asym_g32"),
        *("int1_asym", "bipolar1", "bipolar8", "bcq3", "bcq5_g8", "ternary_asym", "bcq_asym_g8"),
    ],
)
def test_unknown_names_list_what_is_allowed(name):
    with pytest.raises(InputError, match=r"allowed: int8 \.\.\. int1, ternary, ") as error:
        parse_format(name)
    assert error.value.found == name


def test_k_must_be_divisible_by_the_group():
    with pytest.raises(InputError, match=r"int4_g128: K: found 640\d*1; .*multiple of the group"):
        quantise(_weights(0, 2, 6401), parse_format("int4_g128"))


def test_weights_must_be_finite_and_two_dimensional():
    weights = _weights(0, 4, 64)
    weights[2, 3] = np.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        quantise(weights, parse_format("int8"))
    with pytest.raises(InputError, match="shape"):
        quantise(weights[0], parse_format("int8"))
    with pytest.raises(InputError, match="NaN or infinity"):
        quantise_activations(weights)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(2, 8),
    group=st.sampled_from([None, 4, 16, 32]),
    asymmetric=st.booleans(),
    magnitude=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
)
def test_codes_are_in_range_and_near_the_weights(seed, bits, group, asymmetric, magnitude):
    suffix = "" if group is None else f"_g{group}"
    if bits == 2:
        asymmetric = True  # symmetric ones are clipped: tests/test_binary_codes.py
    fmt = parse_format(f"int{bits}{'_asym' if asymmetric else ''}{suffix}")
    weights = _weights(seed, 5, 96) * np.float32(magnitude)
    weights[3] = 0
    weights[4, :32] = 0
    found = quantise(weights, fmt)
    assert found.codes.dtype == np.int8
    assert found.codes.min() >= fmt.lowest
    assert found.codes.max() <= fmt.highest
    assert (found.scales is None) == (group is None)
    assert (found.zeros is None) == (not asymmetric)
    if found.zeros is not None:
        assert found.zeros.dtype == np.int8
        assert found.zeros.min() >= fmt.lowest
        assert found.zeros.max() <= fmt.highest
    if found.scales is not None:
        assert found.scales.min() >= 1
    assert found.channel_scale.dtype == np.float32
    assert found.channel_scale[3] == 1
    groups = fmt.groups(96)
    parts = weights.reshape(5, groups, -1).astype(np.float64)
    if asymmetric:
        width = np.maximum(parts.max(2), 0) - np.minimum(parts.min(2), 0)
    else:
        width = 2 * np.abs(parts).max(2)
    error = np.abs(found.dequantise().reshape(parts.shape) - parts).max(2)
    # half a code, the rounding of the zero point, and half of 1/255 of the channel at the ends
    codes = fmt.highest - fmt.lowest
    allowed = width / codes * (1.01 if asymmetric else 0.501)
    allowed += 0 if group is None else width.max(axis=1, keepdims=True) / 255
    assert (error <= allowed + 1e-37).all()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(
        [
            *("int8", "int4", "int4_g4", "int3_g16", "int4_asym_g8", "int2_asym"),
            *("int8_asym_g16", "int8_asym", "fp4_g16", "flint4", "bitmod_fp4_g16", "nvfp4"),
            *("int1", "int1_g8", "bipolar7", "bipolar3_g16", "ternary", "ternary_g8"),
        ]
    ),
    k=st.sampled_from([16, 48, 2048]),
)
def test_exact_sums_are_the_contract(seed, name, k):
    rng = np.random.default_rng(seed)
    weights = quantise(rng.standard_normal((3, k)), parse_format(name))
    activations = rng.integers(-128, 128, (4, k)).astype(np.int8)
    groups = weights.fmt.groups(k)
    codes = weights.codes.astype(np.int64).reshape(3, groups, -1)
    if weights.zeros is not None:
        codes = codes - weights.zeros[:, :, None].astype(np.int64)
    if weights.scales is not None:
        codes = codes * weights.scales[:, :, None].astype(np.int64)
    expected = activations.astype(np.int64) @ codes.reshape(3, k).T
    assert np.array_equal(exact_sums(activations, weights), expected)


@pytest.mark.parametrize("name", ["bcq1_g8", "bcq2_g16", "bcq3_asym_g8", "bcq4_g48"])
def test_sums_of_planes_are_sums_of_weights(name):
    rng = np.random.default_rng(3)
    fmt = parse_format(name)
    weights = quantise(rng.standard_normal((5, 48)), fmt)
    assert (weights.k, weights.expanded_k) == (48, 48 * fmt.planes)
    activations = rng.integers(-128, 128, (4, 48)).astype(np.int8)
    planes = weights.codes.reshape(5, fmt.groups(48), fmt.planes, -1).astype(np.int64)
    scales = weights.scales.reshape(5, fmt.groups(48), fmt.planes, 1).astype(np.int64)
    whole = (planes * scales).sum(axis=2).reshape(5, 48)
    sums = exact_sums(activations, weights)
    assert np.array_equal(sums, activations.astype(np.int64) @ whole.T)
    real = whole * weights.channel_scale[:, None].astype(np.float64)
    assert np.allclose(weights.dequantise(), real, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="K of the weights, 48"):
        exact_sums(activations[:, :40], weights)


def test_activations_are_repeated_a_group_at_a_time():
    activations = np.arange(8, dtype=np.int8).reshape(2, 4)
    found = expand_activations(activations, parse_format("bcq2_g2"))
    assert found.tolist() == [[0, 1, 0, 1, 2, 3, 2, 3], [4, 5, 4, 5, 6, 7, 6, 7]]
    assert expand_activations(activations, parse_format("int4_g2")) is activations


def test_exact_sums_at_the_extremes():
    fmt = parse_format("int8")
    codes = np.full((2, 32768), -128, np.int8)
    weights = QuantisedWeights(fmt, codes, None, None, np.ones(2, np.float32))
    activations = np.full((1, 32768), -128, np.int8)
    assert (exact_sums(activations, weights) == 128 * 128 * 32768).all()
    fmt = parse_format("int8_asym")  # 127 around -128: a factor of 255
    zeros = np.full((2, 1), -128, np.int8)
    weights = QuantisedWeights(fmt, -1 - codes, None, zeros, np.ones(2, np.float32))
    assert (exact_sums(activations, weights) == -255 * 128 * 32768).all()
    assert (weights.dequantise() == 255).all()


def test_activations_round_half_to_even_and_keep_their_scale():
    values = np.array([[127, 0.5, 1.5, -2.5], [0, 0, 0, 0], [1e-3, -1e-3, 0, 5e-4]], np.float32)
    codes, scale = quantise_activations(values)
    assert codes[0].tolist() == [127, 0, 2, -2]
    assert codes[1].tolist() == [0, 0, 0, 0]
    assert scale[1] == 1
    assert codes[2].tolist()[:2] == [127, -127]
    assert np.abs(codes * scale[:, None] - values).max() <= 0.5


def test_scale_sums_rounds_once_to_float32():
    sums = np.array([[3, -(2**37)], [7, 5]], np.int64)
    channel = np.array([0.1, 2.5], np.float32)
    tokens = np.array([0.3, 1.0], np.float32)
    expected = sums * channel.astype(np.float64) * tokens.astype(np.float64)[:, None]
    found = scale_sums(sums, channel, tokens)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.astype(np.float32))


def test_storage_counts_codes_scales_and_zero_points():
    assert storage_bits(parse_format("int8"), 10, 64) == 10 * (64 * 8 + 32)
    assert storage_bits(parse_format("int4_g32"), 10, 64) == 10 * (64 * 4 + 2 * 8 + 32)
    assert storage_bits(parse_format("int4_asym_g32"), 1, 64) == 64 * 4 + 2 * (8 + 4) + 32
    assert storage_bits(parse_format("int1_g32"), 10, 64) == 10 * (64 + 2 * 8 + 32)
    assert storage_bits(parse_format("bipolar3"), 10, 64) == 10 * (64 * 3 + 32)
    assert storage_bits(parse_format("ternary"), 10, 64) == 10 * (64 * 2 + 32)
    assert storage_bits(parse_format("bcq3_g32"), 1, 64) == 3 * (64 + 2 * 8) + 32
    assert storage_bits(parse_format("bcq3_asym_g32"), 1, 64) == 4 * (64 + 2 * 8) + 32
    assert storage_bits(parse_format("int8_asym_g32"), 1, 64) == 64 * 8 + 2 * (8 + 8) + 32
    assert storage_bits(parse_format("fp4"), 1, 64) == 64 * 4 + 32
    # HPCA'25, section III-C: 8 bits of scale and 2 of the special value a group
    assert storage_bits(parse_format("bitmod_fp4"), 1, 256) == 256 * 4 + 2 * (8 + 2) + 32
    assert storage_bits(parse_format("bitmod_fp3"), 1, 256) == 256 * 3 + 2 * (8 + 2) + 32
    assert storage_bits(parse_format("mxfp4"), 1, 256) == 256 * 4 + 8 * 8 + 32
    assert storage_bits(parse_format("nvfp4"), 1, 256) == 256 * 4 + 16 * 8 + 32
    assert storage_bits(parse_format("ant4_g128"), 1, 256) == 256 * 4 + 2 * (8 + 1) + 32


def test_a_group_of_thousands_of_digits_is_refused():
    assert parse_format("int4_g999999999").group == 999_999_999
    with pytest.raises(InputError) as error:
        parse_format("int4_g" + "1" * 5000)
    assert len(str(error.value)) < 500


def test_formats_name_the_designs_that_run_them():
    rows = {row["name"]: row["designs"] for row in silicast.formats()}
    assert {"dense-int8", "dense-int8-tiny", "bitmod-28nm"} <= set(rows["int4_g128"])
    assert not {"dense-int8", "dense-int8-tiny"} & set(rows["int3"] + rows["int4_asym_g128"])
    assert not {"dense-int8", "bitmod-28nm"} & set(rows["int1"] + rows["bcq3_g128"])
    assert rows["fp16"] == ["dfx-u280", "fp16-28nm"]
