"""What each section of the HTML page says: figures as text, bars as SVG, nothing left to compute.

A figure that is not modelled is None and is shown with the reason, never as 0.
"""

from collections.abc import Mapping
from typing import Any

from silicast.charts import REASON_COLOURS, Part, bar, colours
from silicast.figures import ABSENT, TIMES, count, percent, plain, quantity, ratio, seconds
from sim.attribution import REASONS
from sim.results import ModelResult, OperatorResult, PhaseResult

__all__ = [
    "area_section",
    "energy_section",
    "memory_section",
    "operator_rows",
    "phase_cards",
    "resource_section",
    "roofline_seconds",
    "time_section",
    "traffic_section",
]

_TITLES = {"prefill": "Prefill", "decode": "Decode"}
_MOSTLY = 0.85
"""Share from which a card says that a phase is bound by one thing; chooses words only."""

_PARTS = {
    "unit": "matrix unit",
    "encoder": "weight encoders",
    "vector": "vector engine",
    "sram_read": "on-chip buffers, reads",
    "sram_write": "on-chip buffers, writes",
    "dram": "DRAM transfers",
    "dram_background": "DRAM background",
    "link": "links between cores",
}
_LEVELS = {"dram": "DRAM", "flash": "flash", "link": "links between cores"}


def _phases(result: ModelResult) -> dict[str, PhaseResult]:
    return {name: phase for name, phase in result.phases.items() if phase.cycles}


def _of(result: ModelResult, phase: str) -> list[OperatorResult]:
    return [o for o in result.operators if o.phase == phase]


def _words(key: str) -> str:
    return _PARTS.get(key, key.replace("_", " "))


def roofline_seconds(result: ModelResult, phase: str) -> float:
    """The least time a phase could take: each operator at the lower of the two roofs.

    An operator needs at least its multiply-accumulates at the peak rate, and at least its
    compulsory bytes at the sustained bandwidth (Williams et al., CACM 52(4), 2009); operators
    follow one another. Operators without either count as 0.
    """
    roof = result.roof
    return sum(
        max(o.macs / roof.macs_per_second, o.compulsory_bytes / roof.sustained_bytes_per_second)
        for o in _of(result, phase)
    )


# Headline ---------------------------------------------------------------------------------------


def phase_cards(result: ModelResult) -> list[dict[str, Any]]:
    """The headline of each phase that has tokens."""
    return [_card(result, name, phase) for name, phase in _phases(result).items()]


def _card(result: ModelResult, name: str, phase: PhaseResult) -> dict[str, Any]:
    roof = result.roof
    used = phase.dram_bytes / phase.seconds
    best = roofline_seconds(result, name)
    if name == "prefill":
        lead = (seconds(phase.seconds), "to the first token")
    else:
        lead = (plain(phase.tokens_per_second, "tokens/s"), "generated")
    bandwidth = (
        f"{quantity(used, 'B/s')} used, {percent(used / roof.sustained_bytes_per_second)} of the "
        f"sustained {quantity(roof.sustained_bytes_per_second, 'B/s')}; "
        f"peak {quantity(roof.dram_bytes_per_second, 'B/s')}"
    )
    only = phase.simulated_only_cycles / phase.cycles
    return {
        "name": name,
        "title": _TITLES.get(name, name),
        "lead": lead,
        "verdict": _verdict(result, name, phase),
        "figures": _card_figures(result, name, phase, best),
        "reasons": _reason_bar(phase.reasons, phase.cycles, f"{name}: cycles by reason", height=26),
        "bandwidth": bandwidth,
        "bandwidth_bar": bar(
            [Part("used", used, "#0072B2", quantity(used, "B/s"))],
            max(roof.dram_bytes_per_second, used),
            f"{name}: DRAM bandwidth",
            mark=(
                roof.sustained_bytes_per_second,
                f"sustained: {quantity(roof.sustained_bytes_per_second, 'B/s')}",
            ),
            height=14,
        ),
        "only": percent(only),
        "only_cycles": count(phase.simulated_only_cycles),
        "only_bar": bar(
            [Part("simulated only", only, "#999999", percent(only))],
            1.0,
            f"{name}: share of cycles that is simulated only",
            hatched=True,
            height=14,
        ),
        "only_all": phase.simulated_only_cycles == phase.cycles,
    }


