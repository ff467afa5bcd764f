"""The page docs/unit-area.md, from the results of `benchmarks.unit_area`."""

from collections.abc import Sequence

from benchmarks.accelerator_area import section
from benchmarks.markdown import markdown_table
from benchmarks.unit_area_rows import COMPARED, TARGETS, Row
from designs.cells import load_cells
from sim.units.parts import KINDS

__all__ = ["render"]

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
