"""Weights as words of two bits a code: the storage of the bit-serial unit.

A word holds two bits of each code of a step, ``lanes_n * lanes_k`` pairs; the pair of code
i = ``n * lanes_k + k`` is at bits 2i and 2i + 1 of the word. A step of codes of even width b is
b / 2 words, the lowest bits first. Two steps of odd width share b words: the lower b - 1 bits of
the first step, then one word with the highest bit of both (bit 0 of a pair: the first step's), then
the lower bits of the second step. So a word is what a beat reads, only the last beat of a pair
reads none, and memory holds every code at its true width.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_digits", "unpack_digits"]


def pack_digits(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes as words, in the order the unit reads them.

    Parameters
    ----------
    codes : uint8 (rows, steps, lanes)
        Bits of the codes; what is above ``bits`` is ignored. ``lanes`` is a multiple of 4, and
        ``steps`` is even where ``bits`` is odd.
    bits : int
        2 to 8.

    Returns
    -------
    uint8 (rows, steps * bits * lanes / 8)
    """
    rows, steps, lanes = codes.shape
    half = bits // 2
    if bits % 2 == 0:
        words = np.empty((rows, steps, half, lanes // 4), np.uint8)
        for word in range(half):
            words[:, :, word] = _word(codes, 2 * word)
        return words.reshape(rows, -1)
    pairs = codes.reshape(rows, steps // 2, 2, lanes)
    words = np.empty((rows, steps // 2, bits, lanes // 4), np.uint8)
    for word in range(half):
        words[:, :, word] = _word(pairs[:, :, 0], 2 * word)
        words[:, :, half + 1 + word] = _word(pairs[:, :, 1], 2 * word)
    top, one = np.uint8(bits - 1), np.uint8(1)
    both = pairs[:, :, 0] >> top & one | (pairs[:, :, 1] >> top & one) << one
    words[:, :, half] = _word(both, 0)
    return words.reshape(rows, -1)


def _word(codes: NDArray[np.uint8], low: int) -> NDArray[np.uint8]:
    """Two bits of each code (..., lanes), from bit ``low`` on, as bytes (..., lanes / 4)."""
    found = codes[..., ::4] >> np.uint8(low) & np.uint8(3)
    for place in range(1, 4):
        found |= (codes[..., place::4] >> np.uint8(low) & np.uint8(3)) << np.uint8(2 * place)
    return found


def unpack_digits(packed: NDArray[np.uint8], bits: int, lanes: int) -> NDArray[np.uint8]:
    """Codes of words; the inverse of `pack_digits`.

    Parameters
    ----------
    packed : uint8 (rows, bytes)
        Whole steps, whole pairs of steps where ``bits`` is odd.
    bits : int
        2 to 8.
    lanes : int
        Codes of a step.

    Returns
    -------
    uint8 (rows, steps, lanes)
        Unsigned, below 2^bits.
    """
    rows = packed.shape[0]
    half = bits // 2
    if bits % 2 == 0:
        words = packed.reshape(rows, -1, half, lanes // 4)
        codes = np.zeros((rows, words.shape[1], lanes), np.uint8)
        for word in range(half):
            codes |= _pairs(words[:, :, word], lanes) << np.uint8(2 * word)
        return codes
    words = packed.reshape(rows, -1, bits, lanes // 4)
    codes = np.zeros((rows, words.shape[1], 2, lanes), np.uint8)
    for word in range(half):
        codes[:, :, 0] |= _pairs(words[:, :, word], lanes) << np.uint8(2 * word)
        codes[:, :, 1] |= _pairs(words[:, :, half + 1 + word], lanes) << np.uint8(2 * word)
    both = _pairs(words[:, :, half], lanes)
    codes[:, :, 0] |= (both & 1) << np.uint8(bits - 1)
    codes[:, :, 1] |= (both >> np.uint8(1)) << np.uint8(bits - 1)
    return codes.reshape(rows, -1, lanes)


def _pairs(words: NDArray[np.uint8], lanes: int) -> NDArray[np.uint8]:
    """Two bits a lane of words (..., lanes / 4), uint8 (..., lanes)."""
    found = np.empty((*words.shape[:-1], lanes), np.uint8)
    for place in range(4):
        found[..., place::4] = words >> np.uint8(2 * place) & 3
    return found
