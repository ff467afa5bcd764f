"""Front end: an ONNX decoder, whole or some of its blocks, to an operator graph.

Only the structure is read.  Weights are neither needed nor loaded: a file whose weights lie in
external data works without that data.  ``onnx`` is an optional dependency.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx

from designs.errors import InputError
from mapping.frontends.onnx_network import build_network
from mapping.frontends.onnx_operators import SUPPORTED, extract
from mapping.frontends.onnx_roles import assign_roles
from mapping.frontends.onnx_shapes import infer_shapes

__all__ = ["OnnxModel", "read_onnx"]


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A decoder that was read from an ONNX file.

    Parameters
    ----------
    name : str
        Name shown to the user.
    graph : networkx.DiGraph
        As `mapping.graph.build_graph` makes it; the node attribute ``node`` is the name of the
        ONNX node that computes the operator's output.  A linear operator has a kind of
        `mapping.model.LINEAR_KINDS`, or ``qkv``, ``kv`` or ``gate_up`` where one matrix holds
        several of them, or ``linear`` where neither the flow of data nor its name tells.
    max_context : int or None
        Positions in the tables of the file; ``None`` when it has none.
    layers : int
        Decoder layers, counted by their attention; 1 without any.
    hidden : int
        Width of the residual stream.
    """

    name: str
    graph: networkx.DiGraph
    max_context: int | None
    layers: int
    hidden: int


def read_onnx(path: str | Path, name: str | None = None) -> OnnxModel:
    """Read the operators of an ONNX decoder.

    Linear operators, attention (fused or written as MatMul, Softmax, MatMul), norms, rotary
    embedding, activation functions, sums, products and embeddings become operators.  Movement of
    data, changes of its number format, masks and position tables cost nothing.  A softmax outside
    attention counts as an activation, a subtraction as a sum, a multiplication by one scalar as
    part of its neighbour.  A rotary embedding has the elements that it rotates, which may be a
    part of each head.  A window of attention is read from a fused operator, or from the comparison
    of positions that a mask is computed with; a mask that enters the graph, or is constant, does
    not tell one.

    Parameters
    ----------
    path : str or Path
        The ``.onnx`` file, opset 7 or later.
    name : str, optional
        Name the model gets; the file's stem by default.

    Returns
    -------
    OnnxModel

    Raises
    ------
    InputError
        The package ``onnx`` is not installed; the file is missing, cut short or no ONNX file; its
        graph is empty or has a cycle; an operator type is not supported (file, node and type are
        named); two activations are multiplied outside attention; or a shape is unknown.
    """
    path = Path(path)
    model = _load(path)
    network = build_network(model, str(path))
    shapes = infer_shapes(network, SUPPORTED)
    extraction = extract(network, shapes)
    graph, blocks = assign_roles(extraction.graph)
    name = name or path.stem
    graph.graph["name"] = name
    flow = extraction.flow
    return OnnxModel(name, graph, flow.max_context, max(1, blocks), flow.hidden)


def _load(path: Path) -> Any:
    """Parse the file; functions of the file are written out where they are called."""
    if not path.is_file():
        reason = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, "", reason, "an ONNX file")
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        allowed = "pip install 'silicast[onnx]'"
        raise InputError(path, "package onnx", "not installed", allowed) from None
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise InputError(path, "", error.strerror or "unreadable", "an ONNX file") from None
    except DecodeError:
        allowed = "a whole ONNX file (it is cut short or damaged)"
        raise InputError(path, "", "no readable protobuf", allowed) from None
    if not model.HasField("graph"):
        raise InputError(path, "graph", None, "an ONNX file, which holds a graph")
    if model.functions:
        from onnx import inliner

        try:
            model = inliner.inline_local_functions(model)
        except (RuntimeError, ValueError) as error:
            raise InputError(path, "functions", str(error), "functions of the file") from None
    return model
