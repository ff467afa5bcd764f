"""From float weights and activations to codes, and the exact sums they stand for."""

from dataclasses import dataclass

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
from mapping.formats import WeightFormat

__all__ = [
    "QuantisedWeights",
    "exact_sums",
    "expand_activations",
    "quantise",
    "quantise_activations",
    "scale_sums",
]

_BLOCK_ELEMENTS = 1 << 22  # rows are taken in blocks of about 16 MB of float32
_TINY = np.finfo(np.float32).tiny  # smallest scale: no division by a scale that underflowed
_HIGHEST_SCALE = 255
_ONE_THREAD = 1 << 18  # OpenBLAS runs up to so many products m*n*k on one thread, without a barrier


@dataclass(frozen=True)
class QuantisedWeights:
    """Codes and scales of a weight matrix.

    A weight is ``channel_scale[n] * scales[n, g] * (codes[n, k] - zeros[n, g])``. A format with
    planes is in *expanded* form: the planes of a group follow each other as if they were groups of
    a longer K, whose activations `expand_activations` repeats; a weight is the sum of its planes.

    Parameters
    ----------
    fmt : WeightFormat
        The number format.
    codes : int8 (N, K * planes)
        Codes, in [fmt.lowest, fmt.highest], ordered (group, plane, k in the group).
    scales : uint8 (N, G * planes) or None
        Group scales, 1 to 255; None (all 1) when the group is the whole of K.
    zeros : uint8 (N, G) or None
        Zero points of asymmetric formats, in the range of the codes.
    channel_scale : float32 (N,)
        Scale of each output feature, above 0.
    """

    fmt: WeightFormat
    codes: NDArray[np.int8]
    scales: NDArray[np.uint8] | None
    zeros: NDArray[np.uint8] | None
    channel_scale: NDArray[np.float32]

    @property
    def n(self) -> int:
        """Output features."""
        return self.codes.shape[0]

    @property
    def k(self) -> int:
        """Reduction elements of the product: a weight of several planes counts once."""
        return self.codes.shape[1] // self.fmt.planes

    @property
    def expanded_k(self) -> int:
        """Stored codes of an output feature, ``k`` times the planes."""
        return self.codes.shape[1]

    def dequantise(self) -> NDArray[np.float32]:
        """The weights the codes stand for, float32 (N, K)."""
        fmt = self.fmt
        groups = fmt.groups(self.k) * fmt.planes
        values = self.codes.reshape(self.n, groups, -1).astype(np.float32)
        if self.zeros is not None:
            values -= self.zeros[:, :, None]
        scale = np.repeat(self.channel_scale[:, None], groups, axis=1)
        if self.scales is not None:
            scale = scale * self.scales
        values *= scale[:, :, None]
        if fmt.planes > 1:
            values = values.reshape(self.n, -1, fmt.planes, values.shape[2]).sum(axis=2)
        return values.reshape(self.n, self.k)


