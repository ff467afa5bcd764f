"""A Gemma 3 decoder whose linear layers are computed by someone else.

The host does embedding, norms, rotary embedding, attention and GELU in float32; every
linear layer goes to a function the caller supplies: the generated hardware, the golden
model or a float reference.  Structure: Gemma 3 technical report (arXiv 2503.19786) and
the gemma3 graph of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy
from numpy.typing import ArrayLike, NDArray

from designs.errors import InputError
from mapping.model import ModelSpec
from sim.host.operators import (
    KeyValueCache,
    attention,
    gelu_tanh,
    rms_norm,
    rotary_embedding,
)

__all__ = ["Checkpoint", "Gemma3Decoder", "Linear", "float_linear"]

Float = NDArray[numpy.float32]

_NOT_COMPUTED = (
    "attention_bias",
    "qkv_bias",
    "mlp_bias",
    "head_bias",
    "attention_softcap",
    "logit_softcap",
    "sub_norms",
    "experts",
)

#: ``linear(name, activations)``: float32 (M, K) to float32 (M, N) for the layer `name`.
Linear = Callable[[str, Float], Float]


class Checkpoint(Protocol):
    """What the decoder reads from a checkpoint; `GgufModel` is one."""

    @property
    def spec(self) -> ModelSpec:
        """Structure of the model."""

    def embedding_rows(self, token_ids: ArrayLike) -> Float:
        """float32 (M, hidden) of int (M,) token ids; `InputError` outside the vocabulary."""

    def norm(self, name: str) -> Float:
        """Scale vector of a norm by name, float32."""


class _Weights(Protocol):
    def weight(self, name: str) -> Float: ...


def float_linear(checkpoint: _Weights) -> Linear:
    """The float32 reference for the linear layers of a checkpoint.

    Each weight is dequantised on its first use and kept (1.1 GB for Gemma 3 270M).
    """
    weights: dict[str, Float] = {}

    def linear(name: str, activations: Float) -> Float:
        if name not in weights:
            weights[name] = checkpoint.weight(name)
        return activations @ weights[name].T

    return linear


class Gemma3Decoder:
    """Autoregressive decoder of one sequence.

    Parameters
    ----------
    checkpoint : Checkpoint
        Embedding, norms and structure.
    linear : callable
        ``linear(name, activations)``, float32 (M, K) to float32 (M, N); called for
        q, k, v, o, gate, up and down of every layer in this order, and for ``lm_head``
        with the last position only (M = 1).

    Raises
    ------
    InputError
        The checkpoint is not of the gemma3 family, or has biases or a softcap, which no
        published Gemma 3 has.
    """

    def __init__(self, checkpoint: Checkpoint, linear: Linear) -> None:
        spec = checkpoint.spec
        if spec.family != "gemma3":
            raise InputError(f"model {spec.name}", "family", spec.family, "gemma3")
        for field in _NOT_COMPUTED:
            value = getattr(spec, field)
            if value:
                allowed = "a model without: the host does not compute it"
                raise InputError(f"model {spec.name}", field, value, allowed)
        self.spec = spec
        self._checkpoint = checkpoint
        self._linear = linear
        self._norms: dict[str, Float] = {}
        self.reset()

    @property
    def position(self) -> int:
        """Tokens in the key-value cache, which is the position of the next token."""
        return self._caches[0].length

    def reset(self) -> None:
        """Forget the sequence."""
        self._caches = [
            KeyValueCache(self.spec.kv_heads, self.spec.head_dim) for _ in range(self.spec.layers)
        ]

    def prefill(self, token_ids: Sequence[int]) -> Float:
        """Start a new sequence with a prompt.

        Parameters
        ----------
        token_ids : sequence of int
            1 to ``spec.max_context`` ids.

        Returns
        -------
        float32 (vocab,)
            Logits of the token after the prompt.

        Raises
        ------
        InputError
            The prompt is empty or too long, or an id is outside the vocabulary.
        """
        self.reset()
        return self._forward(token_ids)

    def step(self, token_id: int) -> Float:
        """Append one token; returns the logits of the next one, float32 (vocab,)."""
        return self._forward([token_id])

    def generate(
        self,
        prompt_ids: Sequence[int],
        tokens: int,
        on_token: Callable[[int], None] | None = None,
        stop_ids: Iterable[int] | None = None,
    ) -> list[int]:
        """Generate greedily: always the token with the largest logit, the lowest id among equals.

        Parameters
        ----------
        prompt_ids : sequence of int
            The prompt.
        tokens : int
            Most tokens to generate, at least 1.
        on_token : callable, optional
            Called with each token as it comes.
        stop_ids : iterable of int, optional
            Tokens that end the text and are not part of it; by default the
            checkpoint's end-of-sequence and end-of-turn tokens.

        Returns
        -------
        list of int
            The new tokens, `tokens` of them or fewer.

        Raises
        ------
        InputError
            `tokens` is not positive, or prompt and text exceed the context.
        """
        if tokens < 1:
            raise InputError("generate", "tokens", tokens, "an integer >= 1")
        self._check_room(len(prompt_ids) + tokens - 1)
        if stop_ids is None:
            fields = getattr(self._checkpoint, "tokenizer_fields", None)
            stop_ids = fields.stop_ids if fields is not None else ()
        stops = frozenset(stop_ids)
        logits = self.prefill(prompt_ids)
        generated: list[int] = []
        while True:
            token = int(numpy.argmax(logits))
            if token in stops:
                return generated
            generated.append(token)
            if on_token is not None:
                on_token(token)
            if len(generated) == tokens:  # the last token needs no pass of its own
                return generated
            logits = self.step(token)

    def _check_room(self, length: int) -> None:
        if length > self.spec.max_context:
            raise InputError(
                f"model {self.spec.name}",
                "tokens",
                length,
                f"at most {self.spec.max_context} (the model's context)",
            )

    def _norm(self, name: str, values: Float) -> Float:
        if name not in self._norms:
            self._norms[name] = self._checkpoint.norm(name)
        return rms_norm(values, self._norms[name], self.spec.norm_eps)

    def _project(self, name: str, activations: Float, n: int) -> Float:
        output = self._linear(name, activations)
        if output.shape != (len(activations), n):
            raise ValueError(
                f"linear layer {name} returned {output.shape}, not {(len(activations), n)}"
            )
        return output.astype(numpy.float32, copy=False)

    def _forward(self, token_ids: Sequence[int]) -> Float:
        last = self.features(token_ids)[-1:]
        return self._project("lm_head", last, self.spec.vocab)[0]

    def features(self, token_ids: Sequence[int]) -> Float:
        """Append tokens; returns what lm_head multiplies at each of them, float32 (M, hidden).

        Raises
        ------
        InputError
            There are no tokens, or too many, or an id is outside the vocabulary.
        """
        if len(token_ids) == 0:
            raise InputError("prompt", "", "no tokens", "at least one token")
        self._check_room(self.position + len(token_ids))
        residual = self._checkpoint.embedding_rows(token_ids) * numpy.float32(
            self.spec.embedding_scale
        )
        positions = numpy.arange(self.position, self.position + len(token_ids))
        for layer in range(self.spec.layers):
            residual = residual + self._attend(layer, residual, positions)
            residual = residual + self._mlp(layer, residual)
        return self._norm("final_norm", residual)

    def _attend(self, layer: int, residual: Float, positions: NDArray[numpy.int64]) -> Float:
        spec, prefix, tokens = self.spec, f"layers.{layer}", len(residual)
        normed = self._norm(f"{prefix}.attention_norm", residual)

        def heads_of(kind: str, count: int) -> Float:
            output = self._project(f"{prefix}.{kind}", normed, count * spec.head_dim)
            return output.reshape(tokens, count, spec.head_dim)

        theta = spec.theta(layer)
        # only layers with full attention stretch their positions
        scale = spec.rope_scale if spec.window(layer) is None else 1.0

        def rotate(kind: str, heads: Float) -> Float:
            heads = self._norm(f"{prefix}.{kind}_norm", heads) if spec.qk_norm else heads
            return heads if theta is None else rotary_embedding(heads, positions, theta, scale)

        query = heads_of("q", spec.heads)
        key, value = heads_of("k", spec.kv_heads), heads_of("v", spec.kv_heads)
        cache = self._caches[layer]
        cache.append(rotate("k", key), value)
        mixed = attention(
            rotate("q", query), cache.keys, cache.values, spec.attention_scale, spec.window(layer)
        )
        output = self._project(f"{prefix}.o", mixed.reshape(tokens, -1), spec.hidden)
        return self._norm(f"{prefix}.post_attention_norm", output) if spec.post_norms else output

    def _mlp(self, layer: int, residual: Float) -> Float:
        spec, prefix = self.spec, f"layers.{layer}"
        normed = self._norm(f"{prefix}.ffn_norm", residual)
        gate = self._project(f"{prefix}.gate", normed, spec.ffn)
        up = self._project(f"{prefix}.up", normed, spec.ffn)
        output = self._project(f"{prefix}.down", gelu_tanh(gate) * up, spec.hidden)
        return self._norm(f"{prefix}.post_ffn_norm", output) if spec.post_norms else output
