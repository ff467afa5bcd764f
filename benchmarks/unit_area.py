"""The area model against synthesis: ``python -m benchmarks.unit_area --liberty FILE``.

Measures the parts of units on small circuits, writes their figures to designs/technology/cells, and
compares estimates of whole units with their synthesis. Units are never used for fitting.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accelerator_area import section
from benchmarks.markdown import markdown_table
from benchmarks.unit_circuits import CIRCUITS, Sample
from designs.cells import LIBRARY, Cells, load_cells
from designs.units import BitSerialSpec, DenseSpec, LutSpec, UnitSpec
from hwgen.synth import SynthesisReport, synthesise_component
from hwgen.units import UNITS
from sim.units import UNIT_COSTS
from sim.units.estimate import cells_of_parts, dsp48, dsps_of_parts
from sim.units.parts import KINDS, MULTIPLIERS, REGISTERS

__all__ = ["GEOMETRIES", "RESULTS", "Row", "estimate", "main", "render"]

RESULTS = Path(__file__).parent / "results" / "unit_area.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "unit-area.md"

BOUND = 0.15
"""Largest error of a row."""

TARGETS = {"xcup": "xcup", "sky130hd": "liberty"}
"""File of designs/technology/cells -> target of the synthesis."""

_MEASURED = {"xcup": ("lut", "carry4"), "sky130hd": ("um2",)}
COMPARED = {"xcup": ("lut", "ff", "dsp", "carry4"), "sky130hd": ("um2",)}
"""Resources of a row, by file."""

GEOMETRIES: tuple[UnitSpec, ...] = (
    LutSpec(1, 4, 4, (1, 2, 4), 1024),
    LutSpec(1, 8, 8, (1, 2, 3, 4, 8), 4096),
    LutSpec(2, 8, 4, (2, 4), 2048),
    LutSpec(2, 4, 16, (1, 2), 8192),
    LutSpec(1, 16, 4, (2,), 512),
    LutSpec(1, 8, 8, (2, 4), 4096, table_bits=8),
    LutSpec(1, 8, 4, (1, 2, 4), 1024, ("int8", "fp16")),
    LutSpec(2, 4, 4, (2, 4), 4096, ("int8", "fp16")),
    LutSpec(1, 8, 4, (2,), 1024, ("fp16",)),
    LutSpec(1, 4, 8, (2, 4), 2048, ("int8", "fp16"), 8),
    DenseSpec(1, 4, 4, (4, 8), 1024),
    DenseSpec(2, 4, 8, (8,), 4096),
    DenseSpec(1, 16, 4, (4,), 2048),
    DenseSpec(2, 8, 2, (4, 8), 512),
    DenseSpec(1, 4, 16, (4, 8), 8192),
    DenseSpec(1, 8, 8, (4, 8), 32768),
)
"""Units whose synthesis the estimates are compared with; small enough for a minute each."""

FRESH: tuple[UnitSpec, ...] = (
    LutSpec(1, 4, 32, (1, 2, 3), 1024),
    LutSpec(2, 16, 4, (1,), 4096),
    LutSpec(1, 8, 16, (8,), 1024),
    LutSpec(1, 4, 16, (2, 4), 2048, ("fp16",)),
    LutSpec(2, 4, 8, (1, 2, 4, 8), 16384, table_bits=8),
    DenseSpec(2, 8, 4, (4, 8), 1024),
    DenseSpec(1, 8, 4, (8,), 16384),
    DenseSpec(2, 4, 4, (4,), 4096),
    BitSerialSpec(2, 2, 4, (8,), 1024),
    BitSerialSpec(2, 4, 4, (3, 4, 5, 6, 8), 4096),
    BitSerialSpec(1, 4, 4, (3, 4, 5, 6, 8), 1024, ("int8", "fp16")),
    BitSerialSpec(2, 4, 4, (4, 8), 2048, ("fp16",)),
    BitSerialSpec(2, 4, 8, (5, 6), 1024, scale_bits_per_beat=2),
    BitSerialSpec(4, 4, 4, (4, 8), 1024, tile_m=2, tile_n=2),
    BitSerialSpec(2, 8, 1, (4,), 256, scale_bits_per_beat=4),
    BitSerialSpec(1, 4, 16, (6, 8), 1024, ("int8", "fp16")),
    BitSerialSpec(8, 2, 4, (7,), 512, tile_m=2, scale_bits_per_beat=2),
    BitSerialSpec(2, 8, 4, (3, 4, 5, 6, 8), 1024, ("int8", "fp16"), 2, 2),
)
"""Units first synthesised when list of parts and circuits were finished, and not changed since."""

LARGE = LutSpec(2, 64, 4, (1, 2, 4), 4096)
"""Shown once: the elongated tile of LUT Tensor Core."""


@dataclass(frozen=True)
class Row:
    """One unit on one target.

    Attributes
    ----------
    unit : str
        Kind and geometry.
    target : str
        File of designs/technology/cells.
    estimate, synthesis : dict of str to float
        By resource.
    seconds : float
        Time of the synthesis.
    """

    unit: str
    target: str
    estimate: dict[str, float]
    synthesis: dict[str, float]
    seconds: float

    def error(self, resource: str) -> float:
        """Estimate over synthesis, less 1."""
        return self.estimate[resource] / self.synthesis[resource] - 1


def label(spec: UnitSpec) -> str:
    """A unit in one line, e.g. ``lut M1 N8 K4, 1/2/4 bits, int8``."""
    bits = "/".join(str(width) for width in spec.weight_bits)
    text = f"{spec.kind} M{spec.lanes_m} N{spec.lanes_n} K{spec.lanes_k}, {bits} bits"
    if isinstance(spec, LutSpec):
        text += f", {'+'.join(spec.activations)}"
        text += f", {spec.table_bits}-bit tables" if spec.table_bits else ""
    if isinstance(spec, BitSerialSpec):
        text += f", {'+'.join(spec.activations)}"
        if spec.tiles_m * spec.tiles_n > 1:
            text += f", {spec.tiles_m} x {spec.tiles_n} tiles"
        if spec.scale_bits_per_beat > 1:
            text += f", {spec.scale_bits_per_beat} bits of a scale"
    return f"{text}, max_k {spec.max_k}"


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


# The page ------------------------------------------------------------------------------------

_PAGE = """# What units cost, estimated and synthesised

