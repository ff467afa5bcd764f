"""Odd, ternary and binary-coded weights: rounding rules and their errors."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.binary_codes import (
    fit_planes,
    mean_magnitude,
    nearest_odd,
    nearest_planes,
    two_magnitude_scale,
)
from mapping.formats import parse_format
from mapping.quantise import quantise


def _gaussian(n: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, k)).astype(np.float32)


def _error(weights: np.ndarray, name: str) -> float:
    """Squared error over the weights' square."""
    found = quantise(weights, parse_format(name)).dequantise().astype(np.float64)
    return float(((found - weights) ** 2).sum() / (weights.astype(np.float64) ** 2).sum())


@pytest.mark.parametrize(
    ("name", "optimum"),
    # Max, "Quantizing for minimum distortion", IRE Trans. IT-6 (1960): mean squared error of the
    # best quantiser of a Gaussian, with 2 and 4 levels of any value 0.3634 and 0.1175 (table I),
    # with equal steps and 3, 4, 8, 16 levels 0.1902, 0.1188, 0.03744, 0.01154 (table II). Sums of
    # two planes have any 4 symmetric levels; sums of more include equal steps.
    [
        ("int1", 0.3634),
        ("int2", 0.1902),
        ("bipolar2", 0.1188),
        ("bcq1_g4096", 0.3634),
        ("bcq2_g4096", 0.1175),
        ("bcq3_g4096", 0.03744),
        ("bcq4_g4096", 0.01154),
    ],
)
def test_few_levels_reach_the_best_error_of_a_gaussian(name, optimum):
    found = _error(_gaussian(32, 4096), name)
    # below by the freedom of a row's own scale; above by 8-bit scales and local optima
    assert 0.98 * optimum < found < 1.03 * optimum


@pytest.mark.parametrize("group", [32, 128])
def test_errors_are_in_the_order_of_what_formats_can_say(group):
    weights = _gaussian(64, 2048, 1)
    order = ["bcq4", "bcq3", "bcq2_asym", "bcq2", "int2", "ternary", "int1"]
    errors = [_error(weights, f"{name}_g{group}") for name in order]
    assert errors == sorted(errors)
    assert errors[-1] < 0.37
    assert _error(weights, f"bcq2_g{group}") < _error(weights, f"bipolar2_g{group}") < errors[4]
    for bits in range(3, 8):  # one level more than int, and so the finer step
        assert _error(weights, f"bipolar{bits}_g{group}") < _error(weights, f"int{bits}_g{group}")
    same = _error(weights, f"int1_g{group}")
    assert _error(weights, f"bcq1_g{group}") == pytest.approx(same, rel=1e-5)


def _best_by_trial(group: np.ndarray, small: int, large: int) -> float:
    """Least squared error over all choices of magnitudes."""
    size = np.abs(group).astype(np.float64)
    least = np.inf
    for codes in product((small, large), repeat=len(group)):
        code = np.array(codes, np.float64)
        norm = (code**2).sum()
        scale = (size * code).sum() / norm if norm else 0
        least = min(least, ((size - scale * code) ** 2).sum())
    return float(least)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1), span=st.integers(1, 8), pair=st.sampled_from([(0, 1), (1, 3)])
)
def test_two_magnitudes_have_the_least_error_of_all_choices(seed, span, pair):
    block = np.random.default_rng(seed).standard_t(3, (1, 2, span)).astype(np.float32)
    scale = two_magnitude_scale(block, *pair)[0]
    for group, step in zip(block[0].astype(np.float64), scale.astype(np.float64), strict=True):
        levels = step * np.array(pair)
        error = (np.abs(np.abs(group)[:, None] - levels).min(axis=1) ** 2).sum()
        assert error == pytest.approx(_best_by_trial(group, *pair), rel=1e-5, abs=1e-9)


def test_the_scale_of_int1_is_the_mean_magnitude():
    block = _gaussian(3, 96).reshape(3, 2, 48)
    assert np.allclose(two_magnitude_scale(block, 1, 1), np.abs(block).mean(axis=2), rtol=1e-6)


def test_ternary_is_the_rule_of_bitnet():
    weights = _gaussian(4, 256)
    found = quantise(weights, parse_format("ternary"))
    gamma = np.abs(weights).mean(axis=1, keepdims=True)
    assert np.array_equal(found.codes, np.clip(np.rint(weights / gamma), -1, 1))
    assert np.allclose(found.channel_scale, gamma[:, 0], rtol=1e-6)
    assert np.allclose(mean_magnitude(weights[None]), gamma.T, rtol=1e-6)


