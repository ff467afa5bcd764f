"""The arithmetic contract for every kind of activation and table: one entry.

`mapping.quantise.exact_sums` has INT8 activations, `mapping.half_precision` FP16 ones, and
`mapping.table_values` units whose tables are quantised. A matrix unit computes exactly these
integers, whatever it does inside; the outputs of a layer are
``sums * channel_scale * activation_scale`` (INT8) or ``sums * half_scale * channel_scale`` (FP16).
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.half_precision import align, half_sums
from mapping.quantise import QuantisedWeights, exact_sums
from mapping.table_values import table_sums

__all__ = ["contract_sums"]


def contract_sums(
    activations: NDArray, weights: QuantisedWeights, block: int, table_bits: int = 0
) -> NDArray[np.int64]:
    """Sums of a product before channel and activation scales.

    Parameters
    ----------
    activations : int8 or float16 (M, K)
        Codes, or finite FP16 values.
    weights : QuantisedWeights
        Codes and scales (N, K).
    block : int
        Elements of a step, lanes_k of the unit: FP16 values are aligned and tables are quantised
        in blocks of so many.
    table_bits : int
        0: exact; 8: the unit's tables have 8-bit entries.

    Returns
    -------
    int64 (M, N)
        INT8: integers of codes and scales. FP16: in units of `mapping.half_precision.half_scale`.

    Raises
    ------
    InputError
        The activations are of another type, or do not go with the weights, the block or the tables.
    """
    if activations.dtype not in (np.int8, np.float16):
        raise InputError("activations", "type", str(activations.dtype), "int8 or float16")
    half = activations.dtype == np.float16
    if table_bits:
        values = align(activations, block) if half else activations.astype(np.int64)
        return table_sums(values, weights, block, table_bits, half)
    if half:
        return half_sums(activations, weights, block)
    return exact_sums(activations, weights)
