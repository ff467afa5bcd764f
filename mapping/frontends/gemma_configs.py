"""Configs of Gemma 2 and Gemma 3: scaled embeddings, norms around both halves of a layer."""

from __future__ import annotations

import math
from typing import Any

from mapping.frontends.config_fields import ConfigFields, window_fields

__all__ = ["gemma2", "gemma3", "gemma3_multimodal"]

# Gemma3TextConfig of transformers; a config of the multimodal models leaves out what equals it
_GEMMA3_TEXT = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}


def _gemma(config: ConfigFields, caps: tuple[float | None, float | None]) -> dict[str, Any]:
    sizes = config.sizes(kv_heads=4, head_dim=256)
    # null: the default is not to look ahead
    both_ways = config.flag("use_bidirectional_attention", False)
    config.require("use_bidirectional_attention", both_ways, False)
    scalar = config.number("query_pre_attn_scalar", 256.0)
    of_scores, of_logits = "attn_logit_softcapping", "final_logit_softcapping"
    return {
        **sizes,
        "gated_mlp": True,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "activation": config.activation("hidden_activation", "gelu_pytorch_tanh"),
        "norm": "rms",
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        "query_scale": 1 / math.sqrt(scalar),
        "embedding_scale": math.sqrt(sizes["hidden"]),
        "attention_softcap": config.number(of_scores, config.off_by_null(of_scores, caps[0])),
        "logit_softcap": config.number(of_logits, config.off_by_null(of_logits, caps[1])),
        "post_norms": True,
        "attention_bias": config.flag("attention_bias", False),
    }


def gemma2(config: ConfigFields) -> dict[str, Any]:
    """Gemma2ForCausalLM: every second layer slides, scores and logits are capped."""
    fields = _gemma(config, (50.0, 30.0))
    window = config.integer("sliding_window", config.off_by_null("sliding_window", 4096))
    fields.update(family="gemma2", rope_theta=config.rope("rope_theta", 10000.0))
    return {**fields, **_periodic_windows(config, fields["layers"], 2, window)}


def gemma3(config: ConfigFields) -> dict[str, Any]:
    """Gemma3ForCausalLM: five sliding layers to one that sees everything, norms on heads."""
    fields = _gemma(config, (None, None))
    nested = config.inner("rope_parameters", {})
    scaling = config.inner("rope_scaling", {})
    full, local = nested, nested.inner("sliding_attention", {})
    if "full_attention" in nested.fields:  # transformers 5: one object for each type of layer
        full = scaling = nested.inner("full_attention")
    if scaling.fields:
        kind = scaling.get("rope_type", str, "linear")
        scaling.require("rope_type", kind, "linear", "default")
    theta = full.number("rope_theta", 1e6)
    local_theta = local.number("rope_theta", 10000.0)
    fields.update(
        family="gemma3",
        rope_theta=config.number("rope_theta", theta),
        rope_local_theta=config.number("rope_local_base_freq", local_theta),
        rope_scale=scaling.number("factor", 1.0),
        qk_norm=True,
    )
    window, layers = config.integer("sliding_window"), fields["layers"]
    names = ("_sliding_window_pattern", "sliding_window_pattern")
    period = next((config.integer(name) for name in names if config.fields.get(name)), None)
    # transformers 5 saves the default period beside layer types of another one; the types count
    return {**fields, **_periodic_windows(config, layers, period or 6, window)}


def gemma3_multimodal(config: ConfigFields) -> dict[str, Any]:
    """Gemma3ForConditionalGeneration: the language model inside, without the image encoder."""
    text = config.inner("text_config")
    return gemma3(ConfigFields({**_GEMMA3_TEXT, **text.fields}, text.where))


def _periodic_windows(
    config: ConfigFields, layers: int, period: int, window: int | None
) -> dict[str, Any]:
    sliding = config.layer_types(layers)
    if sliding is None or sliding == [bool((layer + 1) % period) for layer in range(layers)]:
        if window is None:
            return {}
        return {"sliding_window": window, "sliding_window_pattern": period}
    return window_fields(config, sliding, window)
