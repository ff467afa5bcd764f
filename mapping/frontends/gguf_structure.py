"""The structure of a model from the metadata of a GGUF file.

Keys are those of the ``gguf`` package; what a key's absence means, and what an architecture has
without a key (activation, softcaps, patterns), is that of llama.cpp's model loaders
(``src/models``).  Biases and a tied head are seen from the tensors that are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from designs.errors import InputError
from mapping.frontends.gguf_header import GgufTensor, Metadata
from mapping.model import ModelSpec

__all__ = ["ARCHITECTURES", "spec_from_gguf"]


class _Keys:
    """The keys of one architecture, and the names of the tensors in the file."""

    def __init__(self, metadata: Metadata, tensors: Mapping[str, GgufTensor], prefix: str) -> None:
        self.metadata, self.tensors, self.prefix = metadata, tensors, prefix
        self.suffixes = {name.rpartition("blk.")[2].partition(".")[2] for name in tensors}

    def has(self, key: str) -> bool:
        return f"{self.prefix}.{key}" in self.metadata.values

    def integer(self, key: str, default: int | None = None) -> int:
        name = f"{self.prefix}.{key}"
        value = self.metadata.values.get(name)
        if isinstance(value, numpy.ndarray):  # one value a layer
            alike = value.size > 0 and value.dtype.kind in "iu" and numpy.all(value == value[0])
            if not alike:
                raise self.refused(key, "an array", "one integer for all layers")
            return int(value[0])
        return int(self.metadata.get(name, int, default))

    def number(self, key: str, default: float | None = None) -> float:
        return self.metadata.single(f"{self.prefix}.{key}", default)

    def size(self, key: str) -> int:
        """A size that others are divided by: at least 1."""
        value = self.integer(key)
        if value < 1:
            raise self.refused(key, value, "an integer >= 1")
        return value

    def window(self) -> int | None:
        """The sliding window; 0 and absence mean none."""
        return self.integer("attention.sliding_window", 0) or None

    def text(self, key: str, default: str) -> str:
        return str(self.metadata.get(f"{self.prefix}.{key}", str, default))

    def biased(self, *names: str) -> bool:
        """Whether one of these has a bias in any layer; then it must in all of them."""
        return not self.suffixes.isdisjoint(f"{name}.bias" for name in names)

    def refused(self, key: str, found: object, allowed: str) -> InputError:
        return InputError(self.metadata.where, f"{self.prefix}.{key}", found, allowed)


def _vocabulary(keys: _Keys) -> int:
    if keys.has("vocab_size"):
        return keys.integer("vocab_size")
    return len(keys.metadata.get("tokenizer.ggml.tokens", tuple))


def _common(keys: _Keys, norm: str, activation: str, gated: bool) -> dict[str, Any]:
    layers, hidden = keys.integer("block_count"), keys.size("embedding_length")
    heads = keys.size("attention.head_count")
    head_dim = keys.integer("attention.key_length", hidden // heads)
    value_length = keys.integer("attention.value_length", head_dim)
    if value_length != head_dim:
        raise keys.refused("attention.value_length", value_length, f"{head_dim} (key_length)")
    rotated = keys.integer("rope.dimension_count", head_dim)
    if not 1 <= rotated <= head_dim:
        raise keys.refused("rope.dimension_count", rotated, f"1 to {head_dim} (key_length)")
    epsilon = "layer_norm_rms_epsilon" if norm == "rms" else "layer_norm_epsilon"
    query = keys.biased("attn_q", "attn_qkv")
    output = keys.biased("attn_output")
    return {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": keys.integer("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "ffn": keys.integer("feed_forward_length"),
        "vocab": _vocabulary(keys),
        "max_context": keys.integer("context_length"),
        "gated_mlp": gated,
        "tied_embeddings": "output.weight" not in keys.tensors,
        "activation": activation,
        "norm": norm,
        "norm_eps": keys.number(f"attention.{epsilon}"),
        "rope_theta": keys.number("rope.freq_base", 10000.0),
        "rotary_fraction": rotated / head_dim,
        "attention_bias": output,
        "qkv_bias": query and not output,
        "mlp_bias": keys.biased("ffn_up"),
        "head_bias": "output.bias" in keys.tensors,
    }


def _experts(keys: _Keys, default_width: Callable[[int], int], normalise: bool) -> dict[str, Any]:
    chosen = keys.size("expert_used_count")
    return {
        "experts": keys.size("expert_count"),
        "experts_per_token": chosen,
        "expert_ffn": keys.integer("expert_feed_forward_length", default_width(chosen)),
        "normalise_topk": keys.metadata.get(f"{keys.prefix}.expert_weights_norm", bool, normalise),
    }


def _llama(keys: _Keys) -> dict[str, Any]:
    """Llama, Mistral, Mixtral and Yi, which llama.cpp does not tell apart."""
    fields = _common(keys, "rms", "silu", True)
    fields.update(family="llama", sliding_window=keys.window())
    if keys.integer("expert_count", 0):
        return {**fields, "family": "mixtral", **_experts(keys, lambda _: fields["ffn"], True)}
    # Yi is published as Llama; its vocabulary is what tells it apart
    return {**fields, "family": "yi"} if fields["vocab"] == 64000 else fields


def _qwen2(keys: _Keys) -> dict[str, Any]:
    return {"family": "qwen2", **_common(keys, "rms", "silu", True), "qkv_bias": True}


def _qwen2moe(keys: _Keys) -> dict[str, Any]:
    fields = _common(keys, "rms", "silu", True)
    return {
        "family": "qwen2moe",
        **fields,
        **_experts(keys, lambda chosen: fields["ffn"] // chosen, False),
        "shared_ffn": keys.integer("expert_shared_feed_forward_length", fields["ffn"]),
        "shared_expert_gate": True,
    }


def _qwen3(keys: _Keys) -> dict[str, Any]:
    return {"family": "qwen3", **_common(keys, "rms", "silu", True), "qk_norm": True}


def _qwen3moe(keys: _Keys) -> dict[str, Any]:
    fields = _common(keys, "rms", "silu", True)
    experts = _experts(keys, lambda chosen: fields["ffn"] // chosen, True)
    return {"family": "qwen3moe", **fields, **experts, "qk_norm": True}


def _gemma(keys: _Keys, large: int) -> dict[str, Any]:
    fields = _common(keys, "rms", "gelu_tanh", True)
    # llama.cpp: the 27B model alone, by its layers, scales queries by hidden / heads
    hidden, heads = fields["hidden"], fields["heads"]
    scalar = hidden / heads if fields["layers"] == large else fields["head_dim"]
    return {
        **fields,
        "query_scale": 1 / math.sqrt(scalar),
        "embedding_scale": math.sqrt(hidden),
        "post_norms": True,
    }


def _gemma2(keys: _Keys) -> dict[str, Any]:
    return {
        "family": "gemma2",
        **_gemma(keys, large=46),
        "sliding_window": keys.integer("attention.sliding_window", 4096),
        "sliding_window_pattern": keys.integer("attention.sliding_window_pattern", 2),
        "attention_softcap": keys.number("attn_logit_softcapping", 50.0),
        "logit_softcap": keys.number("final_logit_softcapping", 30.0),
    }


def _gemma3(keys: _Keys) -> dict[str, Any]:
    keys.integer("attention.key_length")  # always written: hidden / heads would be wrong
    cap = "final_logit_softcapping"
    return {
        "family": "gemma3",
        **_gemma(keys, large=62),
        "kv_heads": keys.integer("attention.head_count_kv"),
        # the bases are not in older files: constants of llama.cpp and of the Gemma 3 report
        # (arXiv 2503.19786)
        "rope_theta": keys.number("rope.freq_base", 1e6),
        "rope_local_theta": keys.number("rope.freq_base_swa", 10000.0),
        "rope_scale": keys.number("rope.scaling.factor", 1.0),
        "sliding_window": keys.integer("attention.sliding_window"),
        "sliding_window_pattern": keys.integer("attention.sliding_window_pattern", 6),
        "logit_softcap": keys.number(cap) if keys.has(cap) else None,
        "qk_norm": True,
    }


def _phi2(keys: _Keys) -> dict[str, Any]:
    return {
        "family": "phi",
        **_common(keys, "layer", "gelu_tanh", False),
        "parallel_block": True,
        "attention_bias": True,
        "qkv_bias": False,
        "mlp_bias": True,
        "head_bias": True,
    }


def _phi3(keys: _Keys) -> dict[str, Any]:
    fields = _common(keys, "rms", "silu", True)
    return {"family": "phi3", **fields, "sliding_window": keys.window()}


def _gpt2(keys: _Keys) -> dict[str, Any]:
    fields = _common(keys, "layer", "gelu_tanh", False)
    return {
        "family": "gpt2",
        **fields,
        "rope_theta": None,
        "rotary_fraction": 1.0,
        "learned_positions": fields["max_context"],
        "attention_bias": True,
        "qkv_bias": False,
        "mlp_bias": True,
    }


def _bitnet(keys: _Keys) -> dict[str, Any]:
    activation = keys.text("hidden_activation", "silu")
    if activation not in ("silu", "relu2"):
        raise keys.refused("hidden_activation", activation, "silu or relu2")
    fields = _common(keys, "rms", activation, True)
    return {"family": "bitnet", **fields, "sub_norms": True}


def _bitnet_b158(keys: _Keys) -> dict[str, Any]:
    """The 2B4T checkpoint as Microsoft's branch of llama.cpp writes it."""
    return {"family": "bitnet", **_common(keys, "rms", "relu2", True), "sub_norms": True}


