"""Rows of papers on look-up hardware: gates, arithmetic, and the file of the area study."""

import dataclasses
import json
from itertools import product
from math import inf

import numpy as np
import pytest

from designs.errors import InputError
from silicast.fidelity import DOCUMENT, lut_area, lut_rows
from silicast.fidelity.gates import NO_GATE, Gate, GatedRow, between, equal, within
from silicast.fidelity.lut import compare_lut
from silicast.fidelity.lut_area import MEASURED, area_rows, load_area_study
from silicast.fidelity.lut_exact import (
    binary_product,
    exact_rows,
    ternary_code,
    ternary_triple,
)
from silicast.fidelity.lut_inputs import Listed, inputs

GATED = ("L1", "L2", "L3", "L5", "L6", "L7", "L8", "L10", "L11", "L13", "F1", "F2", "P1", "U1")
OTHERS = ("L4", "L9", "L12", "L14", "L16", "L17", "L18", "L19", "T1", "T2", "T3", "F3", "F4")
OTHERS += ("L15", "X1", "B1")


@pytest.fixture(scope="module")
def found():
    return compare_lut()


def figures(rows, row):
    return [item for item in rows if item.row == row]


# The rows ------------------------------------------------------------------------------------


def test_rows_of_class_a_have_a_gate(found):
    for name in GATED:
        assert any(row.gate and row.grade == "A" for row in figures(found.gated, name)), name


def test_every_row_is_on_the_page(found):
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    for name in GATED + OTHERS:
        starts = (f"| {name} |", f"| {name}, ")
        assert any(line.startswith(starts) for line in lines), name
    for item in found.listed:
        assert any(item.what in line and item.why in line for line in lines)
    for row in found.gated:
        assert any(row.quantity in line for line in lines)


def test_the_gates_that_are_not_met_are_known(found):
    missed = [(row.row, row.quantity, row.ours) for row in found.gated if row.met is False]
    # One plane with FP16: four activations are 0.1 % denser than five (docs/lut-area.md).
    assert [row[0::2] for row in missed] == [("L5", 4)]
    assert "FP16, 1 plane" in missed[0][1]


def test_only_areas_may_lack_a_figure(found):
    lacking = {row.method for row in found.gated if row.ours is None}
    assert lacking <= ({"synthesis"} if not MEASURED.exists() else set())


def test_data_is_plain_json(found):
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(data["rows"]) == len(found.gated)
    assert {row["method"] for row in data["rows"]} <= set(data["methods"])


def test_the_same_every_time(found):
    assert compare_lut() == found


# Gates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "inside", "outside"),
    [
        (within(2.0, 10), (1.8, 2.0, 2.2), (1.79, 2.21)),
        (equal(4), (4,), (3, 5)),
        (between(4, 6), (4, 5, 6), (3.9, 6.1)),
        (between(1, inf), (1, 1e9), (0.99,)),
        (between(-inf, 0), (-3, 0), (1,)),
    ],
)
def test_gates_hold_inside_alone(gate, inside, outside):
    assert all(gate.holds(value) for value in inside)
    assert not any(gate.holds(value) for value in outside)


def test_what_a_row_says():
    row = GatedRow("L3", "x", "y", "", 2.0, 2.0, 2.4, within(2.0, 10), "A", "synthesis")
    assert row.met is False
    assert row.error == pytest.approx(20)
    assert dataclasses.replace(row, ours=2.1).met is True
    assert dataclasses.replace(row, gate=NO_GATE).met is None
    unmeasured = dataclasses.replace(row, ours=None)
    assert unmeasured.met is None
    assert unmeasured.error is None
    assert dataclasses.replace(row, low=0, high=0).error is None
    for wrong in ({"grade": "D"}, {"method": "guess"}, {"low": 3.0}):
        with pytest.raises(ValueError, match="L3"):
            dataclasses.replace(row, **wrong)


def test_listed_rows_have_a_class():
    with pytest.raises(InputError, match="grade"):
        Listed("L4", "x", "y", "D", "z")


