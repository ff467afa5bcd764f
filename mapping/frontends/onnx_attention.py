"""Attention in ONNX: the chain MatMul, scale, mask, Softmax, MatMul, and the fused operators.

Heads follow from shapes: the scores of one token against one position are one number a head, and
the width of the key before it is repeated for its group of queries is ``kv_heads * head_dim``
(grouped-query attention, Ainslie et al., arXiv 2305.13245).
"""

from __future__ import annotations

from math import prod

from designs.errors import InputError
from mapping.frontends.onnx_network import CARRIERS, Network, Node
from mapping.frontends.onnx_patterns import MOVERS, Fold, is_scalar
from mapping.frontends.onnx_shapes import Shapes

__all__ = ["PRODUCTS", "attention_folds", "attention_sizes", "key_width", "operands"]

PRODUCTS = {
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "Gemm": (0, 1),
    "FusedGemm": (0, 1),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "QLinearMatMul": (0, 3),
}
"""Matrix products with two operands: which inputs these are."""

_SCORES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Clip", "Tanh", "Concat"}) | CARRIERS
_MASKED = frozenset({"Add", "Sub", "Mul", "Div", "Where", "Max", "Min"})
_WEIGHTS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Where", "IsNaN", "Slice", "Mul"})

_LONGEST = 48  # nodes between the scores and their softmax; exporters write at most fifteen


def operands(node: Node) -> tuple[str, str]:
    """The two operands of a matrix product."""
    a, b = PRODUCTS[node.op]
    return node.input(a), node.input(b)


def _is_product(network: Network, node: Node) -> bool:
    """Whether `node` multiplies two matrices of which neither is constant."""
    return node.op in PRODUCTS and not any(v in network.constants for v in operands(node))


