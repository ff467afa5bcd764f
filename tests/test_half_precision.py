"""FP16 activations: alignment against exact fractions, and the sums of the contract."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.contract import contract_sums
from mapping.formats import parse_format
from mapping.half_precision import (
    ALIGNED_MAX,
    align,
    aligned_integers,
    check_finite,
    half_scale,
    half_sums,
    scale_group,
    to_half,
    wide_product,
)
from mapping.quantise import QuantisedWeights, exact_sums, quantise

UNIT = Fraction(1, 1 << 24)
FINITE = st.integers(0, (1 << 16) - 1).filter(lambda bits: bits >> 10 & 31 != 31)
# magnitudes next to each other, so that blocks have ties and guard bits matter
NEAR = st.builds(
    lambda sign, field, mantissa: sign << 15 | field << 10 | mantissa,
    st.integers(0, 1),
    st.integers(0, 9),
    st.sampled_from([0, 1, 2, 4, 8, 16, 32, 48, 1023]) | st.integers(0, 1023),
)


def _halves(bits: list[int]) -> np.ndarray:
    return np.array([bits], np.uint16).view(np.float16)


def _aligned_slowly(values: list[float], exponents: list[int]) -> list[int]:
    """The definition, from the values as fractions: integers in units of 2^-24."""
    base = max(max(exponents) - 4, 0)
    # round() of a Fraction goes to nearest even
    return [round(Fraction(value) / UNIT / 2**base) * 2**base for value in values]


def _exponent(value: np.float16) -> int:
    return max(int(np.array(value).view(np.uint16)) >> 10 & 31, 1)


def _slow_row(row: np.ndarray, block: int) -> list[int]:
    found: list[int] = []
    for first in range(0, len(row), block):
        part = row[first : first + block]
        found += _aligned_slowly([float(v) for v in part], [_exponent(v) for v in part])
    return found


@settings(deadline=None, max_examples=400)
@given(
    bits=st.lists(FINITE, min_size=1, max_size=40) | st.lists(NEAR, min_size=1, max_size=40),
    block=st.sampled_from([1, 3, 4, 8, 16, 64]),
)
def test_alignment_is_the_definition_in_fractions(bits, block):
    values = _halves(bits)
    found = align(values, block)
    assert found.dtype == np.int64
    assert found[0].tolist() == _slow_row(values[0], block)
    integers, base = aligned_integers(values, block)
    assert np.abs(integers).max() <= ALIGNED_MAX
    assert base.shape == (1, -(-len(bits) // block))
    repeated = np.repeat(base, block, axis=1)[:, : len(bits)].astype(np.int64)
    assert np.array_equal(integers.astype(np.int64) << repeated, found)


def test_every_value_alone_is_exact():
    bits = np.arange(1 << 16).astype(np.uint16)
    values = bits.view(np.float16)[np.isfinite(bits.view(np.float16))][None]
    assert np.array_equal(align(values, 1), (values.astype(np.float64) * 2**24).astype(np.int64))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, -0.0], [0, 0]),
        ([2.0**-24, -(2.0**-24)], [1, -1]),  # the least subnormal values
        ([2.0**-14, 2.0**-24], [1024, 1]),  # least normal value: B = 0
        ([65504.0, -65504.0], [2047 << 29, -(2047 << 29)]),
        ([65504.0, 2.0**-24], [2047 << 29, 0]),
        # e = 5: B = 1, a subnormal of 3 units is a tie of 1.5, and goes to 2; of 1 unit, to 0
        ([2.0**-10, 3 * 2.0**-24, 2.0**-24, -5 * 2.0**-24], [1 << 14, 4, 0, -4]),
        # one bit below the tie and one above: e = 6, B = 2, 5/4 and 7/4
        ([2.0**-9, 5 * 2.0**-24, 7 * 2.0**-24, 6 * 2.0**-24], [1 << 15, 4, 8, 8]),
        # rounding carries into the next power of two
        ([1.0, 2047 * 2.0**-24, 0, 0], [1 << 24, 2048, 0, 0]),
    ],
)
def test_corners(values, expected):
    assert align(np.array([values], np.float16), 4)[0].tolist() == expected


def test_a_short_last_block_is_aligned_as_if_filled_with_zeros():
    values = to_half(np.random.default_rng(0).standard_normal((3, 13)))
    filled = np.pad(values, ((0, 0), (0, 3)))
    assert np.array_equal(align(values, 8), align(filled, 8)[:, :13])


def test_blocks_do_not_see_each_other():
    values = np.array([[60000.0, 1e-7, 1e-7, 1e-7]], np.float16)
    assert align(values, 4)[0, 1:].tolist() == [0, 0, 0]
    assert align(values, 2)[0, 1:].tolist() == [0, 2, 2]


def test_what_has_no_integer_is_refused():
    for bad in (np.inf, -np.inf, np.nan):
        with pytest.raises(InputError, match="found 'NaN or infinity'; allowed: finite float16"):
            align(np.array([[1, bad]], np.float16), 4)
        with pytest.raises(InputError, match="finite float32"):
            to_half(np.array([[1, bad]], np.float32))
    with pytest.raises(InputError, match="found 'float32'; allowed: float16"):
        check_finite(np.ones((1, 4), np.float32))
    with pytest.raises(InputError, match="shape"):
        check_finite(np.ones(4, np.float16))
    with pytest.raises(InputError, match="block: found 0"):
        align(np.ones((1, 4), np.float16), 0)


def test_to_half_rounds_to_even_and_refuses_overflow():
    values = np.array([[2048, 2049, 2051, 65519.99, -65519.99, 2.0**-25, 3 * 2.0**-25]], np.float32)
    expected = [2048, 2048, 2052, 65504, -65504, 0, 2.0**-23]
    assert to_half(values)[0].tolist() == expected
    with pytest.raises(InputError, match=r"found 65520\.0; allowed: magnitudes below 65520"):
        to_half(np.array([[65520.0]], np.float32))


@settings(deadline=None, max_examples=200)
@given(
    total=st.integers(-(1 << 61), 1 << 61) | st.integers(-600, 600),
    scale=st.integers(1, 255),
)
def test_scaling_a_group_rounds_half_up_without_overflow(total, scale):
    found = scale_group(np.array([[total]]), np.array([scale], np.uint8))
    assert int(found[0, 0]) == (total * scale + 128) >> 8


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([3, 12, 30, 42]))
def test_wide_products_are_exact(seed, size):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << size), (1 << size) + 1, (3, 50))
    values[0] = 1 << size
    codes = rng.integers(-256, 257, (4, 50)).astype(np.int16)
    codes[0] = -256
    expected = [[sum(a * c for a, c in zip(x, y, strict=True)) for y in codes.tolist()] for x in
                values.tolist()]  # fmt: skip
    assert wide_product(values, codes).tolist() == expected


@pytest.mark.parametrize("size", [20, 30, 33, 36, 42])
def test_the_largest_wide_products_are_exact(size):
    """Odd operands of one sign: the last bit of a sum near 2^(size + 20) is not rounded away."""
    rng = np.random.default_rng(size)
    values = (1 << size) - 2 * rng.integers(0, 1000, (2, 4001)) - 1
    codes = 255 - 2 * rng.integers(0, 3, (2, 4001)).astype(np.int16)
    pairs = [(x, y) for x in values.tolist() for y in codes.tolist()]
    expected = [sum(a * c for a, c in zip(x, y, strict=True)) for x, y in pairs]
    assert wide_product(values, codes).reshape(-1).tolist() == expected


def test_wide_products_beyond_their_range_are_refused():
    with pytest.raises(InputError, match=r"values up to 4398046511105'; allowed: K up to 2\^23"):
        wide_product(np.array([[(1 << 42) + 1]]), np.ones((1, 1), np.int8))


def _slow_sums(activations: np.ndarray, weights: QuantisedWeights, block: int) -> list[list[int]]:
    """The contract in Python integers, plane by plane and group by group."""
    fmt = weights.fmt
    groups = fmt.groups(weights.k)
    span = weights.k // groups
    codes = weights.codes.reshape(weights.n, groups, fmt.planes, span).tolist()
    found = []
    for row in activations:
        aligned = _slow_row(row, block)
        sums = []
        for n in range(weights.n):
            total = 0
            for group in range(groups):
                part = aligned[group * span : (group + 1) * span]
                for plane in range(fmt.planes):
                    zero = 0 if weights.zeros is None else int(weights.zeros[n, group])
                    pairs = zip(codes[n][group][plane], part, strict=True)
                    own = sum((c - zero) * a for c, a in pairs)
                    if weights.scales is not None:
                        scale = int(weights.scales[n, group * fmt.planes + plane])
                        own = (own * scale + 128) >> 8
                    total += own
            sums.append(total)
        found.append(sums)
    return found


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(
        [
            *("int8", "int8_g16", "int4_g16", "int2", "int1_g16", "ternary_g16"),
            *("bipolar3", "bcq3_g16", "bcq2_asym_g16", "fp4_g16", "flint4", "bitmod_fp3_g16"),
            *("int4_asym_g16", "int4_asym", "int8_asym_g16", "int8_asym"),
        ]
    ),
    block=st.sampled_from([4, 8, 16]),
    wild=st.booleans(),
)
def test_sums_are_the_contract_in_python_integers(seed, name, block, wild):
    rng = np.random.default_rng(seed)
    fmt = parse_format(name)
    k = 48 if fmt.scaled else 45
    codes = rng.choice(np.array(fmt.code_values, np.int8), (3, k * fmt.planes))
    scales = zeros = None
    if fmt.scaled:
        scales = rng.integers(1, 256, (3, 3 * fmt.planes)).astype(np.uint8)
    if fmt.asymmetric:
        zeros = rng.choice(np.array(fmt.code_values, np.int8), (3, fmt.groups(k)))
    weights = QuantisedWeights(fmt, codes, scales, zeros, np.ones(3, np.float32))
    if wild:  # all bit patterns: exponents from end to end
        activations = rng.integers(0, 1 << 16, (2, k)).astype(np.uint16).view(np.float16)
        activations = np.where(np.isfinite(activations), activations, np.float16(65504))
    else:
        activations = to_half(rng.standard_normal((2, k)))
    found = half_sums(activations, weights, block)
    assert found.tolist() == _slow_sums(activations, weights, block)
    assert np.array_equal(contract_sums(activations, weights, block), found)


def test_sums_count_what_half_scale_says():
    rng = np.random.default_rng(1)
    activations = to_half(rng.integers(-100, 101, (4, 128)))  # integers: nothing is lost
    for name in ("int4", "int4_g64", "int4_asym", "int8_asym_g64", "bitmod_fp4_g64"):
        weights = quantise(rng.standard_normal((6, 128)), parse_format(name))
        sums = half_sums(activations, weights, 16) * half_scale(weights.fmt)
        integers = exact_sums(activations.astype(np.int8), weights)
        assert np.array_equal(sums, integers)
    assert half_scale(parse_format("int4")) == 2.0**-24
    assert half_scale(parse_format("int4_g64")) == 2.0**-16


def test_what_the_contract_refuses():
    weights = quantise(np.ones((2, 48), np.float32), parse_format("int4_g24"))
    activations = np.ones((1, 48), np.float16)
    with pytest.raises(InputError, match="groups that are a multiple of the block, 16"):
        half_sums(activations, weights, 16)
    with pytest.raises(InputError, match="K: found 40; allowed: 48"):
        half_sums(activations[:, :40], weights, 8)
    with pytest.raises(InputError, match="found 'float32'; allowed: int8 or float16"):
        contract_sums(activations.astype(np.float32), weights, 8)


def test_a_factor_of_255_is_exact():
    codes = np.full((1, 64), 127, np.int8)
    zeros = np.full((1, 1), -128, np.int8)
    fmt = parse_format("int8_asym")
    weights = QuantisedWeights(fmt, codes, None, zeros, np.ones(1, np.float32))
    found = half_sums(np.full((1, 64), 65504, np.float16), weights, 8)
    assert int(found[0, 0]) == 255 * 64 * 65504 << 24


def test_sums_that_might_not_fit_are_refused():
    k = 1 << 16
    codes = np.full((1, k), 127, np.int8)
    weights = QuantisedWeights(parse_format("int8"), codes, None, None, np.ones(1, np.float32))
    fits = half_sums(np.full((1, k), 65504, np.float16), weights, 8)
    assert int(fits[0, 0]) == 127 * k * 65504 << 24
    codes = np.full((1, 2 * k), 127, np.int8)
    weights = QuantisedWeights(parse_format("int8"), codes, None, None, np.ones(1, np.float32))
    with pytest.raises(InputError, match=r"K: found 131072; allowed: sums below 2\^63"):
        half_sums(np.full((1, 2 * k), 65504, np.float16), weights, 8)


def _samples(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "student":
        return rng.standard_t(3, (16, 4096))
    values = rng.standard_normal((16, 4096))
    return values * np.where(rng.random((1, 4096)) < 0.01, 50, 1) if kind == "outliers" else values


@pytest.mark.parametrize(
    ("kind", "expected"),  # the table in the module's documentation, blocks of 8, 16 and 64
    [
        ("gaussian", (2.2e-5, 2.8e-5, 3.6e-5)),
        ("student", (4.2e-5, 5.8e-5, 1.0e-4)),
        ("outliers", (6.8e-5, 9.9e-5, 1.9e-4)),
    ],
)
def test_the_error_of_alignment_is_the_documented_one(kind, expected):
    rng = np.random.default_rng(0)
    exact = _samples(kind, rng)
    activations = to_half(exact)
    weights = quantise(rng.standard_normal((64, 4096)), parse_format("int4_g128"))
    factors = weights.codes * np.repeat(weights.scales.astype(np.float64), 128, axis=1)
    wanted = activations.astype(np.float64) @ factors.T
    size = np.sqrt((wanted**2).mean())
    conversion = np.sqrt(((exact @ factors.T - wanted) ** 2).mean()) / size
    for block, figure in zip((8, 16, 64), expected, strict=True):
        sums = half_sums(activations, weights, block) * half_scale(weights.fmt)
        error = np.sqrt(((sums - wanted) ** 2).mean()) / size
        assert error == pytest.approx(figure, rel=0.05)
        assert error < conversion < 2.2e-4