ARCHITECTURES: Mapping[str, Callable[[_Keys], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen2moe": _qwen2moe,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi2": _phi2,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "bitnet": _bitnet,
    "bitnet-b1.58": _bitnet_b158,
}
"""Readers by ``general.architecture``."""


def spec_from_gguf(metadata: Metadata, tensors: Mapping[str, GgufTensor], name: str) -> ModelSpec:
    """Read the structure of a model from the header of a GGUF file.

    Parameters
    ----------
    metadata : Metadata
        The key-value pairs.
    tensors : mapping of str to GgufTensor
        The tensor table; only names are looked at here.
    name : str
        Name the model gets.

    Returns
    -------
    ModelSpec

    Raises
    ------
    InputError
        The architecture is none of `ARCHITECTURES`, the file is one part of several, a key is
        missing, or values contradict each other.
    """
    architecture = metadata.get("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise InputError(
            metadata.where, "general.architecture", architecture, ", ".join(ARCHITECTURES)
        )
    parts = metadata.get("split.count", int, 1)
    if parts > 1:
        allowed = "1: a whole file, joined by llama.cpp's llama-gguf-split --merge"
        raise InputError(metadata.where, "split.count", parts, allowed)
    fields = ARCHITECTURES[architecture](_Keys(metadata, tensors, architecture))
    try:
        return ModelSpec(name=name, **fields)
    except InputError as error:  # a rule of ModelSpec: name the file instead of the object
        raise InputError(metadata.where, error.field, error.found, error.allowed) from None