class _Scores:
    """Walks back from a softmax to the product of query and key."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._found: dict[str, tuple[Node, tuple[Node, ...], tuple[str, ...]] | None] = {}

    def walk(
        self, value: str, depth: int = 0
    ) -> tuple[Node, tuple[Node, ...], tuple[str, ...]] | None:
        """The product, the nodes from it to `value`, and the masks that enter on the way."""
        if value not in self._found:
            self._found[value] = None  # masks are shared by all layers: each is walked once
            if depth < _LONGEST:
                self._found[value] = self._walk(value, depth)
        return self._found[value]

    def _walk(
        self, value: str, depth: int
    ) -> tuple[Node, tuple[Node, ...], tuple[str, ...]] | None:
        node = self.network.producers.get(value)
        if node is None or value in self.network.constants:
            return None
        if _is_product(self.network, node):
            return node, (node,), ()
        if node.op in _SCORES or node.op in _MASKED:
            ways = node.inputs if node.op in _MASKED or node.op == "Concat" else node.inputs[:1]
            for way in ways:
                found = self.walk(way, depth + 1) if way else None
                if found is not None:
                    product, nodes, tables = found
                    others = tuple(v for v in ways if v and v != way)
                    return product, (*nodes, node), (*tables, *others)
        return None


def attention_folds(network: Network) -> list[Fold]:
    """Attention written as arithmetic.

    Parameters
    ----------
    network : Network

    Returns
    -------
    list of Fold
        Inputs are query, key and value; tables are the masks.
    """
    scores, folds = _Scores(network), []
    for node in network.nodes:
        if node.op != "Softmax" or node.inputs[0] in network.constants:
            continue
        found, after = scores.walk(node.inputs[0]), _values_product(network, node)
        if found is None or after is None:
            continue
        product, nodes, tables = found
        context, between = after
        inputs = (*operands(product), operands(context)[1])
        members = {n.order: n for n in (*nodes, node, *between, context)}
        chain = tuple(members[order] for order in sorted(members))
        folds.append(Fold("attention", chain, inputs, (context.outputs[0],), tables))
    return folds


def _values_product(network: Network, softmax: Node) -> tuple[Node, list[Node]] | None:
    """The product of the softmax with the values, and the nodes between."""
    between: list[Node] = []
    open_values = [softmax.outputs[0]]
    while open_values:
        value = open_values.pop()
        for user in network.users.get(value, []):
            if _is_product(network, user) and operands(user)[0] == value:
                return user, between
            if user.op in _WEIGHTS or user.op in CARRIERS:
                between.append(user)
                open_values.append(user.outputs[0])
    return None


def attention_sizes(
    network: Network, shapes: Shapes, fold: Fold, ropes: list[Fold], tokens: int, sequences: int
) -> tuple[int, int, int]:
    """Heads of an attention.

    Parameters
    ----------
    network : Network
    shapes : Shapes
    fold : Fold
        From `attention_folds`.
    ropes : list of Fold
        Rotary embeddings of the network; the key is followed back through them.
    tokens, sequences : int
        Tokens of all sequences, and sequences.

    Returns
    -------
    heads, kv_heads, head_dim : int

    Raises
    ------
    InputError
        The shapes are not those of a whole number of heads.
    """
    products = [node for node in fold.nodes if _is_product(network, node)]
    product, context = products[0], products[-1]
    queries, scores = shapes.of(fold.inputs[0], product), shapes.of(product.outputs[0], product)
    if len(scores) < 2:
        raise _wrong(network, product, scores, "scores of two dimensions or more")
    head_dim = queries[-2 if product.attributes.get("transA", 0) else -1]
    values = shapes.of(context.outputs[0], context)[-1]
    if values != head_dim:
        allowed = f"values as wide as the head_dim of the queries, {head_dim}"
        raise _wrong(network, context, f"head_dim {values} of the values", allowed)
    # a token has one score a head and position
    heads, rest = divmod(prod(scores[:-1]), tokens)
    if rest or not heads:
        found = f"scores of shape {scores} for {tokens} tokens"
        raise _wrong(network, product, found, "a whole number of heads for each token")
    width = key_width(network, shapes, product, operands(product)[1], ropes, scores[-1])
    kv_heads, rest = divmod(width, sequences * head_dim)
    if rest or not kv_heads or heads % kv_heads:
        found = f"keys of {width / sequences:g} elements a position for {heads} heads of {head_dim}"
        raise _wrong(network, product, found, "key heads that divide the query heads")
    return heads, kv_heads, head_dim


def _wrong(network: Network, node: Node, found: object, allowed: str) -> InputError:
    return InputError(network.where, f"node {node.name!r}: {node.op}", found, allowed)


def key_width(
    network: Network, shapes: Shapes, node: Node, value: str, ropes: list[Fold], positions: int
) -> int:
    """Elements of the key at one position, all sequences together, before it is repeated.

    The key is followed back to where it is computed or enters; on the way repeats over the
    heads of a group fall away, and at the end of a cache the number of positions changes.

    Parameters
    ----------
    network : Network
    shapes : Shapes
    node : Node
        The product or the fused attention that reads the key.
    value : str
        The key.
    ropes : list of Fold
        Rotary embeddings of the network.
    positions : int
        Positions of `value`.
    """
    roots = {output: rope.inputs[0] for rope in ropes for output in rope.outputs}
    least = prod(shapes.of(value, node)) // positions
    whole = 0  # elements that a joined feature dimension must reach before it counts again
    while (maker := network.producers.get(value)) is not None:
        if value in roots:
            value = roots[value]
        elif maker.op == "Concat":
            axis, out = maker.attributes.get("axis", 0), shapes.of(value, maker)
            if len(set(map(network.bare, maker.inputs))) == 1:
                value = maker.inputs[0]  # repeated heads
            elif out[axis] == positions and _grows(network, shapes, maker, axis):
                value = maker.inputs[-1]  # past positions before new ones
                positions = shapes.of(value, maker)[axis]
            else:  # rotated and plain elements of each head
                whole, value = prod(out), maker.inputs[-1]
        elif maker.op in ("ScatterND", "ScatterElements", "TensorScatter"):
            value = maker.inputs[0]  # a cache of fixed length has the shape of the keys
        elif maker.op in CARRIERS or maker.op in MOVERS:
            value = maker.inputs[0]
        elif maker.op in ("Mul", "Div"):
            scaled = [v for v in maker.inputs if not is_scalar(network, shapes, v)]
            if len(scaled) != 1:
                break
            value = scaled[0]
        else:
            break
        size = prod(shapes.of(value, maker))
        if size >= whole and size % positions == 0:
            least = min(least, size // positions)
    return least


def _grows(network: Network, shapes: Shapes, node: Node, axis: int) -> bool:
    """Whether a Concat appends to a cache: one of its inputs is no part of the computation."""
    rank = len(shapes.of(node.outputs[0], node))
    return axis % rank != rank - 1 or any(v in network.inputs for v in node.inputs)