# Arithmetic and live checks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ("L10", [2.963, 18.519, 61.794, 61.960, 12.585, 23.674, 25.411]),
        ("L11", [0.19186, 0.38372]),
        ("L12", [31.566, 63.132]),
        ("L14", [16.46, 2.61, 24.41, 2.52]),
        ("T1", [2.119, 1.538, 0.666]),
        ("F1", [14, 41.667]),
        ("F3", [1.6, 2.0, 2.4]),
        ("U1", [4608, 7372.8]),
        ("X1", [1.396]),
        ("L2", [128, 256, 512, 768, 1024]),
        ("B1", [14, 1.667, 0]),
    ],
)
def test_figures(found, row, ours):
    """Worked out by hand from the tables."""
    assert [item.ours for item in figures(found.gated, row)] == pytest.approx(
        ours, rel=5e-4, abs=5e-3
    )


def test_the_misprint_is_flagged_and_not_gated(found):
    flagged = [row for row in figures(found.gated, "L10") if not row.gate]
    assert [row.low for row in flagged] == [17.73]
    assert "misprint" in flagged[0].note
    assert abs(flagged[0].error) > 4


def test_adders_are_those_of_the_netlist(monkeypatch):
    assert lut_rows.generator_adders() == 14
    from hwgen.units import lut_table

    def one_by_one(m, group, a):
        signs = [[1 if i >> j & 1 else -1 for j in range(3)] for i in range(8)]
        return [a[3] + s[2] * a[2] + s[1] * a[1] + s[0] * a[0] for s in signs]

    monkeypatch.setattr(lut_table, "_sums", one_by_one)
    assert lut_rows.generator_adders() >= 24


def test_binary_product_is_the_product():
    rng = np.random.default_rng(3)
    for bits, others in product((1, 2, 5), (1, 3, 7)):
        weights = 2 * rng.integers(0, 1 << bits, (7, 33)) - (1 << bits) + 1
        activations = 2 * rng.integers(0, 1 << others, (5, 33)) - (1 << others) + 1
        expected = activations @ weights.T
        assert (binary_product(weights, activations, bits, others) == expected).all()


def test_a_wrong_lookup_is_counted(monkeypatch):
    """One that is off by one everywhere fails every row it is used in."""
    from silicast.fidelity import lut_exact

    right = lut_exact.lookup_sums
    monkeypatch.setattr(lut_exact, "lookup_sums", lambda a, w: right(a, w) + 1)
    rows = [row for row in exact_rows() if row.row in ("L1", "P1")]
    assert len(rows) == 9
    assert all(row.ours > 0 and row.met is False for row in rows)


def test_ternary_code():
    codes = {triple: ternary_code(triple) for triple in product((-1, 0, 1), repeat=3)}
    assert len(set(codes.values())) == 27
    for triple, (index, sign) in codes.items():
        assert 0 <= index < 14
        assert ternary_triple(index, sign) == triple
        opposite = tuple(-value for value in triple)
        assert codes[opposite][0] == index


# The area study ------------------------------------------------------------------------------


def made_study():
    """Areas that would meet every gate; made up."""
    chain = {"conventional": 14400.0, "reinterpreted": 10800.0, "negation_free": 10700.0}
    return {
        "command": "python -m benchmarks.lut_area --liberty made_up.lib",
        "library": "made up",
        "yosys": "0.0",
        "chain": [
            {"accumulator_bits": bits, **chain, "tables_outside": 10000.0} for bits in (16, 24, 32)
        ],
        "table_k": [
            {"activations": name, "planes": p, "k": k, "area": 100.0 * k + 40.0 * abs(k - best)}
            for name, best in (("int8", 4), ("fp16", 5))
            for p in (1, 2, 4)
            for k in range(2, 7)
        ],
        "weight_bits": [
            {
                "bits": bits,
                "multiply": 1000.0,
                "add": 400.0 * bits,
                "full_table": 300.0 * bits,
                "lookup": 160.0 * bits,
            }
            for bits in range(1, 9)
        ],
        "shapes": [
            {"lanes_m": 2, "lanes_n": 64, "lanes_k": 4, "area": 1002.0},
            {"lanes_m": 1, "lanes_n": 128, "lanes_k": 4, "area": 1000.0},
            {"lanes_m": 8, "lanes_n": 16, "lanes_k": 4, "area": 1200.0},
        ],
        "one_bit": {"dense_int8": 5000.0, "lookup_w1a8": 1000.0},
        "dot4_fp16": {"multiply": 6400.0, "add": 2800.0, "lookup": 1000.0},
        "table_registers": {"full": 2000.0, "half": 990.0, "half_with_decoder": 1010.0},
    }


def load(tmp_path, table):
    path = tmp_path / "lut_area.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return load_area_study(path)


