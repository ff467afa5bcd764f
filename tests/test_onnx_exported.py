"""What torch.onnx, optimum and the tools of ONNX Runtime write, rebuilt node by node."""

import numpy
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto
from onnx_graphs import assert_equal_graphs, contents, llama_spec, opt_spec
from tiny_onnx import Decoder
from tiny_onnx_graph import Graph, Sizes

from designs.errors import InputError
from mapping.frontends.onnx_file import read_onnx
from mapping.graph import build_graph, operators

RUNTIME = {"domain": "com.microsoft"}


@pytest.fixture
def read(tmp_path):
    return lambda graph: read_onnx(graph.write(tmp_path / "tiny.onnx"))


def attentions(model):
    return [o for o in operators(model.graph) if o.kind == "attention"]


class Repeated(Decoder):
    """Opset 23 as torch.onnx writes it: keys are repeated in front of the fused attention."""

    def attention(self, name, q, k, v, past=None):
        g, s = self.graph, self.sizes
        if past:
            k, v = (
                g.node("Concat", old, new, axis=2) for old, new in zip(past, (k, v), strict=True)
            )
        k, v = self.repeat(k), self.repeat(v)
        mask = self.masked()
        context = g.node("Attention", q, k, v, mask, name=f"/{name}", scale=0.35, softcap=0.0)
        context = g.node("Transpose", context, perm=[0, 2, 1, 3])
        return g.reshape(context, g.size(context, 0), g.size(context, 1), s.heads * s.head_dim)


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
@pytest.mark.parametrize("tokens", ["sequence", 5])
def test_fused_attention_of_repeated_keys(read, kv_heads, cache, tokens):
    sizes = Sizes(kv_heads=kv_heads)
    past = "past" if tokens == "sequence" else 3
    model = read(Repeated(sizes, "RMSNormalization", cache=cache, tokens=tokens, past=past).llama())
    assert_equal_graphs(model, llama_spec(sizes))


class Masked(Decoder):
    """Masks from two ranges of positions, as transformers computes them."""

    def __init__(self, *args, compare=(), window=32, **options):
        super().__init__(*args, **options)
        self.compare, self.window, self.made = compare, window, {}

    def masked(self):
        g, past = self.graph, self.cache
        layer = len(self.made) if len(self.compare) > 1 else 0
        if layer in self.made:
            return self.made[layer]
        # one dimension of the lengths, positions of the queries after those of the cache
        length = g.node("Squeeze", g.size("input_ids", 1), g.integers(0))
        before = (
            g.node("Squeeze", g.size("past_key_values.0.key", 2)) if past else g.value(0, "int64")
        )
        total = g.node("Add", before, length)
        ones = g.value(0, "int64"), g.value(1, "int64")
        rows = g.node("Range", ones[0], length, ones[1])
        rows = g.node("Add", rows, before)
        i = g.node("Unsqueeze", rows, g.integers(0, 1, 3))
        j = g.node("Unsqueeze", g.node("Range", ones[0], total, ones[1]), g.integers(0, 1, 2))
        seen = g.node("LessOrEqual", j, i)
        form, op, *_ = self.compare[layer % len(self.compare)]
        if form:
            width = g.value(self.window, "int64")
            sides = {
                "j, i - w": lambda: (j, g.node("Sub", i, width)),
                "i - w, j": lambda: (g.node("Sub", i, width), j),
                "i - j, w": lambda: (g.node("Sub", i, j), width),
                "w, i - j": lambda: (width, g.node("Sub", i, j)),
                "j, i - past": lambda: (j, g.node("Sub", i, before)),
                "j - w, i": lambda: (g.node("Sub", j, width), i),
            }[form]()
            seen = g.node("And", seen, g.node(op, *sides))
        self.made[layer] = g.node("Where", seen, g.value(0.0), g.value(-3e38))
        return self.made[layer]


