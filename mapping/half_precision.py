"""FP16 activations: the arithmetic of matrix units, defined once.

Every finite FP16 value is a multiple of 2^-24: ``mant * 2^(e-1)`` of them, with mant <= 2047 and e
from 1 (subnormal values too) to 30 (IEEE 754-2008, binary16). A unit aligns the values of one
token's *block* (the lanes_k activations of a step) to their largest exponent, as FIGNA (HPCA'24)
and FIGLUT-I (HPCA'25, arXiv 2503.06862) do, and is an integer machine from there on:

- E is the block's largest e, the base ``B = max(E - 1 - 3, 0)``: three guard bits below the
  largest value's last bit.
- The aligned integer is ``mant * 2^(e-1) / 2^B`` rounded to nearest even, then the sign; its
  magnitude is at most 2047 * 8. It counts 2^B, and sums over blocks of different B are exact.
- A scale group's sum is multiplied by its 8-bit scale and loses 8 bits, rounded half up:
  ``(sum * s8 + 128) >> 8`` (floor). Unscaled sums stay as they are.

So a sum counts 2^-24, or 2^-16 where groups have scales. Relative RMS error of sums over K = 4096
with INT4 codes in groups of 128, against float64 over the same FP16 values (seed 0, 16 tokens, 64
features; `tests/test_half_precision.py` computes the table again). Rounding the activations to
FP16 costs 1.9e-4 to 2.1e-4 in each row, more than alignment:

==========================================  =======  ========  ========
activations                                 block 8  block 16  block 64
==========================================  =======  ========  ========
Gaussian                                     2.2e-5    2.8e-5    3.6e-5
Student's t, 3 degrees of freedom            4.2e-5    5.8e-5    1.0e-4
Gaussian, 1 % of the channels 50 times       6.8e-5    9.9e-5    1.9e-4
==========================================  =======  ========  ========
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.units.base import GUARD_BITS
from mapping.formats import WeightFormat
from mapping.quantise import QuantisedWeights, expand_activations

__all__ = [
    "ALIGNED_MAX",
    "FRACTION_BITS",
    "GUARD_BITS",
    "SCALE_SHIFT",
    "align",
    "aligned_integers",
    "check_finite",
    "group_sums",
    "half_scale",
    "half_sums",
    "scale_group",
    "to_half",
    "wide_product",
]

FRACTION_BITS = 24  # the least positive FP16 value is 2^-24
ALIGNED_MAX = 2047 << GUARD_BITS  # largest magnitude of an aligned integer
SCALE_SHIFT = 8  # bits a scaled group's sum loses: as many as the scale has
_MANTISSA_BITS = 10
_EXPONENT_MAX = 31  # infinity and NaN
_LOW_BITS = 20  # values are cut here, so that both parts are exact in a float64 product
_WIDEST = 1 << 42  # four times 65504 * 2^24 is just below
_LONGEST = 1 << 23  # upper parts of 2^22 * factors of 2^8 * 2^23 = 2^53
_EXACT = 1 << 53  # float64 holds all integers up to here
_BLOCK_ELEMENTS = 1 << 22  # codes turned to float64 at a time
_HIGHEST_SCALE = 255


def check_finite(activations: NDArray) -> None:
    """Refuse what has no integer value.

    Parameters
    ----------
    activations : float16 (M, K)

    Raises
    ------
    InputError
        Not float16, not two-dimensional, or a value is infinite or NaN.
    """
    if activations.dtype != np.float16:
        raise InputError("activations", "type", str(activations.dtype), "float16")
    if activations.ndim != 2 or 0 in activations.shape:
        raise InputError("activations", "shape", activations.shape, "(M, K) with M, K >= 1")
    if not np.isfinite(activations).all():
        raise InputError("activations", "", "NaN or infinity", "finite float16 values")


def to_half(activations: NDArray[np.floating]) -> NDArray[np.float16]:
    """Float32 activations as FP16, rounded to nearest even.

    Parameters
    ----------
    activations : float (M, K)
        Finite values below 65520 in magnitude: larger ones would round to infinity.

    Raises
    ------
    InputError
        A value is infinite, NaN, or too large.
    """
    values = np.asarray(activations, np.float32)
    if not np.isfinite(values).all():
        raise InputError("activations", "", "NaN or infinity", "finite float32 values")
    with np.errstate(over="ignore"):
        found = values.astype(np.float16)
    if not np.isfinite(found).all():
        worst = float(np.abs(values).max())
        raise InputError("activations", "", worst, "magnitudes below 65520, the range of FP16")
    return found


def aligned_integers(
    activations: NDArray[np.float16], block: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """What a unit computes with: aligned integers and the base of each block.

    Parameters
    ----------
    activations : float16 (M, K)
        Finite values.
    block : int
        Values aligned together (lanes_k of the unit); the last block may be short, its missing
        values are zeros.

    Returns
    -------
    aligned : int16 (M, K)
        Signed integers of at most 2047 * 8 in magnitude.
    base : uint8 (M, ceil(K / block))
        B, 0 to 26: an aligned integer counts 2^(B - 24).

    Raises
    ------
    InputError
        A value is not finite, or the block is below 1.
    """
    check_finite(activations)
    if block < 1:
        raise InputError("activations", "block", block, "1 or more")
    m, k = activations.shape
    blocks = -(-k // block)
    raw = np.ascontiguousarray(activations).view(np.uint16)
    raw = np.pad(raw, ((0, 0), (0, blocks * block - k))).reshape(m, blocks, block)
    field = (raw >> _MANTISSA_BITS & _EXPONENT_MAX).astype(np.int8)
    mantissa = (raw & ((1 << _MANTISSA_BITS) - 1)).astype(np.int32)
    mantissa |= (field > 0).astype(np.int32) << _MANTISSA_BITS
    exponent = np.maximum(field, 1)
    base = np.maximum(exponent.max(axis=2) - (1 + GUARD_BITS), 0)
    shift = exponent - 1 - base[:, :, None]  # up to 3 to the left, or down and rounded
    up = mantissa << np.maximum(shift, 0)
    down = np.maximum(-shift, 0).astype(np.int32)
    last = (up >> down) & 1
    half = (1 << down) >> 1
    up += np.where(down > 0, half - 1 + last, 0)  # a tie moves up only to an even value
    up >>= down
    signed = np.where(raw >> 15, -up, up).astype(np.int16)
    return signed.reshape(m, blocks * block)[:, :k], base.astype(np.uint8)


def align(activations: NDArray[np.float16], block: int) -> NDArray[np.int64]:
    """The values a unit computes with, in units of 2^-24.

    Parameters
    ----------
    activations : float16 (M, K)
        Finite values.
    block : int
        Values aligned together (lanes_k of the unit).

    Returns
    -------
    int64 (M, K)
        Aligned integers times 2^B; below 2^40 in magnitude.

    Raises
    ------
    InputError
        A value is not finite, or the block is below 1.
    """
    aligned, base = aligned_integers(activations, block)
    shifts = np.repeat(base.astype(np.int64), block, axis=1)[:, : aligned.shape[1]]
    return aligned.astype(np.int64) << shifts


def wide_product(values: NDArray[np.int64], codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Exact ``values @ codes.T`` by one or two float64 products.

    Values beyond what float64 sums hold exactly are cut at 20 bits. With 8-bit codes and up to 2^23
    products a sum, every partial sum of either part is an integer up to 2^53, which float64 holds
    in any order of addition.

    Parameters
    ----------
    values : int64 (M, K)
        At most 2^42 in magnitude; K at most 2^23.
    codes : int (N, K)
        At most 2^8 in magnitude.

    Returns
    -------
    int64 (M, N)

    Raises
    ------
    InputError
        The values or K are larger.
    """
    k = values.shape[1]
    largest = _largest(values)
    if k > _LONGEST or largest > _WIDEST:
        found = f"K = {k}, values up to {largest}"
        raise InputError("activations", "range", found, "K up to 2^23, values up to 2^42")
    right = codes.astype(np.float64).T
    if k * largest <= _EXACT >> 8:
        return (values.astype(np.float64) @ right).astype(np.int64)
    high = (values >> _LOW_BITS).astype(np.float64) @ right
    low = (values & ((1 << _LOW_BITS) - 1)).astype(np.float64) @ right
    return (high.astype(np.int64) << _LOW_BITS) + low.astype(np.int64)


