"""Configs of models whose layers have one MLP: Llama and its relatives, OPT, GPT-2, Phi, BitNet.

Each function returns the fields of a `ModelSpec`.  Names and defaults are those of the
``transformers`` configuration classes; what a class does not say (which layers have biases)
is that of its modelling file.
"""

from __future__ import annotations

from typing import Any

from designs.errors import InputError
from mapping.frontends.config_fields import ConfigFields, window_fields
from mapping.model import MOST

__all__ = [
    "bitnet",
    "gated",
    "gpt2",
    "late_windows",
    "llama",
    "mistral",
    "old_bitnet",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
]


def gated(config: ConfigFields, sizes: dict[str, int], theta: float = 10000.0) -> dict[str, Any]:
    """What Llama and its relatives share: gated MLP, RMS norm, rotary embedding.

    ``rope_scaling`` (Llama 3.1, Phi-3) changes angles, not shapes: it is not part of the
    structure.
    """
    return {
        **sizes,
        "gated_mlp": True,
        "tied_embeddings": config.flag("tie_word_embeddings", False),
        "activation": config.activation("hidden_act", "silu"),
        "norm": "rms",
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        "rope_theta": config.rope("rope_theta", theta),
    }


def llama(config: ConfigFields) -> dict[str, Any]:
    """LlamaForCausalLM: Llama 1 to 3, and Yi."""
    # Yi publishes its models as LlamaForCausalLM; its vocabulary is what tells it apart
    yi = config.integer("vocab_size", most=MOST["vocab"]) == 64000
    return {
        "family": "yi" if yi else "llama",
        **gated(config, config.sizes()),
        "attention_bias": config.flag("attention_bias", False),
        "mlp_bias": config.flag("mlp_bias", False),
    }


def mistral(config: ConfigFields) -> dict[str, Any]:
    """MistralForCausalLM: every layer slides, unless ``sliding_window`` is null."""
    window = config.off_by_null("sliding_window", 4096)
    return {
        "family": "mistral",
        **gated(config, config.sizes(kv_heads=8)),
        "sliding_window": config.integer("sliding_window", window),
    }


def late_windows(config: ConfigFields, layers: int) -> dict[str, Any]:
    """Windows of Qwen2 and Qwen3: layers from ``max_window_layers`` on, if they are in use."""
    window = config.integer("sliding_window", config.off_by_null("sliding_window", 4096))
    if not config.flag("use_sliding_window", False):
        window = None
    sliding = config.layer_types(layers)
    if sliding is None:
        first = config.get("max_window_layers", int, 28)
        sliding = [window is not None and layer >= first for layer in range(layers)]
    return window_fields(config, sliding, window)


def qwen2(config: ConfigFields) -> dict[str, Any]:
    """Qwen2ForCausalLM: Qwen1.5, Qwen2 and Qwen2.5, with biases of q, k and v."""
    sizes = config.sizes(kv_heads=32)
    return {
        "family": "qwen2",
        **gated(config, sizes),
        **late_windows(config, sizes["layers"]),
        "qkv_bias": True,
    }


def qwen3(config: ConfigFields) -> dict[str, Any]:
    """Qwen3ForCausalLM: norms on the heads of q and k."""
    sizes = config.sizes(kv_heads=32, head_dim=128)
    return {
        "family": "qwen3",
        **gated(config, sizes),
        **late_windows(config, sizes["layers"]),
        "qk_norm": True,
        "attention_bias": config.flag("attention_bias", False),
    }


def bitnet(config: ConfigFields) -> dict[str, Any]:
    """BitNetForCausalLM: BitNet b1.58 2B4T, squared ReLU and norms before o and down."""
    fields = gated(config, config.sizes(kv_heads=5), 500000.0)
    return {
        "family": "bitnet",
        **fields,
        "norm_eps": config.number("rms_norm_eps", 1e-5),
        "activation": config.activation("hidden_act", "relu2"),
        "sub_norms": True,
        "attention_bias": config.flag("attention_bias", False),
    }


