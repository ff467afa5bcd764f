"""Configs of mixtures of experts: Mixtral, Qwen2-MoE and Qwen3-MoE."""

from __future__ import annotations

from typing import Any

from designs.errors import InputError
from mapping.frontends.config_fields import ConfigFields, window_fields
from mapping.frontends.dense_configs import gated
from mapping.model import MOST

__all__ = ["mixtral", "qwen2_moe", "qwen3_moe"]


def mixtral(config: ConfigFields) -> dict[str, Any]:
    """MixtralForCausalLM: experts in every layer, weights of the chosen ones sum to one."""
    sizes = config.sizes(kv_heads=8)
    return {
        "family": "mixtral",
        **gated(config, sizes, 1e6),
        "norm_eps": config.number("rms_norm_eps", 1e-5),
        "sliding_window": config.integer("sliding_window", None),
        "experts": _count(config, "num_local_experts", "num_experts"),
        "experts_per_token": config.integer("num_experts_per_tok"),
        "expert_ffn": sizes["ffn"],
        "normalise_topk": True,
    }


def qwen2_moe(config: ConfigFields) -> dict[str, Any]:
    """Qwen2MoeForCausalLM: routed experts beside a shared one that has a gate of its own."""
    sizes = config.sizes(kv_heads=16)
    window = config.integer("sliding_window", config.off_by_null("sliding_window", 4096))
    window = window if config.flag("use_sliding_window", False) else None
    sliding = config.layer_types(sizes["layers"])
    if sliding is None:  # the configuration class: every second layer below max_window_layers
        end = config.get("max_window_layers", int, 28) if window is not None else 0
        sliding = [layer % 2 == 0 and layer < end for layer in range(sizes["layers"])]
    return {
        "family": "qwen2moe",
        **gated(config, sizes),
        **window_fields(config, sliding, window),
        **_experts(config, sizes["layers"]),
        "shared_ffn": config.integer("shared_expert_intermediate_size", most=MOST["shared_ffn"]),
        "shared_expert_gate": True,
        "qkv_bias": config.flag("qkv_bias", True),
    }


def qwen3_moe(config: ConfigFields) -> dict[str, Any]:
    """Qwen3MoeForCausalLM: many small experts, none shared; a window, if used, in all layers."""
    sizes = config.sizes(kv_heads=4)
    window = config.integer("sliding_window", config.off_by_null("sliding_window", 4096))
    return {
        "family": "qwen3moe",
        **gated(config, sizes),
        "sliding_window": window if config.flag("use_sliding_window", False) else None,
        **_experts(config, sizes["layers"]),
        "qk_norm": True,
        "attention_bias": config.flag("attention_bias", False),
    }


def _count(config: ConfigFields, name: str, other: str) -> int:
    """The number of experts, which the classes take under both names."""
    given = other if name not in config.fields and other in config.fields else name
    return int(config.integer(given))


def _experts(config: ConfigFields, layers: int) -> dict[str, Any]:
    """The fields the Qwen classes share; a layer has experts every ``decoder_sparse_step``."""
    step = config.integer("decoder_sparse_step", 1)
    only = config.get("mlp_only_layers", list, [])
    for index, layer in enumerate(only):
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < layers:
            allowed = f"a layer from 0 to {layers - 1}"
            raise InputError(config.where, f"mlp_only_layers[{index}]", layer, allowed)
    alone = frozenset(only)
    dense = tuple(layer for layer in range(layers) if layer in alone or (layer + 1) % step)
    return {
        "experts": _count(config, "num_experts", "num_local_experts"),
        "experts_per_token": config.integer("num_experts_per_tok"),
        "expert_ffn": config.integer("moe_intermediate_size", most=MOST["expert_ffn"]),
        "dense_layers": dense,
        "normalise_topk": config.flag("norm_topk_prob", False),
    }
