"""Front end for ONNX files: every way exporters write a whole decoder."""

import time
from collections import Counter

import pytest

pytest.importorskip("onnx")

from onnx import helper, inliner, numpy_helper, save, shape_inference
from onnx_graphs import assert_equal_graphs, contents, edges, llama_spec, opt_spec
from tiny_onnx import Decoder
from tiny_onnx_graph import Sizes

from mapping.frontends.onnx_file import read_onnx
from mapping.graph import build_graph, linear_operators, operators


@pytest.fixture
def read(tmp_path):
    return lambda graph: read_onnx(graph.write(tmp_path / "tiny.onnx"))


FORMS = {
    "arithmetic": {},
    "halves": {"rope": "halves"},
    "interleaved": {"rope": "interleaved"},
    "scaled": {"attention": "scaled"},
    "batched": {"attention": "batched"},
    "broadcast": {"attention": "grouped"},
    "opset23": {"norm": "RMSNormalization", "rope": "RotaryEmbedding", "attention": "Attention"},
    "runtime": {
        "norm": "SimplifiedLayerNormalization",
        "rope": "contrib",
        "weights": "MatMulNBits",
    },
    "skip": {"norm": "Skip"},
    "grouped": {"attention": "GroupQueryAttention", "rope": "inside", "weights": "MatMulNBits"},
    "dequantised": {"weights": "DequantizeLinear"},
    "integer": {"weights": "MatMulInteger"},
    "external": {"external": True},
}


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("form", FORMS)
def test_llama_equals_the_built_graph(read, form, cache):
    """Two layers with grouped keys: the same operators, sizes, roles and edges."""
    sizes = Sizes()
    model = read(Decoder(sizes, cache=cache, **FORMS[form]).llama())
    assert_equal_graphs(model, llama_spec(sizes))
    tables = form in ("opset23", "runtime", "grouped")
    expected = 256 if form == "batched" else sizes.positions if tables else None
    assert model.max_context == expected


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("ops", [("RMSNormalization",), ("RotaryEmbedding",), ("Attention",), ()])
def test_function_bodies_of_the_standard(tmp_path, ops, cache):
    """The standard defines its fused operators as functions of plain ones: read those too."""
    model = Decoder(Sizes(), cache=cache, **FORMS["opset23"]).llama().model()
    model = shape_inference.infer_shapes(model)
    for tensor in model.graph.initializer:  # the inliner wants a type of every value
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.value_info.append(info)
    names = [("", op) for op in ops or ("RMSNormalization", "RotaryEmbedding", "Attention")]
    plain = inliner.inline_selected_functions(model, names, inline_schema_functions=True)
    assert not {op for _, op in names} & {node.op_type for node in plain.graph.node}
    save(plain, tmp_path / "plain.onnx")
    assert_equal_graphs(read_onnx(tmp_path / "plain.onnx"), llama_spec(Sizes()))


@pytest.mark.parametrize("opset", [9, 12])
@pytest.mark.parametrize("write", ["llama", "opt"])
def test_older_opsets(tmp_path, opset, write):
    """Axes, starts and ends were attributes before they became inputs (opset 10 and 13)."""
    sizes = Sizes(kv_heads=6 if write == "opt" else 2)
    model = getattr(Decoder(sizes, cache=True), write)().model()
    model.opset_import[0].version = opset
    attributes = dict.fromkeys(("Unsqueeze", "Squeeze", "ReduceMean"), ("axes",))
    attributes["Split"] = ("split",)
    if opset < 10:
        attributes["Slice"] = ("starts", "ends", "axes")
    constants = {t.name: numpy_helper.to_array(t).tolist() for t in model.graph.initializer}
    for node in model.graph.node:
        names = attributes.get(node.op_type, ())
        for name, value in zip(names, node.input[1:], strict=False):
            node.attribute.append(helper.make_attribute(name, constants[value]))
        if names:
            del node.input[1:]
    save(model, tmp_path / "old.onnx")
    spec = opt_spec(sizes) if write == "opt" else llama_spec(sizes)
    assert_equal_graphs(read_onnx(tmp_path / "old.onnx"), spec)


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("weights", ["MatMul", "Gemm"])
@pytest.mark.parametrize("activation", ["Relu", "Gelu", "erf", "tanh"])
def test_opt_equals_the_built_graph(read, activation, weights, cache):
    """Layer norms as arithmetic, biases as sums or of Gemm, every way to write GELU."""
    sizes = Sizes(kv_heads=6)
    graph = Decoder(sizes, weights=weights, cache=cache).opt(activation)
    model, expected = read(graph), build_graph(opt_spec(sizes))
    found, wanted = contents(model.graph), contents(expected)
    if weights == "Gemm":  # Gemm of the tiny decoder has a bias in lm_head too
        head = ("linear", 112, 48, None, "lm_head")
        assert found.pop((*head, True, True)) == wanted.pop((*head, False, True)) == 1
    assert found == wanted
    assert edges(model.graph) == edges(expected)
    assert model.max_context == sizes.positions