def test_a_study_fills_every_row(tmp_path):
    rows = area_rows(load(tmp_path, made_study()))
    assert [row.row for row in rows] == [row.row for row in area_rows(None)]
    assert all(row.ours is not None for row in rows)
    assert all(row.met for row in rows if row.gate)
    assert [row.ours for row in figures(rows, "L3")][:3] == pytest.approx([4 / 3, 144 / 107, 1.44])
    assert [row.ours for row in figures(rows, "L5")] == [4, 4, 4, 5, 5, 5]
    assert [row.ours for row in figures(rows, "L6")] == [2, 3, 6]
    assert [row.ours for row in figures(rows, "L7")] == [5]
    assert [row.ours for row in figures(rows, "L8")] == [1.002]
    assert [row.ours for row in figures(rows, "L9")] == pytest.approx([6.4 / 2.8, 2.8, 6.4])
    assert [row.ours for row in figures(rows, "L13")] == [15.625]
    assert [row.ours for row in figures(rows, "F2")] == [0.505]


def test_without_a_study_nothing_is_claimed():
    rows = area_rows(None)
    assert all(row.ours is None and row.met is None and row.error is None for row in rows)


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        (lambda t: t["chain"][0].update(reinterpreted=14000.0), ("L3", 1)),
        (lambda t: t["table_k"][2].update(area=9999.0), ("L5", 1)),
        (lambda t: t["weight_bits"][5].update(lookup=1001.0), ("L6", 1)),
        (lambda t: t["weight_bits"][6].update(lookup=999.0), ("L6", 1)),
        (lambda t: t["one_bit"].update(lookup_w1a8=800.0), ("L7", 1)),
        (lambda t: t["shapes"][1].update(area=990.0), ("L8", 1)),
        (lambda t: t["dot4_fp16"].update(add=900.0), ("L9", 1)),
        (lambda t: t["table_registers"].update(half_with_decoder=1200.0), ("F2", 1)),
    ],
)
def test_each_gate_can_be_missed(tmp_path, change, missed):
    table = made_study()
    change(table)
    rows = area_rows(load(tmp_path, table))
    found = [row.row for row in rows if row.met is False]
    assert found == [missed[0]] * missed[1]


def test_wider_accumulators_are_shown_only(tmp_path):
    table = made_study()
    for item in table["chain"][1:]:
        item["reinterpreted"] = item["conventional"]
    rows = area_rows(load(tmp_path, table))
    assert all(row.met is not False for row in rows)
    assert sum(row.ours == 1 for row in figures(rows, "L3")) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda t: t.pop("library"), "library"),
        (lambda t: t.update(extra=1), "extra"),
        (lambda t: t["chain"].pop(), "chain"),
        (lambda t: t["chain"][0].update(conventional=0), "conventional"),
        (lambda t: t["chain"][0].update(conventional="big"), "conventional"),
        (lambda t: t["one_bit"].pop("dense_int8"), "dense_int8"),
        (lambda t: t["table_k"].pop(2), "table_k"),
        (lambda t: t["weight_bits"].pop(2), "weight_bits"),
        (lambda t: t["weight_bits"].clear(), "weight_bits"),
        (lambda t: t["shapes"].pop(0), "shapes"),
        (lambda t: t["shapes"][0].update(lanes_m=4), "shapes"),
        (lambda t: t["dot4_fp16"].update(add=-1.0), "add"),
        (lambda t: t["table_registers"].update(half=float("inf")), "half"),
    ],
)
def test_a_wrong_study_is_refused(tmp_path, change, field):
    table = made_study()
    change(table)
    with pytest.raises(InputError) as error:
        load(tmp_path, table)
    assert field in error.value.field
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_what_is_no_study_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"lut_area\.json"):
        load(tmp_path, text)


def test_a_missing_study_is_named(tmp_path):
    with pytest.raises(InputError, match="benchmarks"):
        load_area_study(tmp_path / "lut_area.json")


def test_the_studys_method_is_on_the_page(tmp_path, monkeypatch):
    study = load(tmp_path, made_study())
    monkeypatch.setattr("silicast.fidelity.lut.measured", lambda: study)
    filled = compare_lut()
    assert "made up" in filled.study
    assert all(row.ours is not None for row in filled.gated)
    assert lut_area.MEASURED.parent.name == "measured"


def test_inputs_are_typed():
    assert inputs().config("A100-LUT-8X").peak == 2496
    assert Gate("x", 1, 2).holds(1.5)
