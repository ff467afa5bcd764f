"""Shapes of every value of an ONNX graph, symbolic batch and sequence lengths included.

A symbol (``batch``, ``sequence_length``) is given one prime number as its size for the whole
graph, far from any size of a model; with it every shape computation of an exporter (Shape,
Gather, Concat, Reshape to -1, Where over lengths) is plain integer arithmetic.  What a token
has is then the number of elements of a value divided by the number of tokens.

The rules are those of the ONNX operator specification (docs/Operators.md, opset 23) and, for
``com.microsoft``, of ONNX Runtime's docs/ContribOperators.md.  A shape that no rule gives is the
one the file declares for the value, or ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.frontends.onnx_network import SMALL, Network, Node
from mapping.frontends.onnx_values import evaluate

__all__ = ["SHAPED", "Shape", "Shapes", "infer_shapes"]

Shape = tuple[int, ...]

# five-digit primes: products of three stay far below 2**63, and no model has such a width
_PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079, 10091, 10093, 10099, 10103)


class _Unknown(Exception):
    """An input shape or value that a rule needs is not known."""


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

    def concrete(self, dimensions: tuple[int | str | None, ...] | None, name: str) -> Shape | None:
        """Declared dimensions with symbols replaced by their sizes."""
        if dimensions is None:
            return None
        sizes = []
        for axis, size in enumerate(dimensions):
            # a first dimension without a name is the batch, as it is for every exporter
            sizes.append(self._size((f"{name}[{axis}]" if axis else "batch") if not size else size))
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


class _Context:
    """What a rule sees of one node."""

    def __init__(self, node: Node, shapes: Shapes) -> None:
        self.node = node
        self._shapes = shapes

    def shape(self, index: int) -> Shape:
        shape = self._shapes.shapes.get(self.node.input(index))
        if shape is None:
            raise _Unknown
        return shape

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def integers(self, attribute: str, index: int) -> list[int] | None:
        """A list that older opsets hold in an attribute and newer ones in an input."""
        if attribute in self.node.attributes:
            return [int(x) for x in self.node.attributes[attribute]]
        value = self.node.input(index)
        if not value:
            return None
        if value not in self._shapes.values:
            raise _Unknown
        return [int(x) for x in self._shapes.values[value].reshape(-1)]

    def wrong(self, found: object, allowed: str) -> InputError:
        where = self._shapes.network.where
        return InputError(where, f"node {self.node.name!r}: {self.node.op}", found, allowed)

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < max(rank, 1):
            raise self.wrong(f"axis {axis}", f"an axis of a tensor of {rank} dimensions")
        return axis % rank if rank else 0


def _same(context: _Context) -> list[Shape]:
    return [context.shape(0)] * len(context.node.outputs)


def _join(shapes: list[Shape]) -> Shape:
    """Broadcast; of two sizes that differ the first wins, because one of them is a mask's
    length that the file names apart from the lengths it is the sum of."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((s for s in sizes if s != 1), 1) for sizes in zip(*padded, strict=True))


def _broadcast(context: _Context) -> list[Shape]:
    indices = [i for i, value in enumerate(context.node.inputs) if value]
    if context.node.op == "Where":  # its values before its condition, often a mask
        indices = [1, 2, 0]
    return [_join([context.shape(index) for index in indices])]


def _matmul(context: _Context) -> list[Shape]:
    second = {"QLinearMatMul": 3}.get(context.node.op, 1)
    a, b = context.shape(0), context.shape(second)
    if not a or not b:
        raise context.wrong(f"operands of shapes {a} and {b}", "operands of one dimension or more")
    if context.attribute("transA", 0):
        a = (*a[:-2], a[-1], a[-2])
    if context.attribute("transB", 0):
        b = (*b[:-2], b[-1], b[-2])
    fixed = context.node.input(second) in context._shapes.network.constants
    if fixed and len(b) >= 2 and a[-1] != b[-2]:
        raise context.wrong(f"operands of shapes {a} and {b}", "equal inner dimensions")
    if len(b) == 1:
        return [a[:-1]]
    if len(a) == 1:
        return [(*b[:-2], b[-1])]
    return [(*_join([a[:-2], b[:-2]]), a[-2], b[-1])]