def _card_figures(
    result: ModelResult, name: str, phase: PhaseResult, best: float
) -> list[tuple[str, str, str]]:
    """Name, figure and explanation of the smaller figures of a card."""
    energy = phase.energy_joules
    rows = []
    if name == "prefill":
        rate = plain(phase.tokens_per_second, "tokens/s")
        rows.append(("throughput", rate, "tokens of the prompts in a second"))
    else:
        each = seconds(phase.seconds / phase.passes)
        rows.append(("time of a pass", each, "between two tokens of a sequence, mean"))
    total = quantity(phase.cycles, "\u202fcycles")
    rows.append(("cycles", total, f"{count(phase.cycles)} in {seconds(phase.seconds)}"))
    rows.append(
        (
            "utilisation",
            percent(phase.utilization),
            "of all multiply-accumulate lanes and cycles",
        )
    )
    longer = "time over that of each operator on its roof"
    rows.append(("over the roofline", ratio(phase.seconds / best if best else None), longer))
    if energy is None:
        why = "not modelled: " + result.not_modelled.get("energy", "no silicon process is named")
        rows.append(("energy a token", ABSENT, why))
    else:
        rows.append(
            (
                "energy a token",
                quantity(energy / phase.tokens, "J"),
                f"{quantity(energy, 'J')} in all, {quantity(energy / phase.seconds, 'W')} mean",
            )
        )
    compulsory = sum(o.compulsory_bytes for o in _of(result, name))
    rows.append(
        (
            "DRAM a token",
            quantity(phase.dram_bytes / phase.tokens, "B"),
            f"{percent(compulsory / phase.dram_bytes if phase.dram_bytes else None)} of it is "
            "compulsory: weights and KV cache once a pass",
        )
    )
    return rows


def _verdict(result: ModelResult, name: str, phase: PhaseResult) -> str:
    """What limits a phase, in one sentence of its own figures."""
    used = phase.dram_bytes / phase.seconds / result.roof.sustained_bytes_per_second
    fed = phase.reasons["compute"] / phase.cycles
    busy = phase.utilization or 0.0
    waits = {reason: cycles for reason, cycles in phase.reasons.items() if reason != "compute"}
    longest = max(waits, key=lambda reason: waits[reason])
    waiting = f"{percent(waits[longest] / phase.cycles)} wait ({longest.replace('_', ' ')})"
    if used >= _MOSTLY:
        return (
            f"Limited by DRAM bandwidth: {percent(used)} of what the memory sustains is used. "
            f"Engines work in {percent(fed)} of the cycles, with {percent(busy)} of the lanes."
        )
    if busy >= _MOSTLY:
        return (
            f"Limited by compute: {percent(busy)} of the lanes do the model's work in a mean "
            f"cycle; DRAM bandwidth is used to {percent(used)}."
        )
    if fed >= _MOSTLY:
        return (
            f"An engine works in {percent(fed)} of the cycles, but only {percent(busy)} of the "
            f"lanes do the model's work; DRAM bandwidth is used to {percent(used)}."
        )
    operator = max(_of(result, name), key=lambda o: o.total_cycles)
    return (
        f"No single limit: an engine works in {percent(fed)} of the cycles, {waiting}; "
        f"{operator.name} takes most, {percent(operator.total_cycles / phase.cycles)}."
    )


# Time -------------------------------------------------------------------------------------------


def _reason_bar(
    reasons: Mapping[str, float], whole: float, title: str, hatched: bool = False, height: int = 18
) -> Any:
    total = sum(reasons.values()) or 1
    parts = [
        Part(
            reason.replace("_", " "),
            reasons[reason],
            REASON_COLOURS[reason],
            f"{count(reasons[reason])} cycles, {percent(reasons[reason] / total)}",
        )
        for reason in REASONS
    ]
    return bar(parts, whole, title, hatched=hatched, height=height)


def time_section(result: ModelResult) -> list[dict[str, Any]]:
    """Bars of cycles by reason, one an operator, as long as its share of the phase."""
    sections = []
    for name, phase in _phases(result).items():
        operators = _of(result, name)
        longest = max(o.total_cycles for o in operators)
        rows = [
            {
                "name": o.name.removeprefix("layers.*."),
                "layers": f"{TIMES}{o.layers}" if o.layers > 1 else "",
                "only": o.simulated_only,
                "share": percent(o.total_cycles / phase.cycles),
                "bar": _reason_bar(
                    o.total_reasons, longest, f"{name} {o.name}", hatched=o.simulated_only
                ),
                "small": o.total_cycles < 0.002 * phase.cycles,
            }
            for o in operators
        ]
        shares = [
            {
                "reason": reason,
                "cycles": count(phase.reasons[reason]),
                "share": percent(phase.reasons[reason] / phase.cycles),
            }
            for reason in REASONS
        ]
        small = [o for o in operators if o.total_cycles < 0.002 * phase.cycles]
        sections.append(
            {
                "title": _TITLES.get(name, name),
                "name": name,
                "rows": rows,
                "shares": shares,
                "small": len(small),
                "small_share": percent(sum(o.total_cycles for o in small) / phase.cycles),
            }
        )
    return sections