NEAR, FAR = 32, 33
WINDOWS = [
    ("j, i - w", "Greater", NEAR),
    ("j, i - w", "GreaterOrEqual", FAR),
    ("j, i - w", "LessOrEqual", NEAR),  # what is masked, not what is seen
    ("j, i - w", "Less", FAR),
    ("i - w, j", "Less", NEAR),
    ("i - w, j", "LessOrEqual", FAR),
    ("i - w, j", "GreaterOrEqual", NEAR),
    ("i - j, w", "Less", NEAR),
    ("i - j, w", "LessOrEqual", FAR),
    ("i - j, w", "GreaterOrEqual", NEAR),
    ("w, i - j", "Greater", NEAR),
    ("w, i - j", "LessOrEqual", NEAR),
    ("w, i - j", "Less", FAR),
    ("", "", None),
    ("j, i - past", "Greater", None),  # no constant: a length
    ("j - w, i", "Less", None),  # bounds what lies ahead
]


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: " ".join(map(str, case)))
def test_window_of_a_computed_mask(read, case, cache):
    model = read(Masked(Sizes(), compare=[case], cache=cache).llama())
    assert [o.window for o in attentions(model)] == [case[2]] * 2
    assert contents(model.graph) == contents(build_graph(llama_spec(Sizes())))


@pytest.mark.parametrize("form", ["arithmetic", "fused"])
def test_layers_with_and_without_window(read, form):
    """Gemma: the mask of every layer is its own."""
    cases = [WINDOWS[0], ("", "", None)]
    kind = type("Both", (Repeated, Masked), {}) if form == "fused" else Masked
    model = read(kind(Sizes(layers=4), compare=cases).llama())
    assert [o.window for o in attentions(model)] == [32, None, 32, None]


def test_batches_of_different_names(read):
    """torch.export names the batch of every input apart, and reshapes one by another."""
    decoder = Decoder(Sizes(kv_heads=6), batch="s72", tokens="s70", attention="scaled")
    graph = decoder.opt("tanh", fused_qkv=True)
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    for size, name in zip(mask.type.tensor_type.shape.dim, ("s43", "s53"), strict=True):
        size.dim_param = name
    flat = graph.reshape("attention_mask", graph.size("input_ids", 0), -1)
    first = next(n for n in graph.nodes if n.op_type == "Unsqueeze" and "attention_mask" in n.input)
    first.input[0] = flat
    model = read(graph)
    found = [(o.heads, o.kv_heads, o.head_dim) for o in attentions(model)]
    assert found == [(6, 6, 8)] * 2


def test_sequence_before_batch(read):
    """A first dimension that is an inner one elsewhere is not the batch."""
    g = Graph()
    x = g.input("x", ["length", "batch", 48])
    mask = g.input("mask", ["batch", "length"])
    x = g.node("Add", x, g.node("Unsqueeze", g.node("Transpose", mask, perm=[1, 0]), g.integers(2)))
    g.output(g.node("MatMul", x, g.weight("w", 48, 32)))
    assert [(o.kind, o.n) for o in operators(read(g).graph)] == [("add", 48), ("linear", 32)]


@pytest.mark.parametrize(("tokens", "embeddings"), [(5, 2), (1, 1)])
def test_positions_looked_up_at_export(read, tokens, embeddings):
    """GPT-2 of fixed length: the position embedding is a constant row for each token."""
    sizes = Sizes(kv_heads=6)
    graph = Decoder(sizes, tokens=tokens, batch=2).opt()
    gather = next(n for n in graph.nodes if n.name == "/embed_positions/Gather")
    rows = graph.weight("rows", 1, tokens, 48)
    add = next(n for n in graph.nodes if gather.output[0] in n.input)
    add.input[list(add.input).index(gather.output[0])] = rows
    graph.nodes.remove(gather)
    model, expected = read(graph), contents(build_graph(opt_spec(sizes)))
    expected[("embedding", 48, None, None, None, False, False)] = embeddings
    assert contents(model.graph) == expected
    assert ("position_embedding" in model.graph) == (embeddings == 2)
    assert model.max_context is None


def test_rows_below_position_zero(read):
    """OPT looks position p up in row p + 2."""
    graph = Decoder(Sizes(kv_heads=6)).opt()
    gather = next(n for n in graph.nodes if n.name == "/embed_positions/Gather")
    gather.input[1] = graph.node("Add", "position_ids", graph.value(2, "int64"))
    assert read(graph).max_context == 62


