"""Elements of small tensors: what exporters compute shapes with, evaluated in numpy.

An operator without an entry has no known elements; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
from numpy.typing import NDArray

from mapping.frontends.onnx_network import Node

__all__ = ["evaluate"]

Array = NDArray[Any]


def _integers(node: Node, inputs: list[Array], attribute: str, index: int) -> list[int] | None:
    if attribute in node.attributes:
        return [int(x) for x in node.attributes[attribute]]
    return [int(x) for x in inputs[index].reshape(-1)] if index < len(inputs) else None


def _shape(node: Node, inputs: list[Array]) -> Array:
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return inputs[0][start:end]


def _constant(node: Node, inputs: list[Array]) -> Array:
    from onnx import numpy_helper

    for name, value in node.attributes.items():
        if name == "value":
            return numpy_helper.to_array(value)
        if name.startswith("value_"):
            return numpy.array(value)
    raise ValueError("a Constant without a value")


def _divide(node: Node, inputs: list[Array]) -> Array:
    a, b = inputs
    if numpy.issubdtype(a.dtype, numpy.integer):  # ONNX truncates towards zero, as C does
        return (numpy.sign(a) * numpy.sign(b) * (abs(a) // abs(b))).astype(a.dtype)
    return a / b


def _gather(node: Node, inputs: list[Array]) -> Array:
    return numpy.take(inputs[0], inputs[1].astype(int), axis=node.attributes.get("axis", 0))


def _slice(node: Node, inputs: list[Array]) -> Array:
    data = inputs[0]
    starts, ends = _integers(node, inputs, "starts", 1), _integers(node, inputs, "ends", 2)
    assert starts is not None
    assert ends is not None
    axes = _integers(node, inputs, "axes", 3) or list(range(len(starts)))
    steps = _integers(node, inputs, "steps", 4) or [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # a step back to before the first element: ONNX writes the smallest integer
        stop = None if step < 0 and end < -data.shape[axis] else end
        cut[axis] = slice(start, stop, step)
    return data[tuple(cut)]


def _squeeze(node: Node, inputs: list[Array]) -> Array:
    axes = _integers(node, inputs, "axes", 1)
    return numpy.squeeze(inputs[0], None if axes is None else tuple(axes))


def _unsqueeze(node: Node, inputs: list[Array]) -> Array:
    return numpy.expand_dims(inputs[0], tuple(_integers(node, inputs, "axes", 1) or ()))


def _reshape(node: Node, inputs: list[Array]) -> Array:
    target = _integers(node, inputs, "shape", 1) or []
    sizes = [size or inputs[0].shape[i] for i, size in enumerate(target)]
    return inputs[0].reshape(sizes)


def _filled(node: Node, inputs: list[Array]) -> Array:
    value = _constant(node, inputs) if "value" in node.attributes else numpy.zeros(1, numpy.float32)
    return numpy.full([int(x) for x in inputs[0]], value.item(), value.dtype)


def _cast(node: Node, inputs: list[Array]) -> Array:
    from onnx.helper import tensor_dtype_to_np_dtype

    return inputs[0].astype(tensor_dtype_to_np_dtype(node.attributes["to"]))


def _product(node: Node, inputs: list[Array]) -> Array:
    axes = _integers(node, inputs, "axes", 1)
    keep = bool(node.attributes.get("keepdims", 1))
    return numpy.prod(inputs[0], None if axes is None else tuple(axes), keepdims=keep)


def _expand(node: Node, inputs: list[Array]) -> Array:
    target = [int(x) for x in inputs[1]]
    return inputs[0] * numpy.ones(target, inputs[0].dtype)


def _plain(function: Callable[..., Array]) -> Callable[[Node, list[Array]], Array]:
    return lambda node, inputs: function(*inputs)


_EVALUATED: dict[str, Callable[[Node, list[Array]], Array]] = {
    "Shape": _shape,
    "Size": _plain(lambda count: count),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Gather": _gather,
    "Concat": lambda node, inputs: numpy.concatenate(inputs, node.attributes.get("axis", 0)),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Transpose": lambda node, inputs: numpy.transpose(inputs[0], node.attributes.get("perm")),
    "Expand": _expand,
    "Cast": _cast,
    "Range": _plain(lambda start, limit, delta: numpy.arange(start, limit, delta)),
    "ReduceProd": _product,
    "Add": _plain(numpy.add),
    "Sub": _plain(numpy.subtract),
    "Mul": _plain(numpy.multiply),
    "Div": _divide,
    "Mod": _plain(numpy.mod),
    "Pow": _plain(numpy.power),
    "Max": lambda node, inputs: numpy.maximum.reduce(numpy.broadcast_arrays(*inputs)),
    "Min": lambda node, inputs: numpy.minimum.reduce(numpy.broadcast_arrays(*inputs)),
    "Neg": _plain(numpy.negative),
    "Abs": _plain(numpy.absolute),
    "Sqrt": _plain(numpy.sqrt),
    "Reciprocal": _plain(numpy.reciprocal),
    "Floor": _plain(numpy.floor),
    "Ceil": _plain(numpy.ceil),
    "Not": _plain(numpy.logical_not),
    "And": _plain(numpy.logical_and),
    "Or": _plain(numpy.logical_or),
    "Equal": _plain(numpy.equal),
    "Greater": _plain(numpy.greater),
    "GreaterOrEqual": _plain(numpy.greater_equal),
    "Less": _plain(numpy.less),
    "LessOrEqual": _plain(numpy.less_equal),
    "Where": _plain(numpy.where),
    "Identity": _plain(lambda value: value),
}


def evaluate(node: Node, inputs: list[Array]) -> list[Array]:
    """Elements of the outputs of a node.

    Parameters
    ----------
    node : Node
    inputs : list of array
        Elements of its inputs; of ``Shape`` and ``Size`` the result itself.

    Returns
    -------
    list of array
        One for each output; empty when the operator is not evaluated or its inputs do not fit.
    """
    if node.op == "Split":
        sizes = _integers(node, inputs, "split", 1)
        axis = node.attributes.get("axis", 0)
        parts = numpy.cumsum(sizes)[:-1] if sizes else len(node.outputs)
        return list(numpy.array_split(inputs[0], parts, axis))
    function = _EVALUATED.get(node.op)
    if function is None:
        return []
    try:
        with numpy.errstate(all="ignore"):
            return [numpy.asarray(function(node, inputs))]
    except (ValueError, IndexError, TypeError, ZeroDivisionError, KeyError, AttributeError):
        return []
