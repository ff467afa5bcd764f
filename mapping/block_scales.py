"""Group scales as they are stored: an 8-bit integer a group, a float32 an output feature.

Each rule takes what a group's scale should be and gives what is stored. A *unit* is the channel
scale, what a stored integer of 1 counts; a group of zeros has the integer 1, a row of zeros the
unit 1 (formats whose codes have no 0: the least unit).

- ``integer``: the unit is the row's largest scale over 255, the others are rounded to it (VS-Quant,
  Dai et al., MLSys'21, arXiv 2102.04503, section 4, with unsigned scales; BitMoD, HPCA'25, section
  III-C).
- ``exponent``: OCP Microscaling Formats 1.0, section 6.3: the power of two ``floor(log2(largest
  magnitude)) - emax``, where emax is the exponent of the largest element (2 for E2M1: 6 = 1.5 *
  2^2; 2 for FP3: 4). A row's stored exponents reach 7 below its largest; a group further down has
  that one, so its elements are coarser than the format's by as many bits. (OCP has no FP3; with
  emax 1 nothing would be clipped, but the error of Gaussian weights would be 1.4 times as large.
  The MX-FP4 that BitMoD compares with has the scale ``2^floor(log2(largest magnitude)) / 3``, which
  is not OCP's.)
- ``e4m3``: NVFP4 (NVIDIA, "Pretraining Large Language Models with NVFP4", 2025, arXiv 2509.25149,
  appendix B): one float32 scale a matrix, its largest magnitude over 6 * 448; a group's scale is
  its largest magnitude over 6 and over that, rounded to FP8 E4M3 half to even. E4M3 numbers have
  four significant bits. The unit is the matrix's scale times the power of two that makes the row's
  largest scale an integer from 128 to 240; scales down to a sixteenth of it are exact, those below
  are rounded to whole units, half to even. A scale that E4M3 would flush to 0 is the least one,
  2^-9.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.formats import WeightFormat

__all__ = [
    "HIGHEST_SCALE",
    "StoredScales",
    "e4m3_scales",
    "exponent_scales",
    "integer_scales",
    "to_e4m3",
]

HIGHEST_SCALE = 255
"""Largest stored group scale."""

_TINY = np.finfo(np.float32).tiny  # smallest unit: no division by a scale that underflowed
_ELEMENT_EXPONENT = 2  # of the largest element: 6 of E2M1, 4 of FP3
_EXPONENT_RANGE = 7  # stored: 1, 2, 4 ... 128
_LEAST_EXPONENT = -126  # of a normal float32
_LARGEST_ELEMENT = 6  # of E2M1
_E4M3_MAX = 448.0
_E4M3_DIGITS = 4  # significant bits, the hidden one included
_E4M3_LEAST = -9  # exponent of the least subnormal number


class StoredScales(NamedTuple):
    """Scales of groups, in two levels.

    Parameters
    ----------
    group : float32 (rows, G)
        Channel scale times stored integer; (rows, 1) where nothing is stored for a group.
    channel : float32 (rows,)
        The unit.
    integers : float32 (rows, G) or None
        Whole numbers, 1 to 255.
    """

    group: NDArray[np.float32]
    channel: NDArray[np.float32]
    integers: NDArray[np.float32] | None


def integer_scales(ideal: NDArray[np.floating], fmt: WeightFormat) -> StoredScales:
    """Scales rounded to 1 .. 255 of a unit, half to even.

    Parameters
    ----------
    ideal : float (rows, G)
        Scales of the groups, taken as float32; 0 for groups of zeros.
    fmt : WeightFormat
        A format whose group is the whole of K has no stored integers.
    """
    ideal = np.where(ideal > 0, np.maximum(ideal, _TINY), 0).astype(np.float32)
    largest = ideal.max(axis=1)
    nothing = _TINY if fmt.bipolar else np.float32(1)  # the scale of a row of zeros
    if not fmt.scaled:
        channel = np.where(largest > 0, largest, nothing)
        return StoredScales(channel[:, None], channel, None)
    channel = np.maximum(largest / np.float32(HIGHEST_SCALE), _TINY)
    channel = np.where(largest > 0, channel, nothing).astype(np.float32)
    s8 = np.clip(np.rint(ideal / channel[:, None]), 1, HIGHEST_SCALE).astype(np.float32)
    return StoredScales(channel[:, None] * s8, channel, s8)


def exponent_scales(largest: NDArray[np.float32]) -> StoredScales:
    """Powers of two of elements in halves, from the largest magnitudes of groups (rows, G)."""
    _, exponent = np.frexp(largest)  # magnitudes are in [2^(exponent - 1), 2^exponent)
    exponent = exponent - 1 - _ELEMENT_EXPONENT - 1  # the last 1: elements count halves
    exponent = np.where(largest > 0, exponent, np.iinfo(np.int32).min // 2)
    unit = np.maximum(exponent.max(axis=1) - _EXPONENT_RANGE, _LEAST_EXPONENT)
    unit = np.where(largest.max(axis=1) > 0, unit, 0)
    places = np.clip(exponent - unit[:, None], 0, _EXPONENT_RANGE)
    channel = np.ldexp(np.float32(1), unit).astype(np.float32)
    s8 = np.ldexp(np.float32(1), places).astype(np.float32)
    return StoredScales(channel[:, None] * s8, channel, s8)


def to_e4m3(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive values rounded half to even to FP8 E4M3 numbers, 2^-9 to 448; 0 stays 0."""
    _, exponent = np.frexp(values)
    step = np.ldexp(1.0, np.maximum(exponent - _E4M3_DIGITS, _E4M3_LEAST))
    found = np.clip(np.rint(values / step) * step, 2.0**_E4M3_LEAST, _E4M3_MAX)
    return np.where(values > 0, found, 0)


def e4m3_scales(largest: NDArray[np.float32], matrix_largest: float) -> StoredScales:
    """NVFP4 scales of elements in halves.

    Parameters
    ----------
    largest : float32 (rows, G)
        Largest magnitude of each group.
    matrix_largest : float
        Largest magnitude of the whole matrix.
    """
    matrix = np.float64(max(np.float32(matrix_largest / (_LARGEST_ELEMENT * _E4M3_MAX)), _TINY))
    scale = to_e4m3(largest.astype(np.float64) / _LARGEST_ELEMENT / matrix)
    most = scale.max(axis=1)
    _, exponent = np.frexp(most)  # four significant bits: most * 2^(8 - exponent) is 128 to 240
    unit = np.maximum(matrix * np.ldexp(0.5, exponent - 8), _TINY)  # 0.5: elements count halves
    channel = np.where(most > 0, unit, 1).astype(np.float32)
    s8 = np.rint(scale * matrix * 0.5 / channel[:, None].astype(np.float64))
    s8 = np.clip(s8, 1, HIGHEST_SCALE).astype(np.float32)
    return StoredScales(channel[:, None] * s8, channel, s8)