@pytest.mark.parametrize("attention", ["arithmetic", "Attention"])
def test_no_context_from_a_fixed_length(read, attention):
    """Angles and masks that the exporter computed for five tokens are no tables of positions."""
    decoder = Decoder(Sizes(), tokens=5, batch=2, attention=attention)
    g = decoder.graph
    decoder.angles = lambda: [g.weight(name, 1, 1, 5, 8) for name in ("cos", "sin")]
    mask = g.weight("mask", 1, 1, 5, 5)
    decoder.masked = lambda: mask
    model = read(decoder.llama())
    assert_equal_graphs(model, llama_spec(Sizes()))
    assert model.max_context is None


@pytest.mark.parametrize("form", ["Pow", "Mul", "Cast"])
def test_squared_relu(read, form):
    """BitNet: one activation, and the norm behind the product of gate and up has its name."""
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    gate, up = (g.node("MatMul", x, g.weight(f"w{i}", 48, 80), name=f"m{i}") for i in "ab")
    gate = g.node("Relu", gate)
    if form == "Cast":
        gate = g.node("Cast", gate, to=TensorProto.FLOAT)
    square = g.node("Mul", gate, gate) if form == "Mul" else g.node("Pow", gate, g.value(2.0))
    x = g.node("Mul", square, up)
    x = g.node("SimplifiedLayerNormalization", x, g.weight("n", 80), axis=-1)
    g.output(g.node("MatMul", x, g.weight("d", 80, 48)))
    model = read(g)
    found = [(o.kind, o.n, o.linear_kind) for o in operators(model.graph)]
    assert sorted(found, key=str) == [
        ("activation", 80, None),
        ("linear", 48, "down"),
        ("linear", 80, "gate"),
        ("linear", 80, "up"),
        ("multiply", 80, None),
        ("norm", 80, None),
    ]
    assert "ffn_sub_norm" in model.graph


def test_relu_and_its_square_both_used(read):
    """A square beside the ReLU itself is a product of its own."""
    g = Graph()
    x = g.node("MatMul", g.input("x", ["tokens", 48]), g.weight("w", 48, 48))
    x = g.node("Relu", x)
    g.output(g.node("Add", g.node("Mul", x, x), x))
    assert [o.kind for o in operators(read(g).graph)][1:] == ["activation", "multiply", "add"]


