"""What quantising a model in several formats gave."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicast.quantize_errors import LayerError

__all__ = ["FormatResult", "QuantizeResult"]


@dataclass(frozen=True)
class FormatResult:
    """What one format does to a model.

    Attributes
    ----------
    format : str
        Its name.
    bits_per_weight : float
        Stored: codes, group scales, zero points, metadata and channel scales.
    weight_nmse : float
        ``sum (w - q)^2 / sum w^2`` over all layers.
    worst_weight_layer : str
        The layer whose own one is the largest.
    output_error : float or None
        Root mean square, over layers, of the relative RMS error of their outputs.
    worst_output_layer : str or None
        The layer whose own one is the largest.
    special_values : dict of str to float
        Share of the groups that have each special value, e.g. ``"+5"``, or each type of ANT; empty
        for other formats.
    perplexity : float or None
        Of the golden model; None when it was not asked for.
    loss_increase, loss_increase_error : float or None
        Mean over tokens of the loss above that of the float weights, in nats, and its standard
        error, as if tokens were independent.
    layers : list of LayerError
        In the order of the model.
    token_losses : float64 (tokens,) or None
        Loss of every token in nats; not part of `to_dict`.
    """

    format: str
    bits_per_weight: float
    weight_nmse: float
    worst_weight_layer: str
    output_error: float | None
    worst_output_layer: str | None
    special_values: dict[str, float]
    perplexity: float | None
    loss_increase: float | None
    loss_increase_error: float | None
    layers: list[LayerError]
    token_losses: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class QuantizeResult:
    """A model in several formats.

    Attributes
    ----------
    model : str
        Its name.
    storage : dict of str to float
        Share of the linear weights that the checkpoint stores as each type, e.g. ``Q8_0``.
    weights : int
        Of all linear layers, lm_head included.
    activations : str
        ``fp16`` or ``int8``.
    block : int
        FP16 values aligned together.
    text : dict
        ``title``, ``source``, ``licence``, ``size_bytes``, ``sha256``.
    tokens, windows, window : int
        Predicted tokens, windows they are in, and positions of a window.
    error_tokens : int
        Tokens the output error is measured on.
    float_perplexity : float or None
        Of the checkpoint's weights in float32; None when it was not asked for.
    formats : list of FormatResult
        In the order asked for.
    float_token_losses : float64 (tokens,) or None
        Not part of `to_dict`.
    """

    model: str
    storage: dict[str, float]
    weights: int
    activations: str
    block: int
    text: dict[str, Any]
    tokens: int
    windows: int
    window: int
    error_tokens: int
    float_perplexity: float | None
    formats: list[FormatResult]
    float_token_losses: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict:
        """Plain values for JSON, without the losses of single tokens."""
        found = asdict(self)
        del found["float_token_losses"]
        for item in found["formats"]:
            del item["token_losses"]
        return found

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "QuantizeResult":
        """The result of `to_dict`, but for the losses of single tokens."""
        formats = [
            FormatResult(**item | {"layers": [LayerError(**layer) for layer in item["layers"]]})
            for item in plain["formats"]
        ]
        return cls(**dict(plain) | {"formats": formats})
