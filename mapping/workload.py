"""What a phase of inference executes: operators with sizes, and how often each runs.

A prefill is one pass over the whole prompt; a decode pass computes one token of every sequence.
Layers that are equal are one `Work`. Nothing here depends on an accelerator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import networkx
import numpy as np
from numpy.typing import NDArray

from mapping.graph import Operator, operators

__all__ = ["Context", "Phase", "Work", "decode_phase", "phase_work", "prefill_phase"]

_LAYER = re.compile(r"layers\.\d+\.")


@dataclass(frozen=True, eq=False)
class Context:
    """What the tokens of a phase attend to.

    Parameters
    ----------
    past : int64 (P,)
        Cached positions before each of P passes.
    tokens : int
        New tokens of one sequence in each pass; above 1 only with one pass.
    window : int or None
        Positions a token sees at most, itself included.
    causal : bool
        A token sees itself and what is before it; else all tokens see all of the pass.
    counts_itself : bool
        Whether the new tokens are part of what is seen; a publication's decode step may have a
        context of exactly ``past``.
    """

    past: NDArray[np.int64]
    tokens: int
    window: int | None = None
    causal: bool = True
    counts_itself: bool = True

    def seen(
        self, first: int | NDArray[np.int64], last: int | NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Positions that tokens ``first .. last - 1`` of a pass need together; shape (P,).

        Arrays are blocks of tokens of the only pass: a figure a block, or one where all see alike.
        """
        own = last if self.causal else self.tokens
        end = self.past + (own if self.counts_itself else 0)
        if self.window is None:
            return end
        oldest = self.past + (first + 1 if self.causal else self.tokens) - self.window
        return end - np.maximum(oldest, 0)

    def widest(self) -> NDArray[np.int64]:
        """Positions of the token that sees most, in each pass."""
        return self.seen(self.tokens - 1, self.tokens)

    def pairs(self) -> NDArray[np.int64]:
        """Pairs of a new token and a position it sees, in each pass."""
        if self.tokens == 1:
            return self.widest()
        tokens = np.arange(1, self.tokens + 1, dtype=np.int64)
        own = tokens if self.causal else np.full_like(tokens, self.tokens)
        seen = self.past[:, None] + (own if self.counts_itself else 0)
        if self.window is not None:
            seen = np.minimum(seen, self.window)
        return seen.sum(axis=1)


@dataclass(frozen=True)
class Phase:
    """One phase of inference.

    Parameters
    ----------
    name : str
        ``prefill`` or ``decode``.
    batch : int
        Sequences computed together.
    tokens : int
        Tokens of one sequence in a pass.
    passes : int
        Passes of the phase.
    start : int
        Cached positions before the first pass; each pass adds ``tokens``.
    growing : bool
        Whether the context grows from pass to pass.
    causal, counts_itself : bool
        As `Context`.
    windows : bool
        Whether sliding windows bound what a token sees.
    """

    name: str
    batch: int
    tokens: int
    passes: int
    start: int
    growing: bool = True
    causal: bool = True
    counts_itself: bool = True
    windows: bool = True

    @property
    def rows(self) -> int:
        """Tokens of all sequences in a pass."""
        return self.batch * self.tokens

    def context(self, window: int | None) -> Context:
        """What an attention operator with a window sees."""
        past = np.full(self.passes, self.start, np.int64)
        if self.growing:
            past = past + np.arange(self.passes, dtype=np.int64) * self.tokens
        window = window if self.windows else None
        return Context(past, self.tokens, window, self.causal, self.counts_itself)


def prefill_phase(tokens: int, batch: int, causal: bool = True) -> Phase:
    """The prompt of every sequence, in one pass."""
    return Phase("prefill", batch, tokens, 1, 0, causal=causal)


def decode_phase(
    passes: int, batch: int, start: int, growing: bool = True, counts_itself: bool = True
) -> Phase:
    """Passes of one token of every sequence after ``start`` cached positions."""
    return Phase("decode", batch, 1, passes, start, growing, True, counts_itself)


@dataclass(frozen=True, eq=False)
class Work:
    """Equal operators of a phase.

    Attributes
    ----------
    name : str
        ``layers.*.q`` and so on; ``lm_head``.
    kind : str
        The linear kind (``q``, ``expert_up``, ...), ``attention_scores``, ``softmax``,
        ``attention_values``, ``kv_append`` or the graph's operator kind.
    engine : str
        ``matrix``: a product. ``vector``: element-wise or a reduction of rows. ``memory``: rows
        copied out of a table.
    layers : int
        Operators of this kind and size in a pass.
    m, n, k : int
        Of one product; for other engines rows, elements of an output row, and 1. In attention the
        size that is the context is that of the last pass: see ``context``.
    products : int
        Independent products of one execution: key-value heads x sequences, or active experts.
        Softmax and softcap of scores have as many sets of rows, ``kv_append`` two for each (keys
        and values).
    macs : int64 (P,)
        Multiply-accumulates of the model in one execution, in each pass (P = 1 when equal).
    stored : int
        Matrices held in memory for one execution: all experts of a layer.
    operands : int
        Rows a vector operator reads for one it writes.
    context : Context or None
        What attention sees.
    head_width : int
        Elements of a head, where there is a context; else 0.
    """

    name: str
    kind: str
    engine: str
    layers: int
    m: int
    n: int
    k: int = 1
    products: int = 1
    macs: NDArray[np.int64] | None = None
    stored: int = 1
    operands: int = 1
    context: Context | None = None
    head_width: int = 0


