"""The area model against synthesis: ``python -m benchmarks.unit_area --liberty FILE``.

Measures the parts of units on small circuits, writes their figures to designs/technology/cells, and
compares estimates of whole units with their synthesis. Units are never used for fitting.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.unit_area_document import render
from benchmarks.unit_area_rows import (
    BOUND,
    COMPARED,
    FRESH,
    GEOMETRIES,
    LARGE,
    TARGETS,
    Row,
    label,
)
from benchmarks.unit_circuits import CIRCUITS, Sample
from designs.cells import LIBRARY, Cells, load_cells
from designs.units import UnitSpec
from hwgen.synth import SynthesisReport, synthesise_component
from hwgen.units import UNITS
from sim.units import UNIT_COSTS
from sim.units.estimate import cells_of_parts, dsp48, dsps_of_parts
from sim.units.parts import MULTIPLIERS, REGISTERS

__all__ = [
    "BOUND",
    "COMPARED",
    "FRESH",
    "GEOMETRIES",
    "LARGE",
    "RESULTS",
    "Row",
    "estimate",
    "label",
    "main",
    "render",
]

RESULTS = Path(__file__).parent / "results" / "unit_area.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "unit-area.md"

_MEASURED = {"xcup": ("lut", "carry4"), "sky130hd": ("um2",)}


def _resource(report: SynthesisReport, resource: str) -> float:
    value = {"um2": report.area_um2, "carry4": report.carry}.get(resource)
    return float(getattr(report, resource) if value is None else value)


# Figures of parts ----------------------------------------------------------------------------


def _cost(sample: Sample, report: SynthesisReport, resource: str) -> float:
    """Cost of the part alone: an accumulator's register is a part of its own."""
    if resource == "um2" and sample.kind not in REGISTERS:
        assert report.combinational_um2 is not None
        return report.combinational_um2
    return _resource(report, resource)


def _line(bits: Sequence[int], costs: Sequence[float]) -> tuple[float, float, float]:
    """Least relative squares; the largest relative distance from the line."""
    if len(bits) == 1:
        return costs[0] / bits[0], 0.0, 0.0
    weights = [1 / cost if cost else 1.0 for cost in costs]
    slope, each = (float(value) for value in np.polyfit(bits, costs, 1, w=weights))
    if abs(each) < 1e-9 * max(costs, default=1.0) or not any(costs):
        each = 0.0
    worst = max(
        (abs(slope * b + each - cost) / cost for b, cost in zip(bits, costs, strict=True) if cost),
        default=0.0,
    )
    return slope, each, worst


def _figures(name: str, liberty: Path | None) -> Iterator[dict[str, Any]]:
    reports = {}
    for sample in CIRCUITS:
        print(f"{name}: {sample.kind} of {sample.bits}", file=sys.stderr)
        reports[sample] = synthesise_component(
            sample.circuit, "circuit", TARGETS[name], liberty if name == "sky130hd" else None
        )
    for kind, group in groupby(CIRCUITS, key=lambda sample: sample.kind):
        samples = list(group)
        for resource in _MEASURED[name]:
            costs = [_cost(sample, reports[sample], resource) for sample in samples]
            bits = [sample.bits for sample in samples]
            if kind == "delay-line" and resource != "um2":
                bits = [sample.bits // sample.length for sample in samples]
            if kind in MULTIPLIERS and resource != "um2":  # those of more than one block
                pairs = [
                    (b, c)
                    for s, b, c in zip(samples, bits, costs, strict=True)
                    if dsp48(*s.operands) > 1
                ]
                bits, costs = [b for b, _ in pairs], [c for _, c in pairs]
                if not pairs:
                    continue
            per_bit, each, worst = _line(bits, costs)
            yield {
                "kind": kind,
                "resource": resource,
                "per_bit": round(per_bit, 4),
                "each": round(each, 3),
                "circuits": bits,
                "worst": round(worst, 4),
            }


def _write(name: str, liberty: Path | None) -> None:
    """Measure the parts and write the file."""
    figures = list(_figures(name, liberty))
    report = synthesise_component(
        CIRCUITS[0].circuit, "circuit", TARGETS[name], liberty if name == "sky130hd" else None
    )
    description = {
        "xcup": "AMD UltraScale+: six-input look-up tables, carry cells of four bits, DSP48E2",
        "sky130hd": "SkyWater 130 nm, high-density standard cells, typical corner",
    }[name]
    lines = [
        "# Written by `python -m benchmarks.unit_area`; docs/unit-area.md explains the figures.",
        f'description = "{description}"',
        f'library = "{report.library or "Yosys synth_xilinx -family xcup"}"',
        f'tool = "{report.tool}"',
        'source = "synthesis of the circuits of benchmarks/unit_circuits.py, one line a kind"',
    ]
    for figure in figures:
        lines += ["", "[[figures]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in figure.items()]
    (LIBRARY / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    load_cells.cache_clear()


# Whole units ---------------------------------------------------------------------------------


def estimate(spec: UnitSpec, cells: Cells, resource: str) -> float:
    """What the model says of a unit."""
    parts = UNIT_COSTS[spec.kind].parts(spec)
    if resource == "dsp":
        return float(dsps_of_parts(parts))
    return cells_of_parts(parts, cells, resource)


def _row(spec: UnitSpec, name: str, liberty: Path | None) -> Row:
    print(f"{name}: {label(spec)}", file=sys.stderr)
    report = synthesise_component(
        UNITS[spec.kind](spec), "unit", TARGETS[name], liberty if name == "sky130hd" else None
    )
    cells, resources = load_cells(name), COMPARED[name]
    return Row(
        label(spec),
        name,
        {resource: round(estimate(spec, cells, resource), 1) for resource in resources},
        {resource: round(_resource(report, resource), 1) for resource in resources},
        report.seconds,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compare and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unit_area")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--liberty", type=Path, help="sky130 high-density cells")
    what.add_argument("--page", action="store_true", help="write the page from the results")
    options = parser.parse_args(arguments)
    if options.page:
        stored = json.loads(RESULTS.read_text(encoding="utf-8"))
        sets = {name: [Row(**row) for row in rows] for name, rows in stored.items()}
        DOCUMENT.write_text(render(**sets), encoding="utf-8")
        return
    for name in TARGETS:
        _write(name, options.liberty)
    rows, fresh = (
        [_row(spec, name, options.liberty) for name in TARGETS for spec in specs]
        for specs in (GEOMETRIES, FRESH)
    )
    large = [_row(LARGE, name, options.liberty) for name in TARGETS]
    RESULTS.parent.mkdir(exist_ok=True)
    sets = {"rows": rows, "fresh": fresh, "large": large}
    found = {name: [asdict(row) for row in rows] for name, rows in sets.items()}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(render(rows, fresh, large), encoding="utf-8")
    print(f"wrote {DOCUMENT.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
