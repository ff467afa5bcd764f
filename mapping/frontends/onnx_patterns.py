"""Chains of ONNX nodes that are one operator of a decoder: norms, activations, rotary embedding.

Exporters write these as elementary arithmetic.  Each function returns `Fold`s: the nodes, the
values that enter, and the values that leave.  Attention is in ``onnx_attention.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy

from mapping.frontends.onnx_network import CARRIERS, Network, Node
from mapping.frontends.onnx_shapes import Shapes

__all__ = ["MOVERS", "Fold", "activation_folds", "is_scalar", "norm_folds", "rope_folds"]

MOVERS = frozenset(
    [
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Tile",
        "Concat",
        "Slice",
        "Split",
        "Gather",
        "GatherElements",
        "GatherND",
        "ScatterElements",
        "ScatterND",
        "TensorScatter",
        "Trilu",
    ]
)
"""Operators that move elements and compute none."""

_LONGEST_TRAIL = 16  # moves between a tensor and its rotated copy; exporters write at most seven


@dataclass(frozen=True)
class Fold:
    """Nodes that together are one operator.

    Parameters
    ----------
    kind : str
        Operator kind.
    nodes : tuple of Node
        All of them, in topological order; the operator has the name of the last.
    inputs : tuple of str
        Activation values that enter.
    outputs : tuple of str
        Values that leave; their elements together are the operator's output.
    tables : tuple of str
        Values that enter and are no activations: masks, sine and cosine tables.
    softcap : float or None
        The cap of a softcap.
    """

    kind: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tables: tuple[str, ...] = ()
    softcap: float | None = None


def is_scalar(network: Network, shapes: Shapes, value: str) -> bool:
    """Whether `value` is a constant, or an element computed from shapes, of one element."""
    if value in network.constants:
        size = shapes.shapes.get(value)
        return size is not None and all(n == 1 for n in size)
    return value in shapes.values and shapes.values[value].size == 1


def _fold(kind: str, nodes: list[Node], inputs: tuple[str, ...], *outputs: str) -> Fold:
    unique = {node.order: node for node in nodes}
    return Fold(kind, tuple(unique[order] for order in sorted(unique)), inputs, outputs)


class _Finder:
    """What the patterns ask of a network."""

    def __init__(self, network: Network, shapes: Shapes) -> None:
        self.network = network
        self.shapes = shapes

    def scalar(self, value: str) -> bool:
        return is_scalar(self.network, self.shapes, value)

    def number(self, value: str) -> float | None:
        return self.shapes.number(value)

    def vector(self, value: str) -> bool:
        """A constant of more than one element."""
        return value in self.network.constants and not self.scalar(value)

    def unscaled(self, value: str) -> str:
        """`value` before multiplications by a scalar and changes of format."""
        while (node := self.network.maker(value)) is not None:
            if node.op == "Mul" and self.scalar(node.inputs[0]):
                value = node.inputs[1]
            elif node.op in ("Mul", "Div") and self.scalar(node.inputs[1]):
                value = node.inputs[0]
            else:
                break
        return self.network.bare(value)

    def square(self, value: str) -> tuple[str, Node] | None:
        """``x`` and the node when `value` is the square of ``x``."""
        node = self.network.maker(value)
        if node is None:
            return None
        bare = self.network.bare
        if (node.op == "Pow" and self.number(node.inputs[1]) == 2) or (
            node.op == "Mul" and bare(node.inputs[0]) == bare(node.inputs[1])
        ):
            return node.inputs[0], node
        return None

    def steps(self, value: str) -> Iterator[tuple[Node, str]]:
        """Follow `value` through the only user of each result, as pairs (node, other input)."""
        while (node := self.network.only_user(value)) is not None:
            other = next((v for v in node.inputs if v and v != value), "")
            yield node, other
            value = node.outputs[0]


def norm_folds(network: Network, shapes: Shapes) -> list[Fold]:
    """RMS and layer norms written as arithmetic around a ``ReduceMean`` of squares.

    RMS norm: ``x / sqrt(mean(x^2) + eps) * weight`` (Zhang and Sennrich, arXiv 1910.07467, eq.
    4); layer norm: the same of ``x - mean(x)``, plus a bias (Ba et al., arXiv 1607.06450, eq. 4).
    """
    finder, folds = _Finder(network, shapes), []
    for node in network.nodes:
        if node.op == "ReduceMean" and node.inputs[0] not in network.constants:
            fold = _norm(finder, node)
            if fold is not None:
                folds.append(fold)
    return folds


def _norm(finder: _Finder, variance: Node) -> Fold | None:
    network = finder.network
    found = finder.square(variance.inputs[0])
    if found is None:
        return None
    centred, square = found
    nodes, source = [variance, square], centred
    difference = network.maker(centred)
    layer_norm = False
    if difference is not None and difference.op == "Sub":
        mean = network.maker(difference.inputs[1])
        same = mean is not None and mean.op == "ReduceMean"
        if same and network.bare(mean.inputs[0]) == network.bare(difference.inputs[0]):  # type: ignore[union-attr]
            assert mean is not None
            layer_norm, source = True, difference.inputs[0]
            nodes += [difference, mean]
    end = _normalisation(finder, variance, centred, source, nodes)
    if end is None:
        return None
    scaled = False
    for node, other in finder.steps(end):
        if node.op in CARRIERS:
            pass  # back to the format of the activations
        elif node.op == "Mul" and not scaled and finder.vector(other):
            scaled = True
        elif not (node.op == "Add" and scaled and layer_norm and finder.vector(other)):
            break
        nodes.append(node)
        end = node.outputs[0]
        if node.op == "Add":
            break
    return _fold("norm", nodes, (source,), end)


def _normalisation(
    finder: _Finder, variance: Node, centred: str, source: str, nodes: list[Node]
) -> str | None:
    """Follow the variance to its product with the input; the product's value."""
    bare = finder.network.bare
    whole = {bare(centred)}
    # some exporters subtract the mean twice, once for the variance and once for the result
    if bare(source) != bare(centred):
        for user in finder.network.users.get(bare(source), []):
            if user.op == "Sub" and bare(user.inputs[0]) == bare(source):
                twin = finder.network.maker(user.inputs[1])
                if twin is not None and twin.op == "ReduceMean":
                    whole.add(user.outputs[0])
                    nodes.append(user)
    for node, other in finder.steps(variance.outputs[0]):
        nodes.append(node)
        if node.op in ("Mul", "Div") and other and bare(other) in whole:
            return node.outputs[0]
        chain = node.op in ("Sqrt", "Reciprocal", "Cast", "Identity")
        chain = chain or (node.op in ("Add", "Div", "Pow", "Max", "Clip") and finder.scalar(other))
        if not chain:
            return None
    return None


