"""The page docs/bit-serial-area.md, from a study of the areas."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bit_serial_area_rows import (
    RATES,
    TILE,
    UNITS_COMPARED,
    Study,
    elements,
    unit_label,
)
from benchmarks.markdown import markdown_table

__all__ = ["DOCUMENT", "write_document"]

DOCUMENT = Path(__file__).parent.parent / "docs" / "bit-serial-area.md"

_TERMS = "term generator, all codes"
_FMA, _FMA_HELD = "FP16 x FP16", "FP16 x FP16, registered operands"
_INT8_FLOAT, _INT8_FLOAT_HELD = "FP16 x INT8", "FP16 x INT8, registered operands"

_STAGES = ("exponent match", "products", "group sum", "dequantiser")
_PUBLISHED_LOGIC = (119.2, 498.4, 475.9, 128.1)
_PUBLISHED_ALL = (306.9, 748.3, 546.1, 192.4)
"""um2 of the stages at 28 nm, without and with registers: development repository yc2367/BitMoD,
hardware/PE_Area_Power.xlsx. Registers between two stages are counted in both there."""

_INTRODUCTION = """# Area of the bit-serial element

Written by `python -m benchmarks.bit_serial_area --liberty FILE`; `--page` writes it from
`benchmarks/results/bit_serial_area.json`. Verilog that this repository generates,
{tool}{library}; no
clock target, no placement. Nothing is fitted to a published figure.

