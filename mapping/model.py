"""What a decoder-only language model is made of: its sizes, without its weights.

Front ends (``mapping/frontends``) produce a `ModelSpec`; everything after them
(graph, compiler, simulators) reads only this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from designs.errors import InputError

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "LINEAR_KINDS",
    "MOST",
    "NORMS",
    "LinearShape",
    "ModelSpec",
]

FAMILIES = ("gemma3", "llama", "mistral", "opt", "phi", "yi")
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu")
NORMS = ("rms", "layer")
LINEAR_KINDS = ("q", "k", "v", "o", "gate", "up", "down", "lm_head")

_POSITIVE_INTEGERS = (
    "layers",
    "hidden",
    "heads",
    "kv_heads",
    "head_dim",
    "ffn",
    "vocab",
    "max_context",
)
MOST = {
    "layers": 10_000,
    "hidden": 1 << 20,
    "heads": 1 << 16,
    "kv_heads": 1 << 16,
    "head_dim": 1 << 16,
    "ffn": 1 << 20,
    "vocab": 1 << 22,
    "max_context": 1 << 30,
}
"""Largest sizes, far above any model: a damaged file must not make arrays of a billion rows."""

_LONGEST_QUERY = 1 << 20  # heads * head_dim
_BOOLEANS = (
    "gated_mlp",
    "tied_embeddings",
    "qk_norm",
    "post_norms",
    "parallel_block",
    "attention_bias",
    "mlp_bias",
    "head_bias",
)


@dataclass(frozen=True)
class LinearShape:
    """One linear layer: ``output (M, n) = activations (M, k) @ weight (n, k).T``.

    Parameters
    ----------
    name : str
        ``layers.{i}.{kind}`` or ``lm_head``.
    kind : str
        One of `LINEAR_KINDS`.
    n, k : int
        Output channels and reduction length, both positive.
    """

    name: str
    kind: str
    n: int
    k: int

    @property
    def weights(self) -> int:
        """Number of weights, ``n * k``."""
        return self.n * self.k


@dataclass(frozen=True)
class ModelSpec:
    """Structure of a decoder-only transformer.

    Parameters
    ----------
    name : str
        Name shown to the user.
    family : str
        One of `FAMILIES`.
    layers, hidden, heads, kv_heads, head_dim, ffn, vocab : int
        Positive, at most `MOST`; ``heads`` is a multiple of ``kv_heads``.
        ``heads * head_dim`` may differ from ``hidden`` (it does in Gemma 3).
    gated_mlp : bool
        ``down(activation(gate(x)) * up(x))`` when true, else ``down(activation(up(x)))``.
    tied_embeddings : bool
        ``lm_head`` uses the token embedding as its weight.
    activation : str
        One of `ACTIVATIONS`; ``gelu_tanh`` is the tanh approximation.
    norm : str
        ``rms`` (one vector) or ``layer`` (scale and bias vectors).
    norm_eps : float
        Positive.
    max_context : int
        Positions the model was trained for, in tokens.
    rope_theta : float or None
        Rotary base of layers with full attention; ``None``: no rotary embedding.
    rope_local_theta : float or None
        Rotary base of sliding-window layers; ``None``: ``rope_theta``.
    rope_scale : float
        Linear position scaling of full-attention layers, ``>= 1``: angles are divided by it.
    rotary_fraction : float
        Part of each head that is rotated, in (0, 1]; Phi-2 rotates 0.4.
    sliding_window : int or None
        Positions a sliding-window layer sees, itself included; ``None``: all layers are full.
    sliding_window_pattern : int
        Every this-many-th layer has full attention (6 in Gemma 3); 0: none of them.
    query_scale : float or None
        Factor on ``q @ k.T``; ``None``: ``1 / sqrt(head_dim)``.
    embedding_scale : float
        Factor on the embedding output; ``sqrt(hidden)`` in Gemma 3.
    learned_positions : int
        Rows of a learned position table (OPT), 0 without one.
    qk_norm, post_norms : bool
        Norms on each query and key head; norms after attention and MLP (both in Gemma 3).
    parallel_block : bool
        Attention and MLP read the same norm and are added together (Phi-2).
    attention_bias, mlp_bias, head_bias : bool
        Biases of q, k, v, o; of up, down, gate; of lm_head.

    Raises
    ------
    InputError
        A value is of the wrong type or out of range, or two values contradict each other.
    """

    name: str
    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    gated_mlp: bool
    tied_embeddings: bool
    activation: str
    norm: str
    norm_eps: float
    max_context: int
    rope_theta: float | None = None
    rope_local_theta: float | None = None
    rope_scale: float = 1.0
    rotary_fraction: float = 1.0
    sliding_window: int | None = None
    sliding_window_pattern: int = 0
    query_scale: float | None = None
    embedding_scale: float = 1.0
    learned_positions: int = 0
    qk_norm: bool = False
    post_norms: bool = False
    parallel_block: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False

    def __post_init__(self) -> None:
        where = f"model {self.name}" if isinstance(self.name, str) and self.name else "model"
        if not isinstance(self.name, str) or not self.name:
            raise InputError(where, "name", self.name, "a non-empty string")
        for field in _POSITIVE_INTEGERS:
            _check_integer(where, field, getattr(self, field), 1, MOST[field])
        if self.heads * self.head_dim > _LONGEST_QUERY:
            allowed = f"at most {_LONGEST_QUERY}"
            raise InputError(where, "heads * head_dim", self.heads * self.head_dim, allowed)
        for field in ("sliding_window_pattern", "learned_positions"):
            _check_integer(where, field, getattr(self, field), 0, 2 * MOST["max_context"])
        for field in _BOOLEANS:
            if not isinstance(getattr(self, field), bool):
                raise InputError(where, field, getattr(self, field), "true or false")
        _check_choice(where, "family", self.family, FAMILIES)
        _check_choice(where, "activation", self.activation, ACTIVATIONS)
        _check_choice(where, "norm", self.norm, NORMS)
        for field in ("norm_eps", "rope_scale", "rotary_fraction", "embedding_scale"):
            _check_positive(where, field, getattr(self, field))
        for field in ("rope_theta", "rope_local_theta", "query_scale"):
            if getattr(self, field) is not None:
                _check_positive(where, field, getattr(self, field))
        if self.rotary_fraction > 1:
            raise InputError(where, "rotary_fraction", self.rotary_fraction, "0 < fraction <= 1")
        if self.sliding_window is not None:
            _check_integer(where, "sliding_window", self.sliding_window, 1, MOST["max_context"])
        if self.heads % self.kv_heads:
            raise InputError(where, "kv_heads", self.kv_heads, f"a divisor of heads = {self.heads}")
        if self.rope_theta is not None and self.rotary_dim % 2:
            raise InputError(
                where, "head_dim", self.head_dim, "an even number of rotated elements per head"
            )

    @property
    def rotary_dim(self) -> int:
        """Elements of each head that rotary embedding rotates."""
        return round(self.head_dim * self.rotary_fraction) if self.rope_theta is not None else 0

    @property
    def attention_scale(self) -> float:
        """Factor on ``q @ k.T`` before the softmax."""
        return self.query_scale if self.query_scale is not None else 1 / math.sqrt(self.head_dim)

    def window(self, layer: int) -> int | None:
        """Positions that attention of `layer` sees, itself included; ``None``: all of them."""
        period = self.sliding_window_pattern
        if self.sliding_window is None or (period and (layer + 1) % period == 0):
            return None
        return self.sliding_window

    def theta(self, layer: int) -> float | None:
        """Rotary base of `layer`; ``None`` without rotary embedding."""
        if self.window(layer) is not None and self.rope_local_theta is not None:
            return self.rope_local_theta
        return self.rope_theta

    def layer_linears(self, layer: int) -> tuple[LinearShape, ...]:
        """Linear layers of decoder layer `layer`, in execution order."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = [
            ("q", query, self.hidden),
            ("k", key, self.hidden),
            ("v", key, self.hidden),
            ("o", self.hidden, query),
            *([("gate", self.ffn, self.hidden)] if self.gated_mlp else []),
            ("up", self.ffn, self.hidden),
            ("down", self.hidden, self.ffn),
        ]
        return tuple(LinearShape(f"layers.{layer}.{kind}", kind, n, k) for kind, n, k in shapes)

    def linear_layers(self) -> tuple[LinearShape, ...]:
        """All linear layers in execution order, ``lm_head`` last."""
        body = [shape for layer in range(self.layers) for shape in self.layer_linears(layer)]
        return (*body, LinearShape("lm_head", "lm_head", self.vocab, self.hidden))

    def linear_weights(self) -> int:
        """Weights of all linear layers, ``lm_head`` included even when it is tied."""
        return sum(shape.weights for shape in self.linear_layers())

    def parameters(self) -> int:
        """Stored parameters: embeddings, linear weights, biases and norms; tied ones once."""
        total = (self.vocab + self.learned_positions) * self.hidden
        for shape in self.linear_layers():
            tied = shape.kind == "lm_head" and self.tied_embeddings
            total += 0 if tied else shape.weights
            total += shape.n if self.has_bias(shape.kind) else 0
        vectors = 2 if self.norm == "layer" else 1
        blocks = 1 if self.parallel_block else 4 if self.post_norms else 2
        heads = 2 * self.head_dim if self.qk_norm else 0
        return total + vectors * (self.hidden + self.layers * (blocks * self.hidden + heads))

    def has_bias(self, kind: str) -> bool:
        """Whether linear layers of `kind` add a bias to their output."""
        if kind == "lm_head":
            return self.head_bias
        return self.attention_bias if kind in ("q", "k", "v", "o") else self.mlp_bias


def _check_integer(where: str, field: str, value: object, least: int, most: int) -> None:
    # bool is an int in Python, but `layers: true` in a config is a mistake
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(where, field, value, f"an integer from {least} to {most}")


def _check_positive(where: str, field: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        right = number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]
    except OverflowError:  # an integer beyond the range of a float
        right = False
    if not right:
        raise InputError(where, field, value, "a finite number > 0")


def _check_choice(where: str, field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(where, field, value, ", ".join(allowed))
