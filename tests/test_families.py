"""Every architecture of a config.json: parameters by hand, windows, defaults and refusals."""

import pytest
from tiny_configs import CONFIGS, MODEL_TYPES, read

from designs.errors import InputError
from mapping.frontends.huggingface import ARCHITECTURES, spec_from_config
from mapping.graph import build_graph, linear_operators, operators
from mapping.model import FAMILIES
from mapping.models import resolve_model


def refused(family, **changes):
    with pytest.raises(InputError) as error:
        read(family, **changes)
    assert "\n" not in str(error.value)
    assert error.value.where.startswith("config.json")
    return error.value


# 4 layers, hidden 32, 4 heads of 8 (2 for keys and values), MLP 48, vocabulary 80:
# attention without biases and a gated MLP, both norms of a layer, one norm at the end
_ATTENTION = 32 * 32 + 2 * 16 * 32 + 32 * 32
_WIDE = 64 * 32 + 2 * 32 * 32 + 32 * 64  # heads of 16
_MLP = 3 * 48 * 32
_ROUTED = 6 * 32 + 6 * 3 * 20 * 32
_EMBEDDING = 80 * 32
_GATED = 4 * (_ATTENTION + _MLP + 2 * 32) + 32
_FULL = 4 * 32 * 32 + 4 * 32  # as many key heads as heads, with biases
_PLAIN = 2 * 48 * 32 + 48 + 32  # no gate, with biases
PARAMETERS = {
    "llama": 2 * _EMBEDDING + _GATED,
    "mistral": 2 * _EMBEDDING + _GATED,
    "mixtral": 2 * _EMBEDDING + 4 * (_ATTENTION + 6 * _MLP + 6 * 32 + 64) + 32,
    "qwen2": _EMBEDDING + _GATED + 4 * (32 + 2 * 16),
    "qwen2moe": 2 * _EMBEDDING
    + 4 * (_ATTENTION + 32 + 2 * 16 + _ROUTED + 3 * 40 * 32 + 32 + 64)
    + 32,
    "qwen3": 2 * _EMBEDDING + 4 * (_WIDE + _MLP + 64 + 2 * 16) + 32,
    "qwen3moe": 2 * _EMBEDDING + 4 * (_WIDE + _ROUTED + 64 + 2 * 16) + 32,
    "gemma2": _EMBEDDING + 4 * (_WIDE + _MLP + 4 * 32) + 32,
    "gemma3": _EMBEDDING + 4 * (_WIDE + _MLP + 4 * 32 + 2 * 16) + 32,
    "phi": 2 * _EMBEDDING + 80 + 4 * (_FULL + _PLAIN + 2 * 32) + 2 * 32,
    "phi3": 2 * _EMBEDDING + _GATED,
    "opt": _EMBEDDING + 130 * 32 + 4 * (_FULL + _PLAIN + 4 * 32) + 2 * 32,
    "bitnet": _EMBEDDING + _GATED + 4 * (32 + 48),
    "gpt2": _EMBEDDING
    + 128 * 32
    + 4 * (_FULL + 2 * 128 * 32 + 128 + 32 + 4 * 32)  # the inner width is 4 * 32
    + 2 * 32,
}


def test_every_family_is_here():
    assert set(CONFIGS) | {"yi"} == set(FAMILIES)  # Yi is a Llama with another vocabulary
    named = {config["architectures"][0] for config in CONFIGS.values()}
    others = {"Gemma3ForConditionalGeneration", "BitnetForCausalLM", "YiForCausalLM"}
    assert set(ARCHITECTURES) - named == others
    assert refused("llama", architectures=["FalconForCausalLM"], model_type="falcon").field == (
        "model_type"
    )


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_parameters_by_hand(family):
    spec = read(family)
    assert spec.family == family
    assert spec.parameters() == PARAMETERS[family]


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_the_model_type_stands_in_for_architectures(family):
    kind = MODEL_TYPES.get(family, family)
    assert read(family, architectures="absent", model_type=kind) == read(family)
    # the architecture wins: BitNet's first models say they are of type llama
    assert read(family, model_type="t5") == read(family)


def test_unknown_model_type_lists_the_known():
    error = refused("llama", architectures="absent", model_type="t5")
    assert (error.field, error.found) == ("model_type", "t5")
    assert "qwen3_moe" in error.allowed
    error = refused("llama", architectures=None, model_type="absent")
    assert error.field == "architectures"
    assert "Qwen3MoeForCausalLM" in error.allowed
    assert "qwen3_moe" in error.allowed


def windows(family, **changes):
    spec = read(family, **changes)
    return [spec.window(layer) for layer in range(spec.layers)]


def test_windows_of_mistral():
    assert windows("mistral") == [24] * 4
    assert windows("mistral", sliding_window=None) == [None] * 4
    assert windows("mistral", sliding_window="absent") == [4096] * 4  # MistralConfig
    assert windows("mixtral") == windows("llama") == [None] * 4
    assert windows("phi3") == [24] * 4
    assert windows("phi3", sliding_window="absent") == [None] * 4