BitMoD (Chen et al., HPCA'25, arXiv 2411.11745): the README of its repository
(abdelfattah-lab/BitMoD-HPCA-25) states that a Cornell patent application covers the work.

- The element of the accelerators is a column's: `hwgen/units/bit_serial_column.py`,
  `term_generator.py`, `dequantiser.py`, `half_align.py`. Its sums are exact integers.
- The element as the paper draws it (figure 5) is `hwgen/cells/bitmod_element.py`: exponents matched
  in every element, products of 14 bits, a sum of 17, a group sum with a mantissa of 15 bits and an
  exponent of 6, the scale bit by bit. It is built to be right, since the published Verilog is not:
  that adds a small product to a large sum without aligning it, and never clears the dequantiser.
  `rounded` rounds shifted products and group sums to nearest even, `cut off` drops what moves out,
  as the published Verilog does. `tests/test_bitmod_element.py` compares both with
  `benchmarks/bitmod_arithmetic.py`, bit by bit.
- What it competes with is in `hwgen/cells/`: FP16 results are rounded after every operation,
  subnormals are zero (`float_cells.py`); INT8 products and the accumulator are one carry-save tree
  (`dense_dot.py`). All are simulated against NumPy.
"""


def write_document(study: Study) -> str:
    """The whole page."""
    library = f", cells of `{study.library}`" if study.library else ""
    sections = (_ratios, _parts, _rate, _units, _errors, _differences, _cells)
    introduction = _INTRODUCTION.format(tool=study.tool, library=library)
    return "\n".join([introduction, *(section(study) for section in sections)])


def _metric(study: Study) -> tuple[str, str]:
    """What areas are: attribute and unit."""
    return ("um2", "um2") if study.library else ("transistors", "transistors")


def _all(study: Study, label: str) -> float:
    return float(getattr(study.cells[label], _metric(study)[0]))


def _logic(study: Study, label: str) -> float:
    """Without registers; transistors cannot be told apart, gates are taken in their place."""
    cell = study.cells[label]
    return float(cell.gates - cell.gate_ff if cell.logic_um2 is None else cell.logic_um2)


def _ratios(study: Study) -> str:
    held = _all(study, _FMA_HELD)
    rows = []

    def row(label: str, published: str, found: float, note: str = "") -> None:
        rows.append((label, published, f"{found:.2f}", note))

    for kind in ("rounded", "cut off"):
        paper = f"paper's element, {kind}"
        row(
            f"element, {kind} / FP16 x FP16, with registers",
            "0.77",
            _all(study, paper) / held,
            "1507.7 / 1968.7 um2, simulator; 0.91 if the sheet's registers are all counted",
        )
        row(
            f"element, {kind} / FP16 x FP16, logic alone",
            "0.70",
            _logic(study, paper) / _logic(study, _FMA),
            "1221.6 / 1733.5 um2",
        )
    row(
        "the same, rebuilt in P3-LLM, table VIII",
        "1.26",
        _all(study, "paper's element, rounded") / held,
        "1291.6 / 1023.1 um2, same first author, its floating accumulator blamed",
    )
    row(
        "FP16 x INT8 / FP16 x FP16, with registers",
        "0.67",
        _all(study, _INT8_FLOAT_HELD) / held,
        "1318.6 / 1968.7 um2",
    )
    row(
        "FP16 x INT8 / FP16 x FP16, logic alone",
        "0.71",
        _logic(study, _INT8_FLOAT) / _logic(study, _FMA),
        "1222.8 / 1733.5 um2",
    )
    tile = TILE * TILE * _all(study, "paper's element, rounded")
    encoders = TILE * _all(study, _TERMS)
    row(
        "term generators / elements of a tile",
        "0.025",
        encoders / tile,
        "2419 / 97 090 um2, table X",
    )
    rows[-1] = (*rows[-1][:2], f"{encoders / tile:.3f}", rows[-1][3])
    row(
        "tile of 64 with term generators / 48 FP16 x FP16",
        "1.04",
        (tile + encoders) / (48 * held),
        "99 509 / 95 498 um2, table X",
    )
    columns = ("ratio", "published", "here", "published areas, 28 nm")
    multiply_add, element = _logic(study, _FMA), _logic(study, "paper's element, rounded")
    return (
        "## Beside the paper's ratios\n\n"
        + markdown_table(columns, rows, (0, 3))
        + _RATIOS_TEXT.format(multiply_add=multiply_add, element=element)
    )


_RATIOS_TEXT = """
The published order is not found again: the element as drawn is larger than the multiply-add.
Without registers an FP16 multiply-add takes {multiply_add:,.0f} here and the element
{element:,.0f}. It shifts four lanes, one sum to the other and the result back, where a multiply-add
shifts twice and multiplies once. The sheet's exponent match, three comparisons and eight sums of
six bits, is a tenth of its element, here a fifth. Later papers find an element larger than FP16
multiplication too: P3-LLM as above; UNICORE gives BitMoD with 4-bit weights a compute density of
1.28 where its own FP16 array has 2.05, and AxCore 4.07. What cannot be told apart from here: the
published circuits were synthesised for 1 GHz, and in another library. Without a clock target all
circuits here are their smallest.
"""


def _parts(study: Study) -> str:
    names = {
        "exponent match": "paper's exponent match",
        "products": "paper's products, {}",
        "group sum": "paper's group sum, {}",
        "dequantiser": "paper's dequantiser",
    }
    rows: list[tuple[str, ...]] = []
    for i, stage in enumerate(_STAGES):
        cells = [f"{100 * _PUBLISHED_LOGIC[i] / sum(_PUBLISHED_LOGIC):.0f} %"]
        cells.append(f"{100 * _PUBLISHED_ALL[i] / sum(_PUBLISHED_ALL):.0f} %")
        for kind in ("rounded", "cut off"):
            for of in (_logic, _all):
                part = of(study, names[stage].format(kind))
                whole = sum(of(study, name.format(kind)) for name in names.values())
                cells.append(f"{100 * part / whole:.0f} %")
        rows.append((stage, f"{_PUBLISHED_LOGIC[i]}", *cells))
    columns = ["stage", "published, um2", "share", "with registers"]
    columns += ["rounded: share", "with registers", "cut off: share", "with registers"]
    own = []
    for name in ("INT8, 6- and 8-bit codes", "INT8, all codes", "INT8 and FP16, all codes"):
        whole = _all(study, f"element, {name}")
        shares = [
            f"{100 * _all(study, f'{part}, {name}') / whole:.0f} %"
            for part in ("lanes and adder tree", "shift and group sum", "dequantiser and total")
        ]
        aligned = _all(study, "alignment of a token") / TILE
        generator = _TERMS if "all" in name else "term generator, integers of even width"
        own.append(
            (
                name,
                f"{whole:,.0f}",
                *shares,
                f"{100 * _all(study, generator) / TILE / whole:.0f} %",
                f"{100 * aligned / whole:.0f} %" if "FP16" in name else "-",
            )
        )
    head = ["element of the unit", _metric(study)[1], "lanes, tree", "shift, group sum"]
    head += ["dequantiser, total", "+ term generator / 8", "+ alignment / 8"]
    return (
        "## Stages\n\n"
        "Logic without registers, and with each stage's own output registers (the published sheet\n"
        "counts registers of both sides of a stage).\n\n"
        + markdown_table(columns, rows)
        + "\nThe unit's element, with registers; what elements share is added behind the +.\n\n"
        + markdown_table(head, own)
    )


def _rate(study: Study) -> str:
    of, name = _metric(study)
    base = next(e for e in elements() if e.label == "FP16 x FP16")
    rows = []
    for element in elements():
        area = element.amount(study, of)
        lut = element.amount(study, "lut")
        cells = [f"{area:,.0f}"]
        for weights in RATES:
            each = area / element.rate(weights)
            cells.append(f"{each:,.0f}")
        density = base.amount(study, of) / (area / element.rate("FP4, FP3"))
        cells += [f"{density:.2f}", f"{lut / element.rate('INT8'):,.0f}"]
        rows.append((element.label, *cells))
    columns = ["element", name, *(f"per product a cycle, {weights}" for weights in RATES)]
    columns += ["density with FP4 over FP16 x FP16", "look-up tables per product a cycle, INT8"]
    return (
        "## At equal rate\n\n"
        "Area over products a cycle: 1, 1.33 and 2 for a bit-serial element of four lanes, 1 for\n"
        f"the others. A part in {TILE} of a term generator, and of a token's alignment where it\n"
        "is shared, belongs to each bit-serial element; they scale groups, the others do not, and\n"
        "the unit's own add totals up besides.\n\n" + markdown_table(columns, rows)
    )


def _units(study: Study) -> str:
    of, name = _metric(study)
    rows = []
    for spec in UNITS_COMPARED:
        label = unit_label(spec)
        cell = study.cells[label]
        widths = {"INT8": 8, "FP4 or INT4": 4}
        cells = []
        for width in widths.values():
            if width in spec.weight_bits:
                rate = spec.macs / spec.beats(width)
                cells.append(f"{float(getattr(cell, of)) / rate:,.0f}")
            else:
                cells.append("-")
        rows.append((label, cell.lut, cell.ff, cell.dsp, f"{getattr(cell, of):,.0f}", *cells))
    both, wide = UNITS_COMPARED[3], UNITS_COMPARED[1]
    area = float(getattr(study.cells[unit_label(both)], of))
    serial = {width: area / (both.macs / both.beats(width)) for width in (4, 8)}
    dense = float(getattr(study.cells[unit_label(wide)], of)) / wide.macs
    columns = ("unit", "LUT", "FF", "DSP", name, "per product a cycle, INT8", "FP4 or INT4")
    return (
        "## Whole units\n\n"
        "With control, operand registers, scaling and totals, 8 elements of four lanes each.\n"
        "`dense` multiplies 4-bit codes at the rate of 8-bit ones; on an FPGA its products are\n"
        "DSP blocks, which the bit-serial unit has none of.\n\n"
        + markdown_table(columns, rows)
        + _UNITS_TEXT.format(eight=serial[8] / dense, four=serial[4] / dense)
    )


_UNITS_TEXT = """
A product with 8-bit codes takes {eight:.2f} times the area of `dense`, one with 4-bit codes
{four:.2f} times: the bit-serial unit pays for widths and code books that `dense` has not, and its
gain with few bits is memory traffic.
"""


def _errors(study: Study) -> str:
    labels = {
        "exact": "the unit: aligned to the step's largest, exact from there on",
        "rounded": "the paper's element, rounded to nearest even",
        "cut off": "the paper's element, cut off as in its Verilog",
    }
    rows = [(labels[name], f"{error:.1e}") for name, error in study.errors.items()]
    return (
        "## What the exact sums buy\n\n"
        "Relative RMS error of the sum of a group of 128, FP4 weights, Gaussian activations in\n"
        "FP16, against float64 (`benchmarks/bitmod_arithmetic.py`, 200 groups, seed 0).\n\n"
        + markdown_table(("group sum", "error"), rows)
    )


def _differences(study: Study) -> str:
    paper = _all(study, "paper's element, rounded")
    return _DIFFERENCES.format(
        wide=_all(study, "element, INT8 and FP16, all codes") / paper,
        integer=_all(study, "element, INT8, all codes") / paper,
        generator=_all(study, _TERMS) / paper,
        multiply_add=_all(study, _TERMS) / _all(study, _FMA_HELD),
    )


_DIFFERENCES = """## Larger and smaller than the paper's

- With FP16 the unit's element takes {wide:.2f} times the paper's, rounded: an exact sum of FP16
  values times codes has up to 63 bits where the paper's has 15 and an exponent, and shifter, group
  sum, held sum, product and total are all that wide. The total of its own in every element is part
  of it; the paper has one floating adder for eight elements, which is in none of these figures.
  With INT8 alone, which the paper's element does not have, it is {integer:.2f} times.
- Alignment is smaller: once for a token instead of in every element. A term's exponent is a shift
  in its lane and takes no part in alignment.
- A term generator of four codes takes {generator:.2f} of the paper's element and {multiply_add:.2f}
  of the FP16 multiply-add (published 0.20 and 0.15: 2419 um2 for eight, 1517 an element, 1969 a
  multiply-add): beside this multiply-add it is the larger one. It has codes of odd width that share
  words, special values that a program sets, flint4, and registers for a code of which half has
  arrived.
- Cells of 130 nm against 28 nm: ratios of flip-flops to logic differ between libraries, and
  enables are gates in front of flip-flops here. Ratios with registers carry both.
"""


def _cells(study: Study) -> str:
    rows = [
        (
            label,
            cell.lut,
            cell.ff,
            cell.dsp,
            f"{cell.gates:,}",
            f"{cell.transistors:,}",
            "-" if cell.um2 is None else f"{cell.um2:,.0f}",
            "-" if cell.sequential_um2 is None else f"{cell.sequential_um2:,.0f}",
        )
        for label, cell in study.cells.items()
    ]
    columns = ("circuit", "LUT", "FF", "DSP", "gates", "transistors", "um2", "of it flip-flops")
    return (
        "## Circuits\n\n"
        "AMD UltraScale+ (`xcup`), CMOS gates with their transistors (`generic`), and the "
        "library's cells.\n\n" + markdown_table(columns, rows)
    )
