"""What each operator of an ONNX decoder is for: its layer, and which projection a linear one is.

Told from the data flow, not from names, which every exporter makes differently: q, k and v are
what an attention reads, o what reads it, gate is activated and multiplied with up.  Only a linear
operator that the flow does not explain is asked for its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import networkx

from mapping.graph import Operator

__all__ = ["assign_roles"]

_NAMES = {
    "qkv": r"c_attn|qkv|query_key_value|in_proj",
    "q": r"q_proj|query|\bwq\b|attn_q",
    "k": r"k_proj|key|\bwk\b|attn_k",
    "v": r"v_proj|value|\bwv\b|attn_v",
    "o": r"o_proj|out_proj|\bwo\b|attn_output|attention.*dense",
    "gate_up": r"gate_up_proj",
    "gate": r"gate_proj|ffn_gate",
    "up": r"up_proj|c_fc|fc1|dense_h_to_4h|ffn_up",
    "down": r"down_proj|fc2|dense_4h_to_h|ffn_down",
    "lm_head": r"lm_head|embed_out",
}
"""Names of projections in the model classes of ``transformers``, tried in this order."""

_SUMS = {"o": "attention_add", "down": "ffn_add", "embedding": "embedding_add"}
_POSITIONS = r"pos(ition|_)|wpe|:rows"
_BARRIERS = ("linear", "add", "attention", "embedding")


class _Roles:
    def __init__(self, graph: networkx.DiGraph) -> None:
        self.graph = graph
        self.kinds: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def kind(self, name: str) -> str:
        return self.graph.nodes[name]["operator"].kind

    def linears(self, names: Iterable[str], forward: bool) -> list[str]:
        """The nearest linear operators from `names` on, past operators on one tensor."""
        step = self.graph.successors if forward else self.graph.predecessors
        open_names, seen, found = list(names), set[str](), []
        while open_names:
            name = open_names.pop()
            if name in seen:
                continue
            seen.add(name)
            if self.kind(name) == "linear":
                found.append(name)
            elif self.kind(name) not in _BARRIERS:
                open_names += step(name)
        return found

    def say(self, names: Iterable[str], kind: str) -> None:
        for name in names:
            self.kinds.setdefault(name, kind)

    def projections(self, name: str) -> None:
        """`name`: an attention."""
        streams = self.graph.nodes[name]["streams"]
        q, k, v = (set(self.linears(stream, False)) for stream in streams)
        self.say(q & k & v, "qkv")
        self.say(k & v, "kv")
        for found, kind in ((q, "q"), (k, "k"), (v, "v")):
            self.say(found, kind)

    def output(self, name: str) -> None:
        """`name`: an attention."""
        self.say(self.linears(self.graph.successors(name), True), "o")

    def mlp(self, name: str) -> None:
        """`name`: an activation."""
        before = self.linears(self.graph.predecessors(name), False)
        products = [n for n in self.graph.successors(name) if self.kind(n) == "multiply"]
        others: list[str] = []
        for product in products:
            sources = [n for n in self.graph.predecessors(product) if n != name]
            others += self.linears(sources, False)
        if others:
            self.say(set(before) & set(others), "gate_up")
            self.say(before, "gate")
            self.say(others, "up")
        else:
            self.say(before, "up")
        self.say(self.linears(self.graph.successors(name), True), "down")

    def around(self, name: str) -> tuple[set[str], set[str]]:
        """Kinds of the nearest linear operators before and after `name`."""
        before = self.linears(self.graph.predecessors(name), False)
        after = self.linears(self.graph.successors(name), True)
        return {self.kinds.get(n, "") for n in before}, {self.kinds.get(n, "") for n in after}

    def on_heads(self, name: str) -> None:
        """Norms and rotary embeddings between an attention `name` and its projections."""
        for stream, letter in zip(self.graph.nodes[name]["streams"], "qk", strict=False):
            open_names = list(stream)
            while open_names:
                before = open_names.pop()
                if self.kind(before) in ("norm", "rope"):
                    self.names.setdefault(before, f"{letter}_{self.kind(before)}")
                    open_names += self.graph.predecessors(before)

    def hosts(self) -> None:
        """Names of norms, sums and caps, from the linear operators around them."""
        for name in self.graph:
            kind = self.kind(name)
            if kind not in ("norm", "add", "softcap", "embedding") or name in self.names:
                continue
            before, after = self.around(name)
            sources = {self.kind(n) for n in self.graph.predecessors(name)}
            if kind == "norm":
                self.names[name] = _norm_name(before, after)
            elif kind == "softcap":
                self.names[name] = "logit_softcap" if before == {"lm_head"} else kind
            elif kind == "add":
                before = before or (sources if sources == {"embedding"} else {kind})
                self.names[name] = _SUMS.get(before.pop(), kind) if len(before) == 1 else kind
            elif re.search(_POSITIONS, f"{name} {self.graph.nodes[name]['hint']}", re.IGNORECASE):
                self.names[name] = "position_embedding"


def _norm_name(before: set[str], after: set[str]) -> str:
    """Name of a norm between linear operators; ``norm`` when these do not tell it."""
    if after & {"q", "k", "v", "qkv", "kv"}:
        return "attention_norm"
    if after & {"gate", "up", "gate_up"}:
        return "ffn_norm"
    if len(after) == 1:
        last = {"lm_head": "final_norm", "o": "attention_sub_norm", "down": "ffn_sub_norm"}
        return last.get(after.pop(), "norm")
    if len(before) == 1:
        return {"o": "post_attention_norm", "down": "post_ffn_norm"}.get(before.pop(), "norm")
    return "norm"


def assign_roles(graph: networkx.DiGraph) -> tuple[networkx.DiGraph, int]:
    """Give operators their layer and linear kind, and the names `mapping.graph` uses.

    Parameters
    ----------
    graph : networkx.DiGraph
        Operators in order of execution; attention nodes have an attribute ``streams``: the
        operators that make query, key and value.

    Returns
    -------
    graph : networkx.DiGraph
        The operators have the names of `mapping.graph.build_graph` where their place in the flow
        tells it, else ``layers.{i}.{kind}``; a second one of a name ends in ``_2``.  The
        attribute ``node`` of each is the name of its ONNX node.
    layers : int
        Decoder layers, 0 when the graph has no attention.
    """
    order = list(graph.nodes)
    layers = _layers(graph, order)
    roles = _Roles(graph)
    attentions = [name for name in order if roles.kind(name) == "attention"]
    for name in attentions:
        roles.projections(name)
    for name in attentions:
        roles.output(name)
    for name in order:
        if roles.kind(name) == "activation":
            roles.mlp(name)
    count = len(attentions)
    for name in order:
        if roles.kind(name) == "linear" and name not in roles.kinds:
            outside = count > 0 and layers.get(name) is None
            last = outside and "linear" not in _kinds_after(graph, name)
            roles.kinds[name] = "lm_head" if last else _from_name(graph.nodes[name]["hint"])
    for name in attentions:
        roles.on_heads(name)
    roles.hosts()
    renamed = networkx.DiGraph(name=graph.graph.get("name", ""))
    used: dict[str, int] = {}
    names: dict[str, str] = {}
    for place, name in enumerate(order):
        operator: Operator = graph.nodes[name]["operator"]
        layer = layers.get(name)
        role = roles.kinds.get(name) or roles.names.get(name) or operator.kind
        new = f"layers.{layer}.{role}" if layer is not None else role
        used[new] = used.get(new, 0) + 1
        if used[new] > 1:
            new = f"{new}_{used[new]}"
        kind = role if operator.kind == "linear" else None
        names[name] = new
        renamed.add_node(
            new,
            operator=replace(operator, name=new, layer=layer, linear_kind=kind),
            order=place,
            node=graph.nodes[name]["node"],
        )
    renamed.add_edges_from((names[a], names[b]) for a, b in graph.edges)
    return renamed, count


def _kinds_after(graph: networkx.DiGraph, name: str) -> set[str]:
    return {graph.nodes[n]["operator"].kind for n in networkx.descendants(graph, name)}


def _from_name(hint: str) -> str:
    for kind, pattern in _NAMES.items():
        if re.search(pattern, hint, re.IGNORECASE):
            return kind
    return "linear"


def _layers(graph: networkx.DiGraph, order: list[str]) -> dict[str, int]:
    """Layer of each operator: it begins with the norm before an attention's projections.

    What comes after the last sum of the residual stream (final norm, lm_head) is in no layer.
    """
    kinds = {name: graph.nodes[name]["operator"].kind for name in order}
    place = {name: index for index, name in enumerate(order)}
    starts = []
    for name in order:
        if kinds[name] != "attention":
            continue
        first, open_names, seen = place[name], list(graph.predecessors(name)), set[str]()
        while open_names:
            before = open_names.pop()
            if before in seen or kinds[before] in ("add", "attention", "embedding"):
                continue
            seen.add(before)
            first = min(first, place[before])
            open_names += graph.predecessors(before)
        starts.append(first)
    if not starts:
        return {}
    attention = max(place[name] for name in order if kinds[name] == "attention")
    sums = [index for index in range(attention, len(order)) if kinds[order[index]] == "add"]
    end = sums[-1] + 1 if sums else len(order)
    layers = {}
    current = -1
    for index in range(end):
        while current + 1 < len(starts) and index >= starts[current + 1]:
            current += 1
        if current >= 0:
            layers[order[index]] = current
    return layers
