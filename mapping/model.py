"""What a decoder-only language model is made of: its sizes, without its weights.

Front ends (``mapping/frontends``) produce a `ModelSpec`; everything after them
(graph, compiler, simulators) reads only this.  ONNX files and MatMul-free models become operator
graphs without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mapping.linear_shapes import (
    EXPERT_KINDS,
    LINEAR_KINDS,
    LinearShape,
    linears_of_layer,
)
from mapping.model_checks import ACTIVATIONS, FAMILIES, MOST, NORMS, check_model

__all__ = [
    "ACTIVATIONS",
    "EXPERT_KINDS",
    "FAMILIES",
    "LINEAR_KINDS",
    "MOST",
    "NORMS",
    "LinearShape",
    "ModelSpec",
]


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
        One of `ACTIVATIONS`; ``gelu_tanh`` is the tanh approximation, ``relu2`` the square
        of ReLU.
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
        Every this-many-th layer has full attention (2 in Gemma 2, 6 in Gemma 3); 0: none of
        them.
    window_layers : tuple of int or None
        The layers with a sliding window, ascending, where they follow no period (Qwen2);
        ``None``: `sliding_window_pattern` says which.
    query_scale : float or None
        Factor on ``q @ k.T``; ``None``: ``1 / sqrt(head_dim)``.
    embedding_scale : float
        Factor on the embedding output; ``sqrt(hidden)`` in Gemma 3.
    learned_positions : int
        Rows of a learned position table (OPT), 0 without one.
    attention_softcap, logit_softcap : float or None
        ``cap * tanh(x / cap)`` on attention scores before the softmax, and on the logits
        (Gemma 2 report, arXiv 2408.00118, section 2: 50 and 30); ``None``: not capped.
    qk_norm, post_norms : bool
        Norms on each query and key head; norms after attention and MLP (both in Gemma 3).
    sub_norms : bool
        Norms on the inputs of o and down (BitNet b1.58, arXiv 2504.12285, section 2).
    parallel_block : bool
        Attention and MLP read the same norm and are added together (Phi-2).
    attention_bias, qkv_bias, mlp_bias, head_bias : bool
        Biases of q, k, v and o; of q, k and v only (Qwen2); of up, down, gate; of lm_head.
    experts : int
        Routed experts of a layer; 0: every layer has one MLP of width `ffn`.
    experts_per_token : int
        Experts each token is sent to, 1 to `experts`.
    expert_ffn, shared_ffn : int
        Inner width of one routed expert; summed inner width of the experts every token passes,
        0 without any.
    shared_expert_gate : bool
        The shared expert's output is scaled by the sigmoid of a linear layer of one output.
    dense_layers : tuple of int
        Layers with one MLP of width `ffn` although there are experts, ascending.
    normalise_topk : bool
        The weights of the chosen experts are divided by their sum.

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
    window_layers: tuple[int, ...] | None = None
    query_scale: float | None = None
    embedding_scale: float = 1.0
    learned_positions: int = 0
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    qk_norm: bool = False
    post_norms: bool = False
    sub_norms: bool = False
    parallel_block: bool = False
    attention_bias: bool = False
    qkv_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    shared_expert_gate: bool = False
    dense_layers: tuple[int, ...] = ()
    normalise_topk: bool = False

    def __post_init__(self) -> None:
        check_model(self)

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
        if self.window_layers is not None:
            return self.sliding_window if layer in self.window_layers else None
        period = self.sliding_window_pattern
        if self.sliding_window is None or (period and (layer + 1) % period == 0):
            return None
        return self.sliding_window

    def theta(self, layer: int) -> float | None:
        """Rotary base of `layer`; ``None`` without rotary embedding."""
        if self.window(layer) is not None and self.rope_local_theta is not None:
            return self.rope_local_theta
        return self.rope_theta

    def routed(self, layer: int) -> bool:
        """Whether `layer` has routed experts in place of one MLP."""
        return self.experts > 0 and layer not in self.dense_layers

    def layer_linears(self, layer: int) -> tuple[LinearShape, ...]:
        """Linear layers of decoder layer `layer`, in execution order."""
        return linears_of_layer(self, layer)

    def linear_layers(self) -> tuple[LinearShape, ...]:
        """All linear layers in execution order, ``lm_head`` last."""
        body = [shape for layer in range(self.layers) for shape in self.layer_linears(layer)]
        return (*body, LinearShape("lm_head", "lm_head", self.vocab, self.hidden))

    def linear_weights(self) -> int:
        """Stored weights of all linear layers, every expert and a tied ``lm_head`` included."""
        return sum(shape.weights for shape in self.linear_layers())

    def active_linear_weights(self) -> int:
        """Weights one token is multiplied with: of the experts, `experts_per_token` a layer."""
        return sum(
            (self.experts_per_token if shape.kind in EXPERT_KINDS else 1) * shape.n * shape.k
            for shape in self.linear_layers()
        )

    def parameters(self) -> int:
        """Stored parameters: embeddings, linear weights, biases and norms; tied ones once."""
        total = (self.vocab + self.learned_positions) * self.hidden
        for shape in self.linear_layers():
            tied = shape.kind == "lm_head" and self.tied_embeddings
            total += 0 if tied else shape.weights
            total += shape.copies * shape.n if self.has_bias(shape.kind) else 0
        vectors = 2 if self.norm == "layer" else 1
        blocks = 1 if self.parallel_block else 4 if self.post_norms else 2
        of_layer = blocks * self.hidden
        if self.qk_norm:
            of_layer += 2 * self.head_dim
        if self.sub_norms:
            of_layer += self.heads * self.head_dim + self.ffn
        return total + vectors * (self.hidden + self.layers * of_layer)

    def has_bias(self, kind: str) -> bool:
        """Whether linear layers of `kind` add a bias to their output."""
        if kind == "lm_head":
            return self.head_bias
        if kind in ("q", "k", "v"):
            return self.attention_bias or self.qkv_bias
        if kind == "o":
            return self.attention_bias
        return kind in ("gate", "up", "down") and self.mlp_bias
