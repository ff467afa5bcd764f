"""ONNX operators one by one: how each counts, and blocks that differ from Llama and OPT."""

from collections import Counter
from dataclasses import replace

import numpy
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper
from onnx_graphs import assert_equal_graphs, contents, llama_spec, opt_spec
from tiny_onnx import Decoder
from tiny_onnx_graph import Graph, Sizes, apply, mlp

from mapping.frontends.onnx_file import read_onnx
from mapping.graph import build_graph, operators


@pytest.fixture
def read(tmp_path):
    return lambda graph: read_onnx(graph.write(tmp_path / "tiny.onnx"))


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


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"])
@pytest.mark.parametrize("cast", [False, True])
def test_softcap_of_logits(read, cast, kind):
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))

    def cap(graph, x):
        x = graph.node("Cast", x, to=getattr(TensorProto, kind))
        x = graph.node("Tanh", graph.node("Div", x, graph.value(30.0, dtype)))
        x = graph.node("Cast", x, to=TensorProto.FLOAT) if cast else x
        return graph.node("Mul", x, graph.value(30.0, numpy.float32 if cast else dtype))

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
    weights = [graph.weight("w", *weight)]
    if op == "MatMulNBits":
        weights.append(graph.weight("scales", 64))
    graph.output(graph.node(op, x, *weights, **attributes))
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


def test_parallel_block_with_part_of_each_head_rotated(read):
    """Phi: attention and MLP read one norm; half of a head passes by the rotation."""
    sizes = Sizes(kv_heads=6)
    decoder = Decoder(sizes, norm="LayerNormalization")
    g, x = decoder.graph, decoder.start()
    s, decoder.sizes = sizes, Sizes(head_dim=4)  # the width that is rotated
    decoder.cosine_sine = decoder.angles()
    rotate, decoder.sizes = decoder.sizes, s
    for index in range(s.layers):
        name = f"layers.{index}"
        normed = decoder.layer_norm(f"{name}/ln", x, s.hidden)
        streams = [decoder.linear(f"{name}/{c}", normed, 48, 48, bias=True) for c in "qkv"]
        streams = [decoder.split_heads(stream, s.heads) for stream in streams]
        for place in (0, 1):
            first, rest = g.node("Split", streams[place], g.integers(4, 4), axis=-1, outputs=2)
            decoder.sizes = rotate
            first = decoder.rope(f"{name}/rope{place}", first, s.heads)
            decoder.sizes = s
            streams[place] = g.node("Concat", first, rest, axis=-1)
        context = decoder.attention(f"{name}/attn", *streams)
        out = decoder.linear(f"{name}/dense", context, 48, 48, bias=True)
        up = decoder.gelu(decoder.linear(f"{name}/a", normed, s.ffn, 48, bias=True), "tanh")
        down = decoder.linear(f"{name}/b", up, 48, s.ffn, bias=True)
        x = g.node("Add", g.node("Add", out, down), x)
    x = decoder.layer_norm("ln_f", x, 48)
    g.output(decoder.linear("head", x, s.vocab, 48, bias=True))
    model = read(g)
    spec = opt_spec(s, "gelu_tanh")
    spec = replace(
        spec,
        family="phi",
        rope_theta=1e4,
        parallel_block=True,
        learned_positions=0,
        head_bias=True,
        rotary_fraction=0.5,
    )
    expected = build_graph(spec)
    exact = ("linear", "attention", "norm", "activation")
    kept = [
        Counter({what: n for what, n in contents(graph).items() if what[0] in exact})
        for graph in (model.graph, expected)
    ]
    assert kept[0] == kept[1]
    ropes = [(o.n, o.layer) for o in operators(model.graph) if o.kind == "rope"]
    assert ropes == [(24, 0), (24, 0), (24, 1), (24, 1)]  # what is rotated: 6 heads of 4
    assert sum(o.kind == "add" for o in operators(model.graph)) == 4  # two sums of two


@pytest.mark.parametrize("last", ["Gather", "Slice"])
def test_logits_of_the_last_token(read, last):
    """Only one token of each sequence reaches the final norm; sizes stay those of a token."""
    decoder = Decoder(Sizes(), tokens=4)
    g = decoder.graph
    decoder.llama(head=False)
    x, place = g.outputs.pop().name, g.value(-1, "int64")
    if last == "Gather":
        x = g.node("Unsqueeze", g.node("Gather", x, place, axis=1), g.integers(1))
    else:
        x = g.node("Slice", x, g.integers(-1), g.integers(2**62), g.integers(1))
    x = decoder.rms_norm("norm", x, 48)
    g.output(decoder.linear("lm_head", x, 112, 48))
    assert_equal_graphs(read(g), llama_spec(Sizes()))


