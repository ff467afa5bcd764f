"""MatMul-free language models: linear recurrence in place of attention, ternary weights.

"Scalable MatMul-free Language Modeling" (arXiv 2406.02528) and its code (ridgerchu/matmulfreellm).
A block has two halves, each with a norm in front and a residual behind. The token mixer (MLGRU):
``f = sigmoid(W_f x)`` above a learned lower bound, ``i = SiLU(W_i x) * (1 - f)``, the state
``h = f * h + i``, and ``W_o (norm(h) * SiLU(W_g x))``. The channel mixer: ``W_d (SiLU(g) * u)``
with ``g, u = W_gu x``. Every projection has a norm of its own in front (BitLinear). The only state
is one vector a layer; nothing grows with the context.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx

from designs.errors import InputError
from mapping.graph import Operator

__all__ = ["MATMUL_FREE", "MatmulFreeModel", "matmul_free"]

_VOCAB = 32000
_MULTIPLE = 256


@dataclass(frozen=True)
class MatmulFreeModel:
    """A model as an operator graph, with no attention.

    Parameters
    ----------
    name : str
        What reports call it.
    hidden : int
        Width of the residual stream, a multiple of 256.
    layers : int
        Blocks.
    vocab : int
        Rows of the embedding and of ``lm_head``; 0: blocks alone, without either.
    """

    name: str
    hidden: int
    layers: int
    vocab: int = _VOCAB

    def __post_init__(self) -> None:
        if self.hidden < _MULTIPLE or self.hidden % _MULTIPLE:
            allowed = f"a multiple of {_MULTIPLE}"
            raise InputError(self.name, "hidden", self.hidden, allowed)
        if self.layers < 1:
            raise InputError(self.name, "layers", self.layers, "at least 1")
        if self.vocab < 0:
            raise InputError(self.name, "vocab", self.vocab, "at least 0")

    @property
    def ffn(self) -> int:
        """Width of the channel mixer: 8/3 of ``hidden``, up to a multiple of 256."""
        return -(-8 * self.hidden // 3 // _MULTIPLE) * _MULTIPLE

    @property
    def block_weights(self) -> int:
        """Ternary weights of all blocks."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)

    @property
    def max_context(self) -> int | None:
        """No limit: the state does not grow."""
        return None

    @property
    def graph(self) -> networkx.DiGraph:
        """The operators, as `mapping.graph.build_graph` makes them for a transformer."""
        builder = _Builder(self)
        stream = builder.add("embedding", "embedding", self.hidden) if self.vocab else ""
        for layer in range(self.layers):
            stream = builder.block(layer, stream)
        if self.vocab:
            stream = builder.add("final_norm", "norm", self.hidden, stream)
            builder.linear("lm_head", self.vocab, self.hidden, None, stream, "lm_head")
        return builder.graph


class _Builder:
    """Adds operators in execution order; an operator's name stands for its output."""

    def __init__(self, model: MatmulFreeModel) -> None:
        self.model = model
        self.graph = networkx.DiGraph(name=model.name)

    def put(self, operator: Operator, *inputs: str) -> str:
        self.graph.add_node(operator.name, operator=operator, order=len(self.graph))
        self.graph.add_edges_from((source, operator.name) for source in inputs if source)
        return operator.name

    def add(self, name: str, kind: str, n: int, *inputs: str, layer: int | None = None) -> str:
        return self.put(Operator(name, kind, n, layer=layer), *inputs)

    def linear(self, name: str, n: int, k: int, layer: int | None, source: str, kind: str) -> str:
        """BitLinear: a norm of its own, then ternary weights."""
        normed = self.add(f"{name}_norm", "norm", k, source, layer=layer)
        operator = Operator(
            name, "linear", n, k, layer=layer, linear_kind=kind, on_accelerator=True
        )
        return self.put(operator, normed)

    def block(self, layer: int, stream: str) -> str:
        """Token mixer and channel mixer of one layer."""
        d, wide = self.model.hidden, self.model.ffn

        def step(suffix: str, kind: str, n: int, *inputs: str) -> str:
            return self.add(f"layers.{layer}.{suffix}", kind, n, *inputs, layer=layer)

        def project(kind: str, n: int, k: int, source: str) -> str:
            return self.linear(f"layers.{layer}.{kind}", n, k, layer, source, kind)

        normed = step("mixer_norm", "norm", d, stream)
        keep, put, gate = (project(kind, d, d, normed) for kind in ("f", "i", "g"))
        keep = step("f_sigmoid", "activation", d, keep)
        keep = step("f_above_bound", "add", d, step("f_scale", "multiply", d, keep))
        put = step("i_part", "multiply", d, step("i_activation", "activation", d, put), keep)
        state = step("h", "add", d, step("h_kept", "multiply", d, keep), put)
        gated = step("g_activation", "activation", d, gate)
        mixed = step("g_part", "multiply", d, step("h_norm", "norm", d, state), gated)
        stream = step("mixer_add", "add", d, stream, project("o", d, d, mixed))
        normed = step("channel_norm", "norm", d, stream)
        both = project("gate_up", 2 * wide, d, normed)
        inner = step("gate_part", "multiply", wide, step("activation", "activation", wide, both))
        return step("channel_add", "add", d, stream, project("down", d, wide, inner))


MATMUL_FREE = {
    "matmulfree-370m": MatmulFreeModel("matmulfree-370m", 1024, 24),
    "matmulfree-1.3b": MatmulFreeModel("matmulfree-1.3b", 2048, 24),
    "matmulfree-2.7b": MatmulFreeModel("matmulfree-2.7b", 2560, 32),
}
"""The published sizes."""


def matmul_free(name: str) -> MatmulFreeModel:
    """A published size by name, or ``matmulfree-block-D``: one block of width D alone.

    Raises
    ------
    InputError
        The name is neither.
    """
    if name in MATMUL_FREE:
        return MATMUL_FREE[name]
    start, _, width = name.rpartition("-")
    if start == "matmulfree-block" and width.isdigit():
        return MatmulFreeModel(name, int(width), 1, 0)
    allowed = f"{', '.join(MATMUL_FREE)} or matmulfree-block-D"
    raise InputError("model", "name", name, allowed)
