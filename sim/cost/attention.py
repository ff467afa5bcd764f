"""Attention in closed form: scores and values of all heads, with the cache streamed from DRAM."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.workload import Context, Phase, Work
from sim.conventions import Conventions
from sim.cost.base import Cost, Cycles
from sim.cost.product import (
    Stored,
    Traffic,
    fastest_shape,
    product_cost,
    weight_stored,
    words,
)
from sim.cost.refetch import buffer_bytes, refetch

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
    is read again for each such block unless one head's part fits the weight buffer. Where it
    moves less, and where not even a row fits, scores go to DRAM and come back (`scores_spill`).
    """
    assert work.context is not None
    assert work.macs is not None
    stored = kv_stored(design, rules)
    pieces = work.context.tokens > 1
    sizes = _sizes(design, work)
    tiling = fastest_shape(design, rules, phase.name, sizes, pieces, work.products)
    spilled = scores_spill(design, rules, work)
    near = None if spilled.all() else _on_chip(design, rules, work)
    far = _through_dram(design, rules, work, tiling[1]) if spilled.any() else near
    assert far is not None
    traffic = far if near is None else _chosen(spilled, far, near)
    # The ports are as wide as the design's weights need: any K that the group divides will do.
    linear = weight_stored(fmt, fmt.group or 1, rules)
    return product_cost(design, rules, sizes, tiling, stored, linear, traffic, work.macs)


