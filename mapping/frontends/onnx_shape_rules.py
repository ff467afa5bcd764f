"""What shape each ONNX operator type gives its outputs.

The rules are those of the ONNX operator specification (docs/Operators.md, opset 23) and, for
``com.microsoft``, of ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.frontends.onnx_network import Network, Node

__all__ = ["SHAPE_RULES", "Context", "Shape", "Unknown"]

Shape = tuple[int, ...]


class Unknown(Exception):
    """An input shape or value that a rule needs is not known."""


class Context:
    """What a rule sees of one node."""

    def __init__(
        self,
        network: Network,
        node: Node,
        shapes: dict[str, Shape],
        values: dict[str, NDArray[Any]],
    ) -> None:
        self.network, self.node = network, node
        self._shapes, self._values = shapes, values

    def value(self, index: int) -> NDArray[Any]:
        """Elements of an input; `Unknown` when they are not known."""
        value = self._values.get(self.node.input(index))
        if value is None:
            raise Unknown
        return value

    def shape(self, index: int) -> Shape:
        """Shape of an input; `Unknown` when it is not known."""
        shape = self._shapes.get(self.node.input(index))
        if shape is None:
            raise Unknown
        return shape

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, or the default of the specification."""
        return self.node.attributes.get(name, default)

    def integers(self, attribute: str, index: int) -> list[int] | None:
        """A list that older opsets hold in an attribute and newer ones in an input."""
        if attribute in self.node.attributes:
            return [int(x) for x in self.node.attributes[attribute]]
        if not self.node.input(index):
            return None
        value = self.value(index)
        if not numpy.issubdtype(value.dtype, numpy.integer):
            raise self.wrong(f"input {index} of type {value.dtype}", "integers")
        return [int(x) for x in value.reshape(-1)]

    def wrong(self, found: object, allowed: str) -> InputError:
        """An error that names the file, the node and its operator type."""
        where = self.network.where
        return InputError(where, f"node {self.node.name!r}: {self.node.op}", found, allowed)

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front."""
        if not -rank <= axis < max(rank, 1):
            raise self.wrong(f"axis {axis}", f"an axis of a tensor of {rank} dimensions")
        return axis % rank if rank else 0


def _same(context: Context) -> list[Shape]:
    return [context.shape(0)] * len(context.node.outputs)


def _join(shapes: list[Shape]) -> Shape:
    """Broadcast; of two sizes that differ the first wins, because one of them is a mask's
    length that the file names apart from the lengths it is the sum of."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((s for s in sizes if s != 1), 1) for sizes in zip(*padded, strict=True))


def _broadcast(context: Context) -> list[Shape]:
    indices = [i for i, value in enumerate(context.node.inputs) if value]
    if context.node.op == "Where":  # its values before its condition, often a mask
        indices = [1, 2, 0]
    return [_join([context.shape(index) for index in indices])]


def _matmul(context: Context) -> list[Shape]:
    second = {"QLinearMatMul": 3}.get(context.node.op, 1)
    a, b = context.shape(0), context.shape(second)
    if not a or not b:
        raise context.wrong(f"operands of shapes {a} and {b}", "operands of one dimension or more")
    if context.attribute("transA", 0):
        a = (*a[:-2], a[-1], a[-2])
    if context.attribute("transB", 0):
        b = (*b[:-2], b[-1], b[-2])
    fixed = context.node.input(second) in context.network.constants
    if fixed and len(b) >= 2 and a[-1] != b[-2]:
        raise context.wrong(f"operands of shapes {a} and {b}", "equal inner dimensions")
    if len(b) == 1:
        return [a[:-1]]
    if len(a) == 1:
        return [(*b[:-2], b[-1])]
    return [(*_join([a[:-2], b[:-2]]), a[-2], b[-1])]


def _matmul_bits(context: Context) -> list[Shape]:
    n, k = context.attribute("N", 0), context.attribute("K", 0)
    shape = context.shape(0)
    if n < 1 or k < 1 or not shape or shape[-1] != k:
        found = f"N {n}, K {k} for activations of shape {shape}"
        raise context.wrong(found, "N >= 1 and K equal to the last dimension")
    return [(*shape[:-1], n)]


