"""Element-wise operators, reductions of rows and table look-ups: the vector engine."""

from __future__ import annotations

import numpy as np

from designs.spec import Design
from mapping.workload import Work
from sim.activity import Activity, SramUse
from sim.conventions import Conventions
from sim.cost.attention import KV_SCALE_BITS, scores_spill
from sim.cost.base import Cost, Cycles, no_reasons, split_stall
from sim.cost.memory import stream_of
from sim.cost.product import activation_port

__all__ = ["BETWEEN_BYTES", "vector_cost"]

BETWEEN_BYTES = 2
"""Activations between operators are FP16."""

_PASSES = {
    "norm": "norm",
    "softmax": "softmax",
    "rope": "rope",
    "activation": "activation",
    "multiply": "multiply",
    "add": "add",
    "combine": "add",
    "softcap": "activation",
    "requantise": "requantise",
    "kv_append": "requantise",
    "topk": "topk",
}
"""Which of ``vector.passes`` an operator takes."""


def vector_cost(design: Design, rules: Conventions, work: Work) -> Cost:
    """One execution of an operator of the vector engine, or of an embedding look-up.

    Operands come from DRAM and results go there, as FP16; only scores of attention that fit the
    activation buffer stay on chip. ``requantise`` reads the sums as the unit stores them.
    Each pass walks over the elements at ``lanes`` a cycle and ends ``latency`` cycles later;
    loads and stores overlap with it. What passes by is in the activation buffer meanwhile: a pass
    reads it there.
    """
    assert design.vector is not None
    one = np.ones(1, np.int64)
    elements = one * work.m * work.n * work.products
    if work.context is not None:
        elements = work.context.pairs() * (work.m // work.context.tokens) * work.products
    if work.kind == "embedding":
        return _gather(design, rules, work)
    read, written = _traffic(design, rules, work, elements)
    passes = getattr(design.vector.passes, _PASSES[work.kind])
    # A combination of expert outputs adds them one by one.
    walked = elements * (work.operands if work.kind == "combine" else 1)
    compute = passes * (-(-walked // design.vector.lanes) + design.vector.latency)
    stream = stream_of(design, rules)
    memory = stream.cycles(read, written)
    # The last result leaves after the last operand came.
    stall = np.maximum(memory - compute, 0)
    edge = stream.latency * (read > 0) + stream.cycles(np.minimum(written, stream.line_bytes))
    reasons = no_reasons(compute) | split_stall(stall, 0 * read, read, written)
    reasons["compute"] = compute
    reasons["fill_drain"] = edge
    activity = Activity(
        vector_elements=walked * passes,
        dram_read_bytes=read,
        dram_write_bytes=written,
        srams=_sram_use(design, elements * work.operands * passes, elements, read, written),
    )
    return Cost(compute + stall + edge, compute, memory, read, written, reasons, activity)


def _sram_use(
    design: Design, walked: Cycles, results: Cycles, loaded: Cycles, stored: Cycles
) -> tuple[SramUse, ...]:
    """Accesses of the activation buffer: elements walked over and results, bytes of DRAM."""
    port = activation_port(design)
    reads = (BETWEEN_BYTES * walked + stored) * 8 / port
    writes = (BETWEEN_BYTES * results + loaded) * 8 / port
    return (SramUse("activation", design.buffers.activation_bytes, port, reads, writes),)


def _traffic(
    design: Design, rules: Conventions, work: Work, elements: Cycles
) -> tuple[Cycles, Cycles]:
    """Bytes read and written by one execution."""
    read, written = elements * BETWEEN_BYTES * work.operands, elements * BETWEEN_BYTES
    if work.context is not None:
        spilled = scores_spill(design, rules, work)
        return np.where(spilled, read, 0), np.where(spilled, written, 0)
    if work.kind == "requantise":
        return elements * design.unit.result_bytes, written
    if work.kind == "kv_append":
        bits = design.formats.kv_cache_bits
        written = -(-elements * bits // 8)
        if bits < 16:
            # a key and a value of every key-value head and token have a scale each
            written = written + work.m * work.products * KV_SCALE_BITS // 8
        return elements * BETWEEN_BYTES, written
    return read, written


def _gather(design: Design, rules: Conventions, work: Work) -> Cost:
    """Rows of a table in FP16, each in a place of its own."""
    one = np.ones(1, np.int64)
    read = one * work.m * work.n * BETWEEN_BYTES
    stream = stream_of(design, rules)
    memory = stream.cycles(read, read, jumps=one * work.m)
    reasons = no_reasons(memory)
    edge = one * stream.latency
    reasons |= split_stall(memory, 0 * read, read, read)
    reasons["fill_drain"] = edge
    activity = Activity(dram_read_bytes=read, dram_write_bytes=read)
    return Cost(memory + edge, 0 * memory, memory, read, read, reasons, activity)
