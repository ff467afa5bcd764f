"""The operator graph of a model: what runs, in which order, and where.

A node of the graph is an operator name; its ``operator`` attribute is an `Operator`.
Edges carry activations.  In this release the linear operators run on the
accelerator and everything else on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx

from designs.errors import InputError
from mapping.model import ModelSpec

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
)


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
        Elements of one output row (one token).
    k : int or None
        Reduction length of a linear operator, else ``None``.
    layer : int or None
        Decoder layer, ``None`` outside the decoder layers.
    linear_kind : str or None
        ``q``, ``k``, ... ``lm_head`` for a linear operator, else ``None``.
    window : int or None
        Positions an attention operator sees; ``None``: all (or not an attention operator).
    on_accelerator : bool
        Runs on the accelerator; else on the host.
    """

    name: str
    kind: str
    n: int
    k: int | None = None
    layer: int | None = None
    linear_kind: str | None = None
    window: int | None = None
    on_accelerator: bool = False


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


class _Builder:
    """Adds operators in execution order; an operator's name stands for its output."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.graph = networkx.DiGraph(name=spec.name)

    def add(self, operator: Operator, *inputs: str) -> str:
        self.graph.add_node(operator.name, operator=operator, order=len(self.graph))
        self.graph.add_edges_from((source, operator.name) for source in inputs)
        return operator.name

    def host(self, name: str, kind: str, n: int, layer: int | None, *inputs: str) -> str:
        return self.add(Operator(name, kind, n, layer=layer), *inputs)

    def layer(self, index: int, residual: str) -> str:
        spec, prefix = self.spec, f"layers.{index}"
        shapes = {shape.kind: shape for shape in spec.layer_linears(index)}

        def linear(kind: str, source: str) -> str:
            shape = shapes[kind]
            return self.add(
                Operator(shape.name, "linear", shape.n, shape.k, index, kind, on_accelerator=True),
                source,
            )

        def host(suffix: str, kind: str, n: int, *inputs: str) -> str:
            return self.host(f"{prefix}.{suffix}", kind, n, index, *inputs)

        normed = host("attention_norm", "norm", spec.hidden, residual)
        streams = {kind: linear(kind, normed) for kind in ("q", "k", "v")}
        for kind in ("q", "k"):
            if spec.qk_norm:
                streams[kind] = host(f"{kind}_norm", "norm", shapes[kind].n, streams[kind])
            if spec.rope_theta is not None:
                streams[kind] = host(f"{kind}_rope", "rope", shapes[kind].n, streams[kind])
        attention = Operator(
            f"{prefix}.attention",
            "attention",
            shapes["q"].n,
            layer=index,
            window=spec.window(index),
        )
        attended = linear("o", self.add(attention, *streams.values()))
        if spec.parallel_block:
            return host(
                "add", "add", spec.hidden, residual, attended, self.mlp(host, linear, normed)
            )
        if spec.post_norms:
            attended = host("post_attention_norm", "norm", spec.hidden, attended)
        residual = host("attention_add", "add", spec.hidden, residual, attended)
        output = self.mlp(host, linear, host("ffn_norm", "norm", spec.hidden, residual))
        if spec.post_norms:
            output = host("post_ffn_norm", "norm", spec.hidden, output)
        return host("ffn_add", "add", spec.hidden, residual, output)

    def mlp(self, host, linear, source: str) -> str:
        ffn = self.spec.ffn
        if not self.spec.gated_mlp:
            return linear("down", host("activation", "activation", ffn, linear("up", source)))
        gate, up = linear("gate", source), linear("up", source)
        gate = host("activation", "activation", ffn, gate)
        return linear("down", host("multiply", "multiply", ffn, gate, up))


def build_graph(spec: ModelSpec) -> networkx.DiGraph:
    """Build the operator graph of a model.

    Parameters
    ----------
    spec : ModelSpec

    Returns
    -------
    networkx.DiGraph
        Acyclic, one source per embedding table, one sink (``lm_head``); the node
        attribute ``operator`` is an `Operator`, ``order`` its place in execution.
    """
    builder = _Builder(spec)
    residual = builder.host("embedding", "embedding", spec.hidden, None)
    if spec.learned_positions:
        positions = builder.host("position_embedding", "embedding", spec.hidden, None)
        residual = builder.host("embedding_add", "add", spec.hidden, None, residual, positions)
    for index in range(spec.layers):
        residual = builder.layer(index, residual)
    normed = builder.host("final_norm", "norm", spec.hidden, None, residual)
    builder.add(
        Operator(
            "lm_head", "linear", spec.vocab, spec.hidden, None, "lm_head", on_accelerator=True
        ),
        normed,
    )
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
    that a report can name them.

    Returns
    -------
    tuple of SharedShape
        In the order in which each group first appears.
    """
    groups: dict[tuple[str, int, int], list[Operator]] = {}
    for operator in linear_operators(graph):
        assert operator.linear_kind is not None
        assert operator.k is not None
        groups.setdefault((operator.linear_kind, operator.n, operator.k), []).append(operator)
    return tuple(SharedShape(*key, tuple(members)) for key, members in groups.items())


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
        `tokens`; for ``lm_head`` `sequences`, because only the last position of each
        sequence needs logits.

    Raises
    ------
    InputError
        `tokens` or `sequences` is out of range.
    """
    if tokens < 1:
        raise InputError(operator.name, "tokens", tokens, "an integer >= 1")
    if not 1 <= sequences <= tokens:
        raise InputError(operator.name, "sequences", sequences, f"1 to {tokens} (tokens)")
    return sequences if operator.linear_kind == "lm_head" else tokens