def test_nearest_odd_codes():
    ratio = np.array([-9, -2.1, -1.9, -0.01, 0, 0.5, 1.99, 2.01, 3, 8], np.float32)
    assert nearest_odd(ratio, 3).tolist() == [-3, -3, -1, -1, 1, 1, 1, 3, 3, 3]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(1, 7),
    group=st.sampled_from([None, 8, 32]),
    magnitude=st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_odd_codes_are_the_nearest_at_the_stored_scale(seed, bits, group, magnitude):
    name = "int1" if bits == 1 else f"bipolar{bits}"
    fmt = parse_format(name if group is None else f"{name}_g{group}")
    weights = np.random.default_rng(seed).standard_normal((3, 64)) * magnitude
    weights = weights.astype(np.float32)
    found = quantise(weights, fmt)
    assert set(np.unique(found.codes).tolist()) <= set(fmt.code_values)
    scale = found.channel_scale[:, None].astype(np.float64)
    if found.scales is not None:
        scale = np.repeat(scale * found.scales, group, axis=1)
    levels = np.multiply.outer(scale, np.array(fmt.code_values))
    least = np.abs(levels - weights[:, :, None]).min(axis=2)
    error = np.abs(found.codes * scale - weights)
    assert (error <= least + 1e-5 * scale).all()


@pytest.mark.parametrize("name", ["int1", "int1_g32", "bipolar4_g32", "bcq2_g32", "bcq1_asym_g32"])
def test_a_row_of_zeros_stays_next_to_zero(name):
    weights = _gaussian(3, 64)
    weights[1] = 0
    found = quantise(weights, parse_format(name))
    assert (found.channel_scale > 0).all()
    assert np.abs(found.dequantise()[1]).max() < 1e-30


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), planes=st.integers(1, 4), offset=st.booleans())
def test_planes_are_found_again(seed, planes, offset):
    """Weights that are sums of planes, each combination equally often: greedy starts near."""
    rng = np.random.default_rng(seed)
    scales = 2.5 ** np.arange(planes) * rng.uniform(0.95, 1.05, (2, 3, planes))
    centre = rng.standard_normal((2, 3)) * 0.2 if offset else np.zeros((2, 3))
    signs = np.tile(list(product((-1.0, 1.0), repeat=planes)), (4, 1))
    block = (scales @ rng.permutation(signs).T + centre[:, :, None]).astype(np.float32)
    fit = fit_planes(block, planes, offset)
    found = (
        nearest_planes(block, fit.scales, fit.offset).transpose(0, 1, 3, 2) * fit.scales[:, :, None]
    ).sum(axis=3) + fit.offset[:, :, None]
    assert np.abs(found - block).max() < 1e-3
    assert (fit.scales >= 0).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), planes=st.integers(1, 4))
def test_planes_are_the_nearest_combination(seed, planes):
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((2, 3, 16)).astype(np.float32)
    scales, offset = rng.random((2, 3, planes)), rng.standard_normal((2, 3))
    found = nearest_planes(block, scales, offset)
    assert set(np.unique(found).tolist()) <= {-1, 1}
    value = (found * scales[..., None]).sum(axis=2) + offset[:, :, None]
    every = [
        (np.array(signs) * scales).sum(axis=2) + offset for signs in product((-1, 1), repeat=planes)
    ]
    least = np.abs(np.stack(every, axis=2)[:, :, None] - block[..., None]).min(axis=3)
    assert np.allclose(np.abs(value - block), least, atol=1e-6)


def test_alternating_steps_only_improve():
    block = _gaussian(4, 512, 5).reshape(4, 4, 128)

    def error(fit) -> np.ndarray:
        planes = nearest_planes(block, fit.scales, fit.offset)
        value = (planes * fit.scales[..., None]).sum(axis=2)
        return ((value - block) ** 2).sum(axis=2)

    greedy, size = [], np.abs(block).astype(np.float64)
    for _ in range(3):
        greedy.append(size.mean(axis=2))
        size = np.abs(size - greedy[-1][:, :, None])
    start = (size**2).sum(axis=2)
    assert (error(fit_planes(block, 3, False)) < start).all()


def test_the_offset_plane_is_constant_and_has_the_sign_of_the_offset():
    weights = _gaussian(2, 128, 2) * 0.1
    weights[0] += 1
    weights[1] -= 1
    found = quantise(weights, parse_format("bcq2_asym_g64"))
    planes = found.codes.reshape(2, 2, 3, 64)
    assert (planes[0, :, 2] == 1).all()
    assert (planes[1, :, 2] == -1).all()
    assert abs(float(found.dequantise()[0].mean()) - float(weights[0].mean())) < 0.01