def _sizes(design: Design, work: Work) -> tuple[Cycles, Cycles, Cycles]:
    """M, N and K of one product in each pass, or in each block of tokens of the only pass."""
    context = work.context
    assert context is not None
    positions = context.widest()
    m = np.full_like(positions, work.m)
    if context.tokens > 1:
        sharing = work.m // context.tokens
        block = max(1, design.unit.lanes_m // sharing) if context.causal else context.tokens
        starts = np.arange(0, context.tokens, block, dtype=np.int64)
        ends = np.minimum(starts + block, context.tokens)
        positions = _seen(context, starts, ends)
        m = (ends - starts) * sharing
    fixed = np.full_like(positions, work.head_width)
    return (m, positions, fixed) if work.kind == "attention_scores" else (m, fixed, positions)


def _on_chip(design: Design, rules: Conventions, work: Work) -> Traffic:
    """Scores stay in the activation buffer: queries, the cache and the result cross the bus."""
    context, products, width = work.context, work.products, work.head_width
    assert context is not None
    scores = work.kind == "attention_scores"
    stored, bits = kv_stored(design, rules), design.formats.activation_bits
    one = np.ones(len(context.past), np.int64)
    sharing, rows = work.m // context.tokens, work.m * products
    cached = _cache_rows(design, rules, context, sharing, stored, width)
    pairs = context.pairs() * sharing * products
    return Traffic(
        cached * stored.row_bytes(width) * products,
        one * -(-width * bits // 8) * rows if scores else 0 * one,
        0 * one if scores else one * width * 2 * rows,
        cached * words(width, stored.row_bits) * products,
        # Probabilities are where the softmax has left them.
        one * words(width, bits) * rows if scores else 0 * one,
        one * words(pairs if scores else rows * width, 16),
    )


def _through_dram(
    design: Design, rules: Conventions, work: Work, shape: tuple[int, int]
) -> Traffic:
    """Both operands and the result cross the bus; of the scores, those that are computed."""
    context, products, width = work.context, work.products, work.head_width
    assert context is not None
    scores = work.kind == "attention_scores"
    stored, bits = kv_stored(design, rules), design.formats.activation_bits
    seen = context.seen(0, context.tokens)  # a window moves on: all tokens need more than the last
    one = np.ones_like(seen)
    k, n = (width, seen) if scores else (seen, width)
    rows = work.m * products
    positions = context.pairs() * (work.m // context.tokens) * products
    weights = one * stored.row_bytes(width) * seen * products
    inputs = one * -(-k * bits // 8) * rows if scores else -(-positions * bits // 8)
    outputs = 2 * positions if scores else one * n * 2 * rows
    parts = products if rules.buffers_hold == "product" else 1
    tiles = -(-one * work.m // shape[0]), -(-one * n // shape[1])
    weight_times, input_times = refetch(design, rules, weights // parts, inputs // parts, tiles)
    # Of the rectangle of tokens and positions, a causal prefill computes about half.
    part = positions / np.maximum(seen * rows, 1)
    return Traffic(
        weights * weight_times,
        inputs * input_times,
        outputs,
        words(k, stored.row_bits) * n * products * weight_times,
        words(k, bits) * rows * input_times * (1 if scores else part),
        one * words(n, 16) * rows * (part if scores else 1),
    )


def _chosen(spilled: NDArray[np.bool_], far: Traffic, near: Traffic) -> Traffic:
    """The traffic of each pass."""
    pairs = ((getattr(far, f.name), getattr(near, f.name)) for f in fields(Traffic))
    return Traffic(*(np.where(spilled, one, other) for one, other in pairs))


def _seen(context: Context, starts: Cycles, ends: Cycles) -> Cycles:
    """Positions that each block of tokens of the only pass needs."""
    return np.broadcast_to(context.seen(starts, ends), starts.shape)


def _score_rows(design: Design, rules: Conventions, seen: Cycles) -> Cycles:
    """Rows of FP16 scores that fit the activation buffer's share, in each pass."""
    share = buffer_bytes(design, rules, design.buffers.activation_bytes)
    return share // (2 * np.maximum(seen, 1))


def scores_spill(design: Design, rules: Conventions, work: Work) -> NDArray[np.bool_]:
    """Whether scores go to DRAM in each pass, the same for all operators of an attention.

    They do where not even one row fits on chip, and where that moves fewer bytes in all: few rows
    on chip mean that keys and values are read many times.
    """
    context, width = work.context, work.head_width
    assert context is not None
    seen = context.widest()
    if not rules.scores_on_chip:
        return np.ones(len(seen), bool)
    none = _score_rows(design, rules, seen) < 1
    room = buffer_bytes(design, rules, design.buffers.weight_bytes)
    once = seen * kv_stored(design, rules).row_bytes(width) <= room
    if not (none | ~once).any():  # keys and values are read once: nothing moves less
        return none
    phase = "decode" if context.tokens == 1 else "prefill"
    # The softmax reads and writes them in between.
    difference = 4 * context.pairs() * (work.m // context.tokens)
    for kind in ("attention_scores", "attention_values"):
        part = replace(work, kind=kind, products=1)
        sizes, pieces = _sizes(design, part), context.tokens > 1
        _, shape = fastest_shape(design, rules, phase, sizes, pieces, work.products)
        far, near = _through_dram(design, rules, part, shape), _on_chip(design, rules, part)
        for traffic, sign in ((far, 1), (near, -1)):
            difference = difference + sign * (traffic.weights + traffic.inputs + traffic.outputs)
    return none | (difference < 0)


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
    rows = np.maximum(_score_rows(design, rules, seen), 1)
    room = buffer_bytes(design, rules, design.buffers.weight_bytes)
    fits = seen * stored.row_bytes(width) <= room
    if context.tokens == 1:
        again = -(-sharing // rows)
        return np.where(fits, seen, seen * again)
    if bool(fits[0]):  # whatever the blocks
        return context.seen(0, context.tokens)
    blocks = -(-context.tokens // max(1, int(rows[0]) // sharing))
    block = -(-context.tokens // blocks)  # equal ones read least
    starts = np.arange(0, context.tokens, block, dtype=np.int64)
    ends = np.minimum(starts + block, context.tokens)
    needed = _seen(context, starts, ends) * -(-sharing // int(rows[0]))
    return np.array([int(needed.sum())], np.int64)
