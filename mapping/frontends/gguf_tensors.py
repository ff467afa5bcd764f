"""Names and shapes of the tensors a GGUF file must hold for a structure.

Names are those of llama.cpp's converter.  Tensors beyond these (rotary factors, scales of
ternary weights) are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from designs.errors import InputError
from mapping.frontends.gguf_header import GgufTensor
from mapping.model import EXPERT_KINDS, LinearShape, ModelSpec

__all__ = ["LINEAR_TENSORS", "NORM_TENSORS", "check_tensors"]

LINEAR_TENSORS = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "router": "ffn_gate_inp",
    "expert_gate": "ffn_gate_exps",
    "expert_up": "ffn_up_exps",
    "expert_down": "ffn_down_exps",
    "shared_gate": "ffn_gate_shexp",
    "shared_up": "ffn_up_shexp",
    "shared_down": "ffn_down_shexp",
    "shared_router": "ffn_gate_inp_shexp",
}
"""Tensor of a linear layer inside ``blk.{layer}``, by kind."""

NORM_TENSORS = {
    "attention_norm": "attn_norm",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "attention_sub_norm": "attn_sub_norm",
    "post_attention_norm": "post_attention_norm",
    "ffn_norm": "ffn_norm",
    "ffn_sub_norm": "ffn_sub_norm",
    "post_ffn_norm": "post_ffw_norm",
}
"""Tensor of a norm inside ``blk.{layer}``, by name in the graph."""

_Entry = tuple[str, tuple[int, ...]]


def _norms(spec: ModelSpec) -> dict[str, int]:
    """Norms of a layer and their sizes."""
    found = {"attention_norm": spec.hidden}
    if spec.qk_norm:
        found |= {"q_norm": spec.head_dim, "k_norm": spec.head_dim}
    if spec.sub_norms:
        found |= {"attention_sub_norm": spec.heads * spec.head_dim, "ffn_sub_norm": spec.ffn}
    if not spec.parallel_block:
        found["ffn_norm"] = spec.hidden
    if spec.post_norms:
        found |= {"post_attention_norm": spec.hidden, "post_ffn_norm": spec.hidden}
    return found


def _expected(spec: ModelSpec, tensors: Mapping[str, GgufTensor]) -> Iterator[_Entry]:
    """Tensors of the model; where there are two ways to store something, the one in the file."""
    vectors = ("weight", "bias") if spec.norm == "layer" else ("weight",)
    yield "token_embd.weight", (spec.vocab, spec.hidden)
    if spec.learned_positions:
        yield "position_embd.weight", (spec.learned_positions, spec.hidden)
    yield from ((f"output_norm.{part}", (spec.hidden,)) for part in vectors)
    if not spec.tied_embeddings:
        yield "output.weight", (spec.vocab, spec.hidden)
    if spec.head_bias:
        yield "output.bias", (spec.vocab,)
    norms = _norms(spec)
    fused = any(name.endswith(".attn_qkv.weight") for name in tensors)
    # files from before the experts were merged have a tensor for each
    single = any(name.endswith(".ffn_up.0.weight") for name in tensors)
    for layer in range(spec.layers):
        prefix = f"blk.{layer}"
        shapes = {shape.kind: shape for shape in spec.layer_linears(layer)}
        if fused:
            rows = sum(shapes.pop(kind).n for kind in ("q", "k", "v"))
            yield f"{prefix}.attn_qkv.weight", (rows, spec.hidden)
            if spec.has_bias("q"):
                yield f"{prefix}.attn_qkv.bias", (rows,)
        if spec.family == "phi3":  # always gate and up in one, as in the original checkpoint
            rows = shapes.pop("gate").n + shapes.pop("up").n
            yield f"{prefix}.ffn_up.weight", (rows, spec.hidden)
        for kind, shape in shapes.items():
            yield from _weights(prefix, shape, single)
            if spec.has_bias(kind):
                yield f"{prefix}.{LINEAR_TENSORS[kind]}.bias", (shape.n,)
        for norm, size in norms.items():
            yield from ((f"{prefix}.{NORM_TENSORS[norm]}.{part}", (size,)) for part in vectors)


def _weights(prefix: str, shape: LinearShape, single: bool) -> Iterator[_Entry]:
    name = f"{prefix}.{LINEAR_TENSORS[shape.kind]}"
    if shape.kind in EXPERT_KINDS and single:
        for expert in range(shape.copies):
            yield f"{name.removesuffix('_exps')}.{expert}.weight", (shape.n, shape.k)
    elif shape.kind in EXPERT_KINDS:
        yield f"{name}.weight", (shape.copies, shape.n, shape.k)
    elif shape.kind == "shared_router":
        yield f"{name}.weight", (shape.k,)
    else:
        yield f"{name}.weight", (shape.n, shape.k)


def check_tensors(spec: ModelSpec, tensors: Mapping[str, GgufTensor], path: Path) -> None:
    """Check that a file holds every tensor of a model, in the shape its structure says.

    Raises
    ------
    InputError
        A tensor is missing or of another shape.
    """
    for name, expected in _expected(spec, tensors):
        tensor = tensors.get(name)
        if tensor is None:
            raise InputError(path, f"tensor {name}", None, f"a tensor of shape {expected}")
        if tensor.shape != expected:
            raise InputError(path, f"tensor {name}", tensor.shape, f"shape {expected}")
