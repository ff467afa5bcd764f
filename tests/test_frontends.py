"""Front end for config.json files, whole and broken."""

import json
import math
from importlib import resources

import pytest

from designs.errors import InputError
from mapping.frontends.huggingface import read_config, spec_from_config
from mapping.models import resolve_model


def built_in(name):
    return json.loads((resources.files("mapping.zoo") / f"{name}.json").read_text())


def refused(config):
    with pytest.raises(InputError) as error:
        spec_from_config(config, "m", "m/config.json")
    assert "\n" not in str(error.value)
    assert error.value.where.startswith("m/config.json")
    return error.value


# ---- config.json


def test_families():
    families = {
        name: resolve_model(name).spec.family
        for name in (
            "llama2-7b",
            "llama3-8b",
            "mistral-7b",
            "opt-1.3b",
            "phi-2",
            "yi-6b",
            "gemma3-270m",
        )
    }
    assert list(families.values()) == ["llama", "llama", "mistral", "opt", "phi", "yi", "gemma3"]


def test_phi2_structure():
    spec = resolve_model("phi-2").spec
    assert spec.rotary_dim == 32  # 0.4 of 80
    assert (spec.norm, spec.activation, spec.parallel_block) == ("layer", "gelu_tanh", True)
    assert all(spec.has_bias(kind) for kind in ("q", "o", "up", "down", "lm_head"))


def test_gemma3_structure():
    spec = resolve_model("gemma3-270m").spec
    assert spec.head_dim * spec.heads == 1024 != spec.hidden
    assert (spec.qk_norm, spec.post_norms, spec.tied_embeddings) == (True, True, True)
    assert spec.embedding_scale == math.sqrt(640)


def test_defaults_of_an_old_llama_config():
    config = built_in("llama2-7b")
    for field in ("num_key_value_heads", "rope_theta", "tie_word_embeddings", "hidden_act"):
        del config[field]
    spec = spec_from_config(config, "m", "m/config.json")
    assert (spec.kv_heads, spec.rope_theta, spec.activation) == (32, 10000.0, "silu")


def test_rope_parameters_of_new_configs():
    config = built_in("llama3-8b")
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), "rope_type": "default"}
    assert spec_from_config(config, "m", "m/config.json").rope_theta == 500000.0


@pytest.mark.parametrize("name", ["llama2-7b", "opt-1.3b", "phi-2", "mistral-7b", "gemma3-270m"])
@pytest.mark.parametrize(
    "field",
    [
        "architectures",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
    ],
)
def test_missing_field(name, field):
    config = built_in(name)
    del config[field]
    if field == "architectures":
        del config["model_type"]  # would stand in for it
    error = refused(config)
    assert error.field == field
    assert error.found is None


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("llama2-7b", "hidden_size", "4096"),
        ("llama2-7b", "hidden_size", 4096.5),
        ("llama2-7b", "num_hidden_layers", True),
        ("llama2-7b", "num_hidden_layers", 0),
        ("llama2-7b", "vocab_size", -5),
        ("llama2-7b", "num_attention_heads", 7),
        ("llama2-7b", "num_key_value_heads", 5),
        ("llama2-7b", "hidden_act", "tanh"),
        ("llama2-7b", "rms_norm_eps", -1e-5),
        ("llama2-7b", "rope_theta", float("inf")),
        ("llama2-7b", "tie_word_embeddings", "no"),
        ("llama2-7b", "architectures", ["MixtralForSequence"]),
        ("llama2-7b", "architectures", []),
        ("llama2-7b", "architectures", "LlamaForCausalLM"),
        ("llama2-7b", "rope_parameters", [1]),
        ("opt-1.3b", "do_layer_norm_before", False),
        ("opt-1.3b", "word_embed_proj_dim", 512),
        ("phi-2", "qk_layernorm", True),
        ("phi-2", "partial_rotary_factor", 2.0),
        ("mistral-7b", "sliding_window", 0),
        ("gemma3-270m", "layer_types", ["sliding_attention"] * 5),
    ],
)
def test_wrong_value_is_named(name, field, value):
    config = built_in(name)
    config[field] = value
    error = refused(config)
    assert error.field.startswith(field) or error.field == "rotary_fraction"


def test_unknown_architecture_lists_the_known():
    error = refused({"architectures": ["BertModel"]})
    assert error.found == "BertModel"
    assert "LlamaForCausalLM" in error.allowed


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe{}", b"[" * 100000],
    ids=["empty", "cut", "list", "null", "not-utf8", "deep"],
)
def test_files_that_are_no_config(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_config(path)
    assert error.value.where == str(path)


def test_missing_config(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "config.json")
    with pytest.raises(InputError):
        read_config(tmp_path)


def test_values_python_cannot_handle_are_one_line(tmp_path):
    path = tmp_path / "config.json"
    plain = json.dumps({**built_in("llama2-7b"), "vocab_size": "@"})
    for value in ("1" * 5000, "[" * 100_000):
        path.write_text(plain.replace('"@"', value))
        with pytest.raises(InputError, match=r"config\.json") as error:
            read_config(path)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize("names", [[{}], [["a"]], [3], [None], []])
def test_architectures_of_another_type(names):
    assert refused({**built_in("llama2-7b"), "architectures": names}).field == "architectures"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rms_norm_eps", 10**400),
        ("vocab_size", 10**8),
        ("vocab_size", 10**12),
        ("hidden_size", 10**400),
        ("intermediate_size", 1 << 21),
        ("num_hidden_layers", 10**12),
        ("num_attention_heads", 10**9),
        ("head_dim", 1 << 20),
        ("max_position_embeddings", 1 << 40),
    ],
)
@pytest.mark.parametrize("name", ["llama2-7b", "gemma3-270m"])
def test_sizes_beyond_any_model_are_refused(name, field, value):
    assert refused({**built_in(name), field: value}).field == field


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(built_in("llama2-7b")), encoding="utf-8-sig")
    assert read_config(path).hidden == 4096
