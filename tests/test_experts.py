"""Mixtures of experts: stored and active weights, the graph behind the router, contradictions."""

from dataclasses import replace

import pytest
from tiny_configs import read

from designs.errors import InputError
from mapping.graph import build_graph, linear_operators, operators, rows, shared_shapes
from mapping.models import resolve_model

# active parameters a token: the publishers' figures (Mixtral: arXiv 2401.04088 says 13B, its blog
# 12.9B; Qwen3, Qwen1.5-MoE and Qwen2: model cards, rounded there), embedding included
ACTIVE = {
    "mixtral-8x7b": (12.9e9, 0.005),
    "qwen3-30b-a3b": (3.3e9, 0.02),
    "qwen1.5-moe-a2.7b": (2.7e9, 0.02),
    "qwen2-57b-a14b": (14e9, 0.02),
}


def found(spec):
    return {operator.name: operator for operator in operators(build_graph(spec))}


@pytest.mark.parametrize("name", sorted(ACTIVE))
def test_active_weights(name):
    spec = resolve_model(name).spec
    published, tolerance = ACTIVE[name]
    active = spec.active_linear_weights() + spec.vocab * spec.hidden
    assert active == pytest.approx(published, rel=tolerance)
    idle = (spec.experts - spec.experts_per_token) * 3 * spec.hidden * spec.expert_ffn
    assert spec.linear_weights() - spec.active_linear_weights() == spec.layers * idle


def test_a_dense_model_uses_all_its_weights():
    spec = resolve_model("llama2-7b").spec
    assert spec.active_linear_weights() == spec.linear_weights()
    assert {shape.copies for shape in spec.linear_layers()} == {1}
    assert not spec.routed(0)


def test_linear_layers_of_mixtral():
    spec = resolve_model("mixtral-8x7b").spec
    shapes = spec.layer_linears(3)
    assert [shape.kind for shape in shapes] == [
        "q",
        "k",
        "v",
        "o",
        "router",
        "expert_gate",
        "expert_up",
        "expert_down",
    ]
    down = shapes[-1]
    assert (down.name, down.n, down.k, down.copies) == ("layers.3.expert_down", 4096, 14336, 8)
    assert down.weights == 8 * 4096 * 14336
    assert (shapes[4].n, shapes[4].k, shapes[4].copies) == (8, 4096, 1)


def test_dense_layers_of_qwen():
    spec = read("qwen3moe", decoder_sparse_step=2, mlp_only_layers=[3])
    assert spec.dense_layers == (0, 2, 3)
    assert [spec.routed(layer) for layer in range(4)] == [False, True, False, False]
    dense, routed = spec.layer_linears(0), spec.layer_linears(1)
    assert [shape.kind for shape in dense[4:]] == ["gate", "up", "down"]
    assert [shape.kind for shape in routed[4:]] == [
        "router",
        "expert_gate",
        "expert_up",
        "expert_down",
    ]
    assert (dense[4].n, routed[5].n) == (48, 20)
    # a layer with one MLP has 3 * 48 * 32 weights, one with experts 6 * (32 + 3 * 20 * 32)
    gained = read("qwen3moe").parameters() - spec.parameters()
    assert gained == 3 * (6 * (32 + 3 * 20 * 32) - 3 * 48 * 32)


def test_graph_behind_the_router():
    spec = resolve_model("qwen3-30b-a3b").spec
    graph = build_graph(spec)
    all_operators = {operator.name: operator for operator in operators(graph)}

    def inputs(name):
        return sorted(node.removeprefix("layers.1.") for node in graph.predecessors(name))

    assert inputs("layers.1.topk") == ["router"]
    assert inputs("layers.1.expert_gate") == ["ffn_norm", "topk"]
    assert inputs("layers.1.expert_up") == ["ffn_norm", "topk"]
    assert inputs("layers.1.expert_multiply") == ["expert_activation", "expert_up"]
    assert inputs("layers.1.combine") == ["expert_down", "topk"]
    assert inputs("layers.1.ffn_add") == ["attention_add", "combine"]
    topk = all_operators["layers.1.topk"]
    assert (topk.kind, topk.n, topk.k, topk.experts_per_token) == ("topk", 128, 8, 0)
    routed = {name for name, operator in all_operators.items() if operator.experts_per_token}
    assert {name.removeprefix("layers.1.") for name in routed if ".1." in name} == {
        "expert_gate",
        "expert_up",
        "expert_activation",
        "expert_multiply",
        "expert_down",
        "combine",
    }
    assert {all_operators[name].experts_per_token for name in routed} == {8}
    many = {operator.name for operator in all_operators.values() if operator.copies > 1}
    assert many == {name for name in routed if all_operators[name].kind == "linear"}
    up = all_operators["layers.1.expert_up"]
    assert (up.copies, up.n, up.k) == (128, 768, 2048)
    assert all_operators["layers.1.expert_multiply"].n == 768