def activation_folds(network: Network, shapes: Shapes) -> list[Fold]:
    """SiLU, GELU, squared ReLU and caps, written around ``Sigmoid``, ``Erf``, ``Relu``, ``Tanh``.

    SiLU ``x * sigmoid(x)``; GELU ``x / 2 * (1 + erf(x / sqrt 2))`` and its approximation
    ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`` (Hendrycks and Gimpel, arXiv
    1606.08415, section 2); squared ReLU ``max(x, 0)^2`` (So et al., arXiv 2109.08668, section 4).
    """
    finder, folds = _Finder(network, shapes), []
    for node in network.nodes:
        anchor = node.op in ("Sigmoid", "Erf", "Tanh", "Relu")
        if not anchor or node.inputs[0] in network.constants:
            continue
        nodes = [node]
        if node.op == "Relu":
            folds += _squared(finder, node)
            continue
        if node.op == "Tanh":
            argument = _cubic(finder, node.inputs[0], nodes)
        else:
            argument = finder.unscaled(node.inputs[0])
        fold = None if argument is None else _gated_by_itself(finder, node, argument, nodes)
        if fold is None and node.op == "Tanh":
            fold = _softcap(finder, node)
        if fold is not None:
            folds.append(fold)
    return folds


def _squared(finder: _Finder, relu: Node) -> list[Fold]:
    """A ReLU whose only use is its square."""
    nodes = [relu]
    for node, _ in finder.steps(relu.outputs[0]):
        nodes.append(node)
        if finder.square(node.outputs[0]) is not None and node.op not in CARRIERS:
            return [_fold("activation", nodes, (relu.inputs[0],), node.outputs[0])]
        if node.op not in CARRIERS:
            break
    return []


def _softcap(finder: _Finder, tanh: Node) -> Fold | None:
    """``cap * tanh(x / cap)`` (Gemma 2 report, arXiv 2408.00118, section 2)."""
    nodes = [tanh]
    for node, other in finder.steps(tanh.outputs[0]):
        nodes.append(node)
        if node.op == "Mul" and (cap := finder.number(other)) is not None:
            fold = _fold("softcap", nodes, (tanh.inputs[0],), node.outputs[0])
            return replace(fold, softcap=cap)
        if node.op not in CARRIERS:
            break
    return None


def _cubic(finder: _Finder, value: str, nodes: list[Node]) -> str | None:
    """``x`` when `value` is a scalar times ``x + c x^3`` or ``x (1 + c x^2)``."""
    network = finder.network
    node = network.maker(finder.unscaled(value))
    if node is None or node.op not in ("Add", "Mul"):
        return None
    for first, second in (node.inputs, node.inputs[::-1]):
        x = finder.unscaled(first)
        inner = network.maker(finder.unscaled(second))
        if inner is None:
            continue
        if node.op == "Add":
            cube = _cube(finder, inner, x)
        elif inner.op == "Add" and any(finder.scalar(v) for v in inner.inputs):
            term = inner.inputs[1] if finder.scalar(inner.inputs[0]) else inner.inputs[0]
            squared = finder.square(finder.unscaled(term))
            cube = [squared[1]] if squared and network.bare(squared[0]) == x else None
        else:
            cube = None
        if cube is not None:
            nodes += [node, inner, *cube]
            return x
    return None