def operator_rows(result: ModelResult) -> list[dict[str, Any]]:
    """Rows of the operator table: each cell a text and the number it sorts by, None without one."""
    return [_row(result.phases[o.phase], o) for o in result.operators]


def _row(phase: PhaseResult, o: OperatorResult) -> dict[str, Any]:
    share = o.total_cycles / phase.cycles if phase.cycles else 0.0
    time = share * phase.seconds
    rate = o.total_dram_bytes / time if time else None
    useful = o.compulsory_bytes / o.total_dram_bytes if o.total_dram_bytes else None
    waits = {reason: c for reason, c in o.total_reasons.items() if reason != "compute" and c}
    wait = max(waits, key=lambda reason: waits[reason]) if waits else None
    waiting = 0.0 if wait is None else waits[wait] / o.total_cycles
    size = f" {TIMES} ".join(map(count, (o.m, o.n, o.k)))
    # the bar is as wide as the share
    line = bar([Part(o.phase, share, REASON_COLOURS["compute"], percent(share))], 1, "", height=3)
    cells: list[tuple[Any, Any]] = [
        (percent(share) + line, share),
        (count(o.total_cycles), o.total_cycles),
        (o.bound, o.bound),
        ("none" if wait is None else f"{wait.replace('_', ' ')} {percent(waiting)}", waiting),
        (percent(o.lane_occupancy), o.lane_occupancy),
        (quantity(o.total_dram_bytes, "B"), o.total_dram_bytes),
        (quantity(rate, "B/s"), rate),
        (percent(useful), useful),
        (quantity(o.energy_joules, "J"), o.energy_joules),
        (count(o.cycles), o.cycles),
        (count(o.count), o.count),
        (size, o.m * o.n * o.k),
        (count(o.products), o.products),
        (o.engine, o.engine),
    ]
    return {
        "name": o.name,
        "phase": o.phase,
        "engine": o.engine,
        "only": o.simulated_only,
        "share": share,
        "cells": cells,
    }


# Bytes ------------------------------------------------------------------------------------------


def traffic_section(result: ModelResult) -> dict[str, Any]:
    """Bytes of each level and phase, read and written."""
    phases = _phases(result)
    levels: dict[str, dict[str, dict[str, int]]] = {}
    for name, phase in phases.items():
        for key, size in phase.traffic.items():
            level, _, way = key.rpartition("_")
            if way not in ("read", "write"):
                level, way = key, "moved"
            levels.setdefault(level, {}).setdefault(name, {})[way] = size
    ways = {"read": "#0072B2", "write": "#E69F00", "moved": "#999999"}
    rows = []
    for level, moved in levels.items():
        if not any(size for ways_of in moved.values() for size in ways_of.values()):
            continue
        cells = []
        for name, phase in phases.items():
            largest = max(sum(m.get(name, {}).values()) for m in levels.values()) or 1
            found = moved.get(name, {})
            parts = [
                Part(way, found[way], colour, quantity(found[way], "B"))
                for way, colour in ways.items()
                if found.get(way)
            ]
            total = sum(found.values())
            cells.append(
                {
                    "bar": bar(parts, largest, f"{name}, {level}", height=14),
                    "text": ", ".join(f"{part.name} {part.figure}" for part in parts) or "none",
                    "token": quantity(total / phase.tokens, "B"),
                }
            )
        on_chip = "" if level in _LEVELS else " buffer"
        rows.append(
            {"level": _LEVELS.get(level, level.replace("_", " ") + on_chip), "cells": cells}
        )
    return {"phases": [_TITLES.get(name, name) for name in phases], "rows": rows}


