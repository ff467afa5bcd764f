"""Operators of a phase: sizes, causal and windowed context, experts, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.graph import build_graph
from mapping.models import list_models, resolve_model
from mapping.workload import Context, decode_phase, phase_work, prefill_phase


def works(model, phase, **options):
    spec = resolve_model(model).spec
    return {w.name: w for w in phase_work(build_graph(spec), phase, **options)}


def sees(token, past, tokens, window, causal, itself):
    """Positions of one token, one by one."""
    last = past + (token if causal else tokens - 1)
    positions = range(past + tokens) if itself else range(past)
    seen = [p for p in positions if (p <= last or not itself)]
    if window is not None:
        own = last if itself else past - 1
        seen = [p for p in seen if p > own - window]
    return set(seen)


@settings(deadline=None, max_examples=200)
@given(
    past=st.integers(0, 40),
    tokens=st.integers(1, 24),
    window=st.one_of(st.none(), st.integers(1, 50)),
    causal=st.booleans(),
)
def test_context_counts_what_each_token_sees(past, tokens, window, causal):
    context = Context(np.array([past]), tokens, window, causal)
    seen = [sees(t, past, tokens, window, causal, True) for t in range(tokens)]
    assert context.pairs()[0] == sum(len(s) for s in seen)
    assert context.widest()[0] == len(seen[-1])
    for first in range(0, tokens, 5):
        last = min(first + 5, tokens)
        assert context.seen(first, last)[0] == len(set.union(*seen[first:last]))


def test_a_growing_context_and_a_fixed_one():
    growing = decode_phase(4, 1, 10).context(None)
    assert growing.widest().tolist() == [11, 12, 13, 14]  # the new token sees itself
    fixed = decode_phase(4, 1, 10, growing=False, counts_itself=False).context(None)
    assert fixed.widest().tolist() == [10, 10, 10, 10]
    assert decode_phase(4, 1, 10).context(12).widest().tolist() == [11, 12, 12, 12]


def test_attention_of_grouped_queries():
    found = works("llama3-8b", decode_phase(1, 3, 99))
    scores, values = found["layers.*.attention_scores"], found["layers.*.attention_values"]
    # 32 heads share 8 key-value heads; 3 sequences
    assert (scores.m, scores.n, scores.k, scores.products) == (4, 100, 128, 24)
    assert (values.m, values.n, values.k, values.products) == (4, 128, 100, 24)
    assert scores.macs.tolist() == values.macs.tolist() == [3 * 32 * 100 * 128]
    append = found["layers.*.kv_append"]
    assert append.m * append.n * append.products == 3 * 2 * 8 * 128


def test_a_causal_prefill_computes_half_of_the_pairs():
    found = works("llama2-7b", prefill_phase(256, 2))
    assert found["layers.*.attention_scores"].macs[0] == 2 * 32 * 128 * 256 * 257 // 2
    whole = works("llama2-7b", prefill_phase(256, 2, causal=False))
    assert whole["layers.*.attention_scores"].macs[0] == 2 * 32 * 128 * 256 * 256


def test_logits_of_the_last_position_only_unless_asked():
    assert works("llama2-7b", prefill_phase(256, 2))["lm_head"].m == 2
    assert works("llama2-7b", prefill_phase(256, 2), all_logits=True)["lm_head"].m == 512
    capped = works("gemma2-2b", prefill_phase(8, 1))
    assert capped["logit_softcap"].m == 1
    assert capped["layers.*.attention_softcap"].context is not None


def test_sliding_windows_are_operators_of_their_own():
    spec = resolve_model("gemma3-270m").spec
    found = phase_work(build_graph(spec), decode_phase(1, 1, 5000))
    scores = [w for w in found if w.kind == "attention_scores"]
    assert sorted((w.layers, w.n) for w in scores) == [(3, 5001), (15, 512)]


@pytest.mark.parametrize(
    ("tokens", "active", "share"), [(1, 2, 1), (3, 6, 1), (4, 8, 1), (64, 8, 16)]
)
def test_experts_are_balanced_and_read_once(tokens, active, share):
    found = works("mixtral-8x7b", prefill_phase(tokens, 1))
    up = found["layers.*.expert_up"]
    assert (up.products, up.m, up.stored) == (active, share, 8)
    assert up.macs[0] == 2 * tokens * up.n * up.k
    assert found["layers.*.router"].n == 8
    combine = found["layers.*.combine"]
    assert (combine.m, combine.operands) == (tokens, 2)


def test_parallel_blocks_add_three_operands():
    assert works("phi-2", prefill_phase(8, 1))["layers.*.add"].operands == 3
    assert works("llama2-7b", prefill_phase(8, 1))["layers.*.ffn_add"].operands == 2


# Rows and row widths of every vector operator of one layer of T tokens, as the modelling files of
# transformers execute them: width, operands, rows a token.
GEMMA2_2B = {
    "attention_norm": (2304, 1, 1),
    "q_rope": (8 * 256, 1, 1),
    "k_rope": (4 * 256, 1, 1),
    "post_attention_norm": (2304, 1, 1),
    "attention_add": (2304, 2, 1),
    "ffn_norm": (2304, 1, 1),
    "activation": (9216, 1, 1),
    "multiply": (9216, 2, 1),
    "post_ffn_norm": (2304, 1, 1),
    "ffn_add": (2304, 2, 1),
}
QWEN15_MOE = {
    "attention_norm": (2048, 1, 1),
    "q_rope": (16 * 128, 1, 1),
    "k_rope": (16 * 128, 1, 1),
    "attention_add": (2048, 2, 1),
    "ffn_norm": (2048, 1, 1),
    "topk": (60, 1, 1),
    "expert_activation": (1408, 1, 4),
    "expert_multiply": (1408, 2, 4),
    "combine": (2048, 4, 1),
    "shared_activation": (5632, 1, 1),
    "shared_multiply": (5632, 2, 1),
    "shared_sigmoid": (1, 1, 1),
    "shared_scale": (2048, 2, 1),
    "shared_add": (2048, 2, 1),
    "ffn_add": (2048, 2, 1),
}
PHI_2 = {
    "attention_norm": (2560, 1, 1),
    "q_rope": (32 * 32, 1, 1),  # 0.4 of the 80 elements of a head
    "k_rope": (32 * 32, 1, 1),
    "activation": (10240, 1, 1),
    "add": (2560, 3, 1),
}
BITNET = {
    "attention_norm": (2560, 1, 1),
    "q_rope": (20 * 128, 1, 1),
    "k_rope": (5 * 128, 1, 1),
    "attention_sub_norm": (2560, 1, 1),
    "attention_add": (2560, 2, 1),
    "ffn_norm": (2560, 1, 1),
    "activation": (6912, 1, 1),
    "multiply": (6912, 2, 1),
    "ffn_sub_norm": (6912, 1, 1),
    "ffn_add": (2560, 2, 1),
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemma2-2b", GEMMA2_2B),
        ("qwen1.5-moe-a2.7b", QWEN15_MOE),
        ("phi-2", PHI_2),
        ("bitnet-2b-4t", BITNET),
    ],
)
def test_vector_operators_are_those_of_the_model(model, expected):
    layers = resolve_model(model).spec.layers
    found = {
        w.name.removeprefix("layers.*."): (w.n, w.operands, w.m / (3 * 8))
        for w in works(model, prefill_phase(8, 3)).values()
        if w.engine == "vector" and w.name.startswith("layers.") and w.products == 1
    }
    assert found == expected
    assert all(
        w.layers in (layers, layers // 2)  # Gemma 2 slides in every second layer
        for w in works(model, prefill_phase(8, 3)).values()
        if w.name.startswith("layers.")
    )


@pytest.mark.parametrize("model", list_models())
def test_every_active_weight_is_multiplied_once_a_token(model):
    spec = resolve_model(model).spec
    found = phase_work(build_graph(spec), decode_phase(1, 1, 7))
    linear = sum(int(w.macs[0]) * w.layers for w in found if w.macs is not None and not w.context)
    assert linear == spec.active_linear_weights()
    stored = sum(
        w.n * w.k * w.stored * w.layers for w in found if w.macs is not None and not w.context
    )
    assert stored == spec.linear_weights()