def test_graph_of_a_shared_expert():
    spec = resolve_model("qwen1.5-moe-a2.7b").spec
    graph = build_graph(spec)
    all_operators = {operator.name: operator for operator in operators(graph)}

    def inputs(name):
        return sorted(node.removeprefix("layers.0.") for node in graph.predecessors(name))

    assert inputs("layers.0.shared_gate") == ["ffn_norm"]
    assert inputs("layers.0.shared_router") == ["ffn_norm"]
    assert inputs("layers.0.shared_sigmoid") == ["shared_router"]
    assert inputs("layers.0.shared_scale") == ["shared_down", "shared_sigmoid"]
    assert inputs("layers.0.shared_add") == ["combine", "shared_scale"]
    shared = [operator for name, operator in all_operators.items() if "shared" in name]
    assert {operator.experts_per_token for operator in shared} == {0}
    assert {operator.copies for operator in shared} == {1}
    assert all_operators["layers.0.shared_up"].n == 5632
    assert all_operators["layers.0.shared_router"].n == 1
    bare = replace(spec, shared_ffn=0, shared_expert_gate=False)
    assert not any("shared" in name for name in found(bare))
    ungated = found(replace(spec, shared_expert_gate=False))
    assert "layers.0.shared_add" in ungated
    assert "layers.0.shared_scale" not in ungated


def test_shared_shapes_keep_experts_apart():
    spec = read("qwen2moe", mlp_only_layers=[0])
    shapes = shared_shapes(build_graph(spec))
    by_kind = {shape.kind: shape for shape in shapes}
    expert = by_kind["expert_up"]
    assert (expert.n, expert.k, expert.copies, expert.experts_per_token) == (20, 32, 6, 2)
    assert (expert.count, by_kind["up"].count, by_kind["q"].count) == (3, 1, 4)
    assert (by_kind["shared_up"].copies, by_kind["shared_up"].experts_per_token) == (1, 0)
    stored = sum(shape.n * shape.k * shape.copies * shape.count for shape in shapes)
    assert stored == spec.linear_weights()
    assert len(shapes) == len(by_kind)


def test_rows_of_routed_operators():
    spec = resolve_model("mixtral-8x7b").spec
    by_name = found(spec)
    for name, expected in (
        ("q", 10),
        ("router", 10),
        ("topk", 10),
        ("expert_up", 20),
        ("expert_multiply", 20),
        ("ffn_add", 10),
    ):
        assert rows(by_name[f"layers.0.{name}"], 10) == expected
    capped = found(read("gemma2"))
    assert (rows(capped["lm_head"], 10), rows(capped["logit_softcap"], 10)) == (1, 1)


def test_every_linear_layer_is_in_the_graph():
    for name in ACTIVE:
        spec = resolve_model(name).spec
        operators_found = linear_operators(build_graph(spec))
        assert [o.name for o in operators_found] == [s.name for s in spec.linear_layers()]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experts", -1),
        ("experts", 1 << 17),
        ("experts", 1),  # fewer than a token uses
        ("experts_per_token", 0),
        ("experts_per_token", 9),
        ("expert_ffn", 0),
        ("dense_layers", [1]),
        ("dense_layers", (32,)),
        ("dense_layers", (2, 1)),
        ("dense_layers", (1, 1)),
        ("dense_layers", (True,)),
        ("dense_layers", tuple(range(32))),
        ("shared_expert_gate", True),  # without a shared expert
        ("shared_ffn", -1),
        ("mlp_bias", True),
        ("sub_norms", True),
        ("normalise_topk", 1),
        ("window_layers", (1,)),  # without a sliding window
    ],
)
def test_contradictions_are_refused(field, value):
    spec = resolve_model("mixtral-8x7b").spec
    with pytest.raises(InputError) as error:
        replace(spec, **{field: value})
    related = {"shared_expert_gate": "shared_ffn", "experts": "experts_per_token"}
    assert error.value.field in (field, related.get(field))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experts_per_token", 2),
        ("expert_ffn", 64),
        ("shared_ffn", 64),
        ("shared_expert_gate", True),
        ("dense_layers", (0,)),
        ("normalise_topk", True),
    ],
)
def test_fields_of_experts_need_experts(field, value):
    with pytest.raises(InputError, match="experts >= 1") as error:
        replace(resolve_model("llama2-7b").spec, **{field: value})
    assert error.value.field == field


def test_windows_by_layer():
    spec = resolve_model("mistral-7b").spec
    some = replace(spec, window_layers=(1, 4))
    assert [some.window(layer) for layer in range(5)] == [None, 4096, None, None, 4096]
    for value in ((), (4, 1), (32,), [1]):
        with pytest.raises(InputError) as error:
            replace(spec, window_layers=value)
        assert error.value.field == "window_layers"
    with pytest.raises(InputError, match="window_layers"):
        replace(spec, window_layers=(1,), sliding_window_pattern=2)


def test_biases_are_told_once():
    spec = resolve_model("llama2-7b").spec
    with pytest.raises(InputError, match="qkv_bias"):
        replace(spec, attention_bias=True, qkv_bias=True)
