"""Quantised tables: the lookup unit's option of 8-bit entries.

An exact entry of a table of four activations, ``a3 +- a2 +- a1 +- a0``, has two bits more than an
activation. LUT Tensor Core (ISCA'25, arXiv 2408.06003, section 3) and T-MAC (EuroSys'25, arXiv
2407.00088) store 8 bits and a scale made at run time. Here the scale is a power of two, so that a
shift replaces the multiplier, and it is shared by the tables of one token's step, whose entries one
adder tree adds: with x the largest magnitude of the step's entries, ``e = max(0, bit_length(x) -
7)``, and an entry is stored as ``entry / 2^e`` rounded to nearest even, at most 127 in magnitude. A
lookup counts 2^e, and A, the sum of the activations, is the sum of the stored all-ones entries, so
nothing but the tables is needed.

``(P - A) / 2`` stays exact: with e = 0 the entries are those of the contract, else both sums are
even. So a sum does not depend on how K is cut.

Of FP16 activations the aligned integers are quantised. Scaling them by 2^B first, as here, changes
nothing: a block with B > 0 has an aligned integer of 14 bits, so that e is B plus that of the
integers.

Relative RMS error of sums over K = 4096 against exact tables (Gaussian activations and weights,
groups of 128, seed 0, 16 tokens and 64 features; `tests/test_table_values.py` computes the table
again):

===========  =====  =======  =======  =======
activations  block     int1     int2     int4
===========  =====  =======  =======  =======
INT8            16   9.1e-3   1.2e-2   1.1e-2
INT8            64   1.1e-2   1.4e-2   1.4e-2
FP16            16   8.1e-3   1.1e-2   9.8e-3
FP16            64   9.3e-3   1.3e-2   1.2e-2
===========  =====  =======  =======  =======
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.half_precision import group_sums
from mapping.planes import TABLE_GROUP, entry_factors
from mapping.quantise import QuantisedWeights, expand_activations

__all__ = ["TABLE_BITS", "table_entries", "table_sums"]

TABLE_BITS = 8
_ENTRIES = 1 << (TABLE_GROUP - 1)
_BLOCK_ELEMENTS = 1 << 22


def table_entries(
    aligned: NDArray[np.int64], block: int, table_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tables of every four activations, as a unit stores them.

    Parameters
    ----------
    aligned : int64 (M, K)
        INT8 activations, or FP16 ones of `mapping.half_precision.align`; at most 2^40 in magnitude.
    block : int
        Elements of a step (lanes_k), a multiple of 4; a short last step is filled with zeros.
    table_bits : int
        8, or 0 for exact entries.

    Returns
    -------
    entries : int64 (M, G, 8)
        Stored entries, G = ceil(K / block) * block / 4; entry i of group g is ``a3 + s2 a2 + s1 a1
        + s0 a0`` of its activations with sign s_j = +1 where bit j of i is 1, over 2^shift.
    shift : int64 (M, ceil(K / block))
        e of each step; 0 for exact entries.

    Raises
    ------
    InputError
        The block is not whole tables, or ``table_bits`` is neither 0 nor 8.
    """
    if block < TABLE_GROUP or block % TABLE_GROUP:
        raise InputError("tables", "block", block, f"a multiple of {TABLE_GROUP}")
    if table_bits not in (0, TABLE_BITS):
        raise InputError("tables", "table_bits", table_bits, f"0 (exact entries) or {TABLE_BITS}")
    m, k = aligned.shape
    steps = -(-k // block)
    values = np.pad(aligned.astype(np.int64), ((0, 0), (0, steps * block - k)))
    values = values.reshape(m, steps, block // TABLE_GROUP, TABLE_GROUP)
    index = np.arange(_ENTRIES)[:, None] | _ENTRIES  # bit 3 set: a3 counts positively
    signs = 2 * (index >> np.arange(TABLE_GROUP) & 1) - 1
    entries = values @ signs.T
    shift = np.zeros((m, steps), np.int64)
    if table_bits:
        largest = np.abs(values).sum(axis=3).max(axis=2)
        # frexp gives the bit length of an integer; float64 holds 2^42
        shift = np.maximum(np.frexp(largest.astype(np.float64))[1] - (table_bits - 1), 0)
        shift = shift.astype(np.int64)
        entries = _rounded(entries, shift[:, :, None, None])
        most = (1 << (table_bits - 1)) - 1
        entries = np.clip(entries, -most, most)
    return entries.reshape(m, -1, _ENTRIES), shift


def _rounded(values: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integers over 2^shift to nearest even: the arithmetic shift is a floor for either sign."""
    half = (np.int64(1) << shift) >> 1
    bump = half - 1 + ((values >> shift) & 1)
    return (values + np.where(shift > 0, bump, 0)) >> shift


def table_sums(
    aligned: NDArray[np.int64],
    weights: QuantisedWeights,
    block: int,
    table_bits: int = TABLE_BITS,
    half: bool = False,
) -> NDArray[np.int64]:
    """The arithmetic contract with tables.

    Every bit of a code selects an entry and its sign, so a feature is a row of small factors on all
    entries, and the sums are one exact matrix product.

    Parameters
    ----------
    aligned : int64 (M, K)
        INT8 activations, or aligned FP16 ones in units of 2^-24.
    weights : QuantisedWeights
        Codes and scales of an executable format without zero points.
    block : int
        Elements of a step.
    table_bits : int
        8, or 0 for exact entries.
    half : bool
        The activations are FP16: scaled sums are rounded to 2^-16 as `mapping.half_precision` says.

    Returns
    -------
    int64 (M, N)
        Sums before channel scales.

    Raises
    ------
    InputError
        K of both does not agree, a scale group is not whole steps, there are zero points, or a
        sum might not fit 64 bits.
    """
    fmt = weights.fmt
    if aligned.shape[1] != weights.k:
        raise InputError("activations", "K", aligned.shape[1], f"{weights.k}, of the weights")
    if weights.zeros is not None:
        raise InputError("table_sums", "weights", fmt.name, "a format without zero points")
    if fmt.group is not None and fmt.group % block:
        allowed = f"groups that are a multiple of the step, {block}"
        raise InputError("table_sums", "weights", fmt.name, allowed)
    values = expand_activations(aligned, fmt)
    entries, shift = table_entries(values, block, table_bits)
    entries <<= np.repeat(shift, block // TABLE_GROUP, axis=1)[:, :, None]
    entries = entries.reshape(len(entries), -1)
    groups = fmt.groups(weights.k) * fmt.planes
    padded = entries.shape[1] // 2
    found = np.empty((len(entries), weights.n), np.int64)
    # Of each table the planes take one entry each, and A one more: 2^bits of the largest.
    largest = max(-int(entries.min(initial=0)), int(entries.max(initial=0)))
    most = padded // TABLE_GROUP * largest << fmt.bits
    rows = max(1, _BLOCK_ELEMENTS // (2 * padded))
    for first in range(0, weights.n, rows):
        part = slice(first, first + rows)
        codes = np.pad(weights.codes[part], ((0, 0), (0, padded - weights.codes.shape[1])))
        factors = entry_factors(codes, fmt.bits, fmt.bipolar)
        scales = None if weights.scales is None else weights.scales[part]
        found[:, part] = group_sums(entries, factors, scales, groups, not fmt.bipolar, half, most)
    return found
