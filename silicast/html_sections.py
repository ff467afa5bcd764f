"""What each section of the HTML page says: figures as text, bars as SVG, nothing left to compute.

A figure that is not modelled is None and is shown with the reason, never as 0.
"""

from typing import Any

from silicast.charts import REASON_COLOURS, Part, bar, colours, reason_bar
from silicast.figures import TIMES, count, percent, quantity, significant, words
from sim.attribution import REASONS
from sim.results import ModelResult, OperatorResult, PhaseResult

__all__ = [
    "area_section",
    "energy_section",
    "memory_section",
    "operator_rows",
    "part_name",
    "resource_section",
    "time_section",
    "traffic_section",
]

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


def part_name(key: str) -> str:
    """What people call a part of energy or area."""
    if key.startswith("buffer_"):
        key = f"{key.removeprefix('buffer_')} buffer"
    return _PARTS.get(key, words(key))


# Time -------------------------------------------------------------------------------------------


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
                "bar": reason_bar(
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
                "title": name.capitalize(),
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
        ("none" if wait is None else f"{words(wait)} {percent(waiting)}", waiting),
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
        rows.append({"level": _LEVELS.get(level, words(level) + on_chip), "cells": cells})
    return {"phases": [name.capitalize() for name in phases], "rows": rows}


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
        rows.append({"name": part_name(part), "colour": shades[part], "cells": cells})
    bars = []
    for name, phase in phases.items():
        total = phase.energy_joules or 0.0
        shown = [
            Part(part_name(part), joules, shades[part], quantity(joules, "J"))
            for part in names
            if (joules := (phase.energy or {}).get(part))
        ]
        bars.append(
            {
                "title": name.capitalize(),
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
            "name": part_name(part),
            "colour": shades[part],
            "text": "not modelled" if size is None else significant(size, 4),
            "share": percent(None if size is None or not total else size / total),
        }
        for part, size in area.items()
    ]
    parts = [
        Part(part_name(part), size, shades[part], f"{significant(size, 4)} mm²")
        for part, size in area.items()
        if size
    ]
    return {
        "rows": rows,
        "total": significant(total, 4),
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
