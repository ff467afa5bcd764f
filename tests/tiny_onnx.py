"""Small ONNX decoders, with the chains of nodes that exporters write for each operator."""

import numpy
from onnx import TensorProto, helper
from tiny_onnx_graph import INF, Graph


class Decoder:
    """Writes a decoder; the switches say in which operators."""

    def __init__(
        self,
        sizes,
        norm="arithmetic",
        rope="arithmetic",
        attention="arithmetic",
        weights="MatMul",
        cache=False,
        batch="batch",
        tokens="sequence",
        past="past",
        external=False,
    ):
        self.sizes, self.graph = sizes, Graph(external)
        self.norm_form, self.rope_form, self.attention_form = norm, rope, attention
        self.weights, self.cache = weights, cache
        self.batch, self.tokens, self.past = batch, tokens, past
        self.hidden_value = None
        self.mask = None

    def linear(self, name, x, n, k, bias=False):
        g = self.graph
        if self.weights == "MatMulNBits":
            packed = g.weight(f"{name}.weight_Q4", n, -(-k // 16), 8, kind=TensorProto.UINT8)
            scales = g.weight(f"{name}.weight_scales", n * -(-k // 16))
            y = g.node(
                "MatMulNBits",
                x,
                packed,
                scales,
                name=f"/{name}/MatMulNBits",
                K=k,
                N=n,
                bits=4,
                block_size=16,
                domain="com.microsoft",
            )
        elif self.weights == "DequantizeLinear":
            codes = g.weight(f"{name}.weight", n, k, kind=TensorProto.INT8)
            wide = g.node("DequantizeLinear", codes, g.weight(f"{name}.scale", n), axis=0)
            y = g.node("MatMul", x, g.node("Transpose", wide, perm=[1, 0]), name=f"/{name}/MatMul")
        elif self.weights == "MatMulInteger":
            codes, scale, zero = g.node("DynamicQuantizeLinear", x, outputs=3)
            weight = g.weight(f"{name}.weight", k, n, kind=TensorProto.INT8)
            y = g.node("MatMulInteger", codes, weight, zero, name=f"/{name}/MatMulInteger")
            scales = g.node("Mul", scale, g.weight(f"{name}.scale", n))
            y = g.node("Mul", g.node("Cast", y, to=TensorProto.FLOAT), scales)
        elif self.weights == "Gemm":
            flat = g.node("Reshape", x, g.integers(-1, k))
            y = g.node(
                "Gemm",
                flat,
                g.weight(f"{name}.weight", n, k),
                g.weight(f"{name}.bias", n),
                name=f"/{name}/Gemm",
                transB=1,
            )
            return g.reshape(y, g.size(x, 0), g.size(x, 1), n)
        else:
            y = g.node("MatMul", x, g.weight(f"{name}.weight", k, n), name=f"/{name}/MatMul")
        return g.node("Add", g.weight(f"{name}.bias", n), y) if bias else y

    def rms_norm(self, name, x, width):
        g, weight = self.graph, self.graph.weight(f"{name}.weight", width)
        if self.norm_form == "RMSNormalization":
            return g.node("RMSNormalization", x, weight, axis=-1, name=f"/{name}")
        if self.norm_form == "SimplifiedLayerNormalization":
            return g.node("SimplifiedLayerNormalization", x, weight, axis=-1, name=f"/{name}")
        wide = g.node("Cast", x, to=TensorProto.FLOAT)
        mean = g.node("ReduceMean", g.node("Pow", wide, g.value(2.0)), g.integers(-1))
        root = g.node("Sqrt", g.node("Add", mean, g.value(1e-6)))
        scaled = g.node("Mul", wide, g.node("Div", g.value(1.0), root))
        return g.node(
            "Mul", weight, g.node("Cast", scaled, to=TensorProto.FLOAT), name=f"/{name}/Mul"
        )

    def layer_norm(self, name, x, width):
        g = self.graph
        weight, bias = g.weight(f"{name}.weight", width), g.weight(f"{name}.bias", width)
        if self.norm_form != "arithmetic":
            return g.node("LayerNormalization", x, weight, bias, axis=-1, name=f"/{name}")
        centred = g.node("Sub", x, g.node("ReduceMean", x, g.integers(-1)))
        variance = g.node("ReduceMean", g.node("Pow", centred, g.value(2.0)), g.integers(-1))
        root = g.node("Sqrt", g.node("Add", variance, g.value(1e-5)))
        scaled = g.node("Mul", g.node("Div", centred, root), weight)
        return g.node("Add", scaled, bias, name=f"/{name}/Add")

    def angles(self):
        """Sine and cosine from positions, as Llama in transformers computes them."""
        g, half = self.graph, self.sizes.head_dim // 2
        positions = g.node("Unsqueeze", "position_ids", g.integers(1))
        frequencies = g.weight("inv_freq", 1, half, 1)
        product = g.node("MatMul", frequencies, g.node("Cast", positions, to=TensorProto.FLOAT))
        product = g.node("Transpose", product, perm=[0, 2, 1])
        both = g.node("Concat", product, product, axis=-1)
        return [g.node("Unsqueeze", g.node(op, both), g.integers(1)) for op in ("Cos", "Sin")]

    def rope(self, name, x, heads):
        """`x`: (batch, heads, tokens, head_dim)."""
        g, head_dim = self.graph, self.sizes.head_dim
        half = head_dim // 2
        if self.rope_form == "RotaryEmbedding":
            tables = [g.weight(f"{name}.{t}", self.sizes.positions, half) for t in ("cos", "sin")]
            return g.node("RotaryEmbedding", x, *tables, "position_ids", name=f"/{name}")
        if self.rope_form == "contrib":
            tables = [g.weight(f"{name}.{t}", self.sizes.positions, half) for t in ("cos", "sin")]
            return g.node(
                "RotaryEmbedding",
                x,
                "position_ids",
                *tables,
                name=f"/{name}",
                domain="com.microsoft",
            )
        cosine, sine = self.cosine_sine
        axis, step = g.integers(3), g.integers(1)
        low = g.node("Slice", x, g.integers(0), g.integers(half), axis, step)
        high = g.node("Slice", x, g.integers(half), g.integers(INF), axis, step)
        if self.rope_form == "interleaved":  # GPT-J: neighbours are rotated, not halves
            even = g.node("Slice", x, g.integers(0), g.integers(INF), axis, g.integers(2))
            odd = g.node("Slice", x, g.integers(1), g.integers(INF), axis, g.integers(2))
            pairs = [g.node("Unsqueeze", p, g.integers(-1)) for p in (g.node("Neg", odd), even)]
            rotated = g.node("Reshape", g.node("Concat", *pairs, axis=-1), g.node("Shape", x))
            plain = g.node("Mul", cosine, x)
            return g.node("Add", plain, g.node("Mul", sine, rotated), name=f"/{name}/Add")
        if self.rope_form == "halves":
            cosine, sine = (
                g.node("Slice", t, g.integers(0), g.integers(half), axis, step)
                for t in (cosine, sine)
            )
            first = g.node("Sub", g.node("Mul", low, cosine), g.node("Mul", high, sine))
            second = g.node("Add", g.node("Mul", high, cosine), g.node("Mul", low, sine))
            return g.node("Concat", first, second, axis=-1, name=f"/{name}/Concat")
        rotated = g.node("Concat", g.node("Neg", high), low, axis=-1)
        plain = g.node("Mul", x, cosine)
        return g.node("Add", plain, g.node("Mul", rotated, sine), name=f"/{name}/Add")

    def split_heads(self, x, heads):
        g = self.graph
        x = g.reshape(x, g.size(x, 0), g.size(x, 1), heads, self.sizes.head_dim)
        return g.node("Transpose", x, perm=[0, 2, 1, 3])

    def repeat(self, x):
        """Keys or values once for each query head, through Expand."""
        g, s = self.graph, self.sizes
        groups = s.heads // s.kv_heads
        if groups == 1:
            return x
        length, batch = g.size(x, 2), g.size(x, 0)
        target = g.node(
            "Concat",
            batch,
            g.integers(s.kv_heads),
            g.integers(groups),
            length,
            g.integers(s.head_dim),
            axis=0,
        )
        # torch.onnx replaces sizes of -1 by 1 before every Expand
        ones = g.node(
            "ConstantOfShape",
            g.integers(5),
            value=helper.make_tensor("value", TensorProto.INT64, [1], [1]),
        )
        minus = g.node("Mul", ones, g.value(-1, numpy.int64))
        target = g.node("Where", g.node("Equal", target, minus), ones, target)
        x = g.node("Expand", g.node("Unsqueeze", x, g.integers(2)), target)
        return g.reshape(x, batch, s.heads, length, s.head_dim)

    def attention(self, name, q, k, v, past=None):
        """`q`, `k`, `v`: (batch, heads, tokens, head_dim)."""
        g, s = self.graph, self.sizes
        if past:
            k = g.node("Concat", past[0], k, axis=2)
            v = g.node("Concat", past[1], v, axis=2)
        if self.attention_form == "Attention":
            context = g.node("Attention", q, k, v, name=f"/{name}/Attention", is_causal=1)
        elif self.attention_form in ("scaled", "batched", "grouped"):
            context = getattr(self, f"{self.attention_form}_attention")(q, k, v)
        else:
            k, v = self.repeat(k), self.repeat(v)
            scores = g.node(
                "MatMul", q, g.node("Transpose", k, perm=[0, 1, 3, 2]), name=f"/{name}/MatMul"
            )
            scores = g.node("Div", scores, g.value(s.head_dim**0.5))
            if self.attention_form == "softcap":
                capped = g.node("Tanh", g.node("Div", scores, g.value(50.0)))
                scores = g.node("Mul", capped, g.value(50.0))
            scores = g.node("Add", scores, self.masked())
            context = g.node(
                "MatMul", g.node("Softmax", scores, axis=-1), v, name=f"/{name}/MatMul_1"
            )
        context = g.node("Transpose", context, perm=[0, 2, 1, 3])
        return g.reshape(context, g.size(context, 0), g.size(context, 1), s.heads * s.head_dim)

    def scaled_attention(self, q, k, v):
        """torch's scaled_dot_product_attention: both operands times the root of the scale."""
        g = self.graph
        k, v = self.repeat(k), self.repeat(v)
        size = g.node("Slice", g.node("Shape", q), g.integers(-1), g.integers(INF))
        root = g.node("Sqrt", g.node("Cast", size, to=TensorProto.FLOAT))
        scale = g.node("Sqrt", g.node("Div", g.value([1.0]), root))
        k = g.node("Mul", scale, g.node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = g.node("Add", self.masked(), g.node("MatMul", g.node("Mul", q, scale), k))
        weights = g.node("Softmax", scores, axis=-1)
        # rows that are masked altogether
        weights = g.node("Where", g.node("IsNaN", weights), g.value(0.0), weights)
        return g.node("MatMul", weights, v)

    def batched_attention(self, q, k, v):
        """Batch and heads as one dimension (OPT), and a mask through Where (GPT-2)."""
        g, s = self.graph, self.sizes
        k, v = self.repeat(k), self.repeat(v)
        batch, tokens, length = g.size(q, 0), g.size(q, 2), g.size(k, 2)
        q, k, v = (
            g.node(
                "Reshape", x, g.node("Concat", g.integers(-1), n, g.integers(s.head_dim), axis=0)
            )
            for x, n in ((q, tokens), (k, length), (v, length))
        )
        scores = g.node("MatMul", q, g.node("Transpose", k, perm=[0, 2, 1]))
        scores = g.reshape(scores, batch, s.heads, tokens, length)
        causal = g.weight("causal", 1, 1, 256, 256, kind=TensorProto.BOOL)
        causal = g.node("Slice", causal, g.integers(0), tokens, g.integers(2))
        causal = g.node("Slice", causal, g.integers(0), length, g.integers(3))
        scores = g.node("Max", g.node("Where", causal, scores, g.value(-1e9)), g.value(-3e38))
        weights = g.node("Softmax", g.reshape(scores, -1, tokens, length), axis=-1)
        context = g.node("MatMul", weights, v)
        return g.reshape(context, batch, s.heads, tokens, s.head_dim)

    def grouped_attention(self, q, k, v):
        """Keys are broadcast over the queries of a group instead of repeated."""
        g, s = self.graph, self.sizes
        batch, tokens = g.size(q, 0), g.size(q, 2)
        groups = s.heads // s.kv_heads
        q = g.reshape(q, batch, s.kv_heads, groups, tokens, s.head_dim)
        k, v = (g.node("Unsqueeze", x, g.integers(2)) for x in (k, v))
        scores = g.node("MatMul", q, g.node("Transpose", k, perm=[0, 1, 2, 4, 3]))
        context = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
        return g.reshape(context, batch, s.heads, tokens, s.head_dim)

    def masked(self):
        """A float mask from the integer one, made once."""
        g = self.graph
        if self.mask is None:
            mask = g.node("Unsqueeze", "attention_mask", g.integers(1, 2))
            mask = g.node("Sub", g.value(1.0), g.node("Cast", mask, to=TensorProto.FLOAT))
            self.mask = g.node("Mul", mask, g.value(-1e9))
        return self.mask

    def start(self, ids=True):
        g, s = self.graph, self.sizes
        total = self.tokens
        if self.cache:
            known = isinstance(self.past, int) and isinstance(self.tokens, int)
            total = self.past + self.tokens if known else f"{self.past} + {self.tokens}"
        g.input("position_ids", [self.batch, self.tokens], TensorProto.INT64)
        g.input("attention_mask", [self.batch, total], TensorProto.INT64)
        if ids:
            g.input("input_ids", [self.batch, self.tokens], TensorProto.INT64)
            return g.node(
                "Gather",
                g.weight("embed_tokens.weight", s.vocab, s.hidden),
                "input_ids",
                name="/embed_tokens/Gather",
            )
        return g.input("hidden_states", [self.batch, self.tokens, s.hidden])

    def caches(self, layer):
        if not self.cache:
            return None
        shape = [self.batch, self.sizes.kv_heads, self.past, self.sizes.head_dim]
        return [
            self.graph.input(f"past_key_values.{layer}.{kind}", shape) for kind in ("key", "value")
        ]

    def llama_layer(self, index, x, qk_norm=False):
        g, s = self.graph, self.sizes
        name = f"layers.{index}"
        normed = self.rms_norm(f"{name}/input_layernorm", x, s.hidden)
        heads = {"q": s.heads, "k": s.kv_heads, "v": s.kv_heads}
        streams = {
            kind: self.linear(f"{name}/{kind}_proj", normed, count * s.head_dim, s.hidden)
            for kind, count in heads.items()
        }
        past = self.caches(index)
        if self.attention_form == "GroupQueryAttention":
            tables = [g.weight(f"{name}.{t}", s.positions, s.head_dim // 2) for t in ("cos", "sin")]
            lengths = [g.value([1], numpy.int32), g.value([1], numpy.int32)]
            context = g.node(
                "GroupQueryAttention",
                *streams.values(),
                *(past or ["", ""]),
                *lengths,
                *tables,
                name=f"/{name}/GroupQueryAttention",
                outputs=3,
                domain="com.microsoft",
                num_heads=s.heads,
                kv_num_heads=s.kv_heads,
                do_rotary=1,
            )[0]
        else:
            streams = {kind: self.split_heads(x, heads[kind]) for kind, x in streams.items()}
            for kind in ("q", "k"):
                if qk_norm:
                    norm_name = f"{name}/{kind}_norm"
                    streams[kind] = self.rms_norm(norm_name, streams[kind], s.head_dim)
                streams[kind] = self.rope(f"{name}/{kind}_rope", streams[kind], heads[kind])
            context = self.attention(f"{name}/self_attn", *streams.values(), past=past)
        attended = self.linear(f"{name}/o_proj", context, s.hidden, s.heads * s.head_dim)
        if self.norm_form == "Skip":
            weight = g.weight(f"{name}.post.weight", s.hidden)
            normed, _, _, x = g.node(
                "SkipSimplifiedLayerNormalization",
                x,
                attended,
                weight,
                name=f"/{name}/post",
                outputs=4,
                domain="com.microsoft",
            )
        else:
            x = g.node("Add", x, attended)
            normed = self.rms_norm(f"{name}/post_attention_layernorm", x, s.hidden)
        gate = self.linear(f"{name}/gate_proj", normed, s.ffn, s.hidden)
        up = self.linear(f"{name}/up_proj", normed, s.ffn, s.hidden)
        gate = g.node("Mul", gate, g.node("Sigmoid", gate))
        down = self.linear(f"{name}/down_proj", g.node("Mul", gate, up), s.hidden, s.ffn)
        return g.node("Add", x, down)

    def llama(self, ids=True, head=True, qk_norm=False):
        """A Llama decoder; without `ids` and `head` its layers alone."""
        s = self.sizes
        x = self.start(ids)
        if self.rope_form in ("arithmetic", "halves", "interleaved"):
            self.cosine_sine = self.angles()
        for layer in range(s.layers):
            x = self.llama_layer(layer, x, qk_norm)
        if head:
            x = self.rms_norm("norm", x, s.hidden)
            x = self.linear("lm_head", x, s.vocab, s.hidden)
        self.graph.output(x)
        return self.graph

    def gelu(self, x, form):
        g = self.graph
        if form == "erf":
            inner = g.node("Erf", g.node("Div", x, g.value(2**0.5)))
            return g.node("Mul", g.node("Mul", x, g.node("Add", inner, g.value(1.0))), g.value(0.5))
        if form == "tanh":
            cube = g.node("Mul", g.node("Pow", x, g.value(3.0)), g.value(0.044715))
            inner = g.node("Tanh", g.node("Mul", g.node("Add", x, cube), g.value(0.7978845608)))
            half = g.node("Mul", x, g.value(0.5))
            return g.node("Mul", half, g.node("Add", inner, g.value(1.0)))
        return g.node(form, x)

    def opt(self, activation="Relu", fused_qkv=False):
        """An OPT decoder; with `fused_qkv` and a GELU it is GPT-2."""
        g, s = self.graph, self.sizes
        x = self.start()
        positions = g.node(
            "Gather",
            g.weight("embed_positions.weight", s.positions, s.hidden),
            "position_ids",
            name="/embed_positions/Gather",
        )
        x = g.node("Add", x, positions)
        for index in range(s.layers):
            name = f"layers.{index}"
            normed = self.layer_norm(f"{name}/ln_1", x, s.hidden)
            if fused_qkv:
                qkv = self.linear(f"{name}/c_attn", normed, 3 * s.hidden, s.hidden, bias=True)
                streams = g.node("Split", qkv, g.integers(*[s.hidden] * 3), axis=2, outputs=3)
            else:
                streams = [
                    self.linear(f"{name}/{kind}_proj", normed, s.hidden, s.hidden, bias=True)
                    for kind in "qkv"
                ]
            streams = [self.split_heads(stream, s.heads) for stream in streams]
            context = self.attention(f"{name}/attn", *streams, past=self.caches(index))
            out = self.linear(f"{name}/out_proj", context, s.hidden, s.hidden, bias=True)
            x = g.node("Add", x, out)
            normed = self.layer_norm(f"{name}/ln_2", x, s.hidden)
            inner = self.gelu(self.linear(f"{name}/fc1", normed, s.ffn, s.hidden, True), activation)
            x = g.node("Add", x, self.linear(f"{name}/fc2", inner, s.hidden, s.ffn, bias=True))
        x = self.layer_norm("ln_f", x, s.hidden)
        g.output(self.linear("lm_head", x, s.vocab, s.hidden))
        return g
