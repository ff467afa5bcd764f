"""The window of an attention, read from how an ONNX graph computes its mask.

A sliding window (Mistral 7B, arXiv 2310.06825, section 2) is a second condition beside the causal
one: the token at ``i`` sees position ``j`` only where ``j > i - W``.  Exporters write it as a
comparison of a column of positions with a row of positions, with the constant W between them.
A mask that is an input of the file, or a constant because all lengths are fixed, does not tell it.
"""

from __future__ import annotations

from collections.abc import Iterable

from mapping.frontends.onnx_network import CARRIERS, Network, Node
from mapping.frontends.onnx_shapes import Shapes

__all__ = ["mask_window"]

# a comparison parts all pairs of positions in two; whether equal sides fall to the smaller first
_EQUAL_IS_BELOW = {"Greater": True, "LessOrEqual": True, "GreaterOrEqual": False, "Less": False}
_RESHAPED = frozenset({"Unsqueeze", "Squeeze", "Reshape", "Expand"}) | CARRIERS
_LENGTHS = ("Shape", "Size")


def mask_window(
    network: Network, shapes: Shapes, masks: Iterable[str], streams: set[str]
) -> int | None:
    """Positions that a token sees, itself included.

    Parameters
    ----------
    network : Network
    shapes : Shapes
    masks : iterable of str
        Masks of one attention.
    streams : set of str
        Activations; no mask is computed from them.

    Returns
    -------
    int or None
        The least window of the masks; ``None`` when no comparison bounds the distance.
    """
    found: list[int] = []
    seen, open_values = set[str](), [value for value in masks if value]
    while open_values:
        value = open_values.pop()
        node = network.producers.get(value)
        if node is None or value in seen or value in streams:
            continue
        seen.add(value)
        if node.op in _EQUAL_IS_BELOW:
            window = _bound(network, shapes, node)
            found += [] if window is None else [window]
        elif node.op not in _LENGTHS:
            open_values += filter(None, node.inputs)
    return min(found, default=None)


def _bound(network: Network, shapes: Shapes, node: Node) -> int | None:
    """The window when `node` compares ``i - W`` with ``j``, or ``i - j`` with ``W``."""
    for place, side in enumerate(node.inputs):
        difference, other = network.producers.get(side), node.inputs[1 - place]
        while difference is not None and difference.op in _RESHAPED:
            difference = network.producers.get(difference.inputs[0])
        if difference is None or difference.op != "Sub":
            continue
        first, second = difference.inputs
        if _column(shapes, side) and _row(shapes, other):
            width = _number(network, shapes, second)
        elif _column(shapes, first) and _row(shapes, second):
            width = _number(network, shapes, other)
        else:
            continue
        if width is not None and width > 0:
            # of i - W and j, or i - j and W, the pairs are seen where the difference is smaller
            return width + (_EQUAL_IS_BELOW[node.op] == (place == 0))
    return None


def _column(shapes: Shapes, value: str) -> bool:
    shape = shapes.shapes.get(value, ())
    return len(shape) > 1 and shape[-1] == 1


def _row(shapes: Shapes, value: str) -> bool:
    return shapes.shapes.get(value, (1,))[-1:] > (1,)


def _number(network: Network, shapes: Shapes, value: str) -> int | None:
    number = shapes.number(value) if value in network.constants else None
    return int(number) if number is not None and number == int(number) else None
