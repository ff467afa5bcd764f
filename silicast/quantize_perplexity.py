"""Perplexity of a decoder whose linear layers are computed by the arithmetic contract.

Every linear layer, lm_head included, gives the sums that the accelerator gives, bit for bit
(`mapping.folded_sums`). The host does the rest in float32, as when text is generated
(`sim.host.decoder`). The model reads the true text (teacher forcing), window by window.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mapping.folded_sums import output_blocks
from mapping.frontends.gguf_file import GgufModel
from mapping.quantise import QuantisedWeights
from silicast.quantize_text import Window
from sim.host.decoder import Gemma3Decoder

__all__ = ["HEAD", "FloatLayers", "Layers", "QuantisedLayers", "token_losses"]

HEAD = "lm_head"
_FEATURES = 8192  # output features at a time: 16 MB of logits for 512 tokens

Float = NDArray[np.float32]


class Layers(Protocol):
    """The linear layers of a model."""

    def blocks(self, name: str, values: Float) -> Iterator[tuple[slice, Float]]:
        """Outputs of a layer for float32 (M, K) inputs, some output features at a time."""


class FloatLayers:
    """Linear layers in float32.

    Parameters
    ----------
    checkpoint : GgufModel
        Its weights are dequantised on their first use and kept.
    heard : callable, optional
        Told the name and the inputs of every layer.
    """

    def __init__(
        self, checkpoint: GgufModel, heard: Callable[[str, Float], None] | None = None
    ) -> None:
        self._checkpoint, self._heard = checkpoint, heard
        self._weights: dict[str, Float] = {}

    def blocks(self, name: str, values: Float) -> Iterator[tuple[slice, Float]]:
        """As `Layers`."""
        if name not in self._weights:
            self._weights[name] = self._checkpoint.weight(name)
        if self._heard is not None:
            self._heard(name, values)
        weights = self._weights[name]
        for first in range(0, len(weights), _FEATURES):
            part = slice(first, min(first + _FEATURES, len(weights)))
            yield part, values @ weights[part].T


class QuantisedLayers:
    """Linear layers as the golden model computes them.

    Parameters
    ----------
    weights : mapping of str to QuantisedWeights
        By layer.
    activations : str
        ``fp16`` or ``int8``.
    block : int
        FP16 values aligned together, lanes_k of the unit.
    """

    def __init__(
        self, weights: Mapping[str, QuantisedWeights], activations: str, block: int
    ) -> None:
        self._weights, self._activations, self._block = weights, activations, block

    def blocks(self, name: str, values: Float) -> Iterator[tuple[slice, Float]]:
        """As `Layers`."""
        weights = self._weights[name]
        return output_blocks(values, weights, self._activations, self._block, _FEATURES)


def token_losses(
    checkpoint: GgufModel,
    layers: Layers,
    windows: Iterable[Window],
    advance: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Negative log-likelihood of every target of every window, in nats.

    Parameters
    ----------
    checkpoint : GgufModel
        Embedding, norms and structure.
    layers : Layers
        What computes the linear layers.
    windows : iterable of Window
    advance : callable
        Called after each window.

    Returns
    -------
    float64 (tokens,)
        Perplexity is the exponential of their mean.

    Raises
    ------
    InputError
        The host cannot compute the model, or activations cannot hold a value.
    """

    def linear(name: str, values: Float) -> Float:
        parts = [part for _, part in layers.blocks(name, values)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    decoder = Gemma3Decoder(checkpoint, linear)
    found = []
    for window in windows:
        decoder.reset()
        features = decoder.features(window.inputs)
        found.append(_losses(layers.blocks(HEAD, features), np.array(window.targets)))
        advance()
    return np.concatenate(found)


def _losses(
    blocks: Iterable[tuple[slice, Float]], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``log(sum(exp(logits))) - logits[target]`` from logits that come block by block."""
    rows = np.arange(len(targets))
    largest = np.full(len(targets), -np.inf)
    total = np.zeros(len(targets))
    chosen = np.empty(len(targets))
    for part, logits in blocks:
        here = (part.start <= targets) & (targets < part.stop)
        chosen[here] = logits[rows[here], targets[here] - part.start]
        most = np.maximum(largest, logits.max(axis=1))
        shares = np.exp(logits - most.astype(np.float32)[:, None])
        total = total * np.exp(largest - most) + shares.sum(axis=1, dtype=np.float64)
        largest = most
    return largest + np.log(total) - chosen
