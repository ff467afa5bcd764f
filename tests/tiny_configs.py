"""Small Hugging Face configs, one of every architecture, as their authors publish them."""

from mapping.frontends.huggingface import spec_from_config

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 80,
    "max_position_embeddings": 128,
}
_GATED = {**_SIZES, "rms_norm_eps": 1e-5, "rope_theta": 5e5, "tie_word_embeddings": False}
_EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
_GEMMA = {**_SIZES, "head_dim": 16, "rms_norm_eps": 1e-6, "query_pre_attn_scalar": 16}

CONFIGS = {
    "llama": {"architectures": ["LlamaForCausalLM"], **_GATED},
    "mistral": {"architectures": ["MistralForCausalLM"], **_GATED, "sliding_window": 24},
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        **_GATED,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], **_GATED, "tie_word_embeddings": True},
    "qwen2moe": {
        "architectures": ["Qwen2MoeForCausalLM"],
        **_GATED,
        **_EXPERTS,
        "shared_expert_intermediate_size": 40,
    },
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], **_GATED, "head_dim": 16},
    "qwen3moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        **_GATED,
        **_EXPERTS,
        "head_dim": 16,
        "norm_topk_prob": True,
    },
    "gemma2": {"architectures": ["Gemma2ForCausalLM"], **_GEMMA, "sliding_window": 24},
    "gemma3": {"architectures": ["Gemma3ForCausalLM"], **_GEMMA, "sliding_window": 24},
    "phi": {
        "architectures": ["PhiForCausalLM"],
        **_SIZES,
        "num_key_value_heads": None,
        "partial_rotary_factor": 0.5,
    },
    "phi3": {"architectures": ["Phi3ForCausalLM"], **_GATED, "sliding_window": 24},
    "opt": {
        "architectures": ["OPTForCausalLM"],
        "hidden_size": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 80,
        "max_position_embeddings": 128,
    },
    "bitnet": {
        "architectures": ["BitNetForCausalLM"],
        **_GATED,
        "hidden_act": "relu2",
        "tie_word_embeddings": True,
    },
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": 32,
        "n_head": 4,
        "n_layer": 4,
        "n_positions": 128,
        "vocab_size": 80,
    },
}
"""By family."""

MODEL_TYPES = {
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "gemma3": "gemma3_text",
}
"""Where the model type is not the family's name."""


def read(family, **changes):
    """Structure of a config with some fields changed; "absent" leaves a field out."""
    config = {**CONFIGS[family], **changes}
    return spec_from_config({k: v for k, v in config.items() if v != "absent"}, "m", "config.json")
