"""Attention in closed form: scores and values of all heads, with the cache streamed from DRAM."""

from __future__ import annotations

import numpy as np

from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.workload import Context, Phase, Work
from sim.conventions import Conventions
from sim.cost.base import Cost, Cycles
from sim.cost.product import (
    Stored,
    Traffic,
    buffer_bytes,
    product_cost,
    refetch,
    weight_stored,
    words,
)

__all__ = ["KV_SCALE_BITS", "attention_cost", "kv_stored", "scores_spill"]

KV_SCALE_BITS = 16
"""One FP16 scale a token and head goes with cached keys and values of fewer than 16 bits."""


def kv_stored(design: Design, rules: Conventions) -> Stored:
    """Storage of cached keys and values; a row is one position of one head."""
    bits = design.formats.kv_cache_bits
    scale = KV_SCALE_BITS if bits < 16 and rules.channel_scale else 0
    return Stored(bits, bits, bits, scale)


def attention_cost(
    design: Design, rules: Conventions, phase: Phase, work: Work, fmt: WeightFormat
) -> Cost:
    """Scores (queries x cached keys) or values (probabilities x cached values).

    A causal prefill is computed in blocks of tokens, each up to its own last position. On chip,
    a block of rows whose scores fit the activation buffer passes over the cache of its head, which
    is read again for each such block unless one head's part fits the weight buffer.
    """
    context = work.context
    assert context is not None
    assert work.macs is not None
    stored = kv_stored(design, rules)
    bits = design.formats.activation_bits
    scores = work.kind == "attention_scores"
    width = work.k if scores else work.n
    sharing = work.m // context.tokens
    seen = context.widest()
    pieces = context.tokens > 1
    if pieces:
        block = max(1, design.unit.lanes_m // sharing) if context.causal else context.tokens
        starts = np.arange(0, context.tokens, block, dtype=np.int64)
        ends = np.minimum(starts + block, context.tokens)
        positions = _seen(context, starts, ends)
        m = (ends - starts) * sharing
    else:
        positions, m = seen, np.full_like(seen, work.m)
    fixed = np.full_like(positions, width)
    sizes = (m, positions, fixed) if scores else (m, fixed, positions)
    one = np.ones_like(seen)
    products = work.products
    pairs = context.pairs() * sharing * products
    if rules.scores_on_chip and not scores_spill(design, rules, work):
        cached = _cache_rows(design, rules, context, sharing, stored, width)
        row = stored.row_bytes(width)
        weights = cached * row * products
        inputs = one * -(-width * bits // 8) * work.m * products if scores else one * 0
        outputs = one * 0 if scores else one * width * 2 * work.m * products
        traffic = Traffic(
            weights,
            inputs,
            outputs,
            cached * words(width, stored.row_bits) * products,
            one * words(width, bits) * work.m * products,
            one * words(pairs if scores else work.m * products * width, 16),
        )
    else:
        k, n = (width, seen) if scores else (seen, width)
        weights = one * stored.row_bytes(width) * seen * products
        inputs = one * -(-k * bits // 8) * work.m * products
        outputs = one * n * 2 * work.m * products
        parts = products if rules.buffers_hold == "product" else 1
        weight_times, input_times = refetch(design, rules, weights // parts, inputs // parts)
        traffic = Traffic(
            weights * weight_times,
            inputs * input_times,
            outputs,
            words(k, stored.row_bits) * n * products * weight_times,
            words(k, bits) * work.m * products * input_times,
            one * words(n, 16) * work.m * products,
        )
    # The ports are as wide as the design's weights need: any K that the group divides will do.
    linear = weight_stored(fmt, fmt.group or 1, rules)
    return product_cost(
        design, rules, phase.name, sizes, pieces, products, stored, linear, traffic, work.macs
    )


def _seen(context: Context, starts: Cycles, ends: Cycles) -> Cycles:
    """Positions that each block of tokens of the only pass needs."""
    past = int(context.past[0])
    own = ends if context.causal else np.full_like(ends, context.tokens)
    seen = past + (own if context.counts_itself else 0 * own)
    if context.window is None:
        return seen
    oldest = past + (starts + 1 if context.causal else context.tokens) - context.window
    return seen - np.maximum(oldest, 0)


def _score_rows(design: Design, rules: Conventions, seen: int) -> int:
    """Rows of FP16 scores that fit the activation buffer's share."""
    return buffer_bytes(design, rules, design.buffers.activation_bytes) // (2 * max(seen, 1))


def scores_spill(design: Design, rules: Conventions, work: Work) -> bool:
    """Whether the scores of one token's heads do not fit on chip, so that they go to DRAM."""
    assert work.context is not None
    return _score_rows(design, rules, int(work.context.widest().max())) < 1


def _cache_rows(
    design: Design,
    rules: Conventions,
    context: Context,
    sharing: int,
    stored: Stored,
    width: int,
) -> Cycles:
    """Positions of one head that are read in each pass, those read again included."""
    seen = context.widest()
    rows = _score_rows(design, rules, int(seen.max()))
    room = buffer_bytes(design, rules, design.buffers.weight_bytes)
    fits = seen * stored.row_bytes(width) <= room
    if context.tokens == 1:
        again = -(-sharing // rows)
        return np.where(fits, seen, seen * again)
    block = max(1, rows // sharing)
    starts = np.arange(0, context.tokens, block, dtype=np.int64)
    ends = np.minimum(starts + block, context.tokens)
    everything = int(_seen(context, np.array([0]), np.array([context.tokens]))[0])
    if context.window is not None:  # positions no token can see any more are not read
        everything = int(context.past[0]) + context.tokens
    needed = _seen(context, starts, ends) * max(1, -(-sharing // max(rows, 1)))
    return np.array([everything if bool(fits[0]) else int(needed.sum())], np.int64)
