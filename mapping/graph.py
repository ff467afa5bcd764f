"""The operator graph of a model: what runs, and in which order.

A node of the graph is an operator name; its ``operator`` attribute is an `Operator`.
Edges carry activations.  Generated RTL runs the linear operators; what runs the others depends on
the design (`mapping.workload`, `sim.phases`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx

from designs.errors import InputError
from mapping.model import EXPERT_KINDS, LinearShape, ModelSpec

__all__ = [
    "OPERATOR_KINDS",
    "Operator",
    "SharedShape",
    "build_graph",
    "linear_operators",
    "operators",
    "rows",
    "shared_shapes",
]

OPERATOR_KINDS = (
    "embedding",
    "norm",
    "linear",
    "rope",
    "attention",
    "activation",
    "multiply",
    "add",
    "softcap",
    "topk",
    "combine",
)
"""Kinds of operators.

``topk`` is a softmax over the router's scores and the choice of the largest, ``combine`` the sum
of the chosen experts' outputs, each times its weight, ``softcap`` is ``cap * tanh(x / cap)``.
"""


@dataclass(frozen=True)
class Operator:
    """One operator of a model.

    Parameters
    ----------
    name : str
        Unique in the graph; a linear operator has the name of its `LinearShape`.
    kind : str
        One of `OPERATOR_KINDS`.
    n : int
        Elements of one output row (one token); the scored experts of a topk.
    k : int or None
        Reduction length of a linear operator, entries that a topk keeps, else ``None``.
    layer : int or None
        Decoder layer, ``None`` outside the decoder layers.
    linear_kind : str or None
        ``q``, ``k``, ... ``lm_head`` for a linear operator, else ``None``.
    window : int or None
        Positions an attention operator sees; ``None``: all (or not an attention operator).
    on_accelerator : bool
        Generated RTL runs it; true of linear operators.
    copies : int
        Weight matrices of a linear operator: the number of experts where it is one of
        `EXPERT_KINDS`, else 1.
    experts_per_token : int
        Experts each token is sent to, on operators behind the router (the experts' linear
        layers, what is between them, and combine): they see this many rows a token.
        0: not routed, one row a token.
    heads, kv_heads, head_dim : int
        Of an attention operator; `heads` and `head_dim` also of norms on heads and of rope,
        where `heads` counts the heads in the row. 0 elsewhere.
    softcap : float or None
        The cap of a softcap operator, and of an attention operator that caps its scores.
    bias : bool
        A linear operator adds a vector of n elements to its output.
    """

    name: str
    kind: str
    n: int
    k: int | None = None
    layer: int | None = None
    linear_kind: str | None = None
    window: int | None = None
    on_accelerator: bool = False
    copies: int = 1
    experts_per_token: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    softcap: float | None = None
    bias: bool = False


@dataclass(frozen=True)
class SharedShape:
    """Linear operators of one kind and one shape, which all cost the same.

    Parameters
    ----------
    kind : str
        ``q``, ``k``, ... ``lm_head``.
    n, k : int
        Output channels and reduction length.
    operators : tuple of Operator
        In topological order; the first one may stand for all.
    """

    kind: str
    n: int
    k: int
    operators: tuple[Operator, ...]

    @property
    def count(self) -> int:
        """How many operators share the shape."""
        return len(self.operators)

    @property
    def copies(self) -> int:
        """Weight matrices of each operator: the number of experts, or 1."""
        return self.operators[0].copies

    @property
    def experts_per_token(self) -> int:
        """Experts each token is sent to; 0 when the operators are not routed."""
        return self.operators[0].experts_per_token


class _Builder:
    """Adds operators in execution order; an operator's name stands for its output."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.graph = networkx.DiGraph(name=spec.name)

    def add(self, operator: Operator, *inputs: str) -> str:
        self.graph.add_node(operator.name, operator=operator, order=len(self.graph))
        self.graph.add_edges_from((source, operator.name) for source in inputs)
        return operator.name

    def host(self, name: str, kind: str, n: int, *inputs: str) -> str:
        return self.add(Operator(name, kind, n), *inputs)

    def linear(self, shape: LinearShape, layer: int | None, source: str) -> str:
        routed = self.spec.experts_per_token if shape.kind in EXPERT_KINDS else 0
        operator = Operator(
            shape.name,
            "linear",
            shape.n,
            shape.k,
            layer,
            shape.kind,
            on_accelerator=True,
            copies=shape.copies,
            experts_per_token=routed,
            bias=self.spec.has_bias(shape.kind),
        )
        return self.add(operator, source)


