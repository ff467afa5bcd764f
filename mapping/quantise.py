"""From float weights and activations to codes, and the exact sums they stand for."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.formats import WeightFormat
from mapping.group_codes import group_codes

__all__ = [
    "QuantisedWeights",
    "exact_sums",
    "expand_activations",
    "quantise",
    "quantise_activations",
    "scale_sums",
]

_BLOCK_ELEMENTS = 1 << 22  # rows are taken in blocks of about 16 MB of float32
_CACHED_ELEMENTS = 1 << 17  # rows quantised at a time: 512 kB of float32 stay in the cache
_FITTED_ELEMENTS = 1 << 20  # planes are fitted in many small steps: fewer, longer blocks
_THREADS = 2
_TINY = np.finfo(np.float32).tiny  # smallest scale of a token: no division by 0
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
        Codes, in [fmt.lowest, fmt.highest], ordered (group, plane, k in the group). Floating ones
        are values in halves, special values included.
    scales : uint8 (N, G * planes) or None
        Group scales, 1 to 255; None (all 1) when the group is the whole of K.
    zeros : int8 (N, G) or None
        Zero points of asymmetric formats, in the range of the codes.
    channel_scale : float32 (N,)
        Scale of each output feature, above 0.
    special : uint8 (N, G) or None
        Which of the format's special values a group has, or which type of ANT
        (`mapping.float_codes`: 0 int4, 1 flint4); None where there is no choice.
    """

    fmt: WeightFormat
    codes: NDArray[np.int8]
    scales: NDArray[np.uint8] | None
    zeros: NDArray[np.int8] | None
    channel_scale: NDArray[np.float32]
    special: NDArray[np.uint8] | None = None

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
    ``ternary`` and ``bcq`` have the rules of `mapping.binary_codes`. Floating codes: the largest
    magnitude over the largest level; special values and ANT's types are chosen at these scales
    (`mapping.float_codes`). With group scales, the channel scale is the largest group scale over
    255 and group scales are rounded half to even to 1 .. 255 of it; ``mxfp4``, ``mxfp3`` and
    ``nvfp4`` have the scales of `mapping.block_scales`. Then every weight gets the code nearest to
    it at its stored scale, and is clipped. Of two as near, integer codes are rounded half to even,
    and so are the floating ones of the three block-scaled formats; other floating codes go to the
    lower value. A row of zeros has channel scale 1, or the least one if codes have no 0.

    Blocks of rows are done by two threads; the result does not depend on it.

    Parameters
    ----------
    weights : float (N, K)
        Finite values.
    fmt : WeightFormat
        The number format.

    Raises
    ------
    InputError
        The array is not two-dimensional, not finite, K is not divisible by the group, or the format
        is one that is only simulated.
    """
    if weights.ndim != 2 or 0 in weights.shape:
        raise InputError("weights", "shape", weights.shape, "(N, K) with N, K >= 1")
    n, k = weights.shape
    if not fmt.quantisable:
        allowed = "a format that weights are rounded to, e.g. int4_g128 or bitmod_fp4_g128"
        raise InputError("quantise", "weights", fmt.name, allowed)
    groups = fmt.groups(k)
    scaled = np.empty((n, groups * fmt.planes), np.uint8) if fmt.scaled else None
    chosen = fmt.special_values or fmt.family == "ant"
    found = QuantisedWeights(
        fmt,
        np.empty((n, k * fmt.planes), np.int8),
        scaled,
        np.empty((n, groups), np.int8) if fmt.asymmetric else None,
        np.empty(n, np.float32),
        np.empty((n, groups), np.uint8) if chosen else None,
    )
    elements = _FITTED_ELEMENTS if fmt.family == "bcq" else _CACHED_ELEMENTS
    rows = max(1, elements // k)
    parts = [slice(first, first + rows) for first in range(0, n, rows)]
    matrix_largest = _matrix_largest(weights, parts) if fmt.scale_kind == "e4m3" else 0.0

    def fill(part: slice) -> None:
        block = np.asarray(weights[part], np.float32).reshape(-1, groups, k // groups)
        _fill(found, part, block, matrix_largest)

    if len(parts) == 1:
        fill(parts[0])
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(fill, parts))  # raises what a block raised
    return found


def _matrix_largest(weights: NDArray[np.floating], parts: list[slice]) -> float:
    """Largest magnitude of a matrix, in float32."""
    blocks = (np.asarray(weights[part], np.float32) for part in parts)
    return float(max(max(block.max(), -block.min()) for block in blocks))


def _fill(
    found: QuantisedWeights, part: slice, block: NDArray[np.float32], matrix_largest: float
) -> None:
    """Quantise the rows ``part``, given as groups (rows, G, span)."""
    codes = group_codes(block, found.fmt, matrix_largest)
    found.codes[part] = codes.codes.reshape(len(block), -1)
    found.channel_scale[part] = codes.scales.channel
    for whole, own in (
        (found.scales, codes.scales.integers),
        (found.zeros, codes.zeros),
        (found.special, codes.chosen),
    ):
        if whole is not None and own is not None:
            whole[part] = own


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