def _matmul_bits(context: _Context) -> list[Shape]:
    n, k = context.attribute("N", 0), context.attribute("K", 0)
    shape = context.shape(0)
    if n < 1 or k < 1 or not shape or shape[-1] != k:
        found = f"N {n}, K {k} for activations of shape {shape}"
        raise context.wrong(found, "N >= 1 and K equal to the last dimension")
    return [(*shape[:-1], n)]


def _transpose(context: _Context) -> list[Shape]:
    shape = context.shape(0)
    order = context.attribute("perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise context.wrong(f"perm {list(order)}", f"an order of {len(shape)} dimensions")
    return [tuple(shape[axis] for axis in order)]


def _reshape(context: _Context) -> list[Shape]:
    target, shape = context.integers("shape", 1), context.shape(0)
    if target is None:
        raise _Unknown
    if not context.attribute("allowzero", 0):
        target = [
            shape[axis] if not size and axis < len(shape) else size
            for axis, size in enumerate(target)
        ]
    known, total = prod(size for size in target if size != -1), prod(shape)
    if target.count(-1) == 1 and known and total % known == 0:
        target = [total // known if size == -1 else size for size in target]
    if prod(target) != total or min(target, default=1) < 0:
        raise context.wrong(f"shape {tuple(target)}", f"the {total} elements of {shape}")
    return [tuple(target)]


def _flatten(context: _Context) -> list[Shape]:
    shape = context.shape(0)
    axis = context.attribute("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(prod(shape[:axis]), prod(shape[axis:]))]


def _squeeze(context: _Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None:
        return [tuple(size for size in shape if size != 1)]
    gone = {context.axis(axis, len(shape)) for axis in axes}
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _unsqueeze(context: _Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None:
        raise _Unknown
    rank = len(shape) + len(axes)
    new = {context.axis(axis, rank) for axis in axes}
    sizes = iter(shape)
    return [tuple(1 if axis in new else next(sizes) for axis in range(rank))]


def _expand(context: _Context) -> list[Shape]:
    target = context.integers("", 1)
    return [_join([context.shape(0), tuple(target or ())])]


def _tile(context: _Context) -> list[Shape]:
    repeats = context.integers("", 1) or []
    shape = context.shape(0)
    return [tuple(size * times for size, times in zip(shape, repeats, strict=True))]


def _concat(context: _Context) -> list[Shape]:
    shapes = [context.shape(index) for index in range(len(context.node.inputs))]
    axis = context.axis(context.attribute("axis", 0), len(shapes[0]))
    if any(len(shape) != len(shapes[0]) for shape in shapes):
        raise context.wrong(f"shapes {shapes}", "shapes of one rank")
    total = sum(shape[axis] for shape in shapes)
    # the batch of a cache may have a symbol of its own: the last input is the new one
    return [(*shapes[-1][:axis], total, *shapes[-1][axis + 1 :])]


def _slice(context: _Context) -> list[Shape]:
    shape = list(context.shape(0))
    starts, ends = context.integers("starts", 1), context.integers("ends", 2)
    if starts is None or ends is None:
        raise _Unknown
    axes = context.integers("axes", 3) or list(range(len(starts)))
    steps = context.integers("steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not step:
            raise context.wrong("step 0", "steps other than 0")
        place = context.axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return [tuple(shape)]


def _split(context: _Context) -> list[Shape]:
    shape, parts = context.shape(0), context.integers("split", 1)
    axis = context.axis(context.attribute("axis", 0), len(shape))
    count = len(context.node.outputs)
    if parts is None:
        each = -(-shape[axis] // count)
        parts = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if sum(parts) != shape[axis] or len(parts) != count:
        raise context.wrong(f"parts {parts}", f"{count} parts of {shape[axis]}")
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def _gather(context: _Context) -> list[Shape]:
    shape, indices = context.shape(0), context.shape(1)
    axis = context.axis(context.attribute("axis", 0), len(shape))
    return [(*shape[:axis], *indices, *shape[axis + 1 :])]


def _gather_packed(context: _Context) -> list[Shape]:
    # GatherBlockQuantized: bytes hold 8 / bits elements along the last axis
    (*lead, width), indices = context.shape(0), context.shape(1)
    bits = context.attribute("bits", 4)
    scales = context.shape(2)[-1] * context.attribute("block_size", 128)
    packed = width * (8 // bits)
    width = packed if packed <= scales and bits < 8 else width
    if context.attribute("gather_axis", 0) or len(lead) != 1:
        raise context.wrong("a table of other than two dimensions", "rows gathered along axis 0")
    return [(*indices, width)]


def _reduce(context: _Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None and context.node.op in ("ArgMax", "ArgMin"):
        axes = [context.attribute("axis", 0)]
    gone = {context.axis(axis, len(shape)) for axis in axes or range(len(shape))}
    if not context.attribute("keepdims", 1):
        return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]
    return [tuple(1 if axis in gone else size for axis, size in enumerate(shape))]


def _topk(context: _Context) -> list[Shape]:
    shape, count = context.shape(0), context.integers("k", 1)
    if count is None:
        raise _Unknown
    axis = context.axis(context.attribute("axis", -1), len(shape))
    return [(*shape[:axis], count[0], *shape[axis + 1 :])] * 2


def _from_value(context: _Context) -> list[Shape]:
    target = context.integers("", 0)
    return [tuple(target or ())]


def _range(context: _Context) -> list[Shape]:
    start, limit, delta = (context._shapes.values.get(context.node.input(i)) for i in range(3))
    if start is None or limit is None or delta is None:
        raise _Unknown
    steps = (float(limit.item()) - float(start.item())) / float(delta.item())
    return [(max(0, int(numpy.ceil(steps))),)]


def _constant(context: _Context) -> list[Shape]:
    tensor = context.attribute("value")
    if tensor is not None:
        return [tuple(tensor.dims)]
    lists = ("value_floats", "value_ints", "value_strings")
    return [next(((len(context.attribute(n)),) for n in lists if n in context.node.attributes), ())]


def _attention(context: _Context) -> list[Shape]:
    """Attention of opset 23: the output has the layout of the query."""
    query, value = context.shape(0), context.shape(2)
    if len(query) == 4:
        return [(*query[:-1], value[-1])]
    heads, kv_heads = context.attribute("q_num_heads", 0), context.attribute("kv_num_heads", 0)
    if heads < 1 or kv_heads < 1:
        raise context.wrong(f"heads {heads}, {kv_heads}", "q_num_heads and kv_num_heads >= 1")
    return [(*query[:-1], heads * (value[-1] // kv_heads))]


def _grouped_attention(context: _Context) -> list[Shape]:
    query = context.shape(0)
    heads, kv_heads = context.attribute("num_heads", 0), context.attribute("kv_num_heads", 0)
    if heads < 1 or kv_heads < 1:
        raise context.wrong(f"heads {heads}, {kv_heads}", "num_heads and kv_num_heads >= 1")
    if context.node.input(1):
        return [query]
    return [(*query[:-1], query[-1] // (heads + 2 * kv_heads) * heads)]


def _multi_head(context: _Context) -> list[Shape]:
    query = context.shape(0)
    if len(query) == 5:  # (batch, sequence, heads, 3, head_dim)
        return [(*query[:2], query[2] * query[4])]
    return [query]


def _packed_attention(context: _Context) -> list[Shape]:
    sizes = context.attribute("qkv_hidden_sizes")
    width = sizes[2] if sizes else context.shape(1)[-1] // 3
    return [(*context.shape(0)[:-1], width)]


def _skip(context: _Context) -> list[Shape]:
    shape = context.shape(0)
    few = (*shape[:-1], 1)
    return [shape, few, few, shape][: len(context.node.outputs)]


def _normalised(context: _Context) -> list[Shape]:
    shape = context.shape(0)
    return [shape] + [(*shape[:-1], 1)] * (len(context.node.outputs) - 1)


def _dynamic(context: _Context) -> list[Shape]:
    return [context.shape(0), (), ()]


_RULES: dict[Callable[[_Context], list[Shape]], str] = {
    _same: "Abs BiasGelu BitwiseNot Cast CastLike Ceil Celu Clip Cos CumSum DequantizeLinear "
    "Dropout Elu Erf Exp FastGelu Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN "
    "LeakyRelu Log LogSoftmax Mish Neg Not QuantizeLinear QuickGelu Reciprocal Relu Round "
    "RotaryEmbedding ScatterElements ScatterND Selu Sigmoid Sign Sin Softmax Softplus "
    "Softsign Sqrt Swish Tanh TensorScatter Trilu com.microsoft.RotaryEmbedding",
    _broadcast: "Add And BitwiseAnd BitwiseOr Div Equal Greater GreaterOrEqual Less LessOrEqual "
    "Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where Xor",
    _matmul: "FusedMatMul Gemm MatMul MatMulInteger MatMulIntegerToFloat QLinearMatMul "
    "DynamicQuantizeMatMul",
    _matmul_bits: "MatMulNBits",
    _transpose: "Transpose",
    _reshape: "Reshape",
    _flatten: "Flatten",
    _squeeze: "Squeeze",
    _unsqueeze: "Unsqueeze",
    _expand: "Expand",
    _tile: "Tile",
    _concat: "Concat",
    _slice: "Slice",
    _split: "Split",
    _gather: "Gather",
    _gather_packed: "GatherBlockQuantized",
    _reduce: "ArgMax ArgMin ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare",
    _topk: "TopK",
    _from_value: "ConstantOfShape",
    _range: "Range",
    _constant: "Constant",
    _attention: "Attention",
    _grouped_attention: "GroupQueryAttention",
    _multi_head: "MultiHeadAttention",
    _packed_attention: "com.microsoft.Attention",
    _skip: "SkipLayerNormalization SkipSimplifiedLayerNormalization",
    _normalised: "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
    _dynamic: "DynamicQuantizeLinear",
    lambda context: [(len(context.shape(0)),)]: "Shape",
    lambda context: [()]: "Size",
    lambda context: [context.shape(1)]: "GatherElements",
    lambda context: [(*context.shape(1)[:-1], *context.shape(0)[context.shape(1)[-1] :])]: (
        "GatherND"
    ),
}

SHAPED = {op: rule for rule, names in _RULES.items() for op in names.split()}
"""The rule of every supported operator type."""


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
    for name, dimensions in network.inputs.items():
        shape = shapes.concrete(dimensions, name)
        if shape is not None:
            shapes.shapes[name] = shape
    for node in network.nodes:
        rule = SHAPED.get(node.op)
        if rule is None:
            op = f"{node.domain}.{node.op}" if node.domain else node.op
            raise InputError(network.where, f"node {node.name!r}", op, allowed)
        context = _Context(node, shapes)
        try:
            found: list[Shape | None] = list(rule(context))
        except _Unknown:
            found = []
        except (IndexError, ValueError, TypeError, ZeroDivisionError):
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


def _follow(node: Node, shapes: Shapes) -> None:
    """Compute the elements of the node's outputs when they are few and all inputs are known."""
    if any(prod(shapes.shapes.get(v, (SMALL + 1,))) > SMALL for v in node.outputs if v):
        return
    if node.op == "Shape":
        shape = shapes.shapes.get(node.inputs[0])
        known = [None if shape is None else numpy.array(shape, numpy.int64)]
    elif node.op == "Size":
        shape = shapes.shapes.get(node.inputs[0])
        known = [None if shape is None else numpy.array(prod(shape), numpy.int64)]
    else:
        known = [shapes.values.get(value) for value in node.inputs if value]
    if any(value is None for value in known):
        return
    for value, array in zip(node.outputs, evaluate(node, known), strict=False):
        if value:
            shapes.values[value] = array
            shapes.shapes[value] = array.shape
