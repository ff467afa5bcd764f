"""Area of the bit-serial element, of its parts and of what it competes with, from synthesis.

``python -m benchmarks.bit_serial_area [--liberty FILE]`` writes the results and
docs/bit-serial-area.md; ``--page`` writes the page from the results. Without a library there are
FPGA cells and CMOS gates only.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bit_serial_area_document import DOCUMENT, write_document
from benchmarks.bit_serial_area_rows import CELLS, UNITS_COMPARED, Cell, Study, unit_label
from benchmarks.bitmod_arithmetic import group_errors
from designs.errors import InputError
from hwgen.synth import SynthesisError, SynthesisReport, synthesise_component
from hwgen.units import UNITS

__all__ = ["RESULTS", "main", "measure"]

RESULTS = Path(__file__).parent / "results" / "bit_serial_area.json"


def measure(liberty: Path | None) -> Study:
    """Synthesise all cells and units.

    Parameters
    ----------
    liberty : Path or None
        Liberty file, plain or .gz.

    Raises
    ------
    InputError
        The Liberty file is missing or wrong.
    SynthesisError
        The synthesis tool is missing or failed.
    """
    library = ""
    cells: dict[str, Cell] = {}
    units: list[tuple[str, Callable[[], Any]]] = [
        (unit_label(spec), partial(UNITS[spec.kind], spec)) for spec in UNITS_COMPARED
    ]
    tool = ""
    for label, make in [*CELLS.items(), *units]:
        print(label, file=sys.stderr, flush=True)
        reports = {
            target: synthesise_component(make(), "element", target)
            for target in ("xcup", "generic")
        }
        if liberty is not None:
            report = synthesise_component(make(), "element", "liberty", liberty)
            reports["liberty"], library = report, str(report.library)
        cells[label] = _cell(reports)
        tool = reports["xcup"].tool
    return Study(tool, library, group_errors(), cells)


def _cell(reports: dict[str, SynthesisReport]) -> Cell:
    fpga, gates, library = reports["xcup"], reports["generic"], reports.get("liberty")
    return Cell(
        lut=int(fpga.lut or 0),
        ff=fpga.ff,
        dsp=int(fpga.dsp or 0),
        gates=gates.cell_count,
        gate_ff=gates.ff,
        transistors=int(gates.transistors or 0),
        um2=None if library is None else library.area_um2,
        sequential_um2=None if library is None else library.sequential_um2,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write results and page; exit status 2 on wrong input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bit_serial_area")
    parser.add_argument("--liberty", type=Path, help="Liberty file, plain or .gz")
    parser.add_argument("--page", action="store_true", help="write the page from the results")
    options = parser.parse_args(arguments)
    if options.page:
        study = Study.from_dict(json.loads(RESULTS.read_text(encoding="utf-8")))
    else:
        try:
            study = measure(options.liberty)
        except (InputError, SynthesisError) as error:
            print(error, file=sys.stderr)
            return 2
        RESULTS.write_text(json.dumps(asdict(study), indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(write_document(study), encoding="utf-8")
    print(f"wrote {DOCUMENT.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
