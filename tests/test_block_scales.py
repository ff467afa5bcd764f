"""Block-scaled formats: the scales of MXFP4, MXFP3 and NVFP4 as they are stored."""

import math

import numpy as np
import pytest

from mapping.block_scales import to_e4m3
from mapping.formats import parse_format
from mapping.quantise import quantise

HALVES = (0, 1, 2, 3, 4, 6, 8, 12)  # E2M1, by code


@pytest.mark.parametrize("name", ["mxfp4", "mxfp3"])
def test_shared_exponents_are_those_of_the_ocp(name):
    """Section 6.3: floor(log2(largest)) - emax; 6 and 4, the largest elements, have emax 2."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((6, 32 * 16)) * np.exp2(rng.integers(-60, 60, (6, 1)))
    weights = weights.reshape(6, 16, 32) * np.exp2(rng.integers(-13, 1, (6, 16, 1)))
    weights = weights.astype(np.float32)
    found = quantise(weights.reshape(6, -1), parse_format(name))
    for row in range(6):
        exponents = [math.frexp(float(np.abs(part).max()))[1] - 1 - 2 for part in weights[row]]
        floor = max(exponents) - 7
        assert min(exponents) < floor  # raised ones occur
        for group, exponent in enumerate(exponents):
            half = 2.0 ** (max(exponent, floor) - 1)
            assert float(found.channel_scale[row]) * found.scales[row, group] == half
    assert set(found.scales.reshape(-1).tolist()) <= {1 << place for place in range(8)}


def test_elements_beyond_the_largest_are_clipped():
    weights = np.zeros((1, 32), np.float32)
    weights[0, :4] = [7.9, -7.9, 5, 4.9]  # shared exponent 0: the scale is 1
    for name, expected in (("mxfp4", [12, -12, 8, 8]), ("mxfp3", [8, -8, 8, 8])):
        found = quantise(weights, parse_format(name))
        assert found.channel_scale[0] * found.scales[0, 0] == 0.5
        assert found.codes[0, :4].tolist() == expected


def _e4m3_numbers() -> list[float]:
    """All positive finite FP8 E4M3 numbers (OCP 8-bit Floating Point Specification)."""
    numbers = [mantissa * 2.0**-9 for mantissa in range(1, 8)]
    numbers += [(8 + m) * 2.0 ** (e - 10) for e in range(1, 16) for m in range(8)]
    return numbers[:-1]  # the last pattern is NaN


def test_scales_are_rounded_to_e4m3_numbers():
    numbers = _e4m3_numbers()
    assert (len(numbers), numbers[-1]) == (126, 448)
    values = np.array(numbers)
    assert np.array_equal(to_e4m3(values), values)
    middles = (values[1:] + values[:-1]) / 2
    even = np.where(np.arange(1, 126) % 2, values[1:], values[:-1])  # patterns start at 1
    assert np.array_equal(to_e4m3(middles), even)
    assert np.array_equal(to_e4m3(middles * (1 + 1e-9)), values[1:])
    assert np.array_equal(to_e4m3(middles * (1 - 1e-9)), values[:-1])
    assert to_e4m3(np.array([0, 1e-9, 500])).tolist() == [0, 2.0**-9, 448]


def _nearest(value: float) -> int:
    """The level of E2M1 nearest to a value in halves, ties to an even code."""
    size = min(range(8), key=lambda code: (abs(HALVES[code] - abs(value)), code % 2))
    return int(math.copysign(HALVES[size], value))


def _nvfp4(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and E4M3 scales by NVIDIA's rule, each a loop over plain numbers."""
    matrix = float(np.float32(np.abs(weights).max() / (6 * 448)))
    numbers = _e4m3_numbers()
    parts = weights.astype(np.float64).reshape(len(weights), -1, 16)
    values, scales = np.zeros_like(parts), np.zeros(parts.shape[:2])
    for row, group in np.ndindex(scales.shape):
        wanted = float(np.abs(parts[row, group]).max()) / 6 / matrix
        scales[row, group] = min(numbers, key=lambda number: abs(number - wanted))
        for place, weight in enumerate(parts[row, group]):
            half = scales[row, group] * matrix / 2
            values[row, group, place] = half * _nearest(float(weight) / half)
    return values.reshape(weights.shape), scales


def test_nvfp4_is_the_published_rule_within_a_factor_16_of_a_row():
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((6, 64)).astype(np.float32)
    weights *= np.array([1, 1e-2, 5, 0.3, 1e-4, 1], np.float32)[:, None]
    weights[5, :16] *= np.float32(1e-3)  # a group far below its row
    found = quantise(weights, parse_format("nvfp4"))
    expected, scales = _nvfp4(weights)
    near = scales * 16 >= scales.max(axis=1, keepdims=True)
    assert near.sum() == near.size - 1
    columns = np.repeat(near, 16, axis=1)
    assert np.allclose(found.dequantise()[columns], expected[columns], rtol=1e-6)
    # stored integers have four significant bits, the row's largest 128 to 240
    digits = {int(s8) // (int(s8) & -int(s8)) for s8 in found.scales.reshape(-1)}
    assert max(digits) < 16
    assert all(128 <= largest <= 240 for largest in found.scales.max(axis=1))


def test_nvfp4_has_one_scale_for_the_whole_matrix():
    """Rows are taken in blocks; the largest weight is in the last one."""
    rng = np.random.default_rng(6)
    weights = rng.standard_normal((1 << 14, 16)).astype(np.float32)
    weights[-1, 3] = 3e4
    found = quantise(weights, parse_format("nvfp4"))
    matrix = np.float32(3e4 / (6 * 448))
    units = found.channel_scale.astype(np.float64) / matrix
    mantissa, _ = np.frexp(units)
    assert (mantissa == 0.5).all()  # the matrix's scale times a power of two


def test_a_row_that_e4m3_would_flush_keeps_the_least_scale():
    weights = np.ones((2, 16), np.float32)
    weights[1] = 1e-8
    found = quantise(weights, parse_format("nvfp4"))
    least = np.float32(1 / (6 * 448)) * 2.0**-9
    assert float(found.channel_scale[1]) * found.scales[1, 0] * 2 == pytest.approx(least, rel=1e-6)
    assert (found.codes[1] == 0).all()