@lru_cache(maxsize=64)  # graphs are compared by identity, and not changed once they are built
def _shared(graph: networkx.DiGraph) -> list[tuple[str, Operator, int]]:
    """Equal operators of all layers as one: name, an example, and how many there are."""
    groups: dict[tuple, list[Operator]] = {}
    for operator in operators(graph):
        name = _LAYER.sub("layers.*.", operator.name, count=1)
        what = (operator.kind, operator.n, operator.k, operator.window, operator.copies)
        heads = (operator.heads, operator.kv_heads, operator.head_dim)
        groups.setdefault((name, *what, *heads), []).append(operator)
    return [(key[0], members[0], len(members)) for key, members in groups.items()]


def phase_work(graph: networkx.DiGraph, phase: Phase, all_logits: bool = False) -> list[Work]:
    """Everything one pass of a phase executes, in the order of execution of the first layer.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `mapping.graph.build_graph` makes it.
    phase : Phase
        Which tokens are computed.
    all_logits : bool
        ``lm_head`` computes every token of a prefill, not the last one of each sequence.

    Returns
    -------
    list of Work
        Routed experts are taken as balanced: ``rows * k`` choices fall on as many experts as
        there can be (all of them when there are enough choices), each with an equal share,
        rounded up to whole tokens, and the weights of every active expert are read once a pass.
        This is the most weight traffic and the least compute imbalance that routing can cause.
    """
    result: list[Work] = []
    for name, operator, layers in _shared(graph):
        logits = operator.linear_kind == "lm_head" or operator.name == "logit_softcap"
        rows = phase.batch if logits and not all_logits else phase.rows
        if operator.kind == "linear":
            result.append(_linear(name, operator, layers, rows))
        elif operator.kind == "attention":
            result += _attention(name, operator, layers, phase)
        elif operator.kind == "embedding":
            result.append(Work(name, "embedding", "memory", layers, rows, operator.n))
        else:
            rows *= max(1, operator.experts_per_token)
            operands = max(1, graph.in_degree(operator.name))
            if operator.kind == "combine":
                operands, rows = operator.experts_per_token, phase.rows
            work = Work(name, operator.kind, "vector", layers, rows, operator.n, operands=operands)
            result.append(work)
    return result


def _linear(name: str, operator: Operator, layers: int, rows: int) -> Work:
    assert operator.k is not None
    kind = operator.linear_kind or "linear"
    n, k, experts = operator.n, operator.k, operator.copies
    if experts == 1:
        macs = np.array([rows * n * k], np.int64)
        return Work(name, kind, "matrix", layers, rows, n, k, macs=macs)
    choices = rows * operator.experts_per_token
    active = min(experts, choices)
    macs = np.array([choices * n * k], np.int64)
    share = ceil(choices / active)
    return Work(name, kind, "matrix", layers, share, n, k, active, macs, stored=experts)


def _attention(name: str, operator: Operator, layers: int, phase: Phase) -> list[Work]:
    """Append to the cache, scores, softmax, values; a key-value head is one product."""
    context = phase.context(operator.window)
    heads, groups, width = operator.heads, operator.kv_heads, operator.head_dim
    sharing = heads // groups
    rows, products = sharing * phase.tokens, groups * phase.batch
    seen = int(context.widest()[-1])
    pairs = context.pairs() * phase.batch * heads
    prefix = name.removesuffix("attention")

    def of_scores(suffix: str, kind: str) -> Work:
        return Work(
            f"{prefix}{suffix}",
            kind,
            "vector",
            layers,
            rows,
            seen,
            products=products,
            context=context,
            head_width=width,
        )

    capped = operator.softcap is not None
    return [
        Work(
            f"{prefix}kv_append",
            "kv_append",
            "vector",
            layers,
            phase.tokens,
            width,
            products=2 * products,
        ),
        Work(
            f"{prefix}attention_scores",
            "attention_scores",
            "matrix",
            layers,
            rows,
            seen,
            width,
            products,
            pairs * width,
            context=context,
            head_width=width,
        ),
        *([of_scores("attention_softcap", "softcap")] if capped else []),
        of_scores("softmax", "softmax"),
        Work(
            f"{prefix}attention_values",
            "attention_values",
            "matrix",
            layers,
            rows,
            width,
            seen,
            products,
            pairs * width,
            context=context,
            head_width=width,
        ),
    ]
