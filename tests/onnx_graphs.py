"""Compares graphs that were read from ONNX with those of a `ModelSpec`."""

from collections import Counter

from mapping.graph import build_graph, operators
from mapping.model import ModelSpec

COMPARED = ("linear", "attention", "norm", "rope", "activation", "multiply", "add", "embedding")


def llama_spec(sizes, **changes):
    fields = {
        "name": "tiny",
        "family": "llama",
        "layers": sizes.layers,
        "hidden": sizes.hidden,
        "heads": sizes.heads,
        "kv_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "ffn": sizes.ffn,
        "vocab": sizes.vocab,
        "gated_mlp": True,
        "tied_embeddings": False,
        "activation": "silu",
        "norm": "rms",
        "norm_eps": 1e-6,
        "max_context": sizes.positions,
        "rope_theta": 10000.0,
    }
    return ModelSpec(**{**fields, **changes})


def opt_spec(sizes, activation="relu"):
    biases = dict.fromkeys(("attention_bias", "mlp_bias"), True)
    return llama_spec(
        sizes,
        family="opt",
        gated_mlp=False,
        activation=activation,
        norm="layer",
        rope_theta=None,
        learned_positions=sizes.positions,
        **biases,
    )


def contents(graph):
    """Kind, sizes, layer and role of every operator, how often each."""
    return Counter(
        (
            o.kind,
            o.n,
            o.k,
            o.layer,
            o.linear_kind,
            o.bias,
            o.on_accelerator,
            *((o.heads, o.kv_heads, o.head_dim) if o.kind in ("attention", "rope", "norm") else ()),
        )
        for o in operators(graph)
        if o.kind in COMPARED
    )


def edges(graph):
    """Pairs of (kind, layer, role) that an edge joins, how often each."""
    what = {n: (o.kind, o.layer, o.linear_kind) for n, o in graph.nodes(data="operator")}
    return Counter((what[a], what[b]) for a, b in graph.edges)


def assert_equal_graphs(model, spec):
    expected = build_graph(spec)
    assert contents(model.graph) == contents(expected)
    assert edges(model.graph) == edges(expected)
    assert set(model.graph) == set(expected)
    assert (model.layers, model.hidden) == (spec.layers, spec.hidden)
    orders = [order for _, order in model.graph.nodes(data="order")]
    assert orders == list(range(len(expected)))
    assert all(
        model.graph.nodes[a]["order"] < model.graph.nodes[b]["order"] for a, b in model.graph.edges
    )