def test_windows_of_gemma():
    assert windows("gemma2") == [24, None, 24, None]
    assert windows("gemma2", sliding_window="absent") == [4096, None, 4096, None]
    full = ["full_attention"] * 4
    assert windows("gemma2", layer_types=full) == [None] * 4
    assert windows("gemma2", layer_types=[*full[:3], "sliding_attention"]) == [None] * 3 + [24]
    assert windows("gemma3", num_hidden_layers=7) == [24] * 5 + [None, 24]
    assert windows("gemma3", sliding_window_pattern=2) == [24, None] * 2
    types = ["full_attention", "sliding_attention"] * 2
    assert windows("gemma3", layer_types=types) == [None, 24] * 2
    # layer types count, whatever period stands beside them
    assert windows("gemma3", layer_types=types, sliding_window_pattern=2) == windows(
        "gemma3", layer_types=types
    )
    nine = resolve_model("gemma2-9b").spec
    assert [nine.window(layer) for layer in (0, 1, 40, 41)] == [4096, None, 4096, None]


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_windows_of_qwen(family):
    sliding = {"sliding_window": 24, "max_window_layers": 3}
    assert windows(family, **sliding) == [None] * 4  # only with use_sliding_window
    used = {**sliding, "use_sliding_window": True}
    assert windows(family, **used) == [None, None, None, 24]
    assert windows(family, **{**used, "max_window_layers": 0}) == [24] * 4
    assert windows(family, **{**used, "max_window_layers": 9}) == [None] * 4
    assert windows(family, **used, layer_types=["sliding_attention", *["full_attention"] * 3]) == [
        24,
        None,
        None,
        None,
    ]
    types = ["sliding_attention"] * 4
    assert refused(family, layer_types=types).field == "sliding_window"
    assert refused(family, layer_types=["chunked"] * 4).field == "layer_types[0]"
    assert refused(family, layer_types=types[:2]).field == "layer_types"


def test_windows_of_the_qwen_experts():
    used = {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 3}
    assert windows("qwen2moe", **used) == [24, None, 24, None]
    assert windows("qwen3moe", **used) == [24] * 4
    assert windows("qwen2moe") == windows("qwen3moe") == [None] * 4


def test_biases():
    qwen = read("qwen2")
    biased = [shape.kind for shape in qwen.layer_linears(0) if qwen.has_bias(shape.kind)]
    assert biased == ["q", "k", "v"]
    assert not qwen.has_bias("lm_head")
    assert not read("qwen2moe", qkv_bias=False).has_bias("q")
    assert not any(read("qwen2moe").has_bias(kind) for kind in ("expert_up", "router", "o"))
    assert read("llama", attention_bias=True).has_bias("o")
    assert read("llama", mlp_bias=True).has_bias("gate")
    plain = read("opt", enable_bias=False)
    assert not any(plain.has_bias(shape.kind) for shape in plain.linear_layers())
    assert [read("phi").has_bias(kind) for kind in ("o", "up", "lm_head")] == [True] * 3
    assert [read("gpt2").has_bias(kind) for kind in ("o", "up", "lm_head")] == [True, True, False]
    operator = linear_operators(build_graph(qwen))[0]
    assert (operator.linear_kind, operator.bias) == ("q", True)


def test_tied_heads():
    tied = {family for family in CONFIGS if read(family).tied_embeddings}
    assert tied == {"qwen2", "gemma2", "gemma3", "opt", "bitnet", "gpt2"}
    for family in CONFIGS:
        both = [read(family, tie_word_embeddings=tied) for tied in (True, False)]
        assert both[1].parameters() - both[0].parameters() == 80 * 32
        assert both[1].linear_weights() == both[0].linear_weights()


def test_gemma_scales_and_caps():
    two, three = read("gemma2"), read("gemma3")
    assert (two.attention_softcap, two.logit_softcap) == (50.0, 30.0)
    assert (three.attention_softcap, three.logit_softcap) == (None, None)
    bare = read("gemma2", attn_logit_softcapping=None, final_logit_softcapping=None)
    assert (bare.attention_softcap, bare.logit_softcap) == (None, None)
    assert two.attention_scale == 1 / 4
    assert two.embedding_scale == 32**0.5
    assert (two.qk_norm, three.qk_norm) == (False, True)
    assert (two.rope_theta, three.rope_theta, three.theta(0)) == (1e4, 1e6, 1e4)
    graph = build_graph(two)
    found = {operator.name: operator for operator in operators(graph)}
    assert found["layers.0.attention"].softcap == 50.0
    assert (found["logit_softcap"].kind, found["logit_softcap"].n) == ("softcap", 80)
    assert list(graph.predecessors("logit_softcap")) == ["lm_head"]
    assert refused("gemma2", attn_logit_softcapping=-1.0).field == "attn_logit_softcapping"


