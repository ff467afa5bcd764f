"""The linear layers of a decoder: their names, kinds, sizes and how often each is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mapping.model import ModelSpec

__all__ = ["EXPERT_KINDS", "LINEAR_KINDS", "LinearShape", "linears_of_layer"]

EXPERT_KINDS = ("expert_gate", "expert_up", "expert_down")
"""Linear layers of routed experts, stored once an expert; a token uses a few of them."""

LINEAR_KINDS = (
    "q",
    "k",
    "v",
    "o",
    "gate",
    "up",
    "down",
    "router",
    *EXPERT_KINDS,
    "shared_gate",
    "shared_up",
    "shared_down",
    "shared_router",
    "lm_head",
)
"""Kinds of linear layers.

``router`` scores the experts, ``shared_*`` is the expert every token passes, ``shared_router``
its gate of one output (Qwen2-MoE).
"""


@dataclass(frozen=True)
class LinearShape:
    """One linear layer: ``output (M, n) = activations (M, k) @ weight (n, k).T``.

    Parameters
    ----------
    name : str
        ``layers.{i}.{kind}`` or ``lm_head``.
    kind : str
        One of `LINEAR_KINDS`.
    n, k : int
        Output channels and reduction length of one copy, both positive.
    copies : int
        Matrices of this shape that are stored: the number of experts for `EXPERT_KINDS`, else 1.
    """

    name: str
    kind: str
    n: int
    k: int
    copies: int = 1

    @property
    def weights(self) -> int:
        """Number of stored weights, ``copies * n * k``."""
        return self.copies * self.n * self.k


def linears_of_layer(spec: ModelSpec, layer: int) -> tuple[LinearShape, ...]:
    """Linear layers of decoder layer `layer`, in execution order.

    A layer with experts has a router, the experts and, where ``shared_ffn`` is set, a shared
    expert; any other layer has one MLP.
    """
    query, key = spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
    shapes = [
        ("q", query, spec.hidden, 1),
        ("k", key, spec.hidden, 1),
        ("v", key, spec.hidden, 1),
        ("o", spec.hidden, query, 1),
    ]

    def mlp(prefix: str, width: int, copies: int = 1) -> None:
        if spec.gated_mlp:
            shapes.append((f"{prefix}gate", width, spec.hidden, copies))
        shapes.append((f"{prefix}up", width, spec.hidden, copies))
        shapes.append((f"{prefix}down", spec.hidden, width, copies))

    if not spec.routed(layer):
        mlp("", spec.ffn)
    else:
        shapes.append(("router", spec.experts, spec.hidden, 1))
        mlp("expert_", spec.expert_ffn, spec.experts)
        if spec.shared_ffn:
            mlp("shared_", spec.shared_ffn)
        if spec.shared_expert_gate:
            shapes.append(("shared_router", 1, spec.hidden, 1))
    return tuple(LinearShape(f"layers.{layer}.{kind}", kind, *sizes) for kind, *sizes in shapes)
