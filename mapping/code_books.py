"""Code books that are neither two's complement nor odd: floating codes and special values.

A floating code is a sign and a magnitude. Magnitudes are counted in halves, so that all are whole:
FP4 (E2M1; OCP Microscaling Formats 1.0, section 5.3.3) has 0, 1, 2, 3, 4, 6, 8, 12, FP3 has 0, 2,
4, 8, flint4 has 16 in the place of 12 (Guo et al., "ANT", MICRO'22). The code of -0 stands for the
*special value* of its group, one of four that a product is given (Chen et al., "BitMoD", HPCA'25,
section III, arXiv 2411.11745), or for 0 where there are none.

A special value is a sum of two signed powers of two, ``+-2^(1..4)`` or nothing, and ``+-2^(0..3)``
or nothing, because a bit-serial element adds one of each (section IV-A). In halves that are all
magnitudes to 10, and 12, 14 to 18, 20 and 24.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError

__all__ = [
    "LARGEST_SPECIAL",
    "decode_special",
    "decode_values",
    "encode_special",
    "encode_values",
    "in_code_book",
    "magnitudes",
]

_MAGNITUDES = {
    ("float", 3): (0, 2, 4, 8),
    ("float", 4): (0, 1, 2, 3, 4, 6, 8, 12),
    ("flint", 4): (0, 1, 2, 3, 4, 6, 8, 16),
}

LARGEST_SPECIAL = 24
"""Largest magnitude of a special value, 16 + 8 halves."""

_SHIFTS = 4  # exponents a term can have


def magnitudes(code_type: str, bits: int) -> tuple[int, ...]:
    """Magnitudes of a code book in halves, by code, ascending.

    Raises
    ------
    InputError
        There is no such code book.
    """
    found = _MAGNITUDES.get((code_type, bits))
    if found is None:
        known = ", ".join(f"{name} of {width} bits" for name, width in _MAGNITUDES)
        raise InputError("code book", "codes", f"{code_type} of {bits} bits", known)
    return found


@cache
def _values(code_type: str, bits: int) -> NDArray[np.int8]:
    """Value of every code; -0, the special value's, is 0."""
    positive = np.array(magnitudes(code_type, bits), np.int8)
    return np.concatenate([positive, -positive])


@cache
def _codes(code_type: str, bits: int) -> NDArray[np.uint8]:
    """Code of every int8 value, by its bits; values without a code of their own are special."""
    table = np.full(256, 1 << (bits - 1), np.uint8)
    values = _values(code_type, bits).view(np.uint8)
    table[values] = np.arange(len(values), dtype=np.uint8)
    table[0] = 0
    return table


def encode_values(values: NDArray[np.int8], code_type: str, bits: int) -> NDArray[np.uint8]:
    """Stored codes of values in halves, uint8 of the same shape.

    What the code book has not is taken for the special value of its group.
    """
    return _codes(code_type, bits)[np.ascontiguousarray(values).view(np.uint8)]


def decode_values(
    codes: NDArray[np.uint8], code_type: str, bits: int, special: NDArray[np.int8] | int = 0
) -> NDArray[np.int8]:
    """Values in halves of stored codes.

    Parameters
    ----------
    codes : uint8
        Below 2^bits.
    code_type, bits : str, int
        The code book.
    special : int8, broadcastable to ``codes``
        Value of the code of -0.

    Returns
    -------
    int8, shaped like ``codes``
    """
    values = _values(code_type, bits)[codes]
    special = np.asarray(special, np.int8)
    if special.any():
        values = np.where(codes == 1 << (bits - 1), special, values)
    return values


@cache
def _terms() -> dict[int, int]:
    """Eight bits of every special value, the fewest terms first."""
    found = {0: 0}
    high = [0, *(1 | e << 1 | s << 3 for e in range(_SHIFTS) for s in (0, 1))]
    low = [code << 4 for code in high]
    for code in sorted((h | w for h in high for w in low), key=lambda c: (c & 1) + (c >> 4 & 1)):
        found.setdefault(decode_special(code), code)
    return found


def in_code_book(
    values: NDArray[np.int8], code_type: str, bits: int, special: NDArray[np.int8] | None = None
) -> bool:
    """Whether every value in halves has a code.

    Parameters
    ----------
    values : int8 (N, K)
    code_type, bits : str, int
        The code book.
    special : int8 (N, G), optional
        Special value of each of G equal groups of a row.
    """
    table = np.zeros(256, bool)
    table[_values(code_type, bits).view(np.uint8)] = True
    known = table[np.ascontiguousarray(values).view(np.uint8)]
    if special is not None:
        groups = values.reshape(*special.shape, -1)
        known |= (groups == special[:, :, None]).reshape(values.shape)
    return bool(known.all())


def encode_special(value: int) -> int:
    """The eight bits that a MATMUL names a special value with; see `hwgen.units.base.StepControl`.

    Parameters
    ----------
    value : int
        In halves.

    Raises
    ------
    InputError
        The value is not a sum of two terms.

    Examples
    --------
    >>> encode_special(10), encode_special(-16), encode_special(14)
    (113, 15, 183)
    """
    found = _terms().get(value)
    if found is None:
        allowed = ", ".join(f"{v / 2:g}" for v in sorted(_terms()) if v >= 0)
        raise InputError("special value", "", f"{value / 2:g}", f"+- one of {allowed}")
    return found


def decode_special(code: int) -> int:
    """Value in halves of the eight bits of a special value."""
    total = 0
    for nibble, lowest in ((code & 15, 1), (code >> 4, 0)):
        size = (nibble & 1) << ((nibble >> 1 & 3) + lowest)
        total += -size if nibble & 8 else size
    return total
