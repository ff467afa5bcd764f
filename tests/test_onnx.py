"""Front end for ONNX files: every way exporters write a decoder, and files that are refused."""

import sys
import time
from collections import Counter

import numpy
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper, save
from tiny_onnx import Decoder, Graph, Sizes

from designs.errors import InputError
from mapping.frontends.onnx_file import read_onnx
from mapping.graph import build_graph, linear_operators, operators
from mapping.model import ModelSpec

COMPARED = ("linear", "attention", "norm", "rope", "activation", "multiply", "add", "embedding")


@pytest.fixture
def read(tmp_path):
    return lambda graph: read_onnx(graph.write(tmp_path / "tiny.onnx"))


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
            *((o.heads, o.kv_heads, o.head_dim) if o.kind == "attention" else ()),
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
    assert (model.layers, model.hidden) == (spec.layers, spec.hidden)
    orders = [order for _, order in model.graph.nodes(data="order")]
    assert orders == list(range(len(expected)))
    assert all(
        model.graph.nodes[a]["order"] < model.graph.nodes[b]["order"] for a, b in model.graph.edges
    )


FORMS = {
    "arithmetic": {},
    "halves": {"rope": "halves"},
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
    assert model.max_context == (sizes.positions if tables else None)


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


# --- single nodes between a linear operator and the output


def mlp(*steps, width=48):
    """A linear operator and then `steps`: functions of the graph and a value."""
    graph = Graph()
    x = graph.input("x", ["batch", "tokens", 48])
    x = graph.node("MatMul", x, graph.weight("w", 48, width), name="first")
    for step in steps:
        x = step(graph, x)
    graph.output(x)
    return graph


def apply(op, *more, **attributes):
    def step(graph, x):
        return graph.node(op, x, *(make(graph) for make in more), name="last", **attributes)

    return step


def scalar(value=2.0):
    return lambda graph: graph.value(value)


def vector(graph):
    return graph.weight("vector", 48)


@pytest.mark.parametrize(
    ("step", "added"),
    [
        (apply("Relu"), [("activation", 48)]),
        (apply("Sigmoid"), [("activation", 48)]),
        (apply("Softmax"), [("activation", 48)]),
        (apply("FastGelu", domain="com.microsoft"), [("activation", 48)]),
        (lambda g, x: g.node("Mul", x, x), [("multiply", 48)]),
        (lambda g, x: g.node("Add", x, "x"), [("add", 48)]),
        (lambda g, x: g.node("Sub", x, "x"), [("add", 48)]),
        (apply("Mul", vector), [("multiply", 48)]),
        (apply("Mul", scalar()), []),
        (apply("Div", scalar()), []),
        (apply("Add", vector), []),  # a bias
        (apply("Neg"), []),
        (apply("Cast", to=TensorProto.FLOAT16), []),
        (apply("Transpose", perm=[0, 2, 1]), []),
        (apply("QuantizeLinear", scalar()), []),
        (apply("Dropout"), []),
    ],
)
def test_single_operators(read, step, added):
    graph = read(mlp(step)).graph
    assert [(o.kind, o.n) for o in operators(graph)][1:] == added


def test_second_vector_is_not_a_bias(read):
    graph = read(mlp(apply("Add", vector), lambda g, x: g.node("Add", x, "vector"))).graph
    assert [(o.kind, o.bias) for o in operators(graph)] == [("linear", True), ("add", False)]


@pytest.mark.parametrize("cast", [False, True])
def test_softcap_of_logits(read, cast):
    def cap(graph, x):
        x = graph.node("Tanh", graph.node("Div", x, graph.value(30.0)))
        x = graph.node("Cast", x, to=TensorProto.FLOAT) if cast else x
        return graph.node("Mul", x, graph.value(30.0))

    found = operators(read(mlp(cap)).graph)
    assert [(o.kind, o.n, o.softcap) for o in found[1:]] == [("softcap", 48, 30.0)]


@pytest.mark.parametrize(
    ("op", "attributes", "weight", "size"),
    [
        ("MatMul", {}, (48, 32), (32, 48)),
        ("Gemm", {}, (48, 32), (32, 48)),
        ("Gemm", {"transB": 1}, (32, 48), (32, 48)),
        ("FusedMatMul", {"transB": 1, "domain": "com.microsoft"}, (32, 48), (32, 48)),
        ("MatMulNBits", {"N": 32, "K": 48, "domain": "com.microsoft"}, (32, 2, 16), (32, 48)),
        ("MatMul", {}, (1, 48, 32), (32, 48)),
    ],
)
def test_linear_forms(read, op, attributes, weight, size):
    graph = Graph()
    x = graph.input("x", ["tokens", 48])
    graph.output(graph.node(op, x, graph.weight("w", *weight), **attributes))
    (found,) = operators(read(graph).graph)
    assert (found.n, found.k, found.linear_kind) == (*size, "linear")


def test_quantised_products(read):
    graph = Graph()
    x, scale, zero = graph.input("x", ["tokens", 48]), graph.value(0.1), graph.value(0, numpy.uint8)
    codes = graph.node("QuantizeLinear", x, scale, zero)
    weight = graph.weight("w", 48, 32, kind=TensorProto.UINT8)
    graph.output(graph.node("QLinearMatMul", codes, scale, zero, weight, scale, zero, scale, zero))
    (found,) = operators(read(graph).graph)
    assert (found.kind, found.n, found.k) == ("linear", 32, 48)


# --- refused files


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (apply("Conv", vector), ["'last'", "Conv"]),
        (apply("LSTM", vector, vector), ["'last'", "LSTM"]),
        (apply("Loop"), ["'last'", "Loop"]),
        (apply("Exp"), ["'last'", "Exp"]),
        (apply("ReduceMean"), ["'last'", "ReduceMean"]),
        (apply("TopK", lambda g: g.integers(2), outputs=2), ["'last'", "TopK"]),
        (apply("Secret", domain="my.domain"), ["'last'", "my.domain.Secret"]),
        (lambda g, x: g.node("Div", "x", x, name="last"), ["'last'", "Div"]),
        (
            lambda g, x: g.node("MatMul", x, g.node("Transpose", x, perm=[0, 2, 1]), name="last"),
            ["'last'", "MatMul", "Softmax"],
        ),
        (
            lambda g, x: g.node("MatMul", x, g.weight("v", 40, 8), name="last"),
            ["'last'", "(40, 8)"],
        ),
        (
            lambda g, x: g.node("MatMul", x, g.weight("v", 4, 48, 8), name="last"),
            ["'last'", "two dimensions"],
        ),
        (
            lambda g, x: g.node("Reshape", x, g.integers(-1, 7), name="last"),
            ["'last'", "Reshape", "7"],
        ),
        (
            lambda g, x: g.node("Relu", g.node("Reshape", x, g.input("to", [3], 7)), name="last"),
            ["'last'", "shape of"],
        ),
    ],
)
def test_refused_nodes(tmp_path, step, words):
    """The message names the file, the node and the operator type."""

    def taken(graph, x):
        made = step(graph, x)
        return made[0] if isinstance(made, list) else made

    refused(mlp(taken).write(tmp_path / "bad.onnx"), *words)


