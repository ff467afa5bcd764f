"""Shapes of every value of an ONNX graph, symbolic batch and sequence lengths included.

A symbol (``batch``, ``sequence_length``) is given one prime number as its size for the whole
graph, far from any size of a model; with it every shape computation of an exporter (Shape,
Gather, Concat, Reshape to -1, Where over lengths) is plain integer arithmetic.  What a token
has is then the number of elements of a value divided by the number of tokens.

A shape that no rule of ``onnx_shape_rules.py`` gives is the one the file declares for the value,
or unknown; only a computation with activations needs it.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.frontends.onnx_network import SMALL, Network, Node
from mapping.frontends.onnx_shape_rules import SHAPE_RULES, Context, Shape, Unknown
from mapping.frontends.onnx_values import evaluate

__all__ = ["Shapes", "infer_shapes"]

# five-digit primes: products of three stay far below 2**63, and no model has such a width
_PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079, 10091, 10093, 10099, 10103)


class Shapes:
    """Shapes and small integer values, by name of the value.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Known shapes.
    values : dict of str to array
        Elements of constants and of computed shapes.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes: dict[str, Shape] = dict(network.dimensions)
        self.values: dict[str, NDArray[Any]] = dict(network.small)
        self._sizes: dict[str, int] = {}

    def of(self, value: str, node: Node) -> Shape:
        """Shape of `value`; an `InputError` that names `node` when it is not known."""
        shape = self.shapes.get(value)
        if shape is None:
            raise InputError(
                self.network.where,
                f"node {node.name!r}: {node.op}: shape of {value!r}",
                None,
                "a shape that follows from the graph inputs (static, or with named dimensions)",
            )
        return shape

    def elements(self, value: str, node: Node) -> int:
        """Number of elements of `value`."""
        return prod(self.of(value, node))

    def number(self, value: str) -> float | None:
        """The one number that `value` is, ``None`` when it is unknown or no single number."""
        array = self.values.get(value)
        if array is None or array.size != 1:
            return None
        try:
            return float(array.item())
        except (TypeError, ValueError):  # complex numbers, text
            return None

    def join_batches(self) -> None:
        """One size for all symbols that are the first dimension of inputs, and no other one.

        torch.export gives each dimension a name of its own when it is not told which are equal.
        """
        known = [sizes for sizes in self.network.inputs.values() if sizes is not None]
        inner = {size for sizes in known for size in sizes[1:]}
        first = {sizes[0]: None for sizes in known if len(sizes) > 1 and sizes[0] not in inner}
        for size in first:
            if isinstance(size, str) and size.isidentifier() and "batch" not in inner:
                self._sizes[size] = self._size("batch")

    def concrete(self, dimensions: tuple[int | str | None, ...] | None, name: str) -> Shape | None:
        """Declared dimensions with symbols replaced by their sizes."""
        if dimensions is None:
            return None
        sizes = []
        for axis, size in enumerate(dimensions):
            # a first dimension without a name is the batch, as it is for every exporter
            unnamed = f"{name}[{axis}]" if axis else "batch"
            sizes.append(self._size(size or unnamed))
        return tuple(sizes)

    def _size(self, size: int | str) -> int:
        if isinstance(size, int):
            return size
        if size.strip().isdecimal():
            return int(size)
        if "+" in size:  # exporters name the length with the cache "past_length + 1"
            return sum(self._size(part.strip()) for part in size.split("+"))
        if size not in self._sizes:
            used = len(self._sizes)
            # graphs have a handful of symbols; past the list any distinct odd size will do
            self._sizes[size] = _PRIMES[used] if used < len(_PRIMES) else 10111 + 2 * used
        return self._sizes[size]


def infer_shapes(network: Network, allowed: str) -> Shapes:
    """Shapes of all values of a network.

    Parameters
    ----------
    network : Network
    allowed : str
        What a message says of an operator type without a rule.

    Returns
    -------
    Shapes

    Raises
    ------
    InputError
        A node is of an unsupported operator type, or its sizes contradict each other.
    """
    shapes = Shapes(network)
    shapes.join_batches()
    for name, dimensions in network.inputs.items():
        shape = shapes.concrete(dimensions, name)
        if shape is not None:
            shapes.shapes[name] = shape
    for node in network.nodes:
        rule = SHAPE_RULES.get(node.op)
        if rule is None:
            op = f"{node.domain}.{node.op}" if node.domain else node.op
            raise InputError(network.where, f"node {node.name!r}", op, allowed)
        _check_inputs(node, network)
        context = Context(network, node, shapes.shapes, shapes.values)
        try:
            found: list[Shape | None] = list(rule(context))
        except Unknown:
            found = []
        except (IndexError, ValueError, TypeError, ZeroDivisionError, KeyError, AttributeError):
            inputs = [shapes.shapes.get(value) for value in node.inputs if value]
            raise context.wrong(
                f"inputs of shapes {inputs}", "inputs and attributes that fit the operator"
            ) from None
        for index, value in enumerate(node.outputs):
            shape = found[index] if index < len(found) else None
            if shape is None:
                shape = shapes.concrete(network.declared.get(value), value)
            if value and shape is not None:
                shapes.shapes[value] = shape
        _follow(node, shapes)
    return shapes


_RUNTIME_INPUTS = {
    "BiasGelu": 2,
    "DynamicQuantizeMatMul": 3,
    "FusedGemm": 2,
    "FusedMatMul": 2,
    "GatherBlockQuantized": 3,
    "MatMulIntegerToFloat": 4,
    "MatMulNBits": 3,
    "SimplifiedLayerNormalization": 2,
    "SkipLayerNormalization": 3,
    "SkipSimplifiedLayerNormalization": 3,
    "com.microsoft.Attention": 2,
    "com.microsoft.RotaryEmbedding": 4,
}
"""Inputs that operators of ONNX Runtime cannot do without; 1 for others."""


def _check_inputs(node: Node, network: Network) -> None:
    """As many inputs as the specification asks for, and an output."""
    least, most = _input_counts(node.op, network.opset)
    if not all(node.input(index) for index in range(least)) or len(node.inputs) > most:
        where, found = f"node {node.name!r}: {node.op}", f"inputs {list(node.inputs)}"
        allowed = f"{least} inputs" if most == least else f"{least} inputs or more"
        raise InputError(network.where, where, found, allowed)
    if not node.outputs or not node.outputs[0]:
        raise InputError(network.where, f"node {node.name!r}: {node.op}: output", None, "an output")


@cache
def _input_counts(op: str, opset: int) -> tuple[int, int]:
    from onnx import defs

    try:
        schema = defs.get_schema(op, opset)
    except defs.SchemaError:
        return _RUNTIME_INPUTS.get(op, 1), 99
    return schema.min_input, schema.max_input


def _follow(node: Node, shapes: Shapes) -> None:
    """Compute the elements of the node's outputs when they are few and all inputs are known."""
    if any(prod(shapes.shapes.get(v, (SMALL + 1,))) > SMALL for v in node.outputs if v):
        return
    if node.op in ("Shape", "Size"):
        if node.inputs[0] not in shapes.shapes:
            return
        shape = shapes.shapes[node.inputs[0]]
        known = [numpy.array(shape if node.op == "Shape" else prod(shape), numpy.int64)]
    else:
        inputs = [value for value in node.inputs if value]
        if any(value not in shapes.values for value in inputs):
            return
        known = [shapes.values[value] for value in inputs]
    for value, array in zip(node.outputs, evaluate(node, known), strict=False):
        if value:
            shapes.values[value] = array
            shapes.shapes[value] = array.shape
