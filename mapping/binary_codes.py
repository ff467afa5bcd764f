"""Rounding rules of codes that are not plain integers: odd, ternary and binary-coded.

Each rule gives the *ideal* scale of a group, float32 (rows, G); `mapping.quantise` rounds scales to
what is stored and asks for the codes at the stored scale.

- One magnitude (``int1``) or two (two's complement -1, 0, 1 of ``int2``; -3, -1, 1, 3 of
  ``bipolar2``): the scale of the least squared error, found exactly. Sorted by magnitude, the best
  codes give the larger magnitude to the j largest weights for some j; for each j the best scale is
  a ratio of sums. With one magnitude this is the mean magnitude (XNOR-Net, Rastegari et al.,
  ECCV'16, section 3.1), with 0 and 1 the optimum of ternary weight networks (Li et al., 2016, arXiv
  1605.04711). The largest magnitude as the scale, which is right for many levels, would leave most
  weights of a group at 0: of Gaussian weights in groups of 64 it makes 80 % zeros and a squared
  error of 0.51 of the weights' square, this rule 46 % and 0.18.
- Ternary: the mean magnitude of the group (BitNet b1.58, arXiv 2402.17764, equations 1 to 3; there
  of the matrix), so that a network trained with that rule keeps its codes.
- Odd codes of 3 bits and more: the largest magnitude over the largest code.
- Binary-coded: `fit_planes`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Planes",
    "fit_planes",
    "mean_magnitude",
    "nearest_odd",
    "nearest_planes",
    "two_magnitude_scale",
]

_ROUNDS = 20  # the error is then within 1 % of that after 100, of four planes on Gaussian weights
_RIDGE = 1e-9  # of the diagonal: planes that became equal have one solution


def mean_magnitude(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean magnitude of groups (rows, G, span), float32 (rows, G)."""
    return np.abs(block).mean(axis=2, dtype=np.float64).astype(np.float32)


def two_magnitude_scale(block: NDArray[np.float32], small: int, large: int) -> NDArray[np.float32]:
    """The scale of the least squared error for codes of two magnitudes.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups.
    small, large : int
        Magnitudes of the codes, e.g. 0 and 1, or 1 and 3.

    Returns
    -------
    float32 (rows, G)
        0 for a group of zeros.
    """
    # with the j largest at ``large``, the error is sum w^2 - dot^2 / norm at scale dot / norm
    falling = np.sort(np.abs(block), axis=2)[:, :, ::-1]
    top = np.cumsum(falling, axis=2, dtype=np.float64)
    count = np.arange(1, block.shape[2] + 1, dtype=np.float64)
    dot = large * top + small * (top[:, :, -1:] - top)
    norm = large**2 * count + small**2 * (count[-1] - count)
    best = np.argmax(dot / np.sqrt(norm), axis=2)[:, :, None]
    found = np.take_along_axis(dot, best, axis=2)[:, :, 0] / norm[best[:, :, 0]]
    return found.astype(np.float32)


def nearest_odd(ratio: NDArray[np.float32], highest: int) -> NDArray[np.float32]:
    """Odd values nearest to real ones; an even value goes to the odd one above it.

    Parameters
    ----------
    ratio : float32
        Weights over their scale.
    highest : int
        Largest odd code.
    """
    return np.clip(2 * np.floor(ratio / 2) + 1, -highest, highest)


class Planes(NamedTuple):
    """Ideal scales and offset of binary-coded groups.

    Parameters
    ----------
    scales : float64 (rows, G, Q)
        At least 0.
    offset : float64 (rows, G)
        0 without an offset.
    """

    scales: NDArray[np.float64]
    offset: NDArray[np.float64]


def _patterns(planes: int) -> NDArray[np.float64]:
    """Signs (2^Q, Q) of every combination: plane q is +1 where bit q is 1."""
    index = np.arange(1 << planes)[:, None]
    return np.where(index >> np.arange(planes) & 1, 1.0, -1.0)


