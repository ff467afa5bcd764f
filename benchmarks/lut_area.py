"""Area of lookup against multiplication and bit-serial addition, from synthesised cells.

``python -m benchmarks.lut_area --liberty FILE`` writes docs/lut-area.md and the figures that
docs/fidelity.md compares. The library is the user's own; the page says which one was used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.lut_area_document import write_document
from benchmarks.lut_area_rows import Areas, Grouped, OptimumK, TileShapeAreas
from designs.errors import InputError
from hwgen.synth import SynthesisError, SynthesisReport
from silicast.fidelity.lut_area import (
    MEASURED,
    AreaStudy,
    Chain,
    Dot4,
    OneBit,
    TableK,
    TableRegisters,
    TileShape,
    Width,
)

__all__ = ["DOCUMENT", "Study", "main", "measure"]

DOCUMENT = Path(__file__).parent.parent / "docs" / "lut-area.md"

COMMAND = "python -m benchmarks.lut_area --liberty FILE"

_WIDTHS = (16, 24, 32)


@dataclass(frozen=True)
class Study:
    """Everything the page shows.

    Attributes
    ----------
    published : AreaStudy
        What the fidelity tables compare.
    chain_registers : tuple of float
        The last step of the chain with the tables' registers kept, for each accumulator width.
    optima : tuple of OptimumK
        Cells by K, for one, two and four planes.
    shapes : tuple of TileShapeAreas
    one_bit_generator : float
        The one-bit array with table generators.
    equal_rate : tuple of (int, int, float)
        Weight bits, accumulator bits, and the area of as many INT8 lookup arrays as weight bits,
        tables' registers included.
    int8_entries : float
        One lookup cell with 8-bit entries, one-bit weights: what FP16 activations need with
        quantised tables.
    grouped : tuple of Grouped
    decoder : float
        Index decoder of a half table.
    table_flip_flops : tuple of (SynthesisReport, SynthesisReport)
        Generators with registers of the full and of the half table.
    cells : dict of str to SynthesisReport
        Every cell.
    seconds : float
        Time it took.
    """

    published: AreaStudy
    chain_registers: tuple[float, ...]
    optima: tuple[OptimumK, ...]
    shapes: tuple[TileShapeAreas, ...]
    one_bit_generator: float
    equal_rate: tuple[tuple[int, int, float], ...]
    int8_entries: float
    grouped: tuple[Grouped, ...]
    decoder: float
    table_flip_flops: tuple[SynthesisReport, SynthesisReport]
    cells: dict[str, SynthesisReport]
    seconds: float


def measure(liberty: Path) -> Study:
    """Synthesise all cells and compose what the paper compares.

    Parameters
    ----------
    liberty : Path
        Liberty file, plain or .gz.

    Raises
    ------
    InputError
        The Liberty file is missing or wrong.
    SynthesisError
        The synthesis tool is missing or failed.
    """
    start = time.perf_counter()
    areas = Areas(liberty)
    chain, kept = [], []
    for width in _WIDTHS:
        array = areas.unit_array(2, width)
        steps = (areas.conventional(width), areas.reinterpreted(width), array.generator)
        chain.append(Chain(width, *steps, array.bare))
        kept.append(array.registers)
    optima = tuple(areas.optima())
    shapes = tuple(areas.shapes())
    one_bit = areas.unit_array(1, 16)
    equal_rate = tuple(
        (bits, width, bits * areas.unit_array(bits, width).registers)
        for bits in (1, 2, 4)
        for width in _WIDTHS[:2]
    )
    dense = areas.dense_array(32)
    weight_bits = _weight_bits(areas)
    dot4 = Dot4(areas.float_multiply(), areas.float_add(1), areas.float_half(4, 1))
    grouped = tuple(areas.grouped())
    int8_entries = areas.row(1, 16, entry=8)
    full, half = areas.registers(16, 16), areas.registers(8, 16)
    decoder = areas.decoder()
    report = next(iter(areas.reports.values()))
    published = AreaStudy(
        command=COMMAND,
        library=str(report.library),
        yosys=report.tool,
        chain=tuple(chain),
        table_k=tuple(
            TableK(item.activations, item.weight_bits, item.k, item.cell) for item in optima
        ),
        weight_bits=weight_bits,
        shapes=tuple(
            TileShape(item.lanes_m, item.lanes_n, item.lanes_k, item.array.registers)
            for item in shapes
        ),
        one_bit=OneBit(dense, one_bit.registers),
        dot4_fp16=dot4,
        table_registers=TableRegisters(full, half, half + decoder),
    )
    tables = tuple(areas.reports[f"{kind} table generator, K4"] for kind in ("full", "half"))
    return Study(
        published,
        tuple(kept),
        optima,
        shapes,
        one_bit.generator,
        equal_rate,
        int8_entries,
        grouped,
        decoder,
        (tables[0], tables[1]),
        areas.reports,
        time.perf_counter() - start,
    )


def _weight_bits(areas: Areas) -> tuple[Width, ...]:
    """Figure 13: FP16 activations, four of them, a table shared by N = 4 output features."""
    table = areas.float_full_table() / 4
    return tuple(
        Width(
            bits,
            areas.float_multiply(),
            bits * areas.float_add(bits),
            table + bits * areas.float_full(bits),
            bits * areas.float_half(4, bits),
        )
        for bits in range(1, 9)
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the page and the figures; exit status 2 on wrong input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--liberty", type=Path, required=True, help="Liberty file, plain or .gz")
    parsed = parser.parse_args(arguments)
    try:
        study = measure(parsed.liberty)
    except (InputError, SynthesisError) as error:
        print(error, file=sys.stderr)
        return 2
    DOCUMENT.write_text(write_document(study), encoding="utf-8")
    MEASURED.parent.mkdir(exist_ok=True)
    text = json.dumps(asdict(study.published), indent=1) + "\n"
    MEASURED.write_text(text, encoding="utf-8")
    print(f"{len(study.cells)} cells in {study.seconds:.0f} s", file=sys.stderr)
    print(f"wrote {DOCUMENT.name}, {MEASURED.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