def _cube(finder: _Finder, node: Node, x: str) -> list[Node] | None:
    bare = finder.network.bare
    if node.op == "Pow":
        right = bare(node.inputs[0]) == x and finder.number(node.inputs[1]) == 3
        return [node] if right else None
    if node.op == "Mul":
        for first, second in (node.inputs, node.inputs[::-1]):
            squared = finder.square(second)
            if bare(first) == x and squared is not None and bare(squared[0]) == x:
                return [node, squared[1]]
    return None


def _gated_by_itself(finder: _Finder, anchor: Node, x: str, nodes: list[Node]) -> Fold | None:
    """Follow the anchor through scalars to a product with ``x``."""
    end, pending = None, []
    for node, other in finder.steps(anchor.outputs[0]):
        scaling = node.op in ("Add", "Mul", "Div") and finder.scalar(other)
        gating = node.op == "Mul" and end is None and other and finder.unscaled(other) == x
        if not (scaling or gating or node.op in CARRIERS):
            break
        pending.append(node)
        if end is not None or (node.op == "Mul" and not finder.scalar(other)):
            if node.op == "Add":
                break  # a scalar added to the result is not part of the function
            nodes += pending
            pending, end = [], node.outputs[0]
    return None if end is None else _fold("activation", nodes, (x,), end)


def rope_folds(network: Network, shapes: Shapes) -> list[Fold]:
    """Rotary embeddings: sums of two products whose factors come from one tensor.

    ``x cos + rotated(x) sin`` (Su et al., arXiv 2104.09864, eq. 34), where ``rotated`` moves and
    negates elements.  Halves that are computed apart and then joined are one operator.
    """
    finder = _Finder(network, shapes)
    groups: dict[str, list[tuple[Node, list[Node], tuple[str, ...]]]] = {}
    for node in network.nodes:
        if node.op not in ("Add", "Sub") or node.inputs[0] in network.constants:
            continue
        products = [network.maker(value) for value in node.inputs]
        if any(product is None or product.op != "Mul" for product in products):
            continue
        found = _rotation(finder, *[product for product in products if product is not None])
        if found is not None:
            root, path, tables = found
            groups.setdefault(root, []).append((node, path, tables))
    folds = []
    for root, members in groups.items():
        nodes = [n for node, path, _ in members for n in (node, *path)]
        fold = _fold("rope", nodes, (root,), *(node.outputs[0] for node, _, _ in members))
        tables = tuple(dict.fromkeys(t for _, _, found in members for t in found))
        folds.append(replace(fold, tables=tables))
    return folds


def _rotation(
    finder: _Finder, first: Node, second: Node
) -> tuple[str, list[Node], tuple[str, ...]] | None:
    """The tensor that two products share, the nodes between, and the tables."""
    best: tuple[tuple[bool, int], str, list[Node], tuple[str, ...]] | None = None
    for a, cosine in (first.inputs, first.inputs[::-1]):
        for b, sine in (second.inputs, second.inputs[::-1]):
            if any(finder.scalar(v) for v in (a, b, cosine, sine)):
                continue
            root, path = _shared(finder, a, b)
            if root is None:
                continue
            path = [first, second, *path]
            negates = any(node.op == "Neg" for node in path)
            size = int(numpy.prod(finder.shapes.shapes.get(root, (0,)), dtype=object))
            candidate = ((negates, size), root, path, (cosine, sine))
            if best is None or candidate[0] > best[0]:
                best = candidate
    return None if best is None else best[1:]


def _shared(finder: _Finder, a: str, b: str) -> tuple[str | None, list[Node]]:
    """The nearest tensor that `a` and all parts of `b` are rearrangements of, and what negates.

    ``None`` when there is none, or when `a` and `b` are the same tensor.
    """
    bare, path = finder.network.bare, list[Node]()
    if bare(a) == bare(b):
        return None, path
    chain, _ = _trail(finder, a, path)
    origin, parts = _trail(finder, b, path)
    common = set(origin)
    if parts:
        trails = [_trail(finder, part, path)[0] for part in parts]
        common |= set.intersection(*map(set, trails))
    return next((value for value in chain if value in common), None), path


def _trail(finder: _Finder, value: str, path: list[Node]) -> tuple[list[str], tuple[str, ...]]:
    """Values before `value` through moves and negations; at a Concat it ends with its parts."""
    trail = [finder.network.bare(value)]
    while len(trail) < _LONGEST_TRAIL:
        node = finder.network.producers.get(trail[-1])
        if node is None or not (node.op in MOVERS or node.op == "Neg"):
            break
        if node.op == "Concat":
            return trail, node.inputs
        if node.op == "Neg":
            path.append(node)
        trail.append(finder.network.bare(node.inputs[0]))
    return trail, ()