def test_attention_without_softmax(tmp_path):
    graph = Decoder(Sizes()).llama()
    softmax = next(node for node in graph.nodes if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    refused(graph.write(tmp_path / "bad.onnx"), "/layers.0/self_attn/MatMul", "Softmax")


def test_truncated_everywhere(tmp_path):
    """A file that is cut anywhere is refused in one line, or still holds a whole graph."""
    whole = Decoder(Sizes(layers=1)).llama().model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for size in range(0, len(whole) - 40, len(whole) // 23):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"GGUF" * 20, bytes(range(256)), b"{}"])
def test_not_onnx(tmp_path, data):
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    refused(path)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path, "a folder")


def test_package_missing(tmp_path, monkeypatch):
    path = Decoder(Sizes()).llama().write(tmp_path / "tiny.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(path, "not installed", "silicast[onnx]")


def write_nodes(path, nodes, initializers=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [4, 8])],
        [value("y", TensorProto.FLOAT, None)],
        list(initializers),
    )
    save(helper.make_model(graph), path)
    return path


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], ["graph.node"]),
        ([("Relu", ["b"], ["a"]), ("Relu", ["a"], ["b"])], ["cycle"]),
        ([("Relu", ["z"], ["y"])], ["'z'"]),
        ([("Relu", ["x"], ["y"]), ("Tanh", ["x"], ["y"])], ["'y'"]),
        ([("Relu", ["x"], ["a"])], ["graph.output", "'y'"]),
        ([("Relu", ["x"], ["y"])], ["linear operators"]),
    ],
)
def test_refused_graphs(tmp_path, nodes, words):
    made = [helper.make_node(op, i, o, o[0]) for op, i, o in nodes]
    for node in made:
        if "cycle" in words and node.output[0] == "a":
            node.output.append("y")
    refused(write_nodes(tmp_path / "bad.onnx", made), *words)


def test_damaged_initializer(tmp_path):
    weight = numpy_helper.from_array(numpy.zeros((8, 4), numpy.float32), "w")
    weight.raw_data = weight.raw_data[:-1]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "m")]
    refused(write_nodes(tmp_path / "bad.onnx", nodes, [weight]), "initializer 'w'")


def test_nodes_out_of_order(tmp_path):
    """Some tools write nodes in another order: what counts is who reads what."""
    graph = Decoder(Sizes()).llama()
    expected = contents(read_onnx(graph.write(tmp_path / "a.onnx")).graph)
    graph.nodes.reverse()
    assert contents(read_onnx(graph.write(tmp_path / "b.onnx")).graph) == expected


def test_function_of_the_file(tmp_path):
    """A function that the file defines is read as the nodes it stands for."""
    model = mlp(lambda g, x: g.node("Act", x, domain="local")).model()
    opsets = [helper.make_opsetid("", 23)]
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("local", "Act", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    save(model, tmp_path / "f.onnx")
    kinds = [o.kind for o in operators(read_onnx(tmp_path / "f.onnx").graph)]
    assert kinds == ["linear", "activation"]