def scale_group(sums: NDArray[np.int64], scales: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A group's sums times its 8-bit scales, ``(sums * s8 + 128) >> 8``, without overflow.

    Parameters
    ----------
    sums : int64 (M, N)
        Sums of one group, in units of 2^-24.
    scales : uint8 (N,)
        Scales of the group, 1 to 255.

    Returns
    -------
    int64 (M, N)
        In units of 2^-16.
    """
    wide = scales.astype(np.int64)
    high, low = sums >> 32, sums & 0xFFFF_FFFF  # the upper part's product has 32 zeros below
    rounded = (low * wide + (1 << (SCALE_SHIFT - 1))) >> SCALE_SHIFT
    return ((high * wide) << (32 - SCALE_SHIFT)) + rounded


def half_sums(
    activations: NDArray[np.float16], weights: QuantisedWeights, block: int
) -> NDArray[np.int64]:
    """The arithmetic contract of FP16 activations, computed from codes and scales.

    Parameters
    ----------
    activations : float16 (M, K)
        Finite values.
    weights : QuantisedWeights
        Codes and scales. A factor is the code minus its group's zero point, if there is one; no
        unit has zero points beside FP16 activations, their error is what is computed here.
    block : int
        Values aligned together: lanes_k of the unit.

    Returns
    -------
    int64 (M, N)
        Sums in units of `half_scale`, before channel scales.

    Raises
    ------
    InputError
        A value is not finite, K of both does not agree, a scale group is not whole blocks, or a
        sum might not fit 64 bits.
    """
    fmt = weights.fmt
    if activations.shape[-1] != weights.k:
        raise InputError("activations", "K", activations.shape[-1], f"{weights.k}, of the weights")
    if fmt.group is not None and fmt.group % block:
        allowed = f"groups that are a multiple of the block, {block}"
        raise InputError("half_sums", "weights", fmt.name, allowed)
    aligned = expand_activations(align(activations, block), fmt)
    groups = fmt.groups(weights.k) * fmt.planes
    factors: NDArray[np.integer] = weights.codes
    if weights.zeros is not None:  # up to 255 in magnitude
        zeros = weights.zeros.astype(np.int16)[:, :, None]
        factors = (weights.codes.reshape(weights.n, groups, -1) - zeros).reshape(weights.n, -1)
    return group_sums(aligned, factors, weights.scales, groups)


def group_sums(
    values: NDArray[np.int64],
    factors: NDArray[np.integer],
    scales: NDArray[np.uint8] | None,
    groups: int,
    halved: bool = False,
    half: bool = True,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Sums over groups of ``values * factors``, each scaled, added up.

    Parameters
    ----------
    values : int64 (M, K)
        INT8 values, or FP16 ones in units of 2^-24.
    factors : int (N, K)
        At most 2^8 in magnitude.
    scales : uint8 (N, G) or None
        Scales of the groups; None: the sums are added as they are.
    groups : int
        G equal parts of K.
    halved : bool
        Each group's sum is shifted right by one bit (floor) before it is scaled.
    half : bool
        Scaled with `scale_group`; else (INT8) the product with the scale is kept whole.
    most : int, optional
        Bound of the sum of all ``|values * factors|``, where factors are known to be mostly 0.

    Returns
    -------
    int64 (M, N)

    Raises
    ------
    InputError
        A sum might not fit 64 bits.
    """
    m, k = values.shape
    widest = 1 if scales is None or half else _HIGHEST_SCALE
    bound = k * _largest(values) * _largest(factors) if most is None else most
    if bound * widest >= 1 << 63:
        raise InputError("activations", "K", k, "sums below 2^63 in units of the activations")
    found = np.zeros((m, len(factors)), np.int64)
    span = k // groups
    rows = max(1, _BLOCK_ELEMENTS // k)
    for first in range(0, len(factors), rows):
        part = slice(first, first + rows)
        for group in range(groups):
            cut = slice(group * span, (group + 1) * span)
            total = wide_product(values[:, cut], factors[part, cut])
            if halved:
                total >>= 1
            if scales is not None and half:
                total = scale_group(total, scales[part, group])
            elif scales is not None:
                total *= scales[part, group].astype(np.int64)
            found[:, part] += total
    return found


def _largest(values: NDArray[np.integer]) -> int:
    return max(-int(values.min(initial=0)), int(values.max(initial=0)))


def half_scale(fmt: WeightFormat) -> float:
    """What a sum of FP16 activations counts: 2^-24, or 2^-16 where groups have scales."""
    return 2.0 ** (SCALE_SHIFT * fmt.scaled - FRACTION_BITS)
