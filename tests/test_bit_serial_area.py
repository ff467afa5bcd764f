"""The study of the bit-serial element: its committed results, its page, how areas are composed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Fragment

from benchmarks import bit_serial_area
from benchmarks.bit_serial_area import RESULTS
from benchmarks.bit_serial_area_document import DOCUMENT, write_document
from benchmarks.bit_serial_area_rows import (
    CELLS,
    RATES,
    UNITS_COMPARED,
    Cell,
    Study,
    elements,
    unit_label,
)
from benchmarks.bitmod_arithmetic import group_errors
from hwgen.synth import SynthesisReport, synthesise_component

REPORT = SynthesisReport("generic", "element", "made up 1", True, {"$_NAND_": 3}, 1)


def _study() -> Study:
    return Study.from_dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def test_page_is_that_of_the_results():
    assert DOCUMENT.read_text(encoding="utf-8") == write_document(_study())


def test_results_have_every_circuit():
    study = _study()
    labels = {*CELLS, *map(unit_label, UNITS_COMPARED)}
    assert set(study.cells) == labels
    assert study.library
    for label, cell in study.cells.items():
        assert cell.transistors > 0, label
        assert cell.um2 > cell.sequential_um2 >= 0, label
        assert (cell.dsp > 0) == label.startswith("dense M"), label


def test_errors_are_those_of_the_model():
    found = group_errors()
    assert _study().errors == pytest.approx(found, rel=1e-6)


def test_small_circuit_is_as_committed():
    """The term generator of integers, for an FPGA."""
    label = "term generator, integers of even width"
    report = synthesise_component(CELLS[label](), "element", "xcup")
    found = _study().cells[label]
    assert (report.lut, report.ff) == (found.lut, found.ff)


def test_elements_are_composed_of_shares():
    made = Cell(8, 16, 0, 8, 0, 80, 800.0, 80.0)
    study = Study("tool", "library", {}, dict.fromkeys(CELLS, made))
    by_label = {element.label: element for element in elements()}
    both = by_label["bit-serial, INT8 and FP16, all codes"]
    assert both.amount(study, "um2") == pytest.approx(3 * 100)  # three circuits, an eighth of each
    assert by_label["as the paper draws it, rounded, FP16"].amount(study, "lut") == 9
    assert [both.rate(weights) for weights in RATES] == [1, pytest.approx(4 / 3), 2]
    four = by_label["dense INT8, four products, no scaling"]
    assert {four.rate(weights) for weights in RATES} == {4}


def test_measuring_without_a_library(tmp_path, monkeypatch):
    def synthesise(component, name, target, liberty=None):
        Fragment.get(component, None)
        assert liberty is None
        return replace(REPORT, target=target, lut=2, transistors=12, dsp=0)

    monkeypatch.setattr(bit_serial_area, "synthesise_component", synthesise)
    monkeypatch.setattr(bit_serial_area, "group_errors", lambda: {"exact": 1e-5})
    monkeypatch.setattr(bit_serial_area, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(bit_serial_area, "DOCUMENT", tmp_path / "page.md")
    assert bit_serial_area.main([]) == 0
    study = Study.from_dict(json.loads((tmp_path / "results.json").read_text(encoding="utf-8")))
    assert set(study.cells.values()) == {Cell(2, 1, 0, 3, 1, 12, None, None)}
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page == write_document(study)
    assert "transistors" in page
    assert "sky130" not in page


def test_a_missing_library_is_one_line(capsys):
    assert bit_serial_area.main(["--liberty", str(Path("none.lib"))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "none.lib" in lines[-1]