@pytest.mark.parametrize("norm", ["arithmetic", "LayerNormalization"])
def test_layer_norm(read, norm):
    model = read(Decoder(Sizes(kv_heads=6), norm=norm).opt())
    assert sum(o.kind == "norm" and o.n == 48 for o in operators(model.graph)) == 5


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_heads(read, kv_heads, cache):
    """Multi-head, grouped and multi-query attention, with keys repeated through Expand."""
    sizes = Sizes(kv_heads=kv_heads)
    model = read(Decoder(sizes, cache=cache).llama())
    found = [o for o in operators(model.graph) if o.kind == "attention"]
    assert [(o.n, o.heads, o.kv_heads, o.head_dim) for o in found] == [(48, 6, kv_heads, 8)] * 2
    assert_equal_graphs(model, llama_spec(sizes))


@pytest.mark.parametrize(
    ("batch", "tokens", "past"),
    [(1, 8, 8), (2, 4, 12), (1, 1, 63), (3, 1, 5), ("batch", 1, "past"), (1, "tokens", "past")],
)
@pytest.mark.parametrize("kv_heads", [6, 2])
def test_static_sizes(read, batch, tokens, past, kv_heads):
    """Fixed sizes, equal to head sizes or not, give the same operators as symbols."""
    sizes = Sizes(kv_heads=kv_heads)
    graph = Decoder(sizes, cache=True, batch=batch, tokens=tokens, past=past).llama()
    assert_equal_graphs(read(graph), llama_spec(sizes))


def test_query_and_key_norms(read):
    """Norms on heads work on all heads of a token: rows of head_dim, n of all of them."""
    sizes = Sizes()
    model = read(Decoder(sizes).llama(qk_norm=True))
    assert_equal_graphs(model, llama_spec(sizes, qk_norm=True))
    on_heads = [o for o in operators(model.graph) if o.kind in ("norm", "rope") and o.head_dim]
    assert Counter((o.n, o.heads, o.head_dim) for o in on_heads) == {(48, 6, 8): 4, (16, 2, 8): 4}


def test_block_alone(read):
    """Layers without embedding and head: activations enter as a float input."""
    model = read(Decoder(Sizes(layers=1)).llama(ids=False, head=False))
    kinds = [o.linear_kind for o in linear_operators(model.graph)]
    assert kinds == ["q", "k", "v", "o", "gate", "up", "down"]
    assert (model.layers, model.hidden, model.max_context) == (1, 48, None)
    assert {o.layer for o in operators(model.graph)} == {0}


def test_softcap_belongs_to_attention(read):
    model = read(Decoder(Sizes(), attention="softcap").llama())
    assert_equal_graphs(model, llama_spec(Sizes()))
    assert [o.softcap for o in operators(model.graph) if o.kind == "attention"] == [50.0, 50.0]


def test_fused_projection(read):
    """One matrix for query, key and value stays one linear operator."""
    model = read(Decoder(Sizes(kv_heads=6)).opt("tanh", fused_qkv=True))
    kinds = [(o.linear_kind, o.n, o.k) for o in linear_operators(model.graph) if o.layer == 0]
    assert kinds == [("qkv", 144, 48), ("o", 48, 48), ("up", 80, 48), ("down", 48, 80)]
    heads = {(o.heads, o.kv_heads) for o in operators(model.graph) if o.kind == "attention"}
    assert heads == {(6, 6)}


def test_names_and_nodes(read):
    model = read(Decoder(Sizes()).llama())
    assert model.name == model.graph.graph["name"] == "tiny"
    assert model.graph.nodes["layers.1.q"]["node"] == "/layers.1/q_proj/MatMul"
    assert model.graph.nodes["lm_head"]["node"] == "/lm_head/MatMul"
    assert all(name == o.name for name, o in model.graph.nodes(data="operator"))


def test_own_name(tmp_path):
    path = Decoder(Sizes()).llama().write(tmp_path / "tiny.onnx")
    assert read_onnx(path, "other").name == "other"


def test_seven_billion_parameters_in_seconds(tmp_path):
    """32 layers of Llama 2 7B, thousands of nodes, the weights' file absent: under 5 s."""
    sizes = Sizes(4096, 32, 32, 128, 11008, 32000, 32, 4096)
    graph = Decoder(sizes, cache=True, external=True).llama()
    assert len(graph.nodes) > 2500
    path = graph.write(tmp_path / "llama.onnx")
    start = time.perf_counter()
    model = read_onnx(path)
    assert time.perf_counter() - start < 5
    assert_equal_graphs(model, llama_spec(sizes))
