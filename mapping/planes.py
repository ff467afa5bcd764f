"""Weights as bit planes of -1 and +1: the storage of the lookup unit, and what it computes.

A b-bit code c with bits u = c + 2^(b-1) is reinterpreted as q' = 2u - (2^b - 1) = sum_i 2^i p_i
with p_i = 2 u_i - 1: every plane means -1 or +1 and all planes count positively (LUT Tensor Core,
ISCA'25, arXiv 2408.06003, section 3; T-MAC, EuroSys'25, arXiv 2407.00088). Since
2c = q' - 1, ``sum c*a = (P - A) / 2`` with ``P = sum_i 2^i sum_k p_ik a_k`` and ``A = sum_k a_k``;
the division is exact. Odd codes (bipolar-INT, arXiv 2409.17870) are q' themselves: the sum is P.

Four bits of a plane, of k = 4g to 4g + 3, select the sum of four activations with signs. The sums
of opposite bits are opposite, so a table holds the 8 whose highest bit is 1 (+1), and *offline
negation* stores ``w3' = w3`` and the lower bits inverted where w3 is 0: the stored lower bits are
the table's index and w3' says whether to negate; no index inverter is left in the hardware.

*Packing*: a weight word is one plane of one step, lanes_n * lanes_k bits; bit n*lanes_k + k is at
bit i % 8 of byte i // 8. A step of b-bit codes is b words, plane 0 (weight 1) first.
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.units.lut import TABLE_GROUP
from mapping.quantise import QuantisedWeights, expand_activations

__all__ = [
    "TABLE_GROUP",
    "entry_factors",
    "lookup_sums",
    "pack_planes",
    "remap",
    "stored_bits",
    "to_bipolar",
    "unmap",
    "unpack_planes",
]

_ENTRIES = 1 << (TABLE_GROUP - 1)
_PIECE = 1 << 22  # codes in hand at a time: bounds the scratch memory


def to_bipolar(codes: NDArray[np.int8], bits: int) -> NDArray[np.int16]:
    """Two's complement codes as the odd values of their planes, ``2c + 1``.

    Parameters
    ----------
    codes : int8
        In [-2^(bits-1), 2^(bits-1) - 1].
    bits : int
        1 to 8.

    Returns
    -------
    int16
        In [-(2^bits - 1), 2^bits - 1].
    """
    _check_bits(bits, False)
    return 2 * codes.astype(np.int16) + 1


def stored_bits(codes: NDArray[np.int8], bits: int, bipolar: bool) -> NDArray[np.uint8]:
    """The unsigned code u whose bit i is 1 where plane i is +1, before negation.

    ``u = c + 2^(bits-1)`` of two's complement codes (the highest bit flipped), ``u = (q' + 2^bits
    - 1) / 2`` of odd ones. An even code (the zeros of padding) counts as the odd one below it.
    """
    _check_bits(bits, bipolar)
    raw = np.ascontiguousarray(codes).view(np.uint8)  # sums wrap: at most 8 bits are meant
    if bipolar:
        return (raw + np.uint8((1 << bits) - 1)) >> np.uint8(1)
    return (raw + np.uint8(1 << (bits - 1))) & np.uint8((1 << bits) - 1)


def remap(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Offline negation: the lower three of four bits inverted where the highest is 0.

    Parameters
    ----------
    nibbles : uint8
        Four bits of a plane, 0 to 15, bit j of activation 4g + j; 1 is +1.

    Returns
    -------
    uint8
        Stored bits: the lower three index the table, bit 3 clear negates the entry.
    """
    return np.where(nibbles & 8, nibbles, nibbles ^ 7).astype(np.uint8)


