"""A parsed ONNX graph as nodes and values: who makes a value, who uses it, what is constant.

Only the structure of the file is kept.  Weights stay where they are: of an initializer its
dimensions are read, and its elements only when there are at most `SMALL` of them, because those
are what the shapes of a graph are computed from.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy
from numpy.typing import NDArray

from designs.errors import InputError

__all__ = ["CARRIERS", "SMALL", "Network", "Node", "build_network"]

SMALL = 4096
"""Most elements of a constant or a computed integer tensor whose values are followed."""

CARRIERS = frozenset(
    {"Cast", "CastLike", "Identity", "Dropout", "QuantizeLinear", "DequantizeLinear"}
)
"""Operators whose first output is their first input, but for its number format."""

_STANDARD = ("", "ai.onnx")
_DOMAINS = (*_STANDARD, "com.microsoft")
# operators of com.microsoft whose inputs differ from those of the standard operator
_OWN_MEANING = ("Attention", "RotaryEmbedding")


@dataclass(frozen=True, eq=False)
class Node:
    """One node of an ONNX graph.

    Parameters
    ----------
    name : str
        Unique in the network; made from the operator type where the file gives none.
    op : str
        Operator type; ``com.microsoft.Attention`` and ``com.microsoft.RotaryEmbedding`` keep
        their domain because the standard has others of that name.
    domain : str
        Domain as in the file.
    inputs, outputs : tuple of str
        Values; an omitted optional one is an empty string.
    attributes : dict
        Attribute values by name; tensors and graphs as protobuf messages.
    order : int
        Place in the network's topological order.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    order: int = 0

    def input(self, index: int) -> str:
        """Input value `index`, empty where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, eq=False)
class Network:
    """An ONNX graph.

    Parameters
    ----------
    where : str
        The file.
    nodes : tuple of Node
        In topological order.
    inputs : dict
        Graph inputs that are not initializers: their dimensions (int, symbol, or ``None`` for
        a dimension without either); ``None`` for a tensor of unknown rank.
    floats : frozenset of str
        Those of `inputs` that hold floating-point numbers.
    outputs : tuple of str
        Graph outputs.
    dimensions : dict
        Dimensions of each initializer.
    small : dict
        Elements of initializers with at most `SMALL` of them that are stored in the file.
    opset : int
        Version of the standard operators.
    declared : dict
        Dimensions that the file declares for intermediate values, as `inputs`.
    """

    where: str
    nodes: tuple[Node, ...]
    inputs: dict[str, tuple[int | str | None, ...] | None]
    floats: frozenset[str]
    outputs: tuple[str, ...]
    dimensions: dict[str, tuple[int, ...]]
    small: dict[str, NDArray[Any]]
    opset: int
    declared: dict[str, tuple[int | str | None, ...] | None]

    @cached_property
    def producers(self) -> dict[str, Node]:
        """The node that makes each value."""
        return {value: node for node in self.nodes for value in node.outputs if value}

    @cached_property
    def users(self) -> dict[str, list[Node]]:
        """The nodes that read each value, in topological order; a node once."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                if value:
                    users.setdefault(value, []).append(node)
        return users

    @cached_property
    def constants(self) -> frozenset[str]:
        """Values that depend on no input of the graph."""
        constants = set(self.dimensions)
        for node in self.nodes:
            if all(value in constants for value in node.inputs if value):
                constants.update(value for value in node.outputs if value)
        return frozenset(constants)

    def bare(self, value: str) -> str:
        """`value` before changes of its number format."""
        node = self.producers.get(value)
        while node is not None and node.op in CARRIERS and value == node.outputs[0]:
            value = node.inputs[0]
            node = self.producers.get(value)
        return value

    def maker(self, value: str) -> Node | None:
        """The node that computes `value`, changes of number format looked through."""
        return self.producers.get(self.bare(value))

    def only_user(self, value: str) -> Node | None:
        """The one node that reads `value`; ``None`` when there are more or it is an output."""
        users = self.users.get(value, [])
        return users[0] if len(users) == 1 and value not in self.outputs else None


