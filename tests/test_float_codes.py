"""Floating codes: published errors, nearest levels, chosen special values, any weights."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapping.quantise
from designs.errors import InputError
from mapping.code_books import decode_values, encode_values
from mapping.float_codes import ANT_FLINT, ANT_INT, best_special, nearest_levels
from mapping.formats import WeightFormat, list_formats, parse_format
from mapping.group_codes import group_codes
from mapping.quantise import QuantisedWeights, exact_sums, quantise

FLOATS = ["fp4_g16", "fp3_g16", "flint4_g16", "fp4", "fp3", "flint4"]
SPECIALS = ["bitmod_fp4_g16", "bitmod_fp3_g16", "fp4_er_g16", "fp4_ea_g16", "fp3_er_g16"]
SPECIALS += ["fp3_ea_g16", "bitmod_fp4_g16_sv2.5_12", "bitmod_fp3_g16_sv0.5_5"]
BLOCKS = ["mxfp4", "mxfp3", "nvfp4"]
ALL = [fmt.name for fmt in list_formats() if fmt.quantisable]


def _levels(fmt: WeightFormat, special: int = 0) -> list[int]:
    return sorted({special, *fmt.code_values})


def _group_levels(found: QuantisedWeights, row: int, group: int) -> list[int]:
    if found.fmt.family == "ant":
        whole = found.special[row, group] == ANT_INT
        return list(range(-7, 8)) if whole else _levels(parse_format("flint4"))
    if found.special is None:
        return _levels(found.fmt)
    return _levels(found.fmt, found.fmt.special_values[found.special[row, group]])


# --- published errors -----------------------------------------------------------------------------

# Normalised squared error of 20,000 groups of 128: the sum of all squared errors over the sum of
# all squares. Computed once by an independent implementation of the algorithms of BitMoD (HPCA'25)
# and of the formats it compares with, each group's scale exact.
GAUSSIAN = {
    "int3": 0.0749,
    "int3_asym": 0.0464,
    "fp3": 0.0569,
    "fp3_er": 0.0471,
    "fp3_ea": 0.0386,
    "bitmod_fp3": 0.0380,
    "int4": 0.01376,
    "int4_asym": 0.01011,
    "fp4": 0.01186,
    "flint4": 0.02541,
    "ant4": 0.01324,
    "fp4_er": 0.00991,
    "fp4_ea": 0.01155,
    "bitmod_fp4": 0.00958,
}
STUDENT = {  # 5 degrees of freedom
    "int3_asym": 0.0803,
    "fp3_ea": 0.0541,
    "bitmod_fp3": 0.0540,
    "int4_asym": 0.0177,
    "fp4": 0.0151,
    "fp4_er": 0.0138,
    "fp4_ea": 0.0124,
    "bitmod_fp4": 0.0115,
}
# Share of the groups that have each special value, in the order they are tried
USAGE = {"bitmod_fp3": (0.08, 0.08, 0.42, 0.42), "bitmod_fp4": (0.40, 0.35, 0.12, 0.12)}


@pytest.fixture(scope="module")
def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = 20_000, 128  # a group a row: the channel scale is the group's own
    return {
        "gaussian": rng.standard_normal(shape).astype(np.float32),
        "student": rng.standard_t(5, shape).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [("gaussian", *row) for row in GAUSSIAN.items()]
    + [("student", *row) for row in STUDENT.items()],
)
def test_errors_are_the_published_ones(samples, kind, name, expected):
    weights = samples[kind]
    found = quantise(weights, parse_format(f"{name}_g128"))
    error = ((found.dequantise().astype(np.float64) - weights) ** 2).sum()
    assert error / (weights.astype(np.float64) ** 2).sum() == pytest.approx(expected, rel=0.02)
    if kind == "gaussian" and name in USAGE:
        share = np.bincount(found.special[:, 0], minlength=4) / len(weights)
        assert share == pytest.approx(USAGE[name], abs=0.02)


def test_errors_of_the_published_formats_are_in_their_order(samples):
    weights = samples["gaussian"].reshape(-1, 4096)  # 32 groups a row: stored scales count
    for name in ("bitmod_fp4", "bitmod_fp3"):
        bits = name[-1]
        order = [name, f"fp{bits}", f"int{bits}"]
        errors = []
        for other in order:
            found = quantise(weights, parse_format(f"{other}_g128")).dequantise()
            errors.append(float(((found - weights) ** 2).sum() / (weights**2).sum()))
        assert errors == sorted(errors)
        # 8-bit scales cost next to nothing (HPCA'25, table V: the same perplexity as FP16 ones)
        assert errors[0] == pytest.approx(GAUSSIAN[name], rel=0.02)


# --- nearest levels -------------------------------------------------------------------------------


def _nearest(value: float, levels: list[int], even: bool) -> int:
    """The definition: nearest level, ties to the lower one, or to the one of an even code."""
    least = min(abs(value - level) for level in levels)
    near = [level for level in levels if abs(value - level) == least]
    sizes = sorted({abs(level) for level in levels})
    return min(near, key=lambda level: sizes.index(abs(level)) % 2) if even else near[0]


@pytest.mark.parametrize("name", [*FLOATS, *SPECIALS, *BLOCKS])
@pytest.mark.parametrize("scale", [1.0, 2.0**-60, 0.75])
def test_every_place_between_levels_is_rounded_by_the_definition(name, scale):
    fmt = parse_format(name)
    places = np.arange(-40 * 16, 40 * 16 + 1) / 16  # middles of levels are multiples of 0.5
    block = (places * scale).astype(np.float32)[None, None]
    even = name in BLOCKS
    for number in range(max(1, len(fmt.special_values))):
        special, chosen = 0, None
        if fmt.special_values:
            special, chosen = fmt.special_values[number], np.array([[number]], np.uint8)
        at = np.array([[scale]], np.float32)
        found = nearest_levels(block, at, fmt, chosen, "even" if even else "lower")
        levels = _levels(fmt, special)
        assert found.dtype == np.int8
        assert found[0, 0].tolist() == [_nearest(value, levels, even) for value in places]


def test_ties_as_they_are_documented():
    weights = np.array([[12, 0.5, -0.5, 1.5, -1.5, 5, -5, 7, 10, -10]], np.float32)
    assert quantise(weights, parse_format("fp4")).codes.tolist() == [
        [12, 0, -1, 1, -2, 4, -6, 6, 8, -12]
    ]
    # the same in OCP's rounding; the scale is 1 half, as the largest magnitude is below 16
    filled = np.zeros((1, 32), np.float32)
    filled[:, :10] = weights
    found = quantise(filled, parse_format("mxfp4"))
    assert found.codes[0, :10].tolist() == [12, 0, 0, 2, -2, 4, -4, 8, 8, -8]


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from([*FLOATS, *SPECIALS, *BLOCKS, "ant4_g16"]),
    magnitude=st.sampled_from([1e-37, 1e-30, 1e-3, 1.0, 1e4, 1e30, 1e37]),
    spread=st.sampled_from([0.0, 1.0, 6.0]),
)
def test_values_are_the_nearest_levels_at_the_stored_scale(seed, name, magnitude, spread):
    rng = np.random.default_rng(seed)
    fmt = parse_format(name)
    weights = rng.standard_t(4, (4, 64)) * np.exp2(-spread * rng.random((4, 64)).round(1))
    weights = np.clip(weights * magnitude, -3e38, 3e38).astype(np.float32)
    weights[2] = 0
    weights[3, :32] = 0
    found = quantise(weights, fmt)
    groups = fmt.groups(64)
    parts = weights.reshape(4, groups, -1).astype(np.float64)
    values = found.codes.reshape(parts.shape)
    assert (found.channel_scale > 0).all()
    assert found.channel_scale[2] == 1
    assert (found.codes[2] == 0).all()
    assert found.zeros is None
    if found.scales is not None:
        assert found.scales.min() >= 1
    for row in range(4):
        for group in range(groups):
            scale = float(found.channel_scale[row])
            if found.scales is not None:
                scale *= int(found.scales[row, group])
            levels = _group_levels(found, row, group)
            assert set(values[row, group].tolist()) <= set(levels)
            for weight, value in zip(parts[row, group], values[row, group], strict=True):
                ratio = weight / scale
                near = min(abs(ratio - level) for level in levels)
                assert abs(ratio - value) <= near + 1e-5 * max(1, abs(ratio))
                if levels[0] <= ratio <= levels[-1]:  # not clipped
                    gap = max(b - a for a, b in pairwise(levels) if a - 1e-4 <= ratio <= b + 1e-4)
                    assert abs(ratio - value) <= gap / 2 + 1e-4
    real = found.dequantise()
    assert np.isfinite(real).all()
    assert (real[2] == 0).all()


@pytest.mark.parametrize("name", [*SPECIALS, *FLOATS, *BLOCKS])
def test_values_are_stored_and_read_back_without_loss(name):
    fmt = parse_format(name)
    weights = np.random.default_rng(5).standard_t(3, (8, 64)).astype(np.float32)
    found = quantise(weights, fmt)
    groups = fmt.groups(64)
    values = found.codes.reshape(8, groups, -1)
    codes = encode_values(values, fmt.code_type, fmt.bits)
    assert codes.max() < 1 << fmt.bits
    special: np.ndarray | int = 0
    if fmt.special_values:
        assert found.special.dtype == np.uint8
        special = np.array(fmt.special_values, np.int8)[found.special][:, :, None]
        assert (codes == 1 << (fmt.bits - 1)).any()
    else:
        assert found.special is None
        assert not (codes == 1 << (fmt.bits - 1)).any()
    assert np.array_equal(decode_values(codes, fmt.code_type, fmt.bits, special), values)


# --- special values -------------------------------------------------------------------------------


def _error_with(group: list[float], fmt: WeightFormat, special: int) -> float:
    """Squared error of algorithm 1 for one special value, in Python floats."""
    levels = _levels(fmt, special)
    scale = max(map(abs, group)) / max(map(abs, levels))
    if scale == 0:
        return 0.0
    return sum(min((weight - scale * level) ** 2 for level in levels) for weight in group)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(SPECIALS),
    magnitude=st.sampled_from([1e-25, 1e-3, 1.0, 1e25, 1e38]),
)
def test_the_special_value_has_the_least_squared_error(seed, name, magnitude):
    fmt = parse_format(name)
    weights = np.random.default_rng(seed).standard_normal((3, 64)) * magnitude / 8
    weights = weights.astype(np.float32)
    weights[2, :16] = 0
    found = quantise(weights, fmt)
    blocks = weights.reshape(3, 4, 16)
    special, scale = best_special(blocks, np.abs(blocks).max(axis=2), fmt)
    assert np.array_equal(found.special, special)
    for row in range(3):
        for group in range(4):
            part = [float(weight) for weight in blocks[row, group]]
            errors = [_error_with(part, fmt, value) for value in fmt.special_values]
            chosen = int(found.special[row, group])
            assert errors[chosen] <= min(errors) * (1 + 1e-5)
            # of those that really are equal, the first
            assert all(error > errors[chosen] * (1 - 1e-5) for error in errors[:chosen])
            largest = max(max(fmt.code_values), abs(fmt.special_values[chosen]))
            assert scale[row, group] == pytest.approx(max(map(abs, part)) / largest, rel=1e-6)
    assert found.special[2, 0] == 0


def test_of_equal_errors_the_first_special_value_stays():
    fmt = parse_format("bitmod_fp4_g8")
    weights = np.array([[12, -12, 8, 4, 2, 1, 0, -1]], np.float32)  # all of them levels
    assert quantise(weights, fmt).special.tolist() == [[0]]
    weights[0, 2] = -10  # is a level with -5 only
    found = quantise(weights, fmt)
    assert (found.special.tolist(), found.codes[0, 2]) == ([[1]], -10)


def test_a_special_value_outside_widens_one_side():
    fmt = parse_format("bitmod_fp4_g8")
    weights = np.array([[16, 12, 8, -12, -8, 6, 4, 0], [-16, -12, 8, 12, -8, 6, 4, 0]], np.float32)
    found = quantise(weights, fmt)
    assert found.special[:, 0].tolist() == [2, 3]
    assert np.array_equal(found.codes, weights)
    # with +8 negative weights end at -6
    weights = np.array([[16, 12, 8, -16, 6, 6, 4, 12]], np.float32)
    assert quantise(weights, parse_format("fp4_ea_g8")).codes[0, 3] == -12


def test_programmed_special_values_are_used():
    weights = np.array([[12, 5, 5, -12, 8, 0, 1, 5]], np.float32)  # 5 is a level with 2.5
    found = quantise(weights, parse_format("bitmod_fp4_g8_sv2.5_10"))
    assert found.fmt.special_values == (5, -5, 20, -20)
    assert (found.special.tolist(), found.codes[0, 1]) == ([[0]], 5)


# --- ANT ------------------------------------------------------------------------------------------


def test_ant_has_the_better_of_two_types():
    rng = np.random.default_rng(2)
    weights = rng.standard_t(2.5, (40, 64)).astype(np.float32)  # both types occur
    found = quantise(weights, parse_format("ant4_g64"))
    errors = [
        ((quantise(weights, parse_format(name)).dequantise() - weights) ** 2).sum(axis=1)
        for name in ("int4_g64", "flint4_g64")
    ]
    assert set(found.special[:, 0].tolist()) == {ANT_INT, ANT_FLINT}
    assert np.array_equal(found.special[:, 0], (errors[1] < errors[0]).astype(np.uint8))
    own = ((found.dequantise() - weights) ** 2).sum(axis=1)
    assert np.allclose(own, np.minimum(*errors), rtol=1e-4)
    assert np.abs(found.codes[found.special[:, 0] == ANT_INT]).max() == 7
    assert np.abs(found.codes[found.special[:, 0] == ANT_FLINT]).max() == 16
    activations = rng.integers(-128, 128, (3, 64)).astype(np.int8)
    real = exact_sums(activations, found) * found.channel_scale.astype(np.float64)
    assert np.allclose(real, activations @ found.dequantise().T.astype(np.float64), rtol=1e-5)


# --- all formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ALL if name != "nvfp4"])
def test_blocks_of_rows_and_threads_do_not_change_the_result(name, monkeypatch):
    weights = np.random.default_rng(7).standard_t(4, (24, 128)).astype(np.float32)
    fmt = parse_format(name)
    once = group_codes(weights.reshape(24, fmt.groups(128), -1), fmt)
    monkeypatch.setattr(mapping.quantise, "_CACHED_ELEMENTS", 640)
    monkeypatch.setattr(mapping.quantise, "_FITTED_ELEMENTS", 640)
    found = quantise(weights, fmt)
    assert np.array_equal(found.codes, once.codes.reshape(24, -1))
    assert np.array_equal(found.channel_scale, once.scales.channel)
    for own, whole in (
        (found.scales, once.scales.integers),
        (found.zeros, once.zeros),
        (found.special, once.chosen),
    ):
        assert (own is None) == (whole is None)
        assert own is None or np.array_equal(own, whole)


@pytest.mark.parametrize("name", ALL)
def test_any_format_takes_tiny_and_huge_weights(name):
    fmt = parse_format(name)
    weights = np.random.default_rng(8).standard_normal((6, 128))
    weights *= np.array([1e-45, 1e-38, 1e-30, 1.0, 1e30, 1e37])[:, None]
    weights[3, 0] = 3e38
    weights[4, ::2] = 0
    found = quantise(weights.astype(np.float32), fmt)
    assert np.isfinite(found.channel_scale).all()
    assert (found.channel_scale > 0).all()
    assert np.isfinite(found.dequantise()).all()
    if fmt.mean_bits >= 3 and fmt.name != "nvfp4":  # whose scales have the range of one matrix
        real = found.dequantise()[[2, 5]].astype(np.float64)
        exact = weights[[2, 5]]
        scale = np.abs(exact).max(axis=1, keepdims=True)
        error = (((real - exact) / scale) ** 2).sum(axis=1)
        assert (error < 0.15 * ((exact / scale) ** 2).sum(axis=1)).all()


@pytest.mark.parametrize("name", ALL)
def test_any_format_refuses_what_it_cannot_round(name):
    fmt = parse_format(name)
    weights = np.ones((2, 128), np.float32)
    cases = [(weights[0], "shape"), (weights[:, :0], "shape"), (weights[None], "shape")]
    for bad in (np.nan, np.inf, -np.inf):
        broken = weights.copy()
        broken[1, 77] = bad
        cases.append((broken, "NaN or infinity"))
    if fmt.group not in (None, 1):
        cases.append((weights[:, :127], "a multiple of the group"))
    for values, words in cases:
        with pytest.raises(InputError) as error:
            quantise(values, fmt)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def test_simulated_formats_are_refused():
    for name in ("fp16", "ant5.25", "olive4"):
        with pytest.raises(InputError, match=f"found '{name}'; allowed: a format that weights are"):
            quantise(np.ones((1, 4), np.float32), parse_format(name))
