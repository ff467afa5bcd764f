"""What BitMoD's element computes, in Python integers: the model of `hwgen.cells.bitmod_element`.

Stages and widths are those of Chen et al., "BitMoD", HPCA'25 (arXiv 2411.11745), figure 5.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from designs.units.base import GUARD_BITS
from hwgen.cells.bitmod_element import ACCUMULATOR_BITS
from mapping.code_books import magnitudes
from mapping.half_precision import aligned_integers

__all__ = ["Term", "add_to_group", "float_terms", "group_errors", "group_sum", "lane_products"]

Term = tuple[int, int, int]
"""Is there one; its exponent; is it negative."""

_UNIT = 25 + GUARD_BITS
"""A sum of exponent p counts 2^(p - 28): FP16 of exponent 1 counts 2^-24, guard bits less."""


def _shifted(value: int, distance: int, rounded: bool) -> int:
    """``value / 2^distance``: cut off, or to nearest even."""
    floor = value >> distance
    rest = value - (floor << distance)
    half = 1 << distance >> 1
    return floor + bool(rounded and distance and (rest > half or (rest == half and floor & 1)))


def lane_products(
    activations: NDArray[np.float16], terms: Sequence[Term], rounded: bool
) -> tuple[int, int]:
    """Sum of the lanes of one cycle, and its exponent.

    Parameters
    ----------
    activations : float16 (lanes,)
    terms : sequence of Term
        As many.
    rounded : bool
        Shifted products are rounded to nearest even, else cut off.
    """
    raw = [int(number) for number in activations.view(np.uint16)]
    powers = [max(1, r >> 10 & 31) + term[1] for r, term in zip(raw, terms, strict=True)]
    total = 0
    for r, power, (present, _, negative) in zip(raw, powers, terms, strict=True):
        significand = (r & 1023) | (1024 if r >> 10 & 31 else 0)
        lane = _shifted(present * significand << GUARD_BITS, max(powers) - power, rounded)
        total += -lane if (r >> 15) ^ negative else lane
    return total, max(powers)


def add_to_group(
    mantissa: int, power: int, total: int, exponent: int, shift: int, rounded: bool
) -> tuple[int, int]:
    """The group accumulator: mantissa and exponent after ``total * 2^shift`` was added.

    Rounded, the exact sum is rounded once; else the operand that moves is cut off, and the sum
    again.
    """
    product, top = total << shift, max(power, exponent)
    if rounded:
        low = min(power, exponent)
        exact = (product << (exponent - low)) + (mantissa << (power - low))
        moved = top - low
    else:
        exact = (product >> (top - exponent)) + (mantissa >> (top - power))
        moved = 0
    limit = 1 << (ACCUMULATOR_BITS - 1)
    growth = 0
    while not -limit <= exact >> (moved + growth) < limit:
        growth += 1
    found = _shifted(exact, moved + growth, rounded)
    if found == limit:  # rounded up to a power of two
        return limit // 2, top + growth + 1
    return found, top + growth


def group_sum(
    activations: NDArray[np.float16],
    terms: Sequence[Sequence[Term]],
    shifts: Sequence[int],
    rounded: bool,
) -> tuple[int, int]:
    """Mantissa and exponent of one group: rows of activations, their terms and bit significance."""
    mantissa = power = 0
    for row, term, shift in zip(activations, terms, shifts, strict=True):
        total, exponent = lane_products(row, term, rounded)
        mantissa, power = add_to_group(mantissa, power, total, exponent, shift, rounded)
    return mantissa, power


def float_terms(value: int) -> tuple[Term, Term]:
    """Both terms of an FP4 value in halves: one that counts 2^(e+1), one that counts 2^e."""
    size, negative = abs(value), int(value < 0)
    high = 1 << (size.bit_length() - 1) if size > 1 else 0
    low = size - high
    first = (1, high.bit_length() - 2, negative) if high else (0, 0, 0)
    second = (1, low.bit_length() - 1, negative) if low else (0, 0, 0)
    return first, second


def group_errors(groups: int = 200, size: int = 128, seed: int = 0) -> dict[str, float]:
    """Relative RMS errors of group sums against float64, by arithmetic.

    Gaussian activations in FP16, Gaussian weights rounded to FP4 by their group's largest.

    Returns
    -------
    dict of str to float
        ``exact`` integers after alignment (`mapping.half_precision`), the element's accumulator
        ``rounded`` and ``cut off``.
    """
    rng = np.random.default_rng(seed)
    activations = rng.normal(0, 1, (groups, size)).astype(np.float16)
    weights = rng.normal(0, 1, (groups, size))
    positive = np.array(magnitudes("float", 4))
    levels = np.concatenate([-positive[:0:-1], positive])
    scaled = weights / np.abs(weights).max(axis=1, keepdims=True) * positive[-1]
    values = levels[np.abs(scaled[..., None] - levels).argmin(axis=-1)]
    truth = (activations.astype(np.float64) * values).sum(axis=1)
    aligned, base = aligned_integers(activations, 4)
    wide = aligned.astype(np.int64) << np.repeat(base.astype(np.int64), 4, axis=1)
    found = {"exact": (wide * values).sum(axis=1) * 2.0**-24}
    for name, rounded in (("rounded", True), ("cut off", False)):
        sums = []
        for row, codes in zip(activations, values, strict=True):
            pairs = [[float_terms(int(code)) for code in step] for step in codes.reshape(-1, 4)]
            terms = [[pair[i] for pair in step] for step in pairs for i in (0, 1)]
            steps = np.repeat(row.reshape(-1, 4), 2, axis=0)
            mantissa, power = group_sum(steps, terms, [1, 0] * len(pairs), rounded)
            sums.append(mantissa * 2.0 ** (power - _UNIT))
        found[name] = np.array(sums)
    scale = np.sqrt((truth**2).mean())
    return {
        name: float(np.sqrt(((sums - truth) ** 2).mean()) / scale) for name, sums in found.items()
    }