def build_network(model: Any, where: str) -> Network:
    """Take a graph out of a parsed file.

    Parameters
    ----------
    model : onnx.ModelProto
    where : str
        The file, for messages.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        The graph is empty, has a cycle, reads a value that nothing makes, makes a value twice,
        or has a node of an unknown domain.
    """
    graph = model.graph
    if not graph.node:
        raise InputError(where, "graph.node", [], "a graph of at least one node")
    dimensions, small = _initializers(graph, where)
    inputs = {_text(v.name): _dimensions(v) for v in graph.input}
    inputs = {name: sizes for name, sizes in inputs.items() if name not in dimensions}
    floats = frozenset(_text(v.name) for v in graph.input if _is_float(v))
    nodes = _sorted(_nodes(graph, where), set(inputs) | set(dimensions), where)
    outputs = tuple(_text(value.name) for value in graph.output)
    made = {value for node in nodes for value in node.outputs}
    for value in outputs:
        if value not in made and value not in inputs and value not in dimensions:
            raise InputError(where, "graph.output", value, "a value that a node makes")
    declared = {_text(v.name): _dimensions(v) for v in [*graph.value_info, *graph.output]}
    opset = max((o.version for o in model.opset_import if o.domain in _STANDARD), default=1)
    opset = min(max(opset, 1), 1 << 30)
    return Network(where, nodes, inputs, floats, outputs, dimensions, small, opset, declared)


def _initializers(graph, where: str) -> tuple[dict[str, tuple[int, ...]], dict[str, NDArray[Any]]]:
    from onnx import TensorProto, numpy_helper

    dimensions: dict[str, tuple[int, ...]] = {}
    small: dict[str, NDArray[Any]] = {}
    for tensor in graph.initializer:
        name, shape = _text(tensor.name), tuple(tensor.dims)
        if any(size < 0 for size in shape):
            raise InputError(where, f"initializer {name!r}", shape, "dimensions >= 0")
        dimensions[name] = shape
        count = int(numpy.prod(shape, dtype=object))
        if count <= SMALL and tensor.data_location != TensorProto.EXTERNAL:
            try:
                small[name] = numpy_helper.to_array(tensor)
            except (ValueError, TypeError, KeyError, AttributeError):
                allowed = f"{count} elements of data, as its dimensions {shape} say"
                raise InputError(where, f"initializer {name!r}", "damaged data", allowed) from None
    for sparse in graph.sparse_initializer:
        dimensions[_text(sparse.values.name)] = tuple(sparse.dims)
    return dimensions, small


def _dimensions(value) -> tuple[int | str | None, ...] | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(
        size.dim_value if size.dim_value > 0 else _text(size.dim_param) or None
        for size in kind.shape.dim
    )


def _text(name: Any) -> str:
    """A name; protobuf gives bytes when it is not UTF-8, which a damaged file may hold."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _is_float(value) -> bool:
    from onnx import TensorProto

    return value.type.tensor_type.elem_type in (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
    )


def _nodes(graph, where: str) -> list[Node]:
    from onnx.helper import get_attribute_value

    used: set[str] = set()
    nodes = []
    for index, proto in enumerate(graph.node):
        op, domain = _text(proto.op_type), _text(proto.domain)
        name = _text(proto.name) or f"{op}_{index}"
        while name in used:  # node names are for people and need not be unique in ONNX
            name = f"{name}_{index}"
        used.add(name)
        if domain not in _DOMAINS:
            allowed = "an operator of the domains ai.onnx or com.microsoft"
            raise InputError(where, f"node {name!r}", f"{domain}.{op}", allowed)
        if domain == "com.microsoft" and op in _OWN_MEANING:
            op = f"{domain}.{op}"
        inputs, outputs = tuple(map(_text, proto.input)), tuple(map(_text, proto.output))
        attributes = {_text(a.name): get_attribute_value(a) for a in proto.attribute}
        nodes.append(Node(name, op, domain, inputs, outputs, attributes))
    return nodes


def _sorted(nodes: list[Node], known: set[str], where: str) -> tuple[Node, ...]:
    """Topological order that keeps the file's order where it is one (Kahn)."""
    makers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for value in filter(None, node.outputs):
            if value in makers or value in known:
                allowed = "outputs that no other node, input or initializer has"
                raise InputError(where, f"node {node.name!r}: output", value, allowed)
            makers[value] = index
    readers: dict[int, list[int]] = {}
    waiting = [0] * len(nodes)
    in_order = True
    for index, node in enumerate(nodes):
        for value in filter(None, node.inputs):
            if value in known:
                continue
            if value not in makers:
                allowed = "a graph input, an initializer or the output of a node"
                raise InputError(where, f"node {node.name!r}: input", value, allowed)
            in_order = in_order and makers[value] < index
            readers.setdefault(makers[value], []).append(index)
            waiting[index] += 1
    order = list(range(len(nodes)))
    if not in_order:
        ready = deque(index for index, count in enumerate(waiting) if not count)
        order = []
        while ready:
            index = ready.popleft()
            order.append(index)
            for reader in readers.get(index, []):
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if len(order) < len(nodes):
            stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
            raise InputError(where, f"node {stuck.name!r}", "a cycle", "an acyclic graph")
    ordered = (nodes[index] for index in order)
    return tuple(replace(node, order=place) for place, node in enumerate(ordered))
