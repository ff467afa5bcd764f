"""The window of an attention, read from how an ONNX graph computes its mask.

A sliding window (Mistral 7B, arXiv 2310.06825, section 2) is a second condition beside the causal
one: position ``j`` is seen from position ``i`` where ``j > i - W``.  Exporters write it as a
comparison of two ranges of positions, one a column and one a row, with a constant between them.
A mask that is an input of the file, or constant because all lengths are fixed, does not tell it.
"""

from __future__ import annotations

from mapping.frontends.onnx_network import CARRIERS, Network, Node
from mapping.frontends.onnx_shapes import Shapes

__all__ = ["mask_window"]

# whether the comparison (first, second) also holds, or fails, where both are equal: where
# ``first > second`` is true and where it is false, equality falls on the side of <=
_EQUAL_IS_GREATER = {"Greater": False, "GreaterOrEqual": True, "Less": True, "LessOrEqual": False}


def mask_window(
    network: Network, shapes: Shapes, masks: tuple[str, ...], streams: set[str]
) -> int | None:
    """Positions that a token sees, itself included.

    Parameters
    ----------
    network : Network
    shapes : Shapes
    masks : tuple of str
        Masks of one attention.
    streams : set of str
        Activations, which masks are not computed from.

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
        if node.op in _EQUAL_IS_GREATER:
            window = _compared(network, shapes, node)
            found += [] if window is None else [window]
        elif node.op not in ("Shape", "Size"):
            open_values += filter(None, node.inputs)
    return min(found, default=None)


def _compared(network: Network, shapes: Shapes, node: Node) -> int | None:
    """The window when a comparison is of ``i - W`` with ``j``, or of ``i - j`` with ``W``."""
    equal_is_greater = _EQUAL_IS_GREATER[node.op]
    for place in (0, 1):
        side, other = node.inputs[place], node.inputs[1 - place]
        distance = _difference(network, side)
        if distance is None:
            continue
        first, second = distance
        # seen where j > i - W: of two equal sides none is greater
        above = equal_is_greater if place == 0 else not equal_is_greater
        length = _constant(network, shapes, second)
        if length is not None and _is_column(shapes, first) and not _is_column(shapes, other):
            return length + 1 if not above else length
        length = _constant(network, shapes, other)
        if length is not None and _is_column(shapes, first) and not _is_column(shapes, second):
            return length if above else length + 1
    return None