def test_attention_of_the_runtime(read):
    """com.microsoft Attention holds the projection, MultiHeadAttention the biases."""
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    runtime = {"domain": "com.microsoft", "num_heads": 6}
    x = g.node("Attention", x, g.weight("w", 48, 144), g.weight("b", 144), **runtime)
    q, k, v = (g.node("MatMul", x, g.weight(f"w{c}", 48, 48), name=c) for c in "qkv")
    g.output(g.node("MultiHeadAttention", q, k, v, g.weight("biases", 144), **runtime))
    found = [o for o in operators(read(g).graph) if o.kind == "linear"]
    assert [(o.linear_kind, o.n, o.bias) for o in found] == [
        ("qkv", 144, True),
        ("q", 48, True),
        ("k", 48, True),
        ("v", 48, True),
    ]
    attention = [o for o in operators(read(g).graph) if o.kind == "attention"]
    assert [(o.heads, o.kv_heads, o.head_dim, o.layer) for o in attention] == [
        (6, 6, 8, 0),
        (6, 6, 8, 1),
    ]


def test_packed_query_key_value_of_grouped_attention(read):
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    x = g.node("MatMul", x, g.weight("w", 48, 80), name="mixed")
    lengths = [g.value([1], "int32"), g.value([1], "int32")]
    x = g.node(
        "GroupQueryAttention",
        x,
        "",
        "",
        "",
        "",
        *lengths,
        name="gqa",
        outputs=3,
        domain="com.microsoft",
        num_heads=6,
        kv_num_heads=2,
        local_window_size=32,
    )[0]
    g.output(x)
    linear, attention = operators(read(g).graph)
    assert (linear.linear_kind, linear.n, linear.k) == ("qkv", 80, 48)
    assert (attention.heads, attention.kv_heads, attention.head_dim) == (6, 2, 8)
    assert (attention.n, attention.window) == (48, 32)


def test_fused_gate_and_up(read):
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    x = g.node("MatMul", x, g.weight("w", 48, 160), name="first")
    gate, up = g.node("Split", x, g.integers(80, 80), axis=-1, outputs=2)
    x = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), up)
    g.output(g.node("MatMul", x, g.weight("d", 80, 48)))
    found = [(o.kind, o.n, o.linear_kind) for o in operators(read(g).graph)]
    assert found == [
        ("linear", 160, "gate_up"),
        ("activation", 80, None),
        ("multiply", 80, None),
        ("linear", 48, "down"),
    ]


def test_names_tell_what_the_flow_does_not(read):
    g = Graph()
    x = g.input("x", ["tokens", 48])
    x = g.node("MatMul", x, g.weight("model.c_fc.weight", 48, 64), name="a")
    g.output(g.node("MatMul", x, g.weight("b", 64, 48), name="/mlp/down_proj/MatMul"))
    assert [o.linear_kind for o in operators(read(g).graph)] == ["up", "down"]


def test_blocks_of_the_runtime_generator(read):
    """A quantised embedding table and rotary embedding on rows of all heads."""
    g = Graph()
    ids = g.input("ids", ["batch", "tokens"], TensorProto.INT64)
    places = g.input("position_ids", ["batch", "tokens"], TensorProto.INT64)
    table = g.weight("table", 112, 32, kind=TensorProto.UINT8)  # 64 elements of 4 bits
    runtime = {"domain": "com.microsoft"}
    x = g.node(
        "GatherBlockQuantized",
        table,
        ids,
        g.weight("scales", 112, 2),
        bits=4,
        block_size=32,
        **runtime,
    )
    q, k, v = (
        g.node("MatMul", x, g.weight(f"w{c}", 64, n), name=c)
        for c, n in (("q", 64), ("k", 16), ("v", 16))
    )
    tables = [g.weight(name, 256, 4) for name in ("cos", "sin")]
    q, k = (
        g.node("RotaryEmbedding", y, places, *tables, num_heads=heads, **runtime)
        for y, heads in ((q, 8), (k, 2))
    )
    lengths = [g.value([1], "int32"), g.value([1], "int32")]
    x = g.node(
        "GroupQueryAttention",
        q,
        k,
        v,
        "",
        "",
        *lengths,
        outputs=3,
        num_heads=8,
        kv_num_heads=2,
        softcap=50.0,
        **runtime,
    )[0]
    g.output(x)
    model = read(g)
    found = [(o.kind, o.n, o.heads, o.kv_heads, o.head_dim) for o in operators(model.graph)]
    assert found == [
        ("embedding", 64, 0, 0, 0),
        ("linear", 64, 0, 0, 0),
        ("linear", 16, 0, 0, 0),
        ("linear", 16, 0, 0, 0),
        ("rope", 64, 8, 0, 8),
        ("rope", 16, 2, 0, 8),
        ("attention", 64, 8, 2, 8),
    ]
    assert operators(model.graph)[-1].softcap == 50
    assert (model.hidden, model.max_context) == (64, 256)


def test_tables_of_all_positions(read):
    """Sine and cosine made once for every position, and selected by the token's."""
    decoder = Decoder(Sizes())
    g = decoder.graph

    def angles():
        places = g.value(numpy.arange(64.0))
        both = g.node("Einsum", places, g.weight("f", 8), equation="i,j->ij")
        tables = [g.node(op, both) for op in ("Cos", "Sin")]
        chosen = [g.node("Gather", table, "position_ids") for table in tables]
        return [g.node("Unsqueeze", table, g.integers(1)) for table in chosen]

    decoder.angles = angles
    model = read(decoder.llama())
    assert_equal_graphs(model, llama_spec(Sizes()))
    assert model.max_context == 64
