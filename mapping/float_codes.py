"""Rounding to floating codes: FP4, FP3, flint4, BitMoD's special values, ANT's choice of a type.

Levels are those of `mapping.code_books`, in halves, so a weight is ``scale * level`` with half the
scale that the levels' usual names would have. All levels being whole, the middle between two of
them is a multiple of 0.5: where ``2 * weight / scale`` lies between whole numbers says which level
is nearest, a table lookup.

A weight in the middle of two levels goes to the lower one (towards minus infinity) for FP4, FP3,
flint4 and BitMoD, as in BitMoD's published quantiser, which assigns a level to the weights *above*
the middle. The block-scaled formats round half to even: to the level whose stored code is even (OCP
Microscaling Formats 1.0, section 5.3.3; FP3 likewise).

BitMoD (Chen et al., HPCA'25, arXiv 2411.11745, algorithm 1): for each special value a group may
have, the scale is the group's largest magnitude over the largest level, special value included;
every weight goes to the nearest level; the special value of the least squared error stays, of equal
ones the first. A special value beyond the other levels widens the range on its own side only: with
+8 negative weights are clipped at -6.

ANT (Guo et al., MICRO'22): int4 or flint4, whichever has the smaller squared error, int4 where they
are equal. Here the choice is the group's, there it is the tensor's.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mapping.code_books import magnitudes
from mapping.formats import WeightFormat

__all__ = ["ANT_FLINT", "ANT_HIGHEST", "ANT_INT", "best_ant_type", "best_special", "nearest_levels"]

ANT_INT = 0
"""Number of int4 in `mapping.quantise.QuantisedWeights.special` of ANT."""

ANT_FLINT = 1
"""Number of flint4; its codes are in halves, int4's are whole."""

ANT_HIGHEST = 7
"""Largest code of its int4."""

Tie = Literal["lower", "even"]

# Weights over scale reach 1.5 times the largest special value, 24: s8 = 1 for a ratio of 1.5
_CENTRE = 256


def _levels(fmt: WeightFormat, special: int = 0) -> tuple[int, ...]:
    """Levels in halves, ascending; a special value of 0 adds none."""
    code_type = "flint" if fmt.family == "ant" else fmt.code_type
    positive = magnitudes(code_type, fmt.bits)
    return tuple(sorted({special, *positive, *(-value for value in positive)}))


@cache
def _table(levels: tuple[int, ...], tie: Tie) -> NDArray[np.float32]:
    """Nearest level of every place, `_places`; the middle of place p is p - _CENTRE quarters."""
    found = np.empty(2 * _CENTRE, np.float32)
    # ascending magnitudes have ascending codes (`mapping.code_books`), the lowest bit of which
    # says whether a level is even
    parity = {size: index % 2 for index, size in enumerate(sorted({abs(v) for v in levels}))}
    for place in range(2 * _CENTRE):
        quarters = place - _CENTRE
        least = min(abs(quarters - 4 * level) for level in levels)
        near = [level for level in levels if abs(quarters - 4 * level) == least]
        found[place] = near[0] if tie == "lower" else min(near, key=lambda v: parity[abs(v)])
    return found