class _Layer:
    """Adds the operators of one decoder layer."""

    def __init__(self, builder: _Builder, index: int) -> None:
        self.builder, self.spec, self.index = builder, builder.spec, index
        self.shapes = {shape.kind: shape for shape in builder.spec.layer_linears(index)}

    def linear(self, kind: str, source: str) -> str:
        return self.builder.linear(self.shapes[kind], self.index, source)

    def host(self, suffix: str, kind: str, n: int, *inputs: str, **fields: Any) -> str:
        name = f"layers.{self.index}.{suffix}"
        return self.builder.add(Operator(name, kind, n, layer=self.index, **fields), *inputs)

    def build(self, residual: str) -> str:
        spec = self.spec
        normed = self.host("attention_norm", "norm", spec.hidden, residual)
        attended = self.attention(normed)
        if spec.parallel_block:
            return self.host("add", "add", spec.hidden, residual, attended, self.mlp(normed))
        if spec.post_norms:
            attended = self.host("post_attention_norm", "norm", spec.hidden, attended)
        residual = self.host("attention_add", "add", spec.hidden, residual, attended)
        output = self.mlp(self.host("ffn_norm", "norm", spec.hidden, residual))
        if spec.post_norms:
            output = self.host("post_ffn_norm", "norm", spec.hidden, output)
        return self.host("ffn_add", "add", spec.hidden, residual, output)

    def attention(self, normed: str) -> str:
        spec = self.spec
        streams = {kind: self.linear(kind, normed) for kind in ("q", "k", "v")}
        for kind, heads in (("q", spec.heads), ("k", spec.kv_heads)):
            sizes = {"heads": heads, "head_dim": spec.head_dim}
            n = self.shapes[kind].n
            if spec.qk_norm:
                streams[kind] = self.host(f"{kind}_norm", "norm", n, streams[kind], **sizes)
            if spec.rope_theta is not None:  # what is not rotated passes by
                sizes["head_dim"] = spec.rotary_dim
                n = heads * spec.rotary_dim
                streams[kind] = self.host(f"{kind}_rope", "rope", n, streams[kind], **sizes)
        attended = self.host(
            "attention",
            "attention",
            self.shapes["q"].n,
            *streams.values(),
            window=spec.window(self.index),
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            softcap=spec.attention_softcap,
        )
        if spec.sub_norms:
            attended = self.host("attention_sub_norm", "norm", self.shapes["q"].n, attended)
        return self.linear("o", attended)

    def mlp(self, source: str) -> str:
        if self.spec.routed(self.index):
            return self.experts(source)
        return self.branch("", self.spec.ffn, source)

    def branch(self, prefix: str, width: int, source: str, routed: int = 0) -> str:
        """One MLP, or all routed experts as one operator each of gate, up and down."""
        fields = {"experts_per_token": routed}

        def host(suffix: str, *inputs: str) -> str:
            kind = "norm" if suffix == "ffn_sub_norm" else suffix
            return self.host(f"{prefix}{suffix}", kind, width, *inputs, **fields)

        if self.spec.gated_mlp:
            gate, up = (self.linear(f"{prefix}{kind}", source) for kind in ("gate", "up"))
            inner = host("multiply", host("activation", gate), up)
        else:
            inner = host("activation", self.linear(f"{prefix}up", source))
        if self.spec.sub_norms:
            inner = host("ffn_sub_norm", inner)
        return self.linear(f"{prefix}down", inner)

    def experts(self, source: str) -> str:
        spec, hidden = self.spec, self.spec.hidden
        chosen = spec.experts_per_token
        weights = self.host("topk", "topk", spec.experts, self.linear("router", source), k=chosen)
        routed = self.branch("expert_", spec.expert_ffn, source, chosen)
        # what an expert computes depends on the choice: nothing of it starts before topk is done
        for kind in ("expert_gate", "expert_up"):
            if kind in self.shapes:
                self.builder.graph.add_edge(weights, self.shapes[kind].name)
        output = self.host("combine", "combine", hidden, routed, weights, experts_per_token=chosen)
        if not spec.shared_ffn:
            return output
        shared = self.branch("shared_", spec.shared_ffn, source)
        if spec.shared_expert_gate:
            scale = self.linear("shared_router", source)
            scale = self.host("shared_sigmoid", "activation", 1, scale)
            shared = self.host("shared_scale", "multiply", hidden, shared, scale)
        return self.host("shared_add", "add", hidden, output, shared)


