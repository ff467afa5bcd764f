"""The page docs/lut-area.md, from a study of the areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lut_area_rows import PRODUCT, OptimumK
from benchmarks.markdown import markdown_table

if TYPE_CHECKING:
    from benchmarks.lut_area import Study

__all__ = ["write_document"]

_PAPER = {"reinterpreted": 1.317, "negation_free": 1.351, "tables_outside": 1.440}
"""Table 2 of LUT Tensor Core (ISCA'25, arXiv 2408.06003): density over the conventional array."""

_INTRODUCTION = """# Area of lookup, multiplication and addition

Written by `{command}`. The comparison of
LUT Tensor Core (ISCA'25, arXiv 2408.06003) again, with Verilog that this repository generates and
standard cells of the user's own Liberty file. Below: library `{library}`,
{tool}; cell area, no clock target, no placement. docs/fidelity.md gates the ratios; nothing is
fitted to them.

- The elements are in `hwgen/cells/`; the lookup without negation and the table generator are those
  of the accelerator, `hwgen/units/lut_row.py` and `hwgen/units/lut_table.py`. Every element is
  simulated against NumPy (`tests/test_cells.py`, `tests/test_float_cells.py`), and the
  accelerator's two are proven (`tests/test_lut_proof.py`).
- Arrays are composed of separately synthesised elements: M N cells, N plane multiplexers, M tables.
  All cells have the same accumulator with clear and enable, and no input registers.
- A weight of W bits takes W cycles in a bit-serial cell, so an array of equal rate is W cells.
- The publication does not state accumulator widths. 16 bits follow from the area of its cell
  (93.7 um2 at 28 nm); 24 and 32 bits stand beside it.
"""


def write_document(study: Study) -> str:
    """The whole page."""
    published = study.published
    introduction = _INTRODUCTION.format(
        command=published.command, library=published.library, tool=published.yosys
    )
    sections = (_chain, _optimum, _widths, _rate, _shapes, _grouped, _floats, _tables, _cells)
    return "\n".join([introduction, *(section(study) for section in sections)])


def _chain(study: Study) -> str:
    rows = []
    for item, kept in zip(study.published.chain, study.chain_registers, strict=True):
        base = item.conventional
        steps = [
            ("conventional table, {0, 1}", base, None),
            ("+ weights as -1 and +1, half table", item.reinterpreted, _PAPER["reinterpreted"]),
            ("+ negation offline", item.negation_free, _PAPER["negation_free"]),
            ("+ tables computed elsewhere", item.tables_outside, _PAPER["tables_outside"]),
            ("the same, table registers kept", kept, None),
        ]
        for label, area, paper in steps:
            density = base / area
            error = "-" if paper is None else f"{100 * (density / paper - 1):+.1f} %"
            row = (item.accumulator_bits, label, f"{area:,.0f}", f"{density:.3f}")
            rows.append((*row, "-" if paper is None else f"{paper:.3f}", error))
    columns = ("accumulator", "array", "um2", "density", "published", "difference")
    return (
        "## From conventional tables to half tables: M2 N64 K4, two-bit weights, INT8\n\n"
        "Published: Table 2. The first three rows have a table generator with registers for each\n"
        "token; tables computed elsewhere are inputs, as in the published artifact's RTL.\n"
        "Wider accumulators are the same in every row, so every ratio comes closer to 1.\n\n"
        + markdown_table(columns, rows, (1,))
    )


def _optimum(study: Study) -> str:
    rows = []
    for activations in ("int8", "fp16"):
        for bits in (1, 2, 4):
            items = [
                item
                for item in study.optima
                if (item.activations, item.weight_bits) == (activations, bits)
            ]
            rows += [_optimum_row(items, False), _optimum_row(items, True)]
    ks = [f"K {k}" for k in range(1, 9)]
    return (
        "## Activations of a table\n\n"
        "Cell area divided by K, um2: the least is the densest. Published (figure 11): 4 for\n"
        "integers, 5 for floating point with 4 near, the table shared by many cells. How many\n"
        "planes is not stated; docs/fidelity.md gates one and shows all. A cell that pays for\n"
        "the registers of its own table wants fewer activations: the optimum rests on sharing.\n\n"
        + markdown_table(("activations", "planes", "table", *ks, "densest"), rows, (0, 2))
    )


def _optimum_row(items: list[OptimumK], charged: bool) -> tuple[object, ...]:
    areas = {item.k: (item.cell + charged * item.registers) / item.k for item in items}
    cells = [f"{areas[k]:,.0f}" if k in areas else "-" for k in range(1, 9)]
    first = items[0]
    label = "own" if charged else "shared"
    best = min(areas, key=lambda k: areas[k])
    return (first.activations.upper(), first.weight_bits, label, *cells, best)


def _widths(study: Study) -> str:
    rows = []
    for item in study.published.weight_bits:
        shares = [area / item.multiply for area in (item.add, item.full_table, item.lookup)]
        rows.append((item.bits, *(f"{share:.2f}" for share in shares)))
    columns = ("weight bits", "added bit by bit", "conventional table", "half table")
    last = [str(study.published.widest(kind)) for kind in ("add", "full_table", "lookup")]
    return (
        "## Weight bits up to which multiplying is larger\n\n"
        "Four FP16 activations, areas of equal rate over FP16 multiply-accumulate. Conventional\n"
        "tables are charged with the generator, shared by N = 4; half tables come from outside.\n"
        "Published (figure 13): addition is smaller up to 2 bits, conventional tables up to 2,\n"
        f"half tables up to 6. Here: up to {last[0]}, {last[1]} and {last[2]}.\n\n"
        + markdown_table(columns, rows, ())
    )


def _rate(study: Study) -> str:
    published = study.published
    dense = published.one_bit.dense_int8
    rows = [("INT8 multiply-accumulate, M8 N4 K16", f"{dense:,.0f}", "1.00")]
    lookups = [
        (f"lookup, W{bits}, {bits} x M2 N64 K4, {width}-bit accumulators", area)
        for bits, width, area in study.equal_rate
    ]
    lookups.append(("lookup, W1, 16-bit accumulators, table generators", study.one_bit_generator))
    rows += [(label, f"{area:,.0f}", f"{dense / area:.2f}") for label, area in lookups]
    return (
        f"## INT8 at equal rate: {PRODUCT} products a cycle\n\n"
        "32-bit accumulators for the dense array, as the GPU has; lookups with their table\n"
        "registers. Published (figure 14): 4 to 6 times less for one-bit weights, and no gain\n"
        "left for four bits and INT8.\n\n" + markdown_table(("array", "um2", "density"), rows)
    )


def _shapes(study: Study) -> str:
    held = min(item.array.registers for item in study.shapes)
    made = min(item.array.generator for item in study.shapes)
    ordered = sorted(study.shapes, key=lambda item: item.array.registers)[:8]
    rows = []
    for item in ordered:
        shape = f"M{item.lanes_m} N{item.lanes_n} K{item.lanes_k}"
        registers, generator = item.array.registers, item.array.generator
        row = (shape, f"{registers:,.0f}", f"{100 * (registers / held - 1):+.2f} %")
        rows.append((*row, f"{generator:,.0f}", f"{100 * (generator / made - 1):+.2f} %"))
    columns = ("shape", "table registers, um2", "over least", "table generators, um2", "over least")
    return (
        f"## Shapes with M N K = {PRODUCT}\n\n"
        f"Two-bit weights, INT8, 16-bit accumulators; the smallest 8 of {len(study.shapes)} with\n"
        "K = 1, 2, 4, 8. Published (figure 12): M2 N64 K4, by area times power. Tables computed\n"
        "elsewhere are held in registers of the array; with generators in the array fewer tokens\n"
        "are better by a hair.\n\n" + markdown_table(columns, rows)
    )


def _grouped(study: Study) -> str:
    base = study.grouped[0].cells
    rows = []
    for item in study.grouped:
        total = item.cells + item.tables
        row = (item.label, f"{item.cells:,.0f}", f"{item.tables:,.0f}", f"{total:,.0f}")
        rows.append((*row, f"{base / total:.2f}"))
    columns = ("one-bit weights, 16 activations", "cells", "tables", "um2", "density")
    return (
        "## Groups that share an accumulator\n\n"
        "Sixteen INT8 activations a cycle for one output feature, 16-bit accumulators; table\n"
        "registers shared by N = 16. With an accumulator for every four activations the lookup is\n"
        "larger than adding bit by bit; groups that share one make it the smaller of the two. The\n"
        "unit's `lanes_k` is that: 4 G.\n\n" + markdown_table(columns, rows)
    )


def _floats(study: Study) -> str:
    dot = study.published.dot4_fp16
    rows = [
        (label, f"{area:,.0f}", f"{dot.multiply / area:.2f}", f"{100 * area / dot.multiply:.1f} %")
        for label, area in (
            ("multiplied", dot.multiply),
            ("added", dot.add),
            ("looked up", dot.lookup),
            ("looked up, 8-bit integer entries", study.int8_entries),
        )
    ]
    return (
        "## Four FP16 activations and one-bit weights\n\n"
        "Published: 14.3 % of the FP16 array's area for the lookup (figure 15), and 18.2 times\n"
        "the density of a multiplying dot product (61.55 against 3.39 TFLOPs/mm2). Both cannot be\n"
        "the same cell; the second is near a cell with 8-bit entries and an integer accumulator.\n"
        "Sums are rounded to FP16 after every addition, subnormals are zero.\n\n"
        + markdown_table(("dot product", "um2", "density", "share"), rows)
    )


def _tables(study: Study) -> str:
    published = study.published.table_registers
    rows = [
        (label, f"{area:,.0f}", f"{area / published.full:.3f}")
        for label, area in (
            ("16 entries", published.full),
            ("8 entries", published.half),
            ("8 entries, one index decoder", published.half_with_decoder),
            ("8 entries, 32 index decoders", published.half + 32 * study.decoder),
        )
    ]
    full, half = study.table_flip_flops
    return (
        "## Half tables in registers\n\n"
        "FP16 entries; FIGLUT (HPCA'25, arXiv 2503.06862, table III) has 0.494 + 0.005 of the\n"
        "full table's power. A decoder belongs to each of its 32 readers; weights that were\n"
        "negated offline need none.\n\n"
        + markdown_table(("registers", "um2", "share"), rows)
        + f"\nGenerators of INT8 tables: {full.area_um2:,.0f} um2 for the 15 sums of the full"
        f" table, {half.area_um2:,.0f} um2\nfor the 8 of the half table. {full.ff} of 150 and"
        f" {half.ff} of 80 flip-flops stay: registers that\nYosys finds equal are merged.\n"
    )


def _cells(study: Study) -> str:
    rows = [
        (label, f"{report.area_um2:,.1f}", f"{report.sequential_um2:,.1f}", report.ff)
        for label, report in sorted(study.cells.items())
    ]
    columns = ("element", "um2", "of it flip-flops", "flip-flops")
    return "## Elements\n\n" + markdown_table(columns, rows)