def quantise(weights: NDArray[np.floating], fmt: WeightFormat) -> QuantisedWeights:
    """Round weights to the nearest code of a format.

    Scales of the groups come first. Integer codes: the largest magnitude of the group (asymmetric:
    its range with 0 included) over the largest code, in float32; ``int2``, ``int1``, ``bipolar``,
    ``ternary`` and ``bcq`` have the rules of `mapping.binary_codes`. With group scales, the channel
    scale is the largest group scale over 255 and group scales are rounded half to even to 1 .. 255
    of it. Then every weight gets the code nearest to it at its stored scale, rounded half to even
    and clipped. A row of zeros has channel scale 1, or the least one if codes have no 0.

    Parameters
    ----------
    weights : float (N, K)
        Finite values.
    fmt : WeightFormat
        The number format.

    Raises
    ------
    InputError
        The array is not two-dimensional, not finite, or K is not divisible by the group.
    """
    if weights.ndim != 2 or 0 in weights.shape:
        raise InputError("weights", "shape", weights.shape, "(N, K) with N, K >= 1")
    n, k = weights.shape
    if not fmt.executable:
        allowed = "a format of integer codes, e.g. int4_g128"
        raise InputError("quantise", "weights", fmt.name, allowed)
    groups = fmt.groups(k)
    codes = np.empty((n, k * fmt.planes), np.int8)
    scales = np.empty((n, groups * fmt.planes), np.uint8) if fmt.scaled else None
    zeros = np.empty((n, groups), np.uint8) if fmt.asymmetric else None
    channel = np.empty(n, np.float32)
    rows = max(1, _BLOCK_ELEMENTS // k)
    for first in range(0, n, rows):
        part = slice(first, first + rows)
        block = np.asarray(weights[part], np.float32).reshape(-1, groups, k // groups)
        low, high = block.min(axis=2), block.max(axis=2)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError("weights", "", "NaN or infinity", "finite float32 values")
        if fmt.family == "bcq":
            assert scales is not None  # bcq formats have a group
            codes[part], scales[part], channel[part] = _binary_coded(block, fmt)
            continue
        if fmt.asymmetric:
            low, high = np.minimum(low, 0), np.maximum(high, 0)
            # halves first: the range of two finite floats may overflow float32
            ideal = (high / 2 - low / 2) / np.float32(fmt.highest / 2)
        else:
            ideal = _ideal_scale(block, np.maximum(-low, high), fmt)
        group_scale, channel[part], s8 = _two_level(ideal, fmt)
        if scales is not None:
            scales[part] = s8
        block = block / group_scale[:, :, None]
        if fmt.bipolar:
            codes[part] = nearest_odd(block, fmt.highest).reshape(-1, k)
            continue
        if zeros is not None:
            zero = np.clip(np.rint(-low / group_scale), 0, fmt.highest)
            zeros[part] = zero
            block += zero[:, :, None]
        np.rint(block, out=block)
        np.clip(block, fmt.lowest, fmt.highest, out=block)
        codes[part] = block.reshape(-1, k)
    return QuantisedWeights(fmt, codes, scales, zeros, channel)


def _ideal_scale(
    block: NDArray[np.float32], largest: NDArray[np.float32], fmt: WeightFormat
) -> NDArray[np.float32]:
    """Scales of symmetric codes (rows, G) of groups (rows, G, span), before they are stored."""
    if fmt.family == "ternary":
        return mean_magnitude(block)
    if fmt.bipolar and fmt.bits <= 2:
        return two_magnitude_scale(block, 1, fmt.highest)
    if fmt.bits == 2:
        return two_magnitude_scale(block, 0, 1)
    return largest / np.float32(fmt.highest)


def _binary_coded(block: NDArray[np.float32], fmt: WeightFormat) -> tuple:
    """Codes, group scales and channel scale of binary-coded weights (rows, G, span)."""
    rows, groups, span = block.shape
    fit = fit_planes(block, fmt.planes - fmt.offset, fmt.offset)
    ideal = fit.scales
    if fmt.offset:
        ideal = np.concatenate([ideal, np.abs(fit.offset)[:, :, None]], axis=2)
    stored, channel, s8 = _two_level(ideal.reshape(rows, -1).astype(np.float32), fmt)
    stored = stored.reshape(rows, groups, fmt.planes).astype(np.float64)
    sign = np.where(fit.offset < 0, -1, 1).astype(np.int8)
    offset = stored[:, :, -1] * sign if fmt.offset else np.zeros((rows, groups))
    planes = nearest_planes(block, stored[:, :, : fmt.planes - fmt.offset], offset)
    if fmt.offset:
        constant = np.broadcast_to(sign[:, :, None, None], (rows, groups, 1, span))
        planes = np.concatenate([planes, constant], axis=2)
    return planes.reshape(rows, -1), s8, channel


def _two_level(ideal: NDArray[np.float32], fmt: WeightFormat) -> tuple:
    """Ideal group scales (N, G) as what is stored: scale of a group, channel scale, s8."""
    ideal = np.where(ideal > 0, np.maximum(ideal, _TINY), 0).astype(np.float32)
    largest = ideal.max(axis=1)
    nothing = _TINY if fmt.bipolar else np.float32(1)  # the scale of a row of zeros
    if not fmt.scaled:
        channel = np.where(largest > 0, largest, nothing)
        return channel[:, None], channel, None
    channel = np.maximum(largest / np.float32(_HIGHEST_SCALE), _TINY)
    channel = np.where(largest > 0, channel, nothing).astype(np.float32)
    s8 = np.clip(np.rint(ideal / channel[:, None]), 1, _HIGHEST_SCALE).astype(np.float32)
    return channel[:, None] * s8, channel, s8


def quantise_activations(
    activations: NDArray[np.floating],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """INT8 activations, one dynamic scale a token.

    Parameters
    ----------
    activations : float (M, K)
        Finite values; taken as float32.

    Returns
    -------
    codes : int8 (M, K)
        In [-127, 127], rounded half to even.
    scale : float32 (M,)
        Largest magnitude of the token over 127; 1 for a token of zeros.

    Raises
    ------
    InputError
        The array is not two-dimensional or not finite.
    """
    if activations.ndim != 2 or 0 in activations.shape:
        raise InputError("activations", "shape", activations.shape, "(M, K) with M, K >= 1")
    values = np.asarray(activations, np.float32)
    largest = np.maximum(-values.min(axis=1), values.max(axis=1))
    if not np.isfinite(largest).all():
        raise InputError("activations", "", "NaN or infinity", "finite float32 values")
    scale = np.where(largest > 0, np.maximum(largest / np.float32(127), _TINY), np.float32(1))
    scale = scale.astype(np.float32)
    codes = np.clip(np.rint(values / scale[:, None]), -127, 127).astype(np.int8)
    return codes, scale


def expand_activations(activations: NDArray, fmt: WeightFormat) -> NDArray:
    """Activations in the order of expanded codes: each group once for every plane.

    Parameters
    ----------
    activations : any type (M, K)
        Activations, as codes or as real values.
    fmt : WeightFormat
        The format of the weights; without planes the activations are returned as they are.

    Returns
    -------
    the same type (M, K * planes)

    Raises
    ------
    InputError
        ``K`` is not divisible by the group.
    """
    if fmt.planes == 1:
        return activations
    m, k = activations.shape
    parts = activations.reshape(m, fmt.groups(k), 1, -1)
    return np.repeat(parts, fmt.planes, axis=2).reshape(m, k * fmt.planes)


def exact_sums(activations: NDArray[np.int8], weights: QuantisedWeights) -> NDArray[np.int64]:
    """The arithmetic contract, computed directly from codes, scales and zero points.

    ``acc[m, n] = sum_g s8[n, g] * (sum_{k in g} q[n, k] a[m, k] - z[n, g] sum_{k in g} a[m, k])``

    Planes of binary-coded weights count as groups over repeated activations.

    A group's sum is at most 128 * 128 * group. Up to 2^24 every partial sum is an integer that
    float32 holds, so a float32 matrix product is exact in any order; above, float64 is used
    (exact to 2^53, a group of 2^39). Scales are applied in int64.

    Parameters
    ----------
    activations : int8 (M, K)
        Codes of the activations.
    weights : QuantisedWeights
        Codes and scales of an executable format.

    Returns
    -------
    int64 (M, N)
        Sums before the channel and activation scales.

    Raises
    ------
    InputError
        K of both does not agree.
    """
    m, k = activations.shape
    if k != weights.k:
        raise InputError("activations", "K", k, f"K of the weights, {weights.k}")
    groups = weights.fmt.groups(k) * weights.fmt.planes
    activations = expand_activations(activations, weights.fmt)
    k = activations.shape[1]
    span = k // groups
    kind: type = np.float32 if 128 * 128 * span <= 1 << 24 else np.float64
    left: NDArray = activations.astype(kind)
    sums = np.empty((m, weights.n), np.int64)
    rows = max(1, _BLOCK_ELEMENTS // k)
    if _ONE_THREAD // (m * span) >= 64:
        rows = min(rows, _ONE_THREAD // (m * span))
    for first in range(0, weights.n, rows):
        part = slice(first, first + rows)
        right: NDArray = weights.codes[part].astype(kind)
        total = np.zeros((m, right.shape[0]), np.int64)
        for group in range(groups):
            cut = slice(group * span, (group + 1) * span)
            found = (left[:, cut] @ right[:, cut].T).astype(np.int64)
            if weights.zeros is not None:
                row_sum = activations[:, cut].sum(axis=1, dtype=np.int64)
                found -= np.outer(row_sum, weights.zeros[part, group].astype(np.int64))
            if weights.scales is not None:
                found *= weights.scales[part, group].astype(np.int64)
            total += found
        sums[:, part] = total
    return sums


def scale_sums(
    sums: NDArray[np.int64],
    channel_scale: NDArray[np.float32],
    activation_scale: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Real outputs of exact sums: ``sums * channel_scale[n] * activation_scale[m]``.

    Rounding: the sum becomes float64 (exact below 2^53, which all sums of INT8 activations are;
    those of FP16 are rounded to nearest even beyond it); it is multiplied by the channel scale,
    then by the activation scale, each product rounded to nearest even in float64, and the
    result is rounded once to float32.

    Parameters
    ----------
    sums : int64 (M, N)
        Accumulator sums.
    channel_scale : float32 (N,)
        Scale of each output feature.
    activation_scale : float32 (M,)
        Scale of each token.

    Returns
    -------
    float32 (M, N)
    """
    real = sums.astype(np.float64)
    real *= channel_scale.astype(np.float64)[None, :]
    real *= activation_scale.astype(np.float64)[:, None]
    return real.astype(np.float32)
