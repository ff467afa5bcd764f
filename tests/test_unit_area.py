"""The area model: packaged figures, committed results, and estimates that follow the geometry."""

import json
from dataclasses import replace

import pytest

from benchmarks.unit_area import (
    BOUND,
    COMPARED,
    FRESH,
    GEOMETRIES,
    LARGE,
    RESULTS,
    Row,
    estimate,
    label,
)
from benchmarks.unit_circuits import CIRCUITS
from designs.cells import CellFigure, Cells, cell_names, load_cells
from designs.errors import InputError
from designs.process import load_process
from designs.units import BitSerialSpec, LutSpec
from hwgen.synth import synthesise_component
from hwgen.units import UNITS
from sim.units import UNIT_COSTS
from sim.units.bit_serial import unit_registers as serial_registers
from sim.units.estimate import dsp48
from sim.units.lut import unit_registers
from sim.units.parts import KINDS, REGISTERS

_RESULTS = json.loads(RESULTS.read_text(encoding="utf-8"))
_ROWS = {name: [Row(**row) for row in rows] for name, rows in _RESULTS.items()}
_SPECS = {label(spec): spec for spec in (*GEOMETRIES, *FRESH, LARGE)}


@pytest.mark.parametrize("name", _ROWS)
def test_every_row_is_within_the_bound(name: str) -> None:
    for row in _ROWS[name]:
        for resource in COMPARED[row.target]:
            if row.synthesis[resource]:
                assert abs(row.error(resource)) < BOUND, (row.unit, resource)
            else:
                assert row.estimate[resource] == 0, (row.unit, resource)


def test_packaged_figures_give_the_committed_estimates() -> None:
    """The model, the figures and the results are those of one run."""
    rows = [row for rows in _ROWS.values() for row in rows]
    assert {row.unit for row in rows} == set(_SPECS)
    for row in rows:
        cells = load_cells(row.target)
        for resource, value in row.estimate.items():
            assert round(estimate(_SPECS[row.unit], cells, resource), 1) == value, row.unit


def test_enough_units_of_every_kind_were_not_fitted() -> None:
    for target in COMPARED:
        for kind in ("lut", "dense"):
            units = [
                r.unit for r in _ROWS["rows"] if r.target == target and r.unit.startswith(kind)
            ]
            assert len(set(units)) >= 5
        fresh = [r.unit for r in _ROWS["fresh"] if r.target == target]
        assert len({unit for unit in fresh if unit.startswith("bit_serial")}) >= 5
    assert {sample.kind for sample in CIRCUITS} == set(KINDS)


def test_a_circuit_synthesised_here_lies_on_its_line() -> None:
    """The smallest circuit on the target that needs no library; others take minutes."""
    sample = next(sample for sample in CIRCUITS if sample.kind == "gate")
    report = synthesise_component(sample.circuit, "circuit", "xcup")
    assert report.lut == load_cells("xcup").figure("gate", "lut").of(sample.bits) == sample.bits


@pytest.mark.parametrize("resource", ["um2", "lut", "ff", "dsp"])
@pytest.mark.parametrize("spec", [GEOMETRIES[0], GEOMETRIES[7], GEOMETRIES[10]], ids=label)
def test_more_lanes_cost_more(spec, resource: str) -> None:
    cells = load_cells("sky130hd" if resource == "um2" else "xcup")
    here = estimate(spec, cells, resource)
    for field in ("lanes_m", "lanes_n", "lanes_k"):
        more = estimate(replace(spec, **{field: 2 * getattr(spec, field)}), cells, resource)
        assert more > here or (resource == "dsp" and spec.kind == "lut" and field == "lanes_k")


def test_every_part_of_every_unit_is_measured() -> None:
    for name, resource in (("xcup", "lut"), ("xcup", "carry4"), ("sky130hd", "um2")):
        cells = load_cells(name)
        for bits in range(1, 9):
            for activations in (("int8",), ("int8", "fp16"), ("fp16",)):
                for lanes_k in (1, 2, 4, 16):
                    for digit in (1, 2, 4) if bits > 1 else ():
                        serial = BitSerialSpec(
                            2, 8, lanes_k, (bits,), 1024, activations, scale_bits_per_beat=digit
                        )
                        assert estimate(serial, cells, resource) > 0
                for table_bits in (0, 8):
                    spec = LutSpec(1, 8, 8, (bits,), 1024, activations, table_bits)
                    assert estimate(spec, cells, resource) > 0