def unmap(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bits of a plane from stored ones; remapping is its own inverse."""
    return remap(nibbles)


def _byte_map() -> NDArray[np.uint8]:
    """`remap` of both halves of every byte."""
    byte = np.arange(256, dtype=np.uint8)
    four = np.uint8(4)
    return remap(byte & np.uint8(15)) | remap(byte >> four) << four


_BYTES = _byte_map()


def _check_bits(bits: int, bipolar: bool) -> None:
    most = 7 if bipolar else 8
    if not 1 <= bits <= most:
        kind = "odd" if bipolar else "two's complement"
        raise InputError("planes", "bits", bits, f"1 to {most} for {kind} codes of 8 bits")


def _check_word(lanes_n: int, lanes_k: int) -> int:
    """Bytes of a word."""
    if lanes_k < TABLE_GROUP or lanes_k % TABLE_GROUP:
        raise InputError("planes", "lanes_k", lanes_k, f"a multiple of {TABLE_GROUP}")
    if lanes_n < 1 or lanes_n * lanes_k % 8:
        allowed = "words of whole bytes: lanes_n * lanes_k a multiple of 8"
        raise InputError("planes", "lanes_n", lanes_n, allowed)
    return lanes_n * lanes_k // 8


def pack_planes(codes: NDArray[np.int8], bits: int, bipolar: bool) -> NDArray[np.uint8]:
    """Codes as remapped bit planes, in the order the unit reads them.

    Parameters
    ----------
    codes : int8 (rows, steps, lanes_n, lanes_k)
        Two's complement codes of ``bits`` bits, or odd codes. Padding may be 0 where the
        activations are 0 or the sums are not used.
    bits : int
        Planes of a code: 1 to 8 (odd codes: 7).
    bipolar : bool
        The codes are odd.

    Returns
    -------
    uint8 (rows, steps * bits * lanes_n * lanes_k / 8)

    Raises
    ------
    InputError
        ``lanes_k`` is not a multiple of 4, or a word is not whole bytes.
    """
    rows, steps, lanes_n, lanes_k = codes.shape
    word = _check_word(lanes_n, lanes_k)
    _check_bits(bits, bipolar)
    packed = np.empty((rows, steps, bits, word), np.uint8)
    each = max(1, _PIECE // max(1, codes[:1].size))
    for first in range(0, rows, each):
        part = slice(first, first + each)
        raw = stored_bits(codes[part], bits, bipolar).reshape(-1, steps, lanes_n * lanes_k)
        for plane in range(bits):
            bit = raw & np.uint8(1 << plane)  # packbits takes any value but 0 as 1
            packed[part, :, plane] = _BYTES[np.packbits(bit, axis=2, bitorder="little")]
    return packed.reshape(rows, steps * bits * word)


def unpack_planes(
    packed: NDArray[np.uint8], bits: int, bipolar: bool, lanes_n: int, lanes_k: int
) -> NDArray[np.int8]:
    """Codes of packed planes; the inverse of `pack_planes`.

    Parameters
    ----------
    packed : uint8 (rows, bytes)
        Whole steps of ``bits * lanes_n * lanes_k / 8`` bytes.
    bits : int
        Planes of a code.
    bipolar : bool
        The codes are odd.
    lanes_n, lanes_k : int
        Shape of a step.

    Returns
    -------
    int8 (rows, steps, lanes_n, lanes_k)

    Raises
    ------
    InputError
        The shape of a step cannot be packed, or the bytes are not whole steps.
    """
    word = _check_word(lanes_n, lanes_k)
    _check_bits(bits, bipolar)
    rows, size = packed.shape
    if size % (bits * word):
        allowed = f"whole steps of {bits * word} bytes"
        raise InputError("planes", "bytes", size, allowed)
    steps = size // (bits * word)
    words = packed.reshape(rows, steps, bits, word)
    codes = np.empty((rows, steps, lanes_n, lanes_k), np.int8)
    each = max(1, _PIECE // max(1, codes[:1].size))
    for first in range(0, rows, each):
        part = slice(first, first + each)
        value = np.zeros((len(words[part]), steps, word * 8), np.uint8)
        for plane in range(bits):
            bit = np.unpackbits(_BYTES[words[part, :, plane]], axis=2, bitorder="little")
            value |= bit << np.uint8(plane)
        if bipolar:
            value = (value << np.uint8(1)) - np.uint8((1 << bits) - 1)
        else:
            value -= np.uint8(1 << (bits - 1))
        codes[part] = value.view(np.int8).reshape(-1, steps, lanes_n, lanes_k)
    return codes


def entry_factors(codes: NDArray[np.int8], bits: int, bipolar: bool) -> NDArray[np.int16]:
    """How often codes take each entry of their tables, with signs.

    Every plane takes one entry of a table with its weight 2^i and its sign. Two's complement codes
    also take the sum of the group, the last entry, once less (A).

    Parameters
    ----------
    codes : int8 (..., K)
        K a multiple of 4.
    bits : int
        Planes of a code.
    bipolar : bool
        The codes are odd.

    Returns
    -------
    int16 (..., 2 K)
        For every four codes the factors of the 8 entries; their magnitudes add up to 2^bits at
        most.
    """
    values = stored_bits(codes, bits, bipolar).reshape(*codes.shape[:-1], -1, TABLE_GROUP)
    factors = np.zeros((*values.shape[:-1], _ENTRIES), np.int16)
    place = np.uint8(1) << np.arange(TABLE_GROUP, dtype=np.uint8)
    for plane in range(bits):
        bit = values >> np.uint8(plane) & np.uint8(1)
        stored = remap((bit * place).sum(axis=-1, dtype=np.uint8))
        index = (stored & 7).astype(np.intp)[..., None]
        signed = np.where(stored & 8, 1 << plane, -(1 << plane)).astype(np.int16)[..., None]
        taken = np.take_along_axis(factors, index, axis=-1) + signed
        np.put_along_axis(factors, index, taken, axis=-1)
    if not bipolar:
        factors[..., -1] -= 1
    return factors.reshape(*codes.shape[:-1], -1)


def lookup_sums(activations: NDArray[np.int8], weights: QuantisedWeights) -> NDArray[np.int64]:
    """Sums as the lookup unit makes them, from stored bits: the proof of the identities above.

    Slow and direct: for every token, group of four activations and plane, the stored nibble
    selects one of 8 entries and its sign; planes are shifted and added, the all-ones entries give
    A, and a scale group's sum is ``P`` (odd codes) or ``(P - A) >> 1``, times its scale.

    Parameters
    ----------
    activations : int8 (M, K)
        Codes of the activations.
    weights : QuantisedWeights
        An executable format without zero points; a scale group is a multiple of 4 elements.

    Returns
    -------
    int64 (M, N)

    Raises
    ------
    InputError
        A scale group is not whole tables, or there are zero points.
    """
    fmt = weights.fmt
    if weights.zeros is not None or (fmt.group or TABLE_GROUP) % TABLE_GROUP:
        allowed = f"no zero points, and groups that are a multiple of {TABLE_GROUP}"
        raise InputError("lookup_sums", "weights", fmt.name, allowed)
    groups = fmt.groups(weights.k) * fmt.planes
    values = expand_activations(activations, fmt).astype(np.int64)
    tail = -values.shape[1] % TABLE_GROUP if fmt.group is None else 0
    values = np.pad(values, ((0, 0), (0, tail)))
    codes = np.pad(weights.codes, ((0, 0), (0, tail)))
    nibbles = _nibbles(codes, fmt.bits, fmt.bipolar)
    found = np.empty((len(values), weights.n), np.int64)
    for m, token in enumerate(values):
        table = _table(token)
        every = np.arange(len(table))
        planes = np.zeros((weights.n, len(table)), np.int64)
        for plane in range(fmt.bits):
            stored = nibbles[:, plane]
            entry = table[every, stored & 7]
            planes += np.where(stored & 8, entry, -entry) << plane
        total = planes.reshape(weights.n, groups, -1).sum(axis=2)
        if not fmt.bipolar:
            total = (total - table[:, -1].reshape(groups, -1).sum(axis=1)) >> 1
        if weights.scales is not None:
            total = total * weights.scales
        found[m] = total.sum(axis=1)
    return found


def _nibbles(codes: NDArray[np.int8], bits: int, bipolar: bool) -> NDArray[np.uint8]:
    """Stored nibbles (N, bits, K / 4) of codes (N, K), taken from packed words of one step."""
    n, k = codes.shape
    even = np.pad(codes, ((0, n % 2), (0, 0)))  # two features: whole bytes whatever K is
    packed = pack_planes(even.reshape(1, 1, len(even), k), bits, bipolar)
    halves = np.stack([packed & 15, packed >> 4], axis=2)
    return halves.reshape(bits, len(even), k // TABLE_GROUP).transpose(1, 0, 2)[:n]


def _table(token: NDArray[np.int64]) -> NDArray[np.int64]:
    """Entries (K / 4, 8): ``a3 + s2 a2 + s1 a1 + s0 a0`` with the signs of the index's bits."""
    index = np.arange(_ENTRIES)[:, None]
    signs = 2 * ((index | _ENTRIES) >> np.arange(TABLE_GROUP) & 1) - 1
    return token.reshape(-1, TABLE_GROUP) @ signs.T
