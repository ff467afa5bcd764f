"""The sums of the arithmetic contract, computed the quick way: scales folded into the codes.

`mapping.contract.contract_sums` defines the integers; this module gives the same ones with fewer
passes over them, for whole models over long texts. A group's scale is multiplied into its codes
beforehand, so that matrix products in float64 do nearly all the work. They are exact: all operands
are integers (times a power of two), and where the sum of their magnitudes is at most 2^53, every
partial sum is one that float64 holds, in any order of additions, fused or not.

- INT8: ``sum_g s8 * sum q*a`` is ``sum a * (q * s8)``, one product over the whole of K.
- FP16: ``(sum q*v * s8 + 128) >> 8`` of a group is ``floor(sum v * (q * s8) / 256 + 1/2)``;
  dividing by 256 is exact in binary floating point.

Tokens whose magnitudes are too large for the bound are left to `contract_sums`.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.contract import contract_sums
from mapping.half_precision import SCALE_SHIFT, align, half_scale, to_half
from mapping.quantise import (
    QuantisedWeights,
    expand_activations,
    quantise_activations,
    scale_sums,
)

__all__ = ["ACTIVATIONS", "feature_part", "folded_sums", "output_blocks"]

ACTIVATIONS = ("fp16", "int8")
"""What the activations of a product may be."""

_EXACT = 1 << 53
_CACHE_FEATURES = 512  # features of a product: its sums of 512 tokens stay in a cache of 2 MB
_HALF = 1 << (SCALE_SHIFT - 1)


def feature_part(weights: QuantisedWeights, part: slice) -> QuantisedWeights:
    """Some output features of a weight matrix, as a matrix of its own (views, no copies)."""
    return replace(
        weights,
        codes=weights.codes[part],
        scales=None if weights.scales is None else weights.scales[part],
        zeros=None if weights.zeros is None else weights.zeros[part],
        channel_scale=weights.channel_scale[part],
        special=None if weights.special is None else weights.special[part],
    )


def folded_sums(activations: NDArray, weights: QuantisedWeights, block: int) -> NDArray[np.int64]:
    """The integers of `mapping.contract.contract_sums`, without quantised tables.

    Parameters
    ----------
    activations : int8 or float16 (M, K)
        Codes, or finite FP16 values.
    weights : QuantisedWeights
        Codes and scales (N, K).
    block : int
        FP16 values aligned together, lanes_k of the unit.

    Returns
    -------
    int64 (M, N)

    Raises
    ------
    InputError
        As `contract_sums`.
    """
    _check(activations, weights, block)
    return _sums(activations, _values(activations, weights, block), weights, block)


def output_blocks(
    values: NDArray[np.float32],
    weights: QuantisedWeights,
    activations: str,
    block: int,
    features: int = 8192,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Outputs of a linear layer as an accelerator and its host give them, some features at a time.

    Parameters
    ----------
    values : float32 (M, K)
        Inputs of the layer; the host makes INT8 codes or FP16 values of them.
    weights : QuantisedWeights
        Codes and scales (N, K).
    activations : str
        ``fp16`` or ``int8``.
    block : int
        FP16 values aligned together, lanes_k of the unit.
    features : int
        Output features of a block, so that a large layer's outputs need not exist at once.

    Yields
    ------
    (slice, float32 (M, n))
        Which features, and their outputs.

    Raises
    ------
    InputError
        Values that the activations cannot hold, or as `contract_sums`.
    """
    if activations not in ACTIVATIONS:
        raise InputError("activations", "type", activations, ", ".join(ACTIVATIONS))
    codes: NDArray
    if activations == "int8":
        codes, scale = quantise_activations(values)
    else:
        codes = to_half(values)
        scale = np.full(len(codes), half_scale(weights.fmt), np.float32)
    _check(codes, weights, block)
    integers = _values(codes, weights, block)
    for first in range(0, weights.n, features):
        part = slice(first, min(first + features, weights.n))
        cut = feature_part(weights, part)
        yield part, scale_sums(_sums(codes, integers, cut, block), cut.channel_scale, scale)


def _check(activations: NDArray, weights: QuantisedWeights, block: int) -> None:
    """Let the contract itself refuse what it does not define: a product of one feature is cheap."""
    contract_sums(activations[:1], feature_part(weights, slice(0, 1)), block)


def _values(activations: NDArray, weights: QuantisedWeights, block: int) -> NDArray[np.float64]:
    """Activations as the integers that are multiplied, in the order of expanded codes."""
    half = activations.dtype == np.float16
    integers = align(activations, block) if half else activations
    return expand_activations(integers.astype(np.float64), weights.fmt)


def _sums(
    activations: NDArray, values: NDArray[np.float64], weights: QuantisedWeights, block: int
) -> NDArray[np.int64]:
    half = activations.dtype == np.float16
    fmt = weights.fmt
    groups = fmt.groups(weights.k) * fmt.planes
    rounded = half and weights.scales is not None
    span = weights.expanded_k // groups
    factors = _factors(weights, groups)
    sizes = np.abs(values).reshape(len(values), groups, span).sum(axis=2)
    largest = np.abs(factors).reshape(weights.n, groups, span).max(axis=(0, 2))
    bound = (sizes * largest).sum(axis=1)
    if rounded:  # each group on its own, then what is left of all of them
        most = (sizes * largest).max(axis=1) + _HALF
        bound = np.maximum(most, bound / (1 << SCALE_SHIFT) + groups)
    narrow = bound <= _EXACT
    found = np.empty((len(values), weights.n), np.int64)
    if not narrow.all():
        wide = ~narrow
        found[wide] = contract_sums(activations[wide], weights, block)
        if not narrow.any():
            return found
    chosen = values if narrow.all() else values[narrow]
    total = np.empty((len(chosen), weights.n))
    for first in range(0, weights.n, _CACHE_FEATURES):
        part = slice(first, first + _CACHE_FEATURES)
        if rounded:
            total[:, part] = _rounded_groups(chosen, factors[part], groups)
        else:
            total[:, part] = chosen @ factors[part].T
    found[narrow] = total
    return found


def _factors(weights: QuantisedWeights, groups: int) -> NDArray[np.float64]:
    """``(q - z) * s8``, float64 (N, K): integers of at most 17 bits and a sign."""
    codes = weights.codes.reshape(weights.n, groups, -1)
    factors = codes.astype(np.float64)
    if weights.zeros is not None:
        factors -= weights.zeros[:, :, None]
    if weights.scales is not None:
        factors *= weights.scales[:, :, None]
    return factors.reshape(weights.n, -1)


def _rounded_groups(
    values: NDArray[np.float64], factors: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """FP16 with group scales: every group's sum rounded half up to a multiple of 256."""
    span = values.shape[1] // groups
    factors = factors * 2.0**-SCALE_SHIFT
    total = np.zeros((len(values), len(factors)))
    product = np.empty_like(total)
    for first in range(0, values.shape[1], span):
        cut = slice(first, first + span)
        np.matmul(values[:, cut], factors[:, cut].T, out=product)
        product += 0.5
        np.floor(product, out=product)
        total += product
    return total