def _levels(
    scales: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Values of all combinations (rows, G, 2^Q), ascending, and the combination of each."""
    value = scales @ _patterns(scales.shape[2]).T + offset[:, :, None]
    order = np.argsort(value, axis=2, kind="stable")
    return np.take_along_axis(value, order, axis=2), order


def _bounds(rising: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.intp]:
    """How many rising values (rows, G, span) are at most each limit (rows, G, L): bisection.

    The values have 2^n - 1 places, filled up with infinity.
    """
    span = rising.shape[2]
    flat = rising.reshape(-1)
    first = np.arange(0, rising.size, span).reshape(*rising.shape[:2], 1)
    place = np.broadcast_to(first, limits.shape).copy()
    step = (span + 1) // 2
    while step:
        place += step * (flat[place + (step - 1)] <= limits)
        step //= 2
    return place - first


def fit_planes(block: NDArray[np.float32], planes: int, offset: bool) -> Planes:
    """Alternating least squares of binary-coded weights, w = sum_q scale_q b_q + offset.

    Greedy start (each plane the signs of what the earlier ones leave, its scale the mean
    magnitude), then in turn the scales of the least squared error for given planes and the planes
    nearest to the weights for given scales (alternating quantisation, Xu et al., ICLR'18, arXiv
    1802.00150). The offset is FIGLUT's (arXiv 2503.06862) and starts as the mean. Of sorted
    weights, those with equal planes are an interval: a round needs only its bounds and sums.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups.
    planes : int
        Planes without that of the offset, 1 to 4.
    offset : bool
        Whether an offset is fitted.
    """
    rows, groups, span = block.shape
    rising = np.sort(block, axis=2)
    places = (1 << span.bit_length()) - 1
    filled = np.pad(rising, ((0, 0), (0, 0), (0, places - span)), constant_values=np.inf)
    sums = np.zeros((rows, groups, span + 1))
    np.cumsum(rising, axis=2, dtype=np.float64, out=sums[:, :, 1:])
    centre = sums[:, :, -1] / span if offset else np.zeros((rows, groups))
    scales = _greedy(block, planes, centre)
    signs = _patterns(planes)
    if offset:
        signs = np.pad(signs, ((0, 0), (0, 1)), constant_values=1)
    terms = signs.shape[1]
    products = (signs[:, :, None] * signs[:, None, :]).reshape(-1, terms * terms)
    ridge = np.eye(terms) * (_RIDGE * span)
    bounds = np.zeros((rows, groups, len(signs) + 1), np.intp)
    bounds[:, :, -1] = span
    count = np.empty((rows, groups, len(signs)))  # weights of each combination, and their sum
    total = np.empty_like(count)
    for _ in range(_ROUNDS):
        value, order = _levels(scales, centre)
        bounds[:, :, 1:-1] = _bounds(filled, (value[:, :, 1:] + value[:, :, :-1]) / 2)
        np.put_along_axis(count, order, np.diff(bounds, axis=2).astype(np.float64), axis=2)
        inside = np.diff(np.take_along_axis(sums, bounds, axis=2), axis=2)
        np.put_along_axis(total, order, inside, axis=2)
        gram = (count @ products).reshape(rows, groups, terms, terms) + ridge
        right = total @ signs
        found = np.linalg.solve(gram, right[..., None])[..., 0]
        scales = np.abs(found[:, :, :planes])  # a plane of the other sign has the same values
        if offset:
            centre = found[:, :, planes]
    return Planes(scales, centre)


def _greedy(
    block: NDArray[np.float32], planes: int, centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    left = block - centre[:, :, None].astype(np.float32)
    scales = np.empty((*centre.shape, planes))
    for plane in range(planes):
        size = np.abs(left)
        scales[:, :, plane] = size.mean(axis=2, dtype=np.float64)
        left = size - scales[:, :, plane, None].astype(np.float32)
    return scales


def nearest_planes(
    block: NDArray[np.float32], scales: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Planes whose sum is nearest to the weights, at the stored scales.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups.
    scales : float64 (rows, G, Q)
        Stored scales of the planes.
    offset : float64 (rows, G)
        Stored offset.

    Returns
    -------
    int8 (rows, G, Q, span)
        -1 and +1.
    """
    value, order = _levels(scales, offset)
    middle = ((value[:, :, 1:] + value[:, :, :-1]) / 2).astype(np.float32)
    rank = np.zeros(block.shape, np.uint8)
    for index in range(middle.shape[2]):
        rank += block > middle[:, :, index, None]
    pattern = np.take_along_axis(order.astype(np.uint8), rank, axis=2)
    planes = np.arange(scales.shape[2], dtype=np.uint8)[:, None]
    bits = (pattern[:, :, None, :] >> planes) & np.uint8(1)
    return (bits << np.uint8(1)).view(np.int8) - np.int8(1)