def old_bitnet(config: ConfigFields) -> dict[str, Any]:
    """BitnetForCausalLM: the 1bitLLM reproductions, a Llama with norms before o and down."""
    return {**llama(config), "family": "bitnet", "sub_norms": True}


def phi(config: ConfigFields) -> dict[str, Any]:
    """PhiForCausalLM: Phi-1, Phi-1.5 and Phi-2, attention and MLP side by side."""
    config.require("qk_layernorm", config.flag("qk_layernorm", False), False)
    return {
        "family": "phi",
        **config.sizes(),
        "gated_mlp": False,
        "tied_embeddings": config.flag("tie_word_embeddings", False),
        "activation": config.activation("hidden_act", "gelu_new"),
        "norm": "layer",
        "norm_eps": config.number("layer_norm_eps", 1e-5),
        "rope_theta": config.rope("rope_theta", 10000.0),
        "rotary_fraction": config.rope("partial_rotary_factor", 0.5),
        "parallel_block": True,
        "attention_bias": True,
        "mlp_bias": True,
        "head_bias": True,
    }


def phi3(config: ConfigFields) -> dict[str, Any]:
    """Phi3ForCausalLM: Phi-3 mini and medium, Phi-4; fused q, k, v and gate, up taken apart."""
    return {
        "family": "phi3",
        **gated(config, config.sizes()),
        "norm_eps": config.number("rms_norm_eps", 1e-5),
        "rotary_fraction": config.rope("partial_rotary_factor", 1.0),
        "sliding_window": config.integer("sliding_window", None),
    }


def opt(config: ConfigFields) -> dict[str, Any]:
    """OPTForCausalLM, but for the 350M model, which is built differently."""
    sizes = config.sizes("ffn_dim")
    # OPT-350m alone projects its embeddings and norms after the block
    config.require(
        "word_embed_proj_dim",
        config.integer("word_embed_proj_dim", sizes["hidden"]),
        sizes["hidden"],
    )
    for field, needed in (
        ("do_layer_norm_before", True),
        ("layer_norm_elementwise_affine", True),
        ("_remove_final_layer_norm", False),
    ):
        config.require(field, config.flag(field, needed), needed)
    bias = config.flag("enable_bias", True)
    return {
        "family": "opt",
        **sizes,
        "gated_mlp": False,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "activation": config.activation("activation_function", "relu"),
        "norm": "layer",
        "norm_eps": 1e-5,  # the default of torch.nn.LayerNorm, which OPT uses
        # OPTLearnedPositionalEmbedding keeps two rows below position 0
        "learned_positions": sizes["max_context"] + 2,
        "attention_bias": bias,
        "mlp_bias": bias,
    }


def gpt2(config: ConfigFields) -> dict[str, Any]:
    """GPT2LMHeadModel: learned positions, layer norm, biases everywhere but in the head.

    The fused ``c_attn`` is taken apart into q, k and v.  Field names are GPT-2's own; the
    class takes the usual ones too.
    """

    def size(own: str, usual: str, most: str) -> int:
        given = config.integer(usual, None, MOST[most])
        if given is None:
            return int(config.integer(own, most=MOST[most]))
        return int(config.integer(own, given, MOST[most]))

    hidden, heads = (
        size("n_embd", "hidden_size", "hidden"),
        size("n_head", "num_attention_heads", "heads"),
    )
    if hidden % heads:
        raise InputError(config.where, "n_head", heads, f"a divisor of n_embd = {hidden}")
    for field, needed in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        config.require(field, config.flag(field, needed), needed)
    context = size("n_positions", "max_position_embeddings", "max_context")
    return {
        "family": "gpt2",
        "layers": size("n_layer", "num_hidden_layers", "layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // heads,
        "ffn": config.integer("n_inner", 4 * hidden, MOST["ffn"]),
        "vocab": config.integer("vocab_size", most=MOST["vocab"]),
        "max_context": context,
        "gated_mlp": False,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "activation": config.activation("activation_function", "gelu_new"),
        "norm": "layer",
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "learned_positions": context,
        "attention_bias": True,
        "mlp_bias": True,
    }