Written by `python -m benchmarks.unit_area --liberty FILE`, FILE being the typical corner of
SkyWater's high-density cells (`sky130_fd_sc_hd`, part of the open PDK). Nothing here depends on it
at run time: what was measured is in `designs/technology/cells`, the results of this page in
`benchmarks/results/unit_area.json`.

## The model

`sim/units/lut.py`, `sim/units/dense.py` and `sim/units/bit_serial.py` list the parts a unit is made
of, counted in the structure of its RTL: adders, lookups, shifters, term generators, multipliers and
registers, each with its bits (a term generator's are codes). A part costs `per_bit * bits + each`.
The two figures of a kind come from synthesising small circuits of two or three widths
(`benchmarks/unit_circuits.py`) with the same flow as whole units; no whole unit takes part in it,
and no factor stands between the sum of the parts and the estimate.

{figures}
- `carry4` are carry cells of four bits, two of which make one CARRY8 of the device.
- Registers are counted, not measured, on an FPGA: one flip-flop a bit. Scales travel through equal
  registers under one enable, which become shift registers in look-up tables (`delay-line`).
- DSP blocks: one for a product of at most 27 x 18 bits; a longer operand takes one more for every
  17 bits, the shift of the cascade (AMD UG579).
- `worst` is the largest distance of a circuit from its kind's line.

## Estimate against synthesis

On these units it was found which parts to tell apart (a lookup alone from two that are added, for
example); their synthesis gave no figure. All of `bit_serial` is in the next section: its parts were
listed before any unit of it was synthesised. Figures count cells after mapping, before placement.

{comparison}
Worst error: {worst}.

## Units synthesised afterwards

The first time these were synthesised, parts and circuits were as they are now.

{fresh}
Worst error: {worst_fresh}.

## A larger one

{large}
## Where the errors come from

- A sum of the parts is a few per cent too large: synthesis shares gates between neighbours, above
  all between lanes that look up the same tables, and drops top bits of sums that nothing reads.
- The first adders of a lane's tree take over the last level of one of their two lookups
  (`lookup-pair`): a look-up table in front of a carry chain has inputs to spare.
- A sum takes one look-up table a bit where the carry cell's direct input is a plain register, and
  two where it is a register or 0 (`accumulator`, `running-total`); which operand goes there is the
  tool's choice, and was measured with the operands as the generator writes them.
- `dense` with codes of 4 bits alone has multipliers of 8 x 4 bits, since the upper half of an
  extended code is its sign. Measured alone they are smaller than in the unit.
- Rows of all tokens look up with the same weights: the registers of negations exist once. Controls
  exist up to the last stage that reads them. Both make flip-flops fewer than register bits of the
  generated netlist, which `tests/test_resources.py` counts.
"""


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _figures_table() -> str:
    rows = []
    for name in TARGETS:
        for figure in load_cells(name).figures:
            rows.append(
                [
                    f"`{figure.kind}`",
                    KINDS[figure.kind],
                    name,
                    figure.resource,
                    f"{figure.per_bit:.3f}",
                    f"{figure.each:.2f}",
                    "/".join(str(bits) for bits in figure.circuits),
                    f"{100 * figure.worst:.1f} %",
                ]
            )
    head = ("part", "what it is", "target", "resource", "per bit", "each", "circuits", "worst")
    tools = sorted({f"{load_cells(n).tool}, {load_cells(n).library}" for n in TARGETS})
    return markdown_table(head, rows, (0, 1, 2, 3)) + f"\nMeasured with {'; '.join(tools)}.\n"


def _comparison(rows: Sequence[Row]) -> str:
    text = []
    for name, resources in COMPARED.items():
        head = ["unit"]
        for resource in resources:
            head += [f"{resource}, estimated", "synthesised", "error"]
        table = []
        for row in rows:
            if row.target == name:
                cells = [row.unit]
                for resource in resources:
                    found = row.synthesis[resource]
                    cells += [f"{row.estimate[resource]:,.0f}", f"{found:,.0f}"]
                    cells += [_percent(row.error(resource)) if found else ""]
                table.append(cells)
        text.append(f"### {name}\n\n" + markdown_table(head, table))
    return "\n".join(text)


def _worst(rows: Sequence[Row]) -> str:
    error, resource, unit = max(
        (abs(row.error(resource)), resource, row.unit)
        for row in rows
        for resource in row.synthesis
        if row.synthesis[resource]
    )
    return f"{100 * error:.1f} % ({resource}; {unit})"


def render(rows: Sequence[Row], fresh: Sequence[Row], large: Sequence[Row]) -> str:
    """The page."""
    return (
        _PAGE.format(
            figures=_figures_table(),
            comparison=_comparison(rows),
            worst=_worst(rows),
            fresh=_comparison(fresh),
            worst_fresh=_worst(fresh),
            large=_comparison(large),
        )
        + section()
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