def test_lut_area_in_a_process_by_hand() -> None:
    """Registers and multipliers are the process's own, the rest goes by its size in adder bits."""
    spec, process, cells = LutSpec(1, 2, 4, (1,), 64), load_process("45nm"), load_cells("sky130hd")
    costs = UNIT_COSTS["lut"]
    area = {n: process.element(n).square_micrometres for n in costs.elements(spec)}
    adder_bit = area["int32-add"] / cells.figure("adder", "um2").of(32)
    other = sum(
        part.count * cells.figure(part.kind, "um2").of(part.bits)
        for part in costs.parts(spec)
        if part.kind not in REGISTERS and part.kind != "scaler"
    )
    assert spec.group_sum_bits == 15  # +-128 * 64: two bytes
    by_hand = unit_registers(spec) * area["register-bit"] + 2 * 2 * area["int8-multiply"]
    found, encoders = costs.area(spec, process)
    assert found == pytest.approx(by_hand + other * adder_bit)
    assert encoders == 0
    listed = {constant.name: constant for constant in costs.constants(spec, process)}
    assert listed["part.lookup.area"].value > 1
    assert all("sky130" in c.source and "130 nm" in c.scaled for c in listed.values())
    assert not any("register" in name or "scaler" in name for name in listed)


def test_lut_energy_by_hand() -> None:
    """Of the 1-bit unit of one lane: a table of 14 sums, one plane sum, one half difference."""
    spec, process = LutSpec(1, 8, 4, (1,), 64), load_process("45nm")
    costs = UNIT_COSTS["lut"]
    added = 14 * 10 + 8 * (spec.plane_sum_bits + spec.group_sum_bits) + spec.token_sum_bits
    found, encoders = costs.cycle_picojoules(spec, process, None)
    by_hand = added * 0.1 / 32 + unit_registers(spec) * process.element("register-bit").picojoules
    assert found == pytest.approx(by_hand)
    assert encoders == 0
    assert costs.cycle_picojoules(spec, process, 2.0) == (2.0 * 8, 0.0)
    assert not costs.includes_leakage(spec, process)
    assert {"lookups and shifts", "group scaling"} <= set(costs.not_modelled(spec))


def test_bit_serial_energy_and_area_by_hand() -> None:
    """One lane: no tree, a group's sum, one bit of the scale; areas by size in adder bits."""
    spec, process, cells = BitSerialSpec(1, 8, 1, (8,), 64), load_process("45nm"), "sky130hd"
    costs, add = UNIT_COSTS["bit_serial"], 0.1 / 32
    found, encoders = costs.cycle_picojoules(spec, process, None)
    registers = serial_registers(spec) * process.element("register-bit").picojoules
    # Group sum and running product have the width of a group's sum; totals are added once a group.
    assert found == pytest.approx(8 * 2 * spec.group_sum_bits * add + registers)
    assert encoders == 0
    assert costs.cycle_picojoules(spec, process, 2.0) == (2.0 * 8, 0.0)
    area = {n: process.element(n).square_micrometres for n in costs.elements(spec)}
    adder = load_cells(cells).figure("adder", "um2").of(32)
    other = sum(
        part.count * load_cells(cells).figure(part.kind, "um2").of(part.bits)
        for part in costs.parts(spec)
        if part.kind not in REGISTERS
    )
    by_hand = serial_registers(spec) * area["register-bit"] + other / adder * area["int32-add"]
    assert costs.area(spec, process)[0] == pytest.approx(by_hand)
    listed = {constant.name: constant for constant in costs.constants(spec, process)}
    assert listed["part.serial-scaler-1.area"].value > 1
    assert not any("register" in name for name in listed)
    assert {"terms and shifts", "bit-serial scaling"} <= set(costs.not_modelled(spec))


def test_small_bit_serial_unit_is_near_its_estimate() -> None:
    """Synthesised here: look-up tables and flip-flops within the bound, no DSP block."""
    spec = BitSerialSpec(1, 4, 2, (4,), 64)
    report = synthesise_component(UNITS[spec.kind](spec), "unit", "xcup")
    cells = load_cells("xcup")
    for resource in ("lut", "ff"):
        assert estimate(spec, cells, resource) == pytest.approx(
            getattr(report, resource), rel=BOUND
        )
    assert report.dsp == estimate(spec, cells, "dsp") == 0


def test_dsp_blocks_of_a_long_operand() -> None:
    assert [dsp48(bits, 9) for bits in (27, 28, 44, 45, 61, 62)] == [1, 2, 2, 3, 3, 4]


def test_wrong_cells() -> None:
    assert cell_names() == ["sky130hd", "xcup"]
    with pytest.raises(InputError, match=r"cells.*'sky90'.*sky130hd"):
        load_cells("sky90")
    with pytest.raises(InputError, match=r"'abacus'.*um2.*adder"):
        load_cells("sky130hd").figure("abacus", "um2")
    with pytest.raises(InputError, match="per_bit"):
        CellFigure("adder", "lut", -1.0, 0.0, (8,), 0.0)
    with pytest.raises(InputError, match="resource"):
        CellFigure("adder", "alm", 1.0, 0.0, (8,), 0.0)
    figure = CellFigure("adder", "lut", 1.0, 0.0, (8,), 0.0)
    with pytest.raises(InputError, match="every kind and resource once"):
        Cells("", "library", "tool", "source", (figure, figure))
    with pytest.raises(InputError, match="where the figures come from"):
        Cells("", "library", "", "source", (figure,))
