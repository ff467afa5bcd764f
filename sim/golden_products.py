"""The arithmetic of one MATMUL in the golden model: sums of groups, exactly, and their scaling.

Exactness: a matrix product runs in floating point, because that is fast, but only where it is
exact. All products and sums are integers. If the sum of all magnitudes is at most 2^24 (float32) or
2^53 (float64), every intermediate sum is an integer the type holds, so no rounding occurs in any
order of additions, fused or not. Wider operands are cut at 20 bits into two products; long unscaled
reductions are cut into pieces that fit float32.

FP16 activations become integers by the alignment that `mapping.half_precision` defines; from there
on they are multiplied like INT8. Quantised tables (`mapping.table_values`) are a product too: every
entry of a table is an operand, and a plane's weights say how often, and with which sign, each
entry is taken.
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.units import UnitSpec
from mapping.half_precision import align
from mapping.instruction import Instruction
from mapping.multiplication import code_type, largest_code
from mapping.planes import TABLE_GROUP, entry_factors
from mapping.table_values import table_entries

__all__ = ["group_sums", "scale_groups"]

_FLOAT32_EXACT = 1 << 24
_FLOAT64_EXACT = 1 << 53
_CUT_BITS = 20
_ONE_THREAD = 1 << 18  # OpenBLAS runs up to so many products m*n*k on one thread, without a barrier


def group_sums(
    unit: UnitSpec, i: Instruction, weights: NDArray[np.int8], activations: NDArray
) -> NDArray[np.int64]:
    """Sums of a MATMUL's groups before scaling.

    Parameters
    ----------
    unit : UnitSpec
        The unit; ``table_bits`` of it says whether tables are quantised.
    i : Instruction
        A MATMUL that `mapping.multiplication.check_multiplication` accepts.
    weights : int8 (n_tiles, k_steps, lanes_n, lanes_k)
        Codes.
    activations : int8 or float16 (m_tiles, k_steps, lanes_m, lanes_k)
        INT8 codes, or FP16 values, which are then counted in 2^-24.

    Returns
    -------
    int64 (groups, N, M)
        Of ``n_tiles * lanes_n`` features and ``m_tiles * lanes_m`` tokens; unscaled reductions may
        come as several groups, to be added.

    Raises
    ------
    InputError
        A sum may not fit 64 bits.
    """
    right: NDArray = activations
    odd = code_type(i) == "bipolar"
    most_left = largest_code(i)
    most_right = 128
    if i.half:
        flat = activations.reshape(-1, unit.lanes_k)
        right, most_right = align(flat, unit.lanes_k).reshape(activations.shape), 1 << 40
    if most_left * most_right * i.k_steps * unit.lanes_k >= 1 << 63:
        raise InputError("", "k_steps", i.k_steps, "sums below 2^63")
    left: NDArray = weights
    terms = unit.lanes_k
    table_bits = getattr(unit, "table_bits", 0)
    if table_bits:
        left = entry_factors(weights, i.weight_bits, odd)
        entries, shift = table_entries(right.reshape(-1, unit.lanes_k), unit.lanes_k, table_bits)
        right = (entries << shift[:, :, None]).reshape(*right.shape[:-1], -1)
        # A table's factors add up to 2^bits, whichever entries they are.
        most_left, most_right = 1 << i.weight_bits, TABLE_GROUP * most_right
        terms = unit.lanes_k // TABLE_GROUP
    cut = most_right > 1 << _CUT_BITS
    part = max(1 << _CUT_BITS, most_right >> _CUT_BITS) if cut else most_right
    limit = most_left * part * terms
    span = i.group_steps if i.scaled else _exact_steps(limit, i.k_steps)
    if limit * span > _FLOAT64_EXACT:
        raise InputError("", "group_steps", span, "sums below 2^53")
    kind = np.float32 if limit * span <= _FLOAT32_EXACT else np.float64
    ordered = _by_group(left, span).astype(kind)
    grouped = _by_group(right, span).transpose(0, 2, 1)
    if cut:
        high, low = grouped >> _CUT_BITS, grouped & ((1 << _CUT_BITS) - 1)
        total = _products(ordered, high.astype(kind)).astype(np.int64) << _CUT_BITS
        total += _products(ordered, low.astype(kind)).astype(np.int64)
    else:
        total = _products(ordered, grouped.astype(kind)).astype(np.int64)
    # A code is half of what its planes say, less one (mapping.planes).
    return total >> 1 if table_bits and not odd else total


def scale_groups(
    sums: NDArray[np.int64], scales: NDArray[np.int64], half: bool
) -> NDArray[np.int64]:
    """Group sums times their unsigned 8-bit scales.

    Parameters
    ----------
    sums : int64 (groups, N, M)
    scales : int64 (groups, N, 1)
        0 to 255.
    half : bool
        FP16 activations: ``(sum * scale + 128) >> 8``, computed without leaving int64.

    Returns
    -------
    int64 (groups, N, M)
    """
    if not half:
        return sums * scales
    high, low = sums >> 16, sums & 0xFFFF
    return high * scales * 256 + ((low * scales + 128) >> 8)


def _exact_steps(step_bound: int, steps: int) -> int:
    """Most steps, dividing the pass, whose sums float32 holds; the pass when there are few."""
    fewest = -(-step_bound * steps // _FLOAT32_EXACT)
    for pieces in range(fewest, min(steps, 4 * fewest) + 1):
        if steps % pieces == 0:
            return steps // pieces
    return steps


def _by_group(operands: NDArray, span: int) -> NDArray:
    """(tiles, steps, lanes, k) as (groups, tiles * lanes, span * k)."""
    tiles, steps, lanes, k = operands.shape
    cut = operands.reshape(tiles, steps // span, span, lanes, k).transpose(1, 0, 3, 2, 4)
    return cut.reshape(steps // span, tiles * lanes, span * k)


def _products(weights: NDArray, activations: NDArray) -> NDArray:
    """(groups, n, k) x (groups, k, m), cut along n so that each product stays on one thread."""
    groups, n, k = weights.shape
    m = activations.shape[2]
    rows = n
    while rows * m * k > _ONE_THREAD and rows % 2 == 0 and rows > 16:
        rows //= 2
    cut = np.matmul(weights.reshape(groups, n // rows, rows, k), activations[:, None])
    return cut.reshape(groups, n, m)
