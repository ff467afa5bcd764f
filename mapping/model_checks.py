"""Ranges and contradictions of a `ModelSpec`, checked when one is made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from designs.errors import InputError

if TYPE_CHECKING:
    from mapping.model import ModelSpec

__all__ = ["ACTIVATIONS", "FAMILIES", "MOST", "NORMS", "check_model"]

FAMILIES = (
    "bitnet",
    "gemma2",
    "gemma3",
    "gpt2",
    "llama",
    "mistral",
    "mixtral",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "yi",
)
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu", "relu2")
NORMS = ("rms", "layer")

MOST = {
    "layers": 10_000,
    "hidden": 1 << 20,
    "heads": 1 << 16,
    "kv_heads": 1 << 16,
    "head_dim": 1 << 16,
    "ffn": 1 << 20,
    "vocab": 1 << 22,
    "max_context": 1 << 30,
    "experts": 1 << 16,
    "experts_per_token": 1 << 16,
    "expert_ffn": 1 << 20,
    "shared_ffn": 1 << 20,
}
"""Largest sizes, far above any model: a damaged file must not make arrays of a billion rows."""

_LONGEST_QUERY = 1 << 20  # heads * head_dim
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
_BOOLEANS = (
    "gated_mlp",
    "tied_embeddings",
    "qk_norm",
    "post_norms",
    "sub_norms",
    "parallel_block",
    "attention_bias",
    "qkv_bias",
    "mlp_bias",
    "head_bias",
    "shared_expert_gate",
    "normalise_topk",
)
_POSITIVE_NUMBERS = ("norm_eps", "rope_scale", "rotary_fraction", "embedding_scale")
_OPTIONAL_NUMBERS = (
    "rope_theta",
    "rope_local_theta",
    "query_scale",
    "attention_softcap",
    "logit_softcap",
)


def check_model(spec: ModelSpec) -> None:
    """Check every field of `spec`, and those that depend on each other.

    Raises
    ------
    InputError
        The first field that is of the wrong type, out of range or contradicts another.
    """
    named = isinstance(spec.name, str) and spec.name
    where = f"model {spec.name}" if named else "model"
    if not named:
        raise InputError(where, "name", spec.name, "a non-empty string")
    for field in _POSITIVE_INTEGERS:
        _check_integer(where, field, getattr(spec, field), 1, MOST[field])
    for field in ("experts", "experts_per_token", "expert_ffn", "shared_ffn"):
        _check_integer(where, field, getattr(spec, field), 0, MOST[field])
    for field in ("sliding_window_pattern", "learned_positions"):
        _check_integer(where, field, getattr(spec, field), 0, 2 * MOST["max_context"])
    for field in _BOOLEANS:
        if not isinstance(getattr(spec, field), bool):
            raise InputError(where, field, getattr(spec, field), "true or false")
    _check_choice(where, "family", spec.family, FAMILIES)
    _check_choice(where, "activation", spec.activation, ACTIVATIONS)
    _check_choice(where, "norm", spec.norm, NORMS)
    for field in _POSITIVE_NUMBERS:
        _check_positive(where, field, getattr(spec, field))
    for field in _OPTIONAL_NUMBERS:
        if getattr(spec, field) is not None:
            _check_positive(where, field, getattr(spec, field))
    _check_attention(where, spec)
    _check_windows(where, spec)
    if spec.experts:
        _check_experts(where, spec)
    else:
        _check_no_experts(where, spec)


def _check_attention(where: str, spec: ModelSpec) -> None:
    query = spec.heads * spec.head_dim
    if query > _LONGEST_QUERY:
        raise InputError(where, "heads * head_dim", query, f"at most {_LONGEST_QUERY}")
    if spec.rotary_fraction > 1:
        raise InputError(where, "rotary_fraction", spec.rotary_fraction, "0 < fraction <= 1")
    if spec.heads % spec.kv_heads:
        raise InputError(where, "kv_heads", spec.kv_heads, f"a divisor of heads = {spec.heads}")
    if spec.rope_theta is not None and spec.rotary_dim % 2:
        allowed = "an even number of rotated elements per head"
        raise InputError(where, "head_dim", spec.head_dim, allowed)
    if spec.attention_bias and spec.qkv_bias:
        allowed = "one of them: attention_bias is of q, k, v and o, qkv_bias of q, k and v"
        raise InputError(where, "attention_bias, qkv_bias", True, allowed)


def _check_windows(where: str, spec: ModelSpec) -> None:
    if spec.sliding_window is not None:
        _check_integer(where, "sliding_window", spec.sliding_window, 1, MOST["max_context"])
    if spec.window_layers is None:
        return
    _check_layers(where, "window_layers", spec.window_layers, spec.layers)
    if not spec.window_layers or spec.sliding_window is None or spec.sliding_window_pattern:
        allowed = "at least one layer, a sliding_window and no sliding_window_pattern, or none"
        raise InputError(where, "window_layers", spec.window_layers, allowed)


def _check_experts(where: str, spec: ModelSpec) -> None:
    _check_integer(where, "experts_per_token", spec.experts_per_token, 1, spec.experts)
    _check_integer(where, "expert_ffn", spec.expert_ffn, 1, MOST["expert_ffn"])
    if spec.shared_expert_gate and not spec.shared_ffn:
        raise InputError(where, "shared_ffn", 0, "at least 1 with shared_expert_gate")
    _check_layers(where, "dense_layers", spec.dense_layers, spec.layers)
    if len(spec.dense_layers) == spec.layers:
        found = f"all {spec.layers} layers"
        raise InputError(where, "dense_layers", found, "fewer layers, or experts = 0")
    # no published model has these together, so where they would act is not defined
    for field in ("mlp_bias", "sub_norms"):
        if getattr(spec, field):
            raise InputError(where, field, True, f"false with experts = {spec.experts}")


def _check_no_experts(where: str, spec: ModelSpec) -> None:
    fields = (
        "experts_per_token",
        "expert_ffn",
        "shared_ffn",
        "shared_expert_gate",
        "dense_layers",
        "normalise_topk",
    )
    for field in fields:
        value = getattr(spec, field)
        if value:
            raise InputError(where, field, value, "only with experts >= 1")


def _check_layers(where: str, field: str, value: object, layers: int) -> None:
    allowed = f"a tuple of layers from 0 to {layers - 1}, each once, ascending"
    if not isinstance(value, tuple):
        raise InputError(where, field, value, allowed)
    for layer in value:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < layers:
            raise InputError(where, field, layer, allowed)
    if list(value) != sorted(set(value)):
        raise InputError(where, field, value, allowed)


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