@pytest.mark.parametrize("bias", [True, False])
def test_gemm_with_its_activation(read, bias):
    """ONNX Runtime joins Gemm and Relu."""
    g = Graph()
    x = g.input("x", ["tokens", 48])
    parts = [g.weight("w", 32, 48), *([g.weight("b", 32)] if bias else [])]
    x = g.node("FusedGemm", x, *parts, name="up", transB=1, activation="Relu", **RUNTIME)
    g.output(g.node("MatMul", x, g.weight("d", 32, 48)))
    found = [(o.kind, o.n, o.k, o.linear_kind, o.bias) for o in operators(read(g).graph)]
    assert found == [
        ("linear", 32, 48, "up", bias),
        ("activation", 32, None, None, False),
        ("linear", 48, 32, "down", False),
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cosines", [4, 2])
@pytest.mark.parametrize("norms", [False, True])
def test_norms_and_rotation_inside_grouped_attention(read, packed, cosines, norms):
    """Qwen3 and Phi from the model builder of ONNX Runtime GenAI."""
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    x = g.node("MatMul", x, g.weight("w", 48, 80), name="mixed")
    parts = [x, "", ""]
    if not packed:
        parts = g.node("Split", x, g.integers(48, 16, 16), axis=-1, outputs=3)
    lengths = [g.value([1], "int32"), g.value([1], "int32")]
    tables = [g.weight(name, 256, cosines) for name in ("cos", "sin")]
    weights = [g.weight(name, 8) for name in ("qn", "kn")] if norms else []
    more = [*lengths, *tables, *[""] * 5, *weights]
    heads = {"num_heads": 6, "kv_num_heads": 2, "do_rotary": 1, "local_window_size": -1}
    x = g.node("GroupQueryAttention", *parts, "", "", *more, outputs=3, **heads, **RUNTIME)[0]
    g.output(g.node("MatMul", x, g.weight("o", 48, 48)))
    model = read(g)
    found = {name.split(".")[-1]: o for name, o in model.graph.nodes(data="operator")}
    wide = 2 * cosines
    ropes = [(o.n, o.heads, o.head_dim) for o in (found["q_rope"], found["k_rope"])]
    assert ropes == [(6 * wide, 6, wide), (2 * wide, 2, wide)]
    assert ("q_norm" in found, "k_norm" in found) == (norms, norms)
    if norms:
        sizes = [(o.kind, o.n, o.heads, o.head_dim) for o in (found["q_norm"], found["k_norm"])]
        assert sizes == [("norm", 48, 6, 8), ("norm", 16, 2, 8)]
        assert list(model.graph.predecessors("layers.0.q_rope")) == ["layers.0.q_norm"]
    (attention,) = attentions(model)
    assert (attention.heads, attention.kv_heads, attention.window) == (6, 2, None)
    assert model.max_context == 256


@pytest.mark.parametrize(
    ("heads", "cosines", "expected"),
    [(6, 4, (48, 6, 8)), (0, 4, (48, 6, 8)), (6, 2, (24, 6, 4))],
)
def test_heads_of_a_fused_rotation(read, heads, cosines, expected):
    """Rows of all heads; without their number a head is as wide as the table says."""
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    places = g.input("position_ids", ["batch", "tokens"], TensorProto.INT64)
    x = g.node("MatMul", x, g.weight("w", 48, 48))
    tables = [g.weight(name, 256, cosines) for name in ("cos", "sin")]
    part = {"rotary_embedding_dim": 2 * cosines if heads and cosines < 4 else 0}
    g.output(g.node("RotaryEmbedding", x, places, *tables, num_heads=heads, **part, **RUNTIME))
    found = [o for o in operators(read(g).graph) if o.kind == "rope"]
    assert [(o.n, o.heads, o.head_dim) for o in found] == [expected]


def test_capped_logits_are_of_the_last_token(read):
    """Gemma 2: the cap behind the head has the name that gives it one row a sequence."""
    decoder = Decoder(Sizes())
    g = decoder.llama()
    logits = g.outputs.pop().name
    capped = g.node("Tanh", g.node("Div", logits, g.value(30.0)))
    g.output(g.node("Mul", capped, g.value(30.0)))
    assert_equal_graphs(read(g), llama_spec(Sizes(), logit_softcap=30.0))


def test_norms_behind_attention_and_mlp(read):
    """Gemma: a second norm before each sum."""
    decoder = Decoder(Sizes())
    x = decoder.start()
    decoder.cosine_sine = decoder.angles()
    plain, g = decoder.linear, decoder.graph

    def linear(name, x, n, k, bias=False):
        y = plain(name, x, n, k, bias)
        post = name.endswith(("o_proj", "down_proj"))
        return decoder.rms_norm(f"{name}_post", y, n) if post else y

    decoder.linear = linear
    for layer in range(2):
        x = decoder.llama_layer(layer, x, qk_norm=True)
    g.output(plain("lm_head", decoder.rms_norm("norm", x, 48), 112, 48))
    assert_equal_graphs(read(g), llama_spec(Sizes(), qk_norm=True, post_norms=True))


def test_experts_are_refused(tmp_path):
    """Mixtral: the router is read, the choice of experts is not."""
    g = Graph()
    x = g.input("x", ["batch", "tokens", 48])
    scores = g.node("Softmax", g.node("MatMul", x, g.weight("gate", 48, 4)), axis=-1)
    best = g.node("TopK", scores, g.integers(2), name="/router/TopK", axis=-1, outputs=2)
    g.output(g.node("Mul", best[0], g.value(numpy.float32(1.0))))
    with pytest.raises(InputError) as caught:
        read_onnx(g.write(tmp_path / "experts.onnx"))
    message = str(caught.value)
    assert all(word in message for word in ("'/router/TopK'", "'TopK'", "config.json"))
    assert "\n" not in message
