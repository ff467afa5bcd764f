"""The area benchmark: how arrays are composed, and what it does with its figures."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from amaranth.hdl import Fragment

from benchmarks import lut_area, lut_area_rows
from benchmarks.lut_area_document import write_document
from benchmarks.lut_area_rows import Areas
from hwgen.synth import SynthesisReport
from silicast.fidelity.lut_area import load_area_study

REPORT = SynthesisReport("liberty", "element", "made up 1", True, {}, 3, library="made up")


@pytest.fixture
def prices(monkeypatch):
    """Areas of kinds of cells instead of a synthesis; the others cost 1."""
    table = {}

    def synthesise(component, name, target, liberty):
        kind = type(component).__name__
        Fragment.get(component, None)  # Amaranth warns of components that are never used
        return replace(REPORT, area_um2=table.get(kind, 1.0), sequential_um2=0.5)

    monkeypatch.setattr(lut_area_rows, "synthesise_component", synthesise)
    return table


def test_arrays_are_cells_selects_and_tables(prices):
    prices |= {"FullLookup": 1000.0, "PlaneSelect": 10.0, "FullTable": 7.0}
    areas = Areas(Path("made_up.lib"))
    assert areas.conventional(16) == 128 * 1000 + 64 * 10 + 2 * 7
    prices |= {"HalfLookup": 500.0, "LutTable": 5.0, "LutRow": 400.0, "TableRegisters": 3.0}
    assert areas.reinterpreted(16) == 128 * 500 + 64 * 10 + 2 * 5
    array = areas.unit_array(2, 16)
    assert array.bare == 128 * 400 + 64 * 10
    assert (array.registers - array.bare, array.generator - array.bare) == (6, 10)
    assert areas.unit_array(1, 16).bare == 128 * 400  # one plane needs no multiplexer
    prices["DenseDot"] = 9000.0
    assert areas.dense_array(32) == 32 * 9000


def test_all_shapes_have_the_same_product(prices):
    shapes = list(Areas(Path("made_up.lib")).shapes())
    assert all(s.lanes_m * s.lanes_n * s.lanes_k == 512 for s in shapes)
    assert len({(s.lanes_m, s.lanes_n, s.lanes_k) for s in shapes}) == len(shapes) == 34


def test_equal_rate_takes_a_cell_a_plane(prices):
    prices |= {"FloatDot": 100.0, "FloatSerialDot": 10.0, "FloatFullTable": 8.0}
    prices |= {"FloatFullLookup": 5.0, "FloatHalfLookup": 3.0}
    study = lut_area.measure(Path("made_up.lib"))
    third = study.published.weight_bits[2]
    assert asdict(third) == {
        "bits": 3,
        "multiply": 100.0,
        "add": 30.0,
        "full_table": 17.0,
        "lookup": 9.0,
    }
    assert {item.k for item in study.optima if item.activations == "int8"} == set(range(1, 9))


def test_page_and_figures_are_written(prices, tmp_path, monkeypatch):
    monkeypatch.setattr(lut_area, "DOCUMENT", tmp_path / "page.md")
    monkeypatch.setattr(lut_area, "MEASURED", tmp_path / "measured" / "figures.json")
    assert lut_area.main(["--liberty", "made_up.lib"]) == 0
    study = load_area_study(tmp_path / "measured" / "figures.json")
    assert study.library == "made up"
    page = (tmp_path / "page.md").read_text()
    assert page == write_document(lut_area.measure(Path("made_up.lib")))
    assert "made_up.lib" not in page  # the name of the library, not where it lies


def test_a_missing_library_is_one_line(capsys):
    assert lut_area.main(["--liberty", "none.lib"]) == 2
    error = capsys.readouterr().err
    assert "none.lib" in error
    assert error.count("\n") == 1
