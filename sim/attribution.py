"""Every cycle of a timeline gets one reason, and the reasons add up to the total."""

import numpy as np

from sim.records import Timeline

__all__ = ["REASONS", "attribute_cycles"]

REASONS = {
    "compute": "the unit is fed a step, whether memory is busy too or not",
    "weight_load": "the unit waits while weights or group scales are on the memory bus",
    "activation_load": "the unit waits while activations are on the memory bus",
    "store": "the unit waits for room in the output buffer, or while stores are on the bus",
    "dependency": "the unit waits with no data on the bus: latency, refresh, tokens, dispatch",
    "table": "the unit builds its first tables and has none to look up in yet",
    "fill_drain": "before the first step and after the last one, with an idle bus",
}
"""The reasons and what they mean."""


def _covered(spans: list[tuple[int, int]], start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Cycles of each [start, end) that lie inside the sorted, disjoint ``spans``."""
    if not spans:
        return np.zeros(len(start), dtype=np.int64)
    edges = np.array(spans, dtype=np.int64)
    length = np.concatenate(([0], np.cumsum(edges[:, 1] - edges[:, 0])))

    def before(cycle: np.ndarray) -> np.ndarray:
        index = np.searchsorted(edges[:, 0], cycle, side="right")
        inside = np.where(index > 0, cycle - edges[index - 1, 0], 0)
        whole = length[np.maximum(index - 1, 0)]
        last = np.where(index > 0, edges[index - 1, 1] - edges[index - 1, 0], 0)
        return whole + np.minimum(inside, last)

    return before(end) - before(start)


def attribute_cycles(timeline: Timeline) -> dict[str, int]:
    """Cycles by reason, in the order of ``REASONS``; they sum to ``timeline.cycles``.

    A cycle in which the unit is fed is ``compute``, whatever memory does meanwhile. A gap before
    an instruction that waited for the store engine is ``store``; one that waited for dispatch is
    ``dependency``. Any other gap is put down, cycle by cycle, to what the memory bus carries:
    weights, activations or stores. Where the bus is idle (or carries instructions) the reason is
    ``fill_drain`` before the first instruction and after the last one, else ``dependency``.

    A unit with tables builds those of a step while it looks sums of earlier steps up, so lookups
    run ``table_latency`` cycles behind the reads: of the idle cycles after the last read as many
    are ``table``, the exposed part. All other tables cost no cycle.
    """
    reasons = dict.fromkeys(REASONS, 0)
    busy = timeline.compute
    reasons["compute"] = sum(span.end - span.start for span in busy)
    starts = np.array([0] + [span.end for span in busy], dtype=np.int64)
    ends = np.array([span.start for span in busy] + [timeline.cycles], dtype=np.int64)
    held_by = np.array([span.kind for span in busy] + ["end"])
    left = ends - starts
    for reason, kind in (("store", "store"), ("dependency", "dispatch")):
        held = held_by == kind
        held[0] = False  # before the first instruction there is nothing to be held by
        reasons[reason] += int(left[held].sum())
        starts, ends = np.where(held, ends, starts), ends
        left = ends - starts
    for reason, kind in (
        ("weight_load", "weight"),
        ("activation_load", "activation"),
        ("store", "store"),
    ):
        spans = [(span.start, span.end) for span in timeline.memory if span.kind == kind]
        covered = _covered(_disjoint(spans), starts, ends)
        covered = np.minimum(covered, left)
        left = left - covered
        reasons[reason] += int(covered.sum())
    edge = np.zeros(len(left), dtype=bool)
    edge[[0, -1]] = True
    reasons["table"] = min(timeline.table_latency, int(left[-1]))
    reasons["fill_drain"] += int(left[edge].sum()) - reasons["table"]
    reasons["dependency"] += int(left[~edge].sum())
    return reasons


def _disjoint(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge spans that touch or share a cycle (beats of less than a whole number of cycles)."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