def memory_section(result: ModelResult) -> dict[str, Any]:
    """What lies in external memory."""
    used = result.weight_bytes + result.kv_cache_bytes
    capacity = result.memory_bytes
    free = capacity - used
    parts = [
        Part("weights and scales", result.weight_bytes, "#0072B2", ""),
        Part("KV cache", result.kv_cache_bytes, "#E69F00", ""),
    ]
    parts = [Part(p.name, p.value, p.colour, quantity(p.value, "B")) for p in parts]
    rows = [(part.name, part.colour, part.figure, percent(part.value / capacity)) for part in parts]
    if free >= 0:
        rows.append(("free", "", quantity(free, "B"), percent(free / capacity)))
    else:
        rows.append(("too much", "", quantity(-free, "B"), percent(-free / capacity)))
    return {
        "rows": rows,
        "capacity": quantity(capacity, "B"),
        "fits": result.fits_memory,
        "bar": bar(
            parts, max(used, capacity), "memory", mark=(capacity, f"capacity {capacity:,} B")
        ),
    }


# Energy, area, resources ------------------------------------------------------------------------


def _why_not(result: ModelResult, what: str) -> str:
    return result.not_modelled.get(what, "the design names no silicon process")


def energy_section(result: ModelResult) -> dict[str, Any]:
    """Joules by part and phase; ``rows`` is None where energy is not modelled."""
    phases = {n: p for n, p in _phases(result).items() if p.energy is not None}
    if not phases:
        return {"rows": None, "why": _why_not(result, "energy")}
    parts = dict.fromkeys(part for p in phases.values() for part in p.energy or ())
    names = [
        part for part in parts if any((p.energy or {}).get(part) != 0 for p in phases.values())
    ]
    shades = colours(names)
    rows = []
    for part in names:
        cells = []
        for phase in phases.values():
            joules = (phase.energy or {}).get(part)
            total = phase.energy_joules or 0.0
            cells.append(
                (
                    "not modelled" if joules is None else quantity(joules, "J"),
                    percent(None if joules is None or not total else joules / total),
                    quantity(None if joules is None else joules / phase.tokens, "J"),
                )
            )
        rows.append({"name": _words(part), "colour": shades[part], "cells": cells})
    bars = []
    for name, phase in phases.items():
        total = phase.energy_joules or 0.0
        shown = [
            Part(_words(part), joules, shades[part], quantity(joules, "J"))
            for part in names
            if (joules := (phase.energy or {}).get(part))
        ]
        bars.append(
            {
                "title": _TITLES.get(name, name),
                "total": quantity(total, "J"),
                "token": quantity(total / phase.tokens, "J"),
                "bar": bar(shown, total or 1.0, f"{name}: energy by part", height=26),
            }
        )
    return {"rows": rows, "bars": bars, "why": ""}


def area_section(result: ModelResult) -> dict[str, Any]:
    """Square millimetres by part; ``rows`` is None where area is not modelled."""
    if result.area_mm2 is None:
        return {"rows": None, "why": _why_not(result, "area")}
    area = {part: size for part, size in result.area_mm2.items() if size != 0}
    shades = colours(area)
    total = sum(size for size in area.values() if size is not None)
    rows = [
        {
            "name": _words(part),
            "colour": shades[part],
            "text": "not modelled" if size is None else f"{size:,.4g}",
            "share": percent(None if size is None or not total else size / total),
        }
        for part, size in area.items()
    ]
    parts = [
        Part(_words(part), size, shades[part], f"{size:,.4g} mm²")
        for part, size in area.items()
        if size
    ]
    return {
        "rows": rows,
        "total": f"{total:,.4g}",
        "bar": bar(parts, total or 1.0, "silicon area by part", height=26),
        "why": "",
    }


def resource_section(result: ModelResult) -> list[dict[str, Any]] | None:
    """FPGA resources: shell, used and free; None without a device."""
    if result.resources is None:
        return None
    resources = result.resources
    rows = []
    for name, available in resources["available"].items():
        used, shell = resources["used"].get(name), resources["shell"].get(name, 0)
        free = available - shell
        parts = [Part("shell", shell, "#999999", count(shell))]
        if used is not None:
            fits = used <= free
            parts.append(Part("used", used, "#0072B2" if fits else "#D55E00", count(used)))
        rows.append(
            {
                "name": name.upper(),
                "used": "not modelled" if used is None else count(used),
                "shell": count(shell),
                "available": count(available),
                "share": percent(None if used is None or not free else used / free),
                "fits": used is None or used <= free,
                "modelled": used is not None,
                "bar": bar(
                    parts,
                    max(available, shell + (used or 0)) or 1,
                    f"{name} of the device",
                    mark=(available, f"available: {count(available)}"),
                ),
            }
        )
    return rows