def test_gemma3_inside_a_multimodal_config():
    # as google/gemma-3-4b-it publishes it: what equals the configuration class is left out
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": {"hidden_size": 1152},
    }
    spec = spec_from_config(config, "gemma3-4b", "config.json")
    assert spec.family == "gemma3"
    assert (spec.heads, spec.kv_heads, spec.head_dim, spec.vocab) == (8, 4, 256, 262208)
    assert (spec.window(4), spec.window(5), spec.rope_scale) == (1024, None, 8.0)
    # Gemma 3 report (arXiv 2503.19786), table 1: 675 M in the embedding, 3209 M elsewhere
    assert spec.parameters() == pytest.approx((675 + 3209) * 1e6, rel=0.005)
    with pytest.raises(InputError, match="text_config") as error:
        spec_from_config({**config, "text_config": {**text, "hidden_size": 0}}, "m", "config.json")
    assert error.value.field == "hidden_size"
    with pytest.raises(InputError, match="text_config: missing"):
        spec_from_config({**config, "text_config": None}, "m", "config.json")


def test_gemma3_rope_of_transformers_5():
    parameters = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }
    spec = read("gemma3", rope_parameters=parameters)
    assert (spec.rope_theta, spec.rope_local_theta, spec.rope_scale) == (2e6, 2e4, 8.0)


def test_gpt2_names_and_limits():
    usual = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4}
    own = dict.fromkeys(("n_embd", "n_head", "n_layer", "n_positions"), "absent")
    assert read("gpt2", **own, **usual, max_position_embeddings=128) == read("gpt2")
    spec = read("gpt2", n_inner=96)
    assert (spec.ffn, spec.learned_positions, spec.rope_theta) == (96, 128, None)
    for field in ("n_embd", "n_head", "n_layer", "n_positions", "vocab_size"):
        error = refused("gpt2", **{field: "absent"})
        assert (error.field, error.found) == (field, None)
    assert refused("gpt2", n_head=5).field == "n_head"
    assert refused("gpt2", scale_attn_by_inverse_layer_idx=True).found is True


def test_opt_that_is_built_differently():
    for field, value in (
        ("layer_norm_elementwise_affine", False),
        ("_remove_final_layer_norm", True),
        ("word_embed_proj_dim", 16),
        ("do_layer_norm_before", False),
    ):
        assert refused("opt", **{field: value}).field == field


def test_bitnet_norms_and_activations():
    spec = read("bitnet")
    assert (spec.activation, spec.sub_norms, spec.kv_heads) == ("relu2", True, 2)
    graph = build_graph(spec)
    found = {operator.name: operator for operator in operators(graph)}
    assert list(graph.predecessors("layers.0.o")) == ["layers.0.attention_sub_norm"]
    assert list(graph.predecessors("layers.0.down")) == ["layers.0.ffn_sub_norm"]
    assert (found["layers.0.ffn_sub_norm"].n, found["layers.0.attention_sub_norm"].n) == (48, 32)
    old = read("bitnet", architectures=["BitnetForCausalLM"], model_type="llama", hidden_act="silu")
    assert (old.family, old.activation, old.sub_norms) == ("bitnet", "silu", True)
    assert old.parameters() == spec.parameters()


def test_heads_are_on_the_operators_of_attention():
    spec = read("qwen3")
    found = {operator.name: operator for operator in operators(build_graph(spec))}
    attention = found["layers.2.attention"]
    assert (attention.heads, attention.kv_heads, attention.head_dim) == (4, 2, 16)
    assert attention.softcap is None
    norm = found["layers.2.k_norm"]
    assert (norm.n, norm.heads, norm.head_dim) == (32, 2, 16)
    assert found["layers.2.up"].heads == 0


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("mixtral", "num_local_experts", "absent"),
        ("mixtral", "num_local_experts", 0),
        ("mixtral", "num_experts_per_tok", 7),
        ("qwen2moe", "num_experts", None),
        ("qwen2moe", "shared_expert_intermediate_size", "absent"),
        ("qwen3moe", "moe_intermediate_size", 1 << 21),
        ("qwen3moe", "mlp_only_layers", [4]),
        ("qwen3moe", "mlp_only_layers", ["1"]),
        ("qwen3moe", "mlp_only_layers", [0, 1, 2, 3]),
        ("qwen3moe", "decoder_sparse_step", 5),
        ("qwen3moe", "decoder_sparse_step", 0),
        ("qwen3", "head_dim", 0),
        ("phi3", "partial_rotary_factor", 1.5),
        ("bitnet", "hidden_act", "relu3"),
        ("phi3", "rope_parameters", {"rope_theta": "big"}),
        ("gemma3", "rope_scaling", {"rope_type": "yarn", "factor": 2.0}),
    ],
)
def test_wrong_values_are_refused(family, field, value):
    renamed = {"num_experts_per_tok": "experts_per_token", "head_dim": "head_dim"}
    error = refused(family, **{field: value})
    layers = ("mlp_only_layers", "decoder_sparse_step", "dense_layers")
    allowed = {field, renamed.get(field), "rotary_fraction", "rope_theta", "rope_type"}
    assert error.field.split("[")[0] in (layers if field in layers else allowed)