def _doubled(block: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twice the weights (rows, G, span) in units of their scale (rows, G)."""
    return block / (scale * np.float32(0.5))[:, :, None]


def _places(doubled: NDArray[np.float32]) -> NDArray[np.intp]:
    """Twice a whole number, or the odd number between two such; from `_CENTRE` on."""
    place = np.floor(doubled)
    place += np.ceil(doubled)
    place += np.float32(_CENTRE)
    return place.astype(np.intp)


def nearest_levels(
    block: NDArray[np.float32],
    scale: NDArray[np.float32],
    fmt: WeightFormat,
    special: NDArray[np.uint8] | None = None,
    tie: Tie = "lower",
) -> NDArray[np.int8]:
    """Levels nearest to weights at given scales.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups; at most 64 scales in magnitude.
    scale : float32 (rows, G)
        Scales of the groups, of a level of 1 half; above 0.
    fmt : WeightFormat
        A format of floating codes, or ``ant`` (its flint4).
    special : uint8 (rows, G), optional
        Number of the special value of each group, where the format has them.
    tie : "lower" or "even"
        Where a weight in the middle of two levels goes.

    Returns
    -------
    int8 (rows, G, span)
        Values in halves.
    """
    place = _places(_doubled(block, scale))
    if special is None:
        table = _table(_levels(fmt), tie).astype(np.int8)
    else:
        tables = [_table(_levels(fmt, value), tie) for value in fmt.special_values]
        table = np.concatenate(tables).astype(np.int8)
        place += (special.astype(np.intp) * (2 * _CENTRE))[:, :, None]
    return np.take(table, place, mode="clip")


def _squared_error(
    doubled: NDArray[np.float32], found: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Sums (rows, G) of squared differences of doubled values, in units of the weights."""
    np.subtract(doubled, found, out=found)
    np.square(found, out=found)
    total = found.sum(axis=2, dtype=np.float64)
    return total * (0.5 * scale.astype(np.float64)) ** 2


def _at_least_tiny(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales to divide by; those of zeros are 1."""
    return np.where(scale > 0, np.maximum(scale, np.finfo(np.float32).tiny), np.float32(1))


def best_special(
    block: NDArray[np.float32], largest: NDArray[np.float32], fmt: WeightFormat
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The special value of the least squared error, and the scale that goes with it.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups.
    largest : float32 (rows, G)
        Largest magnitude of each group.
    fmt : WeightFormat
        A format with special values.

    Returns
    -------
    special : uint8 (rows, G)
        Index into ``fmt.special_values``.
    scale : float32 (rows, G)
        Largest magnitude over the largest level in halves; 0 for a group of zeros.
    """
    special = np.zeros(largest.shape, np.uint8)
    ideal = np.zeros(largest.shape, np.float32)
    least = np.full(largest.shape, np.inf)
    divisor = 0
    for number, value in enumerate(fmt.special_values):
        levels = _levels(fmt, value)
        if divisor != max(abs(levels[0]), levels[-1]):  # the two signs share what follows
            divisor = max(abs(levels[0]), levels[-1])
            scale = largest / np.float32(divisor)
            safe = _at_least_tiny(scale)
            doubled = _doubled(block, safe)
            place = _places(doubled)
        found = np.take(2 * _table(levels, "lower"), place, mode="clip")
        error = _squared_error(doubled, found, safe)
        better = error < least  # strictly: of equal ones the first
        special[better] = number
        ideal[better] = scale[better]
        least[better] = error[better]
    return special, ideal


def best_ant_type(
    block: NDArray[np.float32], largest: NDArray[np.float32], fmt: WeightFormat
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Int4 or flint4 by group: the smaller squared error, and the scale that goes with it.

    Parameters
    ----------
    block : float32 (rows, G, span)
        Weights of the groups.
    largest : float32 (rows, G)
        Largest magnitude of each group.
    fmt : WeightFormat
        ``ant`` with a group.

    Returns
    -------
    choice : uint8 (rows, G)
        `ANT_INT` or `ANT_FLINT`.
    scale : float32 (rows, G)
        Largest magnitude over 7 (int4), or over 16 halves (flint4).
    """
    levels = _levels(fmt)
    scales = largest / np.float32(ANT_HIGHEST), largest / np.float32(levels[-1])
    safe = _at_least_tiny(scales[0])
    doubled = _doubled(block, safe)
    whole = 2 * np.clip(np.rint(doubled / 2), -ANT_HIGHEST, ANT_HIGHEST)
    integer = _squared_error(doubled, whole, safe)
    safe = _at_least_tiny(scales[1])
    doubled = _doubled(block, safe)
    found = np.take(2 * _table(levels, "lower"), _places(doubled), mode="clip")
    flint = _squared_error(doubled, found, safe)
    choice = np.where(flint < integer, ANT_FLINT, ANT_INT).astype(np.uint8)
    return choice, np.where(choice == ANT_FLINT, scales[1], scales[0])
