"""What quantising does to one layer: its weights, and its outputs on real activations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.folded_sums import feature_part, output_blocks
from mapping.formats import storage_bits
from mapping.quantise import QuantisedWeights

__all__ = ["LayerError", "LayerSums", "measure_layer"]

_FEATURES = 8192
_ANT_TYPES = 2


@dataclass(frozen=True)
class LayerError:
    """Errors of one layer.

    Attributes
    ----------
    name : str
        ``layers.0.q``, ... ``lm_head``.
    n, k : int
        Its size.
    weight_nmse : float
        ``sum (w - q)^2 / sum w^2``.
    output_error : float or None
        Relative RMS error of its outputs; None where no token has outputs other than 0.
    """

    name: str
    n: int
    k: int
    weight_nmse: float
    output_error: float | None


@dataclass(frozen=True)
class LayerSums:
    """What of a layer adds up over layers.

    Attributes
    ----------
    squared_error, squared : float
        ``sum (w - q)^2`` and ``sum w^2``.
    bits : int
        Stored: codes, scales, metadata and channel scales.
    special : tuple of int
        Groups that have each of the format's special values, or each type of ANT.
    """

    squared_error: float
    squared: float
    bits: int
    special: tuple[int, ...]


def measure_layer(
    name: str,
    weights: NDArray[np.float32],
    quantised: QuantisedWeights,
    inputs: NDArray[np.float32],
    activations: str,
    block: int,
) -> tuple[LayerError, LayerSums]:
    """Compare a quantised layer with its float weights.

    The output error is relative for each token, ``sum_n (y' - y)^2 / sum_n y^2``, and the root of
    the mean over tokens: the few tokens with huge activations count like all others. Inputs of the
    layer are those of the float model, so the error is the layer's own.

    Parameters
    ----------
    name : str
        The layer.
    weights : float32 (N, K)
        As the checkpoint has them.
    quantised : QuantisedWeights
        The same, quantised.
    inputs : float32 (M, K)
        Real activations.
    activations : str
        ``fp16`` or ``int8``.
    block : int
        FP16 values aligned together.
    """
    error = size = 0.0
    missed, exact = np.zeros(len(inputs)), np.zeros(len(inputs))
    for part, outputs in output_blocks(inputs, quantised, activations, block, _FEATURES):
        true = weights[part]
        off = feature_part(quantised, part).dequantise() - true
        error += float(np.square(off, dtype=np.float64).sum())
        size += float(np.square(true, dtype=np.float64).sum())
        reference = inputs @ true.T
        missed += np.square(outputs - reference, dtype=np.float64).sum(axis=1)
        exact += np.square(reference, dtype=np.float64).sum(axis=1)
    counted = exact > 0
    output_error = None
    if counted.any():
        output_error = float(np.sqrt((missed[counted] / exact[counted]).mean()))
    fmt = quantised.fmt
    special: tuple[int, ...] = ()
    if quantised.special is not None:
        kinds = len(fmt.special_values) or _ANT_TYPES
        counts = np.bincount(quantised.special.ravel(), minlength=kinds)
        special = tuple(int(count) for count in counts)
    layer = LayerError(name, quantised.n, quantised.k, error / size if size else 0.0, output_error)
    bits = storage_bits(fmt, quantised.n, quantised.k)
    return layer, LayerSums(error, size, bits, special)
