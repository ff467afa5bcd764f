"""Which values of an ONNX graph are activations, how many tokens they have, how long a context is.

Activations start at embedding tables and at floating-point inputs.  Masks and the sine and cosine
of positions are no activations: the patterns name them as tables, and what they are made from is
followed back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from designs.errors import InputError
from mapping.frontends.onnx_network import Network, Node
from mapping.frontends.onnx_patterns import Fold
from mapping.frontends.onnx_shapes import Shapes

__all__ = ["COSINE_INPUT", "Flow", "trace_flow"]

# inputs of fused operators that are masks, lengths or sine and cosine tables
_TABLE_INPUTS = {
    "RotaryEmbedding": (1, 2, 3),
    "com.microsoft.RotaryEmbedding": (1, 2, 3),
    "Attention": (3, 6),
    "com.microsoft.Attention": (3, 5),
    "MultiHeadAttention": (4, 5),
    "GroupQueryAttention": (5, 6, 7, 8, 9, 10, 11),
}
COSINE_INPUT = {"RotaryEmbedding": 1, "com.microsoft.RotaryEmbedding": 2, "GroupQueryAttention": 7}
"""Input of fused operators that is the table of cosines; half as wide as what is rotated."""

_LENGTHS = ("Shape", "Size")
_TABLES = ("Gather", "GatherBlockQuantized")
_POSITIONS = ("pos", "wpe")


@dataclass(frozen=True)
class Flow:
    """Activations of a network.

    Parameters
    ----------
    streams : set of str
        Activation values.
    scales : set of str
        Scales and zero points of activations that are quantised at run time.
    tokens, sequences : int
        Tokens of all sequences, and sequences; products of the sizes that `Shapes` gave symbols.
    hidden : int
        Width of the residual stream.
    max_context : int or None
        Positions in the rotary tables, the position embedding or the causal mask of the file.
    """

    streams: set[str]
    scales: set[str]
    tokens: int
    sequences: int
    hidden: int
    max_context: int | None


def trace_flow(network: Network, shapes: Shapes, folds: list[Fold]) -> Flow:
    """Find the activations.

    Parameters
    ----------
    network : Network
    shapes : Shapes
    folds : list of Fold
        Patterns, whose tables are no activations.

    Returns
    -------
    Flow

    Raises
    ------
    InputError
        There are no activations, no linear operator, or their shapes are unknown.
    """
    angles = [value for fold in folds if fold.kind == "rope" for value in fold.tables]
    masks = [value for fold in folds if fold.kind == "attention" for value in fold.tables]
    for node in network.nodes:
        tables = [node.input(index) for index in _TABLE_INPUTS.get(node.op, ())]
        masks += [value for value in tables if value]
        cosine = node.input(COSINE_INPUT[node.op]) if node.op in COSINE_INPUT else ""
        angles += [cosine] if cosine else []
    aside = _before(network, [*angles, *masks])
    embeddings = [
        node
        for node in network.nodes
        if node.op in _TABLES
        and node.inputs[0] in network.constants
        and node.inputs[1] not in network.constants
        and len(shapes.shapes.get(node.inputs[0], ())) == 2
        and node.outputs[0] not in aside
    ]
    inputs = [name for name in network.inputs if name in network.floats and name not in aside]
    streams, scales = _spread(network, embeddings, inputs)
    main = _main_input(network, shapes, embeddings, streams)
    shape, hidden = main
    if not shape or not prod(shape):
        raise InputError(network.where, "tokens", shape, "one token or more")
    return Flow(
        streams,
        scales,
        prod(shape),
        shape[0] if len(shape) > 1 else 1,
        hidden,
        _context(network, shapes, angles, masks, embeddings, shape[-1]),
    )


def _before(network: Network, values: Iterable[str]) -> dict[str, Node | None]:
    """Values that `values` are computed from, themselves included; lengths do not count."""
    found: dict[str, Node | None] = {}
    open_values = [value for value in values if value]
    while open_values:
        value = open_values.pop()
        if value in found:
            continue
        node = found[value] = network.producers.get(value)
        if node is None or node.op in _LENGTHS:
            continue
        open_values += node.inputs[:1] if node.op == "CastLike" else filter(None, node.inputs)
    return found


def _spread(
    network: Network, embeddings: list[Node], inputs: list[str]
) -> tuple[set[str], set[str]]:
    """Activations and run-time scales, from where they start to the end of the graph."""
    streams, scales = set(inputs), set[str]()
    starts = {node.order for node in embeddings}
    for node in network.nodes:
        read = node.inputs[:1] if node.op == "CastLike" else node.inputs
        if node.op in _LENGTHS:
            continue
        if node.op == "DynamicQuantizeLinear" and node.inputs[0] in streams:
            streams.add(node.outputs[0])
            scales.update(node.outputs[1:])
        elif node.order in starts or any(value in streams for value in read):
            streams.update(value for value in node.outputs if value)
        elif any(value in scales for value in read):
            scales.update(node.outputs)
    return streams, scales


def _main_input(
    network: Network, shapes: Shapes, embeddings: list[Node], streams: set[str]
) -> tuple[tuple[int, ...], int]:
    """Shape of the tokens and width of the stream that enters the first layer."""
    first = next((n for n in network.nodes if _is_linear(network, n, streams)), None)
    if first is None:
        allowed = "a MatMul or Gemm of an activation with a constant matrix"
        raise InputError(network.where, "linear operators", None, allowed)
    before = _before(network, [v for v in first.inputs if v in streams])
    reached = [node for node in embeddings if node.outputs[0] in before]
    if reached:
        # the token embedding has an index a token; positions may be shared by the sequences
        shape = max((shapes.of(node.inputs[1], node) for node in reached), key=prod)
        return shape, shapes.of(reached[0].outputs[0], reached[0])[-1]
    inputs = [name for name in network.inputs if name in before and name in streams]
    if not inputs:
        allowed = "a float input or the Gather of an embedding table before the first linear layer"
        raise InputError(network.where, "activations", None, allowed)
    shape = shapes.of(inputs[0], first)
    if len(shape) < 2:
        allowed = "(batch, sequence, features) or (tokens, features)"
        raise InputError(network.where, f"input {inputs[0]!r}", shape, allowed)
    return shape[:-1], shape[-1]


def _is_linear(network: Network, node: Node, streams: set[str]) -> bool:
    product = "MatMul" in node.op or node.op in ("Gemm", "com.microsoft.Attention")
    return (
        product
        and any(value in network.constants for value in node.inputs)
        and any(value in streams for value in node.inputs)
    )


def _context(
    network: Network,
    shapes: Shapes,
    angles: list[str],
    masks: list[str],
    embeddings: list[Node],
    length: int,
) -> int | None:
    """Rows of the constant tables that positions select from; a sequence has `length` tokens."""
    for values in (angles, masks):
        rows = []
        for value, node in _before(network, values).items():
            table = value if node is None else node.input(0)
            # what enters elsewhere, such as the frequencies of the angles, is no table of positions
            selected = value in values if node is None else node.op in ("Gather", "Slice")
            size = shapes.shapes.get(table, ())
            if node is None and size[-2:-1] == (length,):
                continue  # computed by the exporter for the tokens of a file of fixed length
            if selected and table in network.constants and len(size) >= 2 and size[-2] > 1:
                rows.append(size[-2])
        if rows:
            return max(rows)
        if values is angles:
            named = [n for n in embeddings if any(p in n.inputs[0].lower() for p in _POSITIONS)]
            learned = [
                shapes.of(node.inputs[0], node)[0] - _offset(network, shapes, node.inputs[1])
                for node in named
            ]
            if learned:
                return min(learned)
    return None


def _offset(network: Network, shapes: Shapes, index: str) -> int:
    """Rows below position 0: what an index adds to the position (two in OPT)."""
    node = network.maker(index)
    if node is None or node.op != "Add":
        return 0
    numbers = (shapes.number(value) for value in node.inputs if value in network.constants)
    return next((int(number) for number in numbers if number is not None and number > 0), 0)