def build_graph(spec: ModelSpec) -> networkx.DiGraph:
    """Build the operator graph of a model.

    Parameters
    ----------
    spec : ModelSpec

    Returns
    -------
    networkx.DiGraph
        Acyclic, one source per embedding table, one sink (``lm_head``, or ``logit_softcap``
        behind it); the node attribute ``operator`` is an `Operator`, ``order`` its place in
        execution.
    """
    builder = _Builder(spec)
    residual = builder.host("embedding", "embedding", spec.hidden)
    if spec.learned_positions:
        positions = builder.host("position_embedding", "embedding", spec.hidden)
        residual = builder.host("embedding_add", "add", spec.hidden, residual, positions)
    for index in range(spec.layers):
        residual = _Layer(builder, index).build(residual)
    normed = builder.host("final_norm", "norm", spec.hidden, residual)
    head = LinearShape("lm_head", "lm_head", spec.vocab, spec.hidden)
    logits = builder.linear(head, None, normed)
    if spec.logit_softcap is not None:
        cap = Operator("logit_softcap", "softcap", spec.vocab, softcap=spec.logit_softcap)
        builder.add(cap, logits)
    return builder.graph


def operators(graph: networkx.DiGraph) -> tuple[Operator, ...]:
    """All operators in topological order; among equals, the order of execution."""
    order = networkx.lexicographical_topological_sort(
        graph, key=lambda name: graph.nodes[name]["order"]
    )
    return tuple(graph.nodes[name]["operator"] for name in order)


def linear_operators(graph: networkx.DiGraph) -> tuple[Operator, ...]:
    """The linear operators in topological order."""
    return tuple(operator for operator in operators(graph) if operator.kind == "linear")


def shared_shapes(graph: networkx.DiGraph) -> tuple[SharedShape, ...]:
    """Group linear operators of equal kind and shape, so that each is simulated once.

    Kinds stay apart even where their shapes are equal (gate and up, k and v), so
    that a report can name them.  All operators of a group have as many copies and send a token
    to as many experts.

    Returns
    -------
    tuple of SharedShape
        In the order in which each group first appears.
    """
    groups: dict[tuple[str, int, int, int, int], list[Operator]] = {}
    for operator in linear_operators(graph):
        assert operator.linear_kind is not None
        assert operator.k is not None
        sizes = operator.n, operator.k, operator.copies, operator.experts_per_token
        groups.setdefault((operator.linear_kind, *sizes), []).append(operator)
    return tuple(
        SharedShape(kind, n, k, tuple(members)) for (kind, n, k, _, _), members in groups.items()
    )


def rows(operator: Operator, tokens: int, sequences: int = 1) -> int:
    """Rows (M) an operator computes in one pass.

    Parameters
    ----------
    operator : Operator
    tokens : int
        Tokens of the pass over all sequences: ``batch * prompt`` in prefill, ``batch`` in
        decode.
    sequences : int
        Sequences of the pass, ``1 <= sequences <= tokens``.

    Returns
    -------
    int
        `tokens`; for ``lm_head`` and its softcap `sequences`, because only the last position of
        each sequence needs logits; for a routed operator ``tokens * experts_per_token``, over all
        experts together.

    Raises
    ------
    InputError
        `tokens` or `sequences` is out of range.
    """
    if tokens < 1:
        raise InputError(operator.name, "tokens", tokens, "an integer >= 1")
    if not 1 <= sequences <= tokens:
        raise InputError(operator.name, "sequences", sequences, f"1 to {tokens} (tokens)")
    if operator.linear_kind == "lm_head" or operator.name == "logit_softcap":
        return sequences
    return tokens * max(1, operator.experts_per_token)
