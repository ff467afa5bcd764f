"""Attention that is one ONNX node: the standard's ``Attention`` and those of ONNX Runtime.

Inputs and attributes: ONNX operator specification, Attention-23; ONNX Runtime,
docs/ContribOperators.md, of Attention, MultiHeadAttention and GroupQueryAttention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapping.frontends.onnx_attention import key_width
from mapping.frontends.onnx_network import Node
from mapping.graph import Operator

if TYPE_CHECKING:
    from mapping.frontends.onnx_operators import Extraction

__all__ = ["ATTENTIONS", "fused_attention"]

ATTENTIONS = (
    "Attention",
    "com.microsoft.Attention",
    "GroupQueryAttention",
    "MultiHeadAttention",
)
"""Operator types that are attention."""

_MASKS = {
    "Attention": 3,
    "com.microsoft.Attention": 5,
    "GroupQueryAttention": 10,
    "MultiHeadAttention": 5,
}
_NORM_WEIGHTS = {"q": 14, "k": 15}  # inputs of GroupQueryAttention


def fused_attention(extraction: Extraction, node: Node) -> None:
    """Add the operators of a fused attention node.

    Raises
    ------
    InputError
        The node's attributes or shapes are not those of a whole number of heads.
    """
    _ADD[node.op](extraction, node)


def _heads(extraction: Extraction, node: Node, name: str) -> int:
    heads = _number(extraction, node, name)
    if heads < 1 or heads != int(heads):
        raise extraction.wrong(node, f"{name} {heads}", f"an integer {name} >= 1")
    return int(heads)


def _number(extraction: Extraction, node: Node, name: str) -> float:
    """An attribute; 0 where it is left out."""
    value = node.attributes.get(name, 0)
    if not isinstance(value, int | float):
        raise extraction.wrong(node, f"{name} {value!r}", f"a number as {name}")
    return value


def _attention(
    extraction: Extraction, node: Node, streams: tuple[str, ...], heads: int, kv_heads: int, n: int
) -> None:
    """The attention itself, of `n` elements of queries."""
    head_dim, rest = divmod(n, heads)
    if rest or heads % kv_heads:
        found = f"{heads} heads and {kv_heads} key heads for {n} elements of a query"
        raise extraction.wrong(node, found, "heads that divide the query, key heads the heads")
    window = int(_number(extraction, node, "local_window_size"))
    operator = Operator(
        node.name,
        "attention",
        n,
        window=window if window > 0 else extraction.window((node.input(_MASKS[node.op]),)),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        softcap=_number(extraction, node, "softcap") or None,
    )
    sources = tuple(extraction.of((value,)) for value in streams)
    extraction.add(operator, node, streams, node.outputs, sources)


def _standard(extraction: Extraction, node: Node) -> None:
    query, key = (extraction.shapes.of(node.inputs[i], node) for i in (0, 1))
    if len(query) == 4:  # (batch, heads, sequence, head_dim)
        if len(key) < 4 or 0 in key:
            raise extraction.wrong(node, f"keys of shape {key}", "four dimensions, as the query")
        heads, n = query[1], query[1] * query[3]
        widths = {key[3], extraction.shapes.of(node.inputs[2], node)[3]}
        # torch.onnx repeats the keys of a group for each of its heads before the attention
        network, shapes, ropes = extraction.network, extraction.shapes, extraction.ropes
        width = key_width(network, shapes, node, node.inputs[1], ropes, key[2])
        kv_heads, rest = divmod(width, key[0] * key[3])
        kv_heads = kv_heads if kv_heads and not rest else key[1]
    else:
        heads = _heads(extraction, node, "q_num_heads")
        kv_heads = _heads(extraction, node, "kv_num_heads")
        n, widths = query[-1], {extraction.shapes.of(node.inputs[2], node)[-1] // kv_heads}
    if any(width * heads != n for width in widths):
        found = f"keys and values of head_dim {sorted(widths)}"
        raise extraction.wrong(node, found, f"the head_dim of the queries, {n // heads}")
    _attention(extraction, node, node.inputs[:3], heads, kv_heads, n)


def _grouped(extraction: Extraction, node: Node) -> None:
    heads, kv_heads = (_heads(extraction, node, f"{kind}num_heads") for kind in ("", "kv_"))
    width = extraction.shapes.of(node.inputs[0], node)[-1]
    packed = not node.input(1)
    head_dim = width // (heads + 2 * kv_heads) if packed else width // heads
    streams = (node.inputs[0],) * 3 if packed else node.inputs[:3]
    streams = (
        _on_heads(extraction, node, "q", streams[0], heads, head_dim),
        _on_heads(extraction, node, "k", streams[1], kv_heads, head_dim),
        streams[2],
    )
    _attention(extraction, node, streams, heads, kv_heads, heads * head_dim)


def _on_heads(
    extraction: Extraction, node: Node, kind: str, value: str, heads: int, head_dim: int
) -> str:
    """The norm and the rotary embedding of queries or keys that are inside the attention."""
    if node.input(_NORM_WEIGHTS[kind]):
        name = f"{node.name}:{kind}_norm"
        norm = Operator(name, "norm", heads * head_dim, heads=heads, head_dim=head_dim)
        extraction.add(norm, node, (value,), (name,))
        value = name
    if node.attributes.get("do_rotary", 0):
        name, rotated = f"{node.name}:{kind}_rope", extraction.rotated(node, head_dim)
        rope = Operator(name, "rope", heads * rotated, heads=heads, head_dim=rotated)
        extraction.add(rope, node, (value,), (name,))
        value = name
    return value


def _multi_head(extraction: Extraction, node: Node) -> None:
    heads = _heads(extraction, node, "num_heads")
    query = extraction.shapes.of(node.inputs[0], node)
    n = query[2] * query[4] if len(query) == 5 else query[-1]
    packed = node.inputs[0]  # (batch, sequence, heads, 3, head_dim), or key and value apart
    key = node.input(1) or packed
    streams = (packed, key, node.input(2) or key)
    if node.input(3):  # one vector of the biases of query, key and value
        for value in dict.fromkeys(streams):
            extraction.mark_bias(value)
    _attention(extraction, node, streams, heads, heads, n)


def _with_projection(extraction: Extraction, node: Node) -> None:
    heads = _heads(extraction, node, "num_heads")
    k, n = extraction.shapes.of(node.inputs[1], node)
    sizes = list(node.attributes.get("qkv_hidden_sizes", [n // 3] * 3))
    if sum(sizes) != n or len(set(sizes)) != 1:
        allowed = f"three equal sizes that add up to {n}"
        raise extraction.wrong(node, f"qkv_hidden_sizes {sizes}", allowed)
    name = f"{node.name}:qkv"
    projection = Operator(
        name, "linear", n, k, linear_kind="qkv", on_accelerator=True, bias=bool(node.input(2))
    )
    extraction.add(projection, node, node.inputs[:1], (name,))
    _attention(extraction, node, (name,) * 3, heads, heads, sizes[0])


_ADD = {
    "Attention": _standard,
    "com.microsoft.Attention": _with_projection,
    "GroupQueryAttention": _grouped,
    "MultiHeadAttention": _multi_head,
}