def _transpose(context: Context) -> list[Shape]:
    shape = context.shape(0)
    order = context.attribute("perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise context.wrong(f"perm {list(order)}", f"an order of {len(shape)} dimensions")
    return [tuple(shape[axis] for axis in order)]


def _reshape(context: Context) -> list[Shape]:
    target, shape = context.integers("shape", 1), context.shape(0)
    if target is None:
        raise Unknown
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


def _flatten(context: Context) -> list[Shape]:
    shape = context.shape(0)
    axis = context.attribute("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(prod(shape[:axis]), prod(shape[axis:]))]


def _squeeze(context: Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None:
        return [tuple(size for size in shape if size != 1)]
    gone = {context.axis(axis, len(shape)) for axis in axes}
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _unsqueeze(context: Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None:
        raise Unknown
    rank = len(shape) + len(axes)
    new = {context.axis(axis, rank) for axis in axes}
    if len(new) < len(axes):
        raise context.wrong(f"axes {axes}", "axes that differ")
    sizes = iter(shape)
    return [tuple(1 if axis in new else next(sizes) for axis in range(rank))]


def _expand(context: Context) -> list[Shape]:
    target = context.integers("", 1)
    return [_join([context.shape(0), tuple(target or ())])]


def _tile(context: Context) -> list[Shape]:
    repeats = context.integers("", 1) or []
    shape = context.shape(0)
    return [tuple(size * times for size, times in zip(shape, repeats, strict=True))]


def _concat(context: Context) -> list[Shape]:
    shapes = [context.shape(index) for index in range(len(context.node.inputs))]
    axis = context.axis(context.attribute("axis", 0), len(shapes[0]))
    if any(len(shape) != len(shapes[0]) for shape in shapes):
        raise context.wrong(f"shapes {shapes}", "shapes of one rank")
    total = sum(shape[axis] for shape in shapes)
    # the batch of a cache may have a symbol of its own: the last input is the new one
    return [(*shapes[-1][:axis], total, *shapes[-1][axis + 1 :])]


def _slice(context: Context) -> list[Shape]:
    shape = list(context.shape(0))
    starts, ends = context.integers("starts", 1), context.integers("ends", 2)
    if starts is None or ends is None:
        raise Unknown
    axes = context.integers("axes", 3) or list(range(len(starts)))
    steps = context.integers("steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not step:
            raise context.wrong("step 0", "steps other than 0")
        place = context.axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return [tuple(shape)]


def _split(context: Context) -> list[Shape]:
    shape, parts = context.shape(0), context.integers("split", 1)
    axis = context.axis(context.attribute("axis", 0), len(shape))
    count = len(context.node.outputs)
    if parts is None:
        each = -(-shape[axis] // count)
        parts = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if sum(parts) != shape[axis] or len(parts) != count:
        raise context.wrong(f"parts {parts}", f"{count} parts of {shape[axis]}")
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def _gather(context: Context) -> list[Shape]:
    shape, indices = context.shape(0), context.shape(1)
    axis = context.axis(context.attribute("axis", 0), len(shape))
    return [(*shape[:axis], *indices, *shape[axis + 1 :])]


def _gather_packed(context: Context) -> list[Shape]:
    # GatherBlockQuantized: bytes hold 8 / bits elements along the last axis
    (*lead, width), indices = context.shape(0), context.shape(1)
    bits = context.attribute("bits", 4)
    scales = context.shape(2)[-1] * context.attribute("block_size", 128)
    packed = width * (8 // bits)
    width = packed if packed <= scales and bits < 8 else width
    if context.attribute("gather_axis", 0) or len(lead) != 1:
        raise context.wrong("a table of other than two dimensions", "rows gathered along axis 0")
    return [(*indices, width)]


def _reduce(context: Context) -> list[Shape]:
    shape, axes = context.shape(0), context.integers("axes", 1)
    if axes is None and context.node.op in ("ArgMax", "ArgMin"):
        axes = [context.attribute("axis", 0)]
    gone = {context.axis(axis, len(shape)) for axis in axes or range(len(shape))}
    if not context.attribute("keepdims", 1):
        return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]
    return [tuple(1 if axis in gone else size for axis, size in enumerate(shape))]


def _topk(context: Context) -> list[Shape]:
    shape, count = context.shape(0), context.integers("k", 1)
    if count is None:
        raise Unknown
    axis = context.axis(context.attribute("axis", -1), len(shape))
    return [(*shape[:axis], count[0], *shape[axis + 1 :])] * 2


def _from_value(context: Context) -> list[Shape]:
    target = context.integers("", 0)
    return [tuple(target or ())]


def _range(context: Context) -> list[Shape]:
    start, limit, delta = (context.value(index) for index in range(3))
    steps = (float(limit.item()) - float(start.item())) / float(delta.item())
    return [(max(0, int(numpy.ceil(steps))),)]


def _constant(context: Context) -> list[Shape]:
    tensor = context.attribute("value")
    if tensor is not None:
        return [tuple(tensor.dims)]
    lists = ("value_floats", "value_ints", "value_strings")
    return [next(((len(context.attribute(n)),) for n in lists if n in context.node.attributes), ())]


def _einsum(context: Context) -> list[Shape]:
    """An equation in letters with a result, as angles of rotary embeddings are written."""
    terms, _, result = context.attribute("equation", b"").decode().replace(" ", "").partition("->")
    if not result.isalpha():
        raise Unknown
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms.split(",")):
        sizes.update(zip(term, context.shape(index), strict=True))
    return [tuple(sizes[letter] for letter in result)]


def _unknown(context: Context) -> list[Shape]:
    raise Unknown


def _attention(context: Context) -> list[Shape]:
    """Attention of opset 23: the output has the layout of the query."""
    query, value = context.shape(0), context.shape(2)
    if len(query) == 4:
        return [(*query[:-1], value[-1])]
    heads, kv_heads = context.attribute("q_num_heads", 0), context.attribute("kv_num_heads", 0)
    if heads < 1 or kv_heads < 1:
        raise context.wrong(f"heads {heads}, {kv_heads}", "q_num_heads and kv_num_heads >= 1")
    return [(*query[:-1], heads * (value[-1] // kv_heads))]


def _grouped_attention(context: Context) -> list[Shape]:
    query = context.shape(0)
    heads, kv_heads = context.attribute("num_heads", 0), context.attribute("kv_num_heads", 0)
    if heads < 1 or kv_heads < 1:
        raise context.wrong(f"heads {heads}, {kv_heads}", "num_heads and kv_num_heads >= 1")
    if context.node.input(1):
        return [query]
    return [(*query[:-1], query[-1] // (heads + 2 * kv_heads) * heads)]


def _multi_head(context: Context) -> list[Shape]:
    query = context.shape(0)
    if len(query) == 5:  # (batch, sequence, heads, 3, head_dim)
        return [(*query[:2], query[2] * query[4])]
    return [query]


def _packed_attention(context: Context) -> list[Shape]:
    sizes = context.attribute("qkv_hidden_sizes")
    width = sizes[2] if sizes else context.shape(1)[-1] // 3
    return [(*context.shape(0)[:-1], width)]


def _skip(context: Context) -> list[Shape]:
    shape = context.shape(0)
    few = (*shape[:-1], 1)
    return [shape, few, few, shape][: len(context.node.outputs)]


def _normalised(context: Context) -> list[Shape]:
    shape = context.shape(0)
    return [shape] + [(*shape[:-1], 1)] * (len(context.node.outputs) - 1)


def _dynamic(context: Context) -> list[Shape]:
    return [context.shape(0), (), ()]


_RULES: dict[Callable[[Context], list[Shape]], str] = {
    _same: "Abs BiasGelu BitwiseNot Cast CastLike Ceil Celu Clip Cos CumSum DequantizeLinear "
    "Dropout Elu Erf Exp FastGelu Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN "
    "LeakyRelu Log LogSoftmax Mish Neg Not QuantizeLinear QuickGelu Reciprocal Relu Round "
    "RotaryEmbedding ScatterElements ScatterND Selu Sigmoid Sign Sin Softmax Softplus "
    "Softsign Sqrt Swish Tanh TensorScatter Trilu com.microsoft.RotaryEmbedding",
    _broadcast: "Add And BitwiseAnd BitwiseOr Div Equal Greater GreaterOrEqual Less LessOrEqual "
    "Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where Xor",
    _matmul: "FusedGemm FusedMatMul Gemm MatMul MatMulInteger MatMulIntegerToFloat QLinearMatMul "
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
    _einsum: "Einsum",
    _unknown: "NonZero",
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

SHAPE_RULES = {op: rule for rule, names in _RULES.items() for op in names.split()}
"""The rule of every supported operator type."""
