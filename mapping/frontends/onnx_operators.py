"""From the nodes of an ONNX graph to the operators of a decoder, each with its sizes.

What moves data or changes its number format costs nothing here and is looked through, as are
multiplications by one scalar and sign changes: they belong to a scale of a neighbour.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import networkx

from designs.errors import InputError
from mapping.frontends.onnx_attention import PRODUCTS, attention_folds, attention_sizes, operands
from mapping.frontends.onnx_flow import COSINE_INPUT, Flow, trace_flow
from mapping.frontends.onnx_fused import ATTENTIONS, fused_attention
from mapping.frontends.onnx_masks import mask_window
from mapping.frontends.onnx_network import CARRIERS, Network, Node
from mapping.frontends.onnx_patterns import (
    MOVERS,
    Fold,
    activation_folds,
    is_scalar,
    norm_folds,
    rope_folds,
)
from mapping.frontends.onnx_shapes import Shapes
from mapping.graph import Operator

__all__ = ["SUPPORTED", "Extraction", "extract"]

SUPPORTED = (
    "one of: MatMul, Gemm and their quantised forms; attention (MatMul, Softmax, MatMul or fused); "
    "layer and RMS norms; rotary embedding; activation functions; Add, Sub, Mul; Gather; "
    "data movement (for experts chosen at run time give the model's config.json)"
)
"""What a message says instead of an operator that is not supported."""

_NORMS = {
    "LayerNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
}
_SKIP_NORMS = {"SkipLayerNormalization": 4, "SkipSimplifiedLayerNormalization": 3}
_FREE = MOVERS | CARRIERS | {"Neg", "Where", "DynamicQuantizeLinear"}
_ACTIVATIONS = frozenset(
    [
        "BiasGelu",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "FastGelu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "LogSoftmax",
        "Mish",
        "Pow",
        "PRelu",
        "QuickGelu",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Softsign",
        "Swish",
        "Tanh",
    ]
)
_ROPES = ("RotaryEmbedding", "com.microsoft.RotaryEmbedding")
_TABLES = ("Gather", "GatherBlockQuantized")


class Extraction:
    """Operators under construction.

    Attributes
    ----------
    graph : networkx.DiGraph
        Operators by ONNX node name with the attributes that `assign_roles` reads.
    flow : Flow
        Which values are activations, and how many tokens there are.
    """

    def __init__(self, network: Network, shapes: Shapes, flow: Flow, ropes: list[Fold]) -> None:
        self.network, self.shapes, self.flow, self.ropes = network, shapes, flow, ropes
        self.graph = networkx.DiGraph()
        self.sources: dict[str, tuple[str, ...]] = {}

    def features(self, value: str, node: Node) -> int:
        """Elements of `value` for one token."""
        shape = self.shapes.of(value, node)
        if not shape or 0 in shape:
            raise self.wrong(node, f"{value!r} of shape {shape}", "a tensor with elements")
        each, rest = divmod(prod(shape), self.flow.tokens)
        # of some tokens only (the last ones, before lm_head): a token is then its last dimension
        return shape[-1] if rest or each < shape[-1] else each

    def wrong(self, node: Node, found: object, allowed: str) -> InputError:
        return InputError(self.network.where, f"node {node.name!r}: {node.op}", found, allowed)

    def unsupported(self, node: Node) -> InputError:
        return InputError(self.network.where, f"node {node.name!r}", node.op, SUPPORTED)

    def add(
        self,
        operator: Operator,
        node: Node,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        streams: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        """Add an operator that reads the values `inputs` and makes `outputs`."""
        name = operator.name
        self.graph.add_node(
            name,
            operator=operator,
            node=node.name,
            hint=f"{node.name} {' '.join(node.inputs)}",
            streams=streams,
        )
        for source in self.of(inputs):
            self.graph.add_edge(source, name)
        for value in outputs:
            self.sources[value] = (name,)

    def of(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The operators that make `values`."""
        found = (source for value in values for source in self.sources.get(value, ()))
        return tuple(dict.fromkeys(found))

    def bias(self, value: str, vector: str) -> bool:
        """Make `vector` the bias of the linear operator that makes `value`, if it can be."""
        sources = self.sources.get(value, ())
        if len(sources) != 1 or vector not in self.network.constants:
            return False
        attributes = self.graph.nodes[sources[0]]
        operator = attributes["operator"]
        size = prod(self.shapes.shapes.get(vector, (0,)))
        if operator.kind != "linear" or operator.bias or size != operator.n:
            return False
        attributes["operator"] = replace(operator, bias=True)
        return True

    def mark_bias(self, value: str) -> None:
        """The linear operator that makes `value` has a bias, which a later node adds."""
        for source in self.sources.get(value, ()):
            attributes = self.graph.nodes[source]
            if attributes["operator"].kind == "linear":
                attributes["operator"] = replace(attributes["operator"], bias=True)

    def fold(self, fold: Fold) -> None:
        """A chain of nodes that is one operator."""
        node = fold.nodes[-1]
        if fold.kind == "attention":
            arguments = (fold, self.ropes, self.flow.tokens, self.flow.sequences)
            heads, kv_heads, head_dim = attention_sizes(self.network, self.shapes, *arguments)
            operator = Operator(
                node.name,
                "attention",
                heads * head_dim,
                window=self.window(fold.tables),
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                softcap=_cap(self.shapes, fold),
            )
            streams = tuple(self.of((value,)) for value in fold.inputs)
            self.add(operator, node, fold.inputs, fold.outputs, streams)
            return
        n = sum(self.features(value, node) for value in fold.outputs)
        operator = Operator(node.name, fold.kind, n, softcap=fold.softcap)
        if fold.kind in ("norm", "rope"):
            operator = self.with_heads(operator, fold.inputs[0], node)
        self.add(operator, node, fold.inputs, fold.outputs)

    def window(self, masks: tuple[str, ...]) -> int | None:
        """Positions that the masks of an attention let a token see."""
        return mask_window(self.network, self.shapes, masks, self.flow.streams)

    def with_heads(self, operator: Operator, value: str, node: Node) -> Operator:
        """Norms on heads and rotary embedding work on rows of head_dim elements."""
        shape = self.shapes.of(value, node)
        head_dim = shape[-1]
        # four dimensions: also a single head is a head of its own
        if operator.n % head_dim == 0 and (len(shape) == 4 or head_dim < operator.n):
            return replace(operator, heads=operator.n // head_dim, head_dim=head_dim)
        return operator

    def node(self, node: Node) -> None:
        """A node that is no part of a chain."""
        active = tuple(value for value in node.inputs if value in self.flow.streams)
        if node.op in PRODUCTS or node.op == "MatMulNBits":
            self.linear(node, active)
        elif node.op in _TABLES and node.inputs[0] in self.network.constants:
            width = self.shapes.of(node.outputs[0], node)[-1]
            self.add(Operator(node.name, "embedding", width), node, (), node.outputs)
        elif node.op in _FREE:
            self.carry(node)
        elif node.op in _NORMS:
            n = self.features(node.inputs[0], node)
            operator = self.with_heads(Operator(node.name, "norm", n), node.inputs[0], node)
            self.add(operator, node, active, node.outputs)
        elif node.op in _SKIP_NORMS:
            self.skip_norm(node)
        elif node.op in _ROPES:
            self.rope(node)
        elif node.op in ATTENTIONS:
            fused_attention(self, node)
        elif node.op in _ACTIVATIONS:
            if node.op in ("BiasGelu", "FastGelu"):
                self.bias(node.inputs[0], node.input(1))
            n = self.features(node.outputs[0], node)
            self.add(Operator(node.name, "activation", n), node, active, node.outputs)
        elif node.op in ("Add", "Sub", "Sum", "Mul", "Div"):
            self.arithmetic(node, active)
        else:
            raise self.unsupported(node)

    def carry(self, node: Node) -> None:
        for value in node.outputs:
            # nothing is a source of an empty tensor, such as the part of a head that is not rotated
            empty = 0 in self.shapes.shapes.get(value, ())
            self.sources[value] = () if empty else self.of(node.inputs)

    def linear(self, node: Node, active: tuple[str, ...]) -> None:
        if node.op == "MatMulNBits":
            data, bias = node.inputs[0], node.input(5)
            n, k = node.attributes["N"], node.attributes["K"]
        else:
            first, second = operands(node)
            constants = self.network.constants
            fixed = [value for value in (first, second) if value in constants]
            if len(fixed) != 1:
                found = "a product of two activations"
                raise self.wrong(
                    node, found, "two such products with a Softmax between, or a constant operand"
                )
            shape = self.shapes.of(fixed[0], node)
            if len(shape) < 2 or prod(shape[:-2]) != 1 or 0 in shape:
                found = f"a constant of shape {shape}"
                raise self.wrong(node, found, "a constant matrix of two dimensions")
            k, n = shape[-2:]
            if fixed[0] == first:
                n, k = k, n
            transposed = "transA" if fixed[0] == first else "transB"
            if node.attributes.get(transposed, 0):
                n, k = k, n
            data = second if fixed[0] == first else first
            biases = {"Gemm": 2, "FusedGemm": 2, "DynamicQuantizeMatMul": 4}
            bias = node.input(biases.get(node.op, 99))
        operator = Operator(
            node.name, "linear", n, k, linear_kind="linear", on_accelerator=True, bias=bool(bias)
        )
        if node.op == "FusedGemm":  # ONNX Runtime: a Gemm and the activation behind it
            product = f"{node.name}:product"
            self.add(operator, node, (data,), (product,))
            activation = Operator(f"{node.name}:activation", "activation", n)
            self.add(activation, node, (product,), node.outputs)
        else:
            self.add(operator, node, (data,), node.outputs)

    def rope(self, node: Node) -> None:
        """A fused rotary embedding, of (batch, heads, tokens, head_dim) or all heads in a row."""
        value = node.inputs[0]
        n, shape = self.features(value, node), self.shapes.of(value, node)
        heads = node.attributes.get("num_heads", 0)
        if len(shape) == 4:
            head_dim = shape[-1]
        elif isinstance(heads, int) and heads > 0 and n % heads == 0:
            head_dim = n // heads
        else:  # not said: then heads are as wide as the table tells
            head_dim = self.rotated(node, n)
        heads = n // head_dim if n % head_dim == 0 else 1
        head_dim = self.rotated(node, n // heads)
        rope = Operator(node.name, "rope", heads * head_dim, heads=heads, head_dim=head_dim)
        self.add(rope, node, (value,), node.outputs)

    def rotated(self, node: Node, head_dim: int) -> int:
        """Elements of a head that a fused operator rotates: two for each cosine."""
        table = self.shapes.shapes.get(node.input(COSINE_INPUT[node.op]), ())
        return 2 * table[-1] if table and 0 < 2 * table[-1] <= head_dim else head_dim

    def skip_norm(self, node: Node) -> None:
        """The sum of two streams, and its norm."""
        n, last = self.features(node.inputs[0], node), _SKIP_NORMS[node.op]
        self.bias(node.inputs[0], node.input(last)) or self.bias(node.inputs[1], node.input(last))
        # the sum is the fourth output, also when nothing else reads it
        total = node.outputs[3] if len(node.outputs) > 3 else ""
        total = total or f"{node.name} sum"
        self.add(Operator(f"{node.name}:sum", "add", n), node, node.inputs[:2], (total,))
        self.add(Operator(node.name, "norm", n), node, (total,), node.outputs[:1])

    def arithmetic(self, node: Node, active: tuple[str, ...]) -> None:
        """Sums and products of activations with each other or with constants."""
        others = [value for value in node.inputs if value and value not in active]
        free = all(self.free(value) for value in others)
        if len(active) == 1 and free and node.inputs.count(active[0]) == 1:
            self.carry(node)
            return
        if node.op == "Add" and len(active) == 1 and self.bias(active[0], others[0]):
            self.carry(node)
            return
        if node.op == "Div" and node.inputs[1] in active:
            raise self.unsupported(node)
        n = self.features(node.outputs[0], node) * max(1, len(node.inputs) - 1)
        if node.op == "Add" and len(active) == 1:
            active = (*active, *(v for v in others if self.rows_of_a_table(v, n, node)))
        kind = "multiply" if node.op in ("Mul", "Div") else "add"
        self.add(Operator(node.name, kind, n), node, active, node.outputs)

    def rows_of_a_table(self, value: str, n: int, node: Node) -> bool:
        """A constant row for each token: an embedding that was looked up at export."""
        length = self.flow.tokens // self.flow.sequences
        shape = self.shapes.shapes.get(value, ())
        if value not in self.network.constants or length == 1 or shape[-2:] != (length, n):
            return False
        if value not in self.sources:
            self.add(Operator(f"{node.name}:rows", "embedding", n), node, (), (value,))
        return True

    def free(self, value: str) -> bool:
        """A scalar, or the scale of quantised activations."""
        return is_scalar(self.network, self.shapes, value) or value in self.flow.scales


def _cap(shapes: Shapes, fold: Fold) -> float | None:
    """The factor behind a Tanh on scores, ``cap * tanh(x / cap)`` (Gemma 2)."""
    tanh = next((place for place, node in enumerate(fold.nodes) if node.op == "Tanh"), None)
    if tanh is None:
        return None
    for node in fold.nodes[tanh + 1 :]:
        if node.op == "Mul":
            return next((n for n in map(shapes.number, node.inputs) if n is not None), None)
    return None


def extract(network: Network, shapes: Shapes) -> Extraction:
    """All operators of a network.

    Parameters
    ----------
    network : Network
    shapes : Shapes

    Returns
    -------
    Extraction

    Raises
    ------
    InputError
        A node that computes with activations is none of `SUPPORTED`, or a size is unknown.
    """
    ropes = rope_folds(network, shapes)
    folds = [
        *attention_folds(network),
        *ropes,
        *norm_folds(network, shapes),
        *activation_folds(network, shapes),
    ]
    claimed: dict[int, Fold] = {}
    for fold in folds:
        if not any(node.order in claimed for node in fold.nodes):
            claimed.update({node.order: fold for node in fold.nodes})
    flow = trace_flow(network, shapes, folds)
    extraction = Extraction(network, shapes, flow, ropes)
    for node in network.nodes:
        if not any(value in flow.streams for value in node.outputs):
            continue
        claim = claimed.get(node.order)
        if claim is None:
            extraction.node(node)
        elif node is claim.nodes[-1]:
            extraction.fold(claim)
        else:
            extraction.carry(node)
    return extraction
