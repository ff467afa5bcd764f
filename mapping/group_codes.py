"""Codes and scales of scale groups, by family of formats: what `mapping.quantise` does to a block.

A block is groups of whole rows, float32 (rows, G, span). The rules of scales and of rounding are in
`mapping.block_scales`, `mapping.float_codes` and `mapping.binary_codes`; here is which of them a
format has, and the plain integer ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.binary_codes import (
    fit_planes,
    mean_magnitude,
    nearest_odd,
    nearest_planes,
    two_magnitude_scale,
)
from mapping.block_scales import StoredScales, e4m3_scales, exponent_scales, integer_scales
from mapping.float_codes import (
    ANT_FLINT,
    ANT_HIGHEST,
    best_ant_type,
    best_special,
    nearest_levels,
)
from mapping.formats import WeightFormat

__all__ = ["GroupCodes", "group_codes"]


class GroupCodes(NamedTuple):
    """A block in a format.

    Parameters
    ----------
    codes : float32 or int8, with rows * G * planes * span whole values
        Ordered (row, group, plane, element).
    scales : StoredScales
        Of the groups, or of their planes.
    zeros : float32 (rows, G), optional
        Zero points, in the range of the codes.
    chosen : uint8 (rows, G), optional
        Numbers of the special values, or of ANT's types.
    """

    codes: NDArray
    scales: StoredScales
    zeros: NDArray[np.float32] | None = None
    chosen: NDArray[np.uint8] | None = None


def group_codes(
    block: NDArray[np.float32], fmt: WeightFormat, matrix_largest: float = 0.0
) -> GroupCodes:
    """Round the weights of groups; the rules are told by `mapping.quantise.quantise`.

    Parameters
    ----------
    block : float32 (rows, G, span)
        All groups of some rows.
    fmt : WeightFormat
        A format that can be quantised.
    matrix_largest : float
        Largest magnitude of the whole matrix, where scales are ``e4m3``.

    Raises
    ------
    InputError
        A weight is infinite or NaN.
    """
    low, high = block.min(axis=2), block.max(axis=2)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise InputError("weights", "", "NaN or infinity", "finite float32 values")
    largest = np.maximum(-low, high)
    if fmt.family == "bcq":
        return _binary_coded(block, fmt)
    if fmt.asymmetric:
        return _asymmetric(block, low, high, fmt)
    if fmt.family == "ant":
        return _ant(block, largest, fmt)
    if fmt.floating:
        return _floating(block, largest, fmt, matrix_largest)
    scales = integer_scales(_ideal_scale(block, largest, fmt), fmt)
    return GroupCodes(_integer_codes(block / scales.group[:, :, None], fmt), scales)


def _integer_codes(ratio: NDArray[np.float32], fmt: WeightFormat) -> NDArray[np.float32]:
    """Codes nearest to weights over their scales; the ratios are overwritten."""
    if fmt.bipolar:
        return nearest_odd(ratio, fmt.highest)
    np.rint(ratio, out=ratio)
    return np.clip(ratio, fmt.lowest, fmt.highest, out=ratio)


def _ideal_scale(
    block: NDArray[np.float32], largest: NDArray[np.float32], fmt: WeightFormat
) -> NDArray[np.float32]:
    """Scales (rows, G) of codes around 0, before they are stored."""
    if fmt.family == "ternary":
        return mean_magnitude(block)
    if fmt.bipolar and fmt.bits <= 2:
        return two_magnitude_scale(block, 1, fmt.highest)
    if fmt.bits == 2:
        return two_magnitude_scale(block, 0, 1)
    return largest / np.float32(fmt.highest)


def _asymmetric(
    block: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    fmt: WeightFormat,
) -> GroupCodes:
    """Codes around a zero point: the group's range, 0 included, over the range of the codes."""
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    # halves first: the range of two finite floats may overflow float32
    ideal = (high / 2 - low / 2) / np.float32((fmt.highest - fmt.lowest) / 2)
    scales = integer_scales(ideal, fmt)
    zero = np.clip(np.rint(-low / scales.group) + fmt.lowest, fmt.lowest, fmt.highest)
    ratio = block / scales.group[:, :, None]
    ratio += zero[:, :, None]
    return GroupCodes(_integer_codes(ratio, fmt), scales, zeros=zero)


def _floating(
    block: NDArray[np.float32],
    largest: NDArray[np.float32],
    fmt: WeightFormat,
    matrix_largest: float,
) -> GroupCodes:
    """Floating codes, in halves."""
    if fmt.scale_kind == "exponent":
        scales = exponent_scales(largest)
        return GroupCodes(nearest_levels(block, scales.group, fmt, tie="even"), scales)
    if fmt.scale_kind == "e4m3":
        scales = e4m3_scales(largest, matrix_largest)
        return GroupCodes(nearest_levels(block, scales.group, fmt, tie="even"), scales)
    special = None
    ideal = largest / np.float32(fmt.highest)
    if fmt.special_values:
        special, ideal = best_special(block, largest, fmt)
    scales = integer_scales(ideal, fmt)
    codes = nearest_levels(block, scales.group, fmt, special)
    return GroupCodes(codes, scales, chosen=special)


def _ant(block: NDArray[np.float32], largest: NDArray[np.float32], fmt: WeightFormat) -> GroupCodes:
    """Whole values of int4 or values of flint4 in halves, whichever the group has."""
    choice, ideal = best_ant_type(block, largest, fmt)
    scales = integer_scales(ideal, fmt)
    whole = np.rint(block / scales.group[:, :, None])
    whole = np.clip(whole, -ANT_HIGHEST, ANT_HIGHEST).astype(np.int8)
    flint = nearest_levels(block, scales.group, fmt)
    codes = np.where((choice == ANT_FLINT)[:, :, None], flint, whole)
    return GroupCodes(codes, scales, chosen=choice)


def _binary_coded(block: NDArray[np.float32], fmt: WeightFormat) -> GroupCodes:
    """Planes of -1 and +1 with a scale each."""
    rows, groups, span = block.shape
    fit = fit_planes(block, fmt.planes - fmt.offset, fmt.offset)
    ideal = fit.scales
    if fmt.offset:
        ideal = np.concatenate([ideal, np.abs(fit.offset)[:, :, None]], axis=2)
    scales = integer_scales(ideal.reshape(rows, -1), fmt)
    stored = scales.group.reshape(rows, groups, fmt.planes).astype(np.float64)
    sign = np.where(fit.offset < 0, -1, 1).astype(np.int8)
    offset = stored[:, :, -1] * sign if fmt.offset else np.zeros((rows, groups))
    planes = nearest_planes(block, stored[:, :, : fmt.planes - fmt.offset], offset)
    if fmt.offset:
        constant = np.broadcast_to(sign[:, :, None, None], (rows, groups, 1, span))
        planes = np.concatenate([planes, constant], axis=2)
    return GroupCodes(planes, scales)
