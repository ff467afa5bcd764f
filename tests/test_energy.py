"""Energy against sums written out, and the invariants that hold whatever the figures are."""

from dataclasses import replace

import numpy as np
import pytest

from designs.errors import InputError
from designs.files import load_design
from designs.memory_technology import load_memory
from designs.parts import Cores, Flash, Silicon, Vector
from designs.process import load_process
from designs.spec import Design
from designs.units import ArraySpec
from sim.activity import Activity, SramUse
from sim.area import area
from sim.energy import PARTS, EnergyRules, constants, energy, leakage_watts, not_modelled
from sim.units import NotModelled
from sim.units.dense import unit_registers

PROCESS = load_process("28nm")
PLAIN = replace(load_design("dense-int8"), silicon=Silicon(), vector=None)
DRAM = load_memory("ddr4-2400").energy
KILOBYTES_512 = 524288


def _dense(process: str = "28nm", **changes) -> Design:
    return replace(PLAIN, silicon=Silicon(process=process), **changes)


def _array(pe: str = "bitmod-pe") -> Design:
    unit = ArraySpec(32, 32, 4, (4,), 32768, pe=pe, latency_cycles=16, bit_serial=True)
    return _dense(unit=unit)


def _joules(design: Design, activity: Activity, seconds=1e-3, **rules) -> dict[str, float]:
    found = energy(design, activity, seconds, EnergyRules(**rules))
    assert isinstance(found, dict)
    assert tuple(found) == PARTS
    assert all(value >= 0 for value in found.values())
    return found


def test_array_by_hand() -> None:
    """1024 elements for a million cycles; the two buffers of BitMoD at their port widths."""
    activity = Activity(
        unit_cycles=1e6,
        dram_read_bytes=1e6,
        dram_write_bytes=2e5,
        srams=(
            SramUse("weight", KILOBYTES_512, 512, reads=1e6, writes=2e5),
            SramUse("activation", KILOBYTES_512, 1024, reads=1e6, writes=1e5),
        ),
    )
    design = _array()
    found = _joules(design, activity, 4e-3)
    assert found["unit"] == pytest.approx(1024 * 37.5 / 64 * 1e-6)  # 0.6 mJ
    assert found["encoder"] == pytest.approx(1024 * 1.86 / 64 * 1e-6)
    # 92.8 and 138.4 pJ a read, 83.4 and 156.1 pJ a write.
    assert found["sram_read"] == pytest.approx((92.8 + 138.4) * 1e-6, rel=1e-3)
    assert found["sram_write"] == pytest.approx((0.2 * 83.4 + 0.1 * 156.1) * 1e-6, rel=1e-3)
    assert found["dram"] == pytest.approx(
        8e-12 * (1e6 * DRAM.read_pj_per_bit + 2e5 * DRAM.write_pj_per_bit)
    )
    # Four channels of four ranks.
    assert found["dram_background"] == pytest.approx(4e-3 * 16e-3 * DRAM.background_milliwatts)
    assert found["vector"] == found["flash"] == found["link"] == 0
    # 300 MHz: a million cycles take 3.33 ms, the unit is idle for the rest of 4 ms.
    unit, rest = leakage_watts(design, PROCESS)
    assert found["leakage"] == pytest.approx(unit * (4e-3 - 1e6 / 300e6) + rest * 4e-3)


def test_leakage_by_hand() -> None:
    design = _array()
    parts = area(design)
    assert isinstance(parts, dict)
    unit, rest = leakage_watts(design, PROCESS)
    assert unit == pytest.approx(12.6e-3 * (parts["unit"] + parts["encoder"]))
    assert rest > 0.3  # CACTI's high-performance cells: 0.3 W in each half megabyte
    low, lowest = (
        leakage_watts(replace(design, silicon=Silicon(process=name)), load_process(name))
        for name in ("28nm", "28nm-low-leakage")
    )
    assert lowest[0] == low[0]
    assert lowest[1] < low[1] / 5
    with pytest.raises(ValueError, match="leakage"):
        leakage_watts(design, load_process("16nm"))


def test_dense_by_hand() -> None:
    design = _dense()
    found = _joules(design, Activity(unit_cycles=1e6))
    by_hand = (
        1024 * PROCESS.element("int8-mac").picojoules
        + unit_registers(design.unit) * PROCESS.element("register-bit").picojoules
    )
    assert found["unit"] == pytest.approx(by_hand * 1e-6)
    assert found["encoder"] == 0
    # Switching energy alone: the unit leaks while it works, too.
    unit, rest = leakage_watts(design, PROCESS)
    assert found["leakage"] == pytest.approx((unit + rest) * 1e-3)


def test_vector_flash_and_link() -> None:
    design = _dense(
        vector=Vector(64, 8),
        cores=Cores(2, 0, 10**9),
        flash=Flash("nvme", 10**9, 50.0, 1 << 30, 25.0),
    )
    activity = Activity(vector_elements=1e6, flash_read_bytes=1e6, link_bytes=1e6)
    found = _joules(design, activity)
    assert found["vector"] == pytest.approx(PROCESS.element("vector-fp32").picojoules * 1e-6)
    assert found["flash"] == pytest.approx(25.0 * 8e-6)
    assert found["link"] == pytest.approx(1.17 * 8e-6)
    with pytest.raises(ValueError, match="vector"):
        energy(_dense(), Activity(vector_elements=1), 1.0)
    with pytest.raises(ValueError, match="flash"):
        energy(_dense(), Activity(flash_read_bytes=1), 1.0)


def test_rules_of_a_publication() -> None:
    """BitMoD's simulator: its own element, a factor on the array, no leakage, a constant DRAM."""
    activity = Activity(unit_cycles=51.6e6, dram_read_bytes=1e9, dram_write_bytes=1e6)
    found = _joules(
        _array(),
        activity,
        pe_picojoules=0.56,
        array_overhead=1.5,
        encoder=False,
        leakage=False,
        background=False,
        dram_pj_per_bit=18.75,
    )
    # 0.56 * 1.5 * 1024 = 860.2 pJ a cycle (bitmod_sim), 1200 pJ for 64 bits.
    assert found["unit"] == pytest.approx(860.16e-12 * 51.6e6)
    assert found["dram"] == pytest.approx((1e9 + 1e6) / 8 * 1200e-12)
    for part in ("encoder", "leakage", "dram_background"):
        assert found[part] == 0
    said = not_modelled(_array(), EnergyRules(encoder=False, leakage=False, background=False))
    assert {"encoder", "leakage", "DRAM background"} <= set(said)
    with pytest.raises(ValueError, match="array_overhead"):
        EnergyRules(array_overhead=0)
    with pytest.raises(ValueError, match="pe_picojoules"):
        EnergyRules(pe_picojoules=-1)


def test_every_count_costs() -> None:
    """No count is silently free, and twice the work is twice the energy."""
    design = _dense(vector=Vector(64, 8), flash=Flash("nvme", 10**9, 50.0, 1 << 30, 25.0))
    use = SramUse("weight", KILOBYTES_512, 4096)
    counts = {
        "unit": Activity(unit_cycles=1e3),
        "vector": Activity(vector_elements=1e3),
        "dram": Activity(dram_read_bytes=1e3),
        "flash": Activity(flash_read_bytes=1e3),
        "link": Activity(link_bytes=1e3),
        "sram_read": Activity(srams=(replace(use, reads=1e3),)),
        "sram_write": Activity(srams=(replace(use, writes=1e3),)),
    }
    idle = _joules(design, Activity())
    assert sum(idle.values()) == idle["leakage"] + idle["dram_background"] > 0
    for part, activity in counts.items():
        found = _joules(design, activity)
        assert found[part] > 0
        assert {k: v for k, v in found.items() if k != part} == {
            k: v for k, v in idle.items() if k != part
        }
        assert _joules(design, activity.times(2))[part] == pytest.approx(2 * found[part])
    assert _joules(design, Activity(dram_write_bytes=1e3))["dram"] > 0
    assert _joules(design, Activity(), 2e-3)["leakage"] == pytest.approx(2 * idle["leakage"])


def test_passes_are_added_up() -> None:
    passes = Activity(
        unit_cycles=np.array([1e3, 2e3]),
        dram_read_bytes=np.array([10.0, 20.0]),
        srams=(SramUse("weight", KILOBYTES_512, 4096, reads=np.array([1.0, 2.0])),),
    )
    whole = Activity(
        unit_cycles=3e3,
        dram_read_bytes=30.0,
        srams=(SramUse("weight", KILOBYTES_512, 4096, reads=3.0),),
    )
    assert _joules(_dense(), passes, np.array([1e-3, 2e-3])) == pytest.approx(
        _joules(_dense(), whole, 3e-3)
    )


def test_cores_leak_and_stand_by_each() -> None:
    one, four = (
        _joules(_dense(cores=cores), Activity()) for cores in (Cores(), Cores(4, 0, 10**9))
    )
    assert four["leakage"] == pytest.approx(4 * one["leakage"])
    assert four["dram_background"] == pytest.approx(4 * one["dram_background"])


def test_no_figures_is_no_zero() -> None:
    activity = Activity(unit_cycles=1e6)
    for design, word in (
        (PLAIN, "silicon.process"),
        (replace(PLAIN, silicon=Silicon(device="u280")), "u280"),
        (_dense(dram=replace(PLAIN.dram, technology="ideal")), "ideal"),
    ):
        found = energy(design, activity, 1.0)
        assert isinstance(found, NotModelled)
        assert word in found.reason
        assert not_modelled(design) == {"energy": found.reason}
    ideal = _dense(dram=replace(PLAIN.dram, technology="ideal"))
    # With a figure from the conventions and no background the memory needs none.
    assert _joules(ideal, activity, dram_pj_per_bit=10.0, background=False)["unit"] > 0
    # Nodes without leakage figures say so.
    assert _joules(_dense("16nm"), activity)["leakage"] == 0
    assert "leakage" in not_modelled(_dense("16nm"))
    assert "leakage" not in not_modelled(_dense())


def test_constants_are_those_used() -> None:
    design = _array()
    activity = Activity(srams=(SramUse("weight", KILOBYTES_512, 512, reads=1.0),))
    listed = {constant.name: constant for constant in constants(design, activity)}
    assert listed["element.bitmod-pe.energy"].value == 37.5 / 64
    assert "element.bitmod-encoder.energy" in listed
    assert listed["sram.524288B.512b.read"].value == pytest.approx(92.8, abs=0.05)
    assert listed["dram.read"].value == DRAM.read_pj_per_bit
    # four channels of 32 GiB: four ranks of 8 GiB each
    assert listed["dram.background"].value == pytest.approx(16 * DRAM.background_milliwatts)
    assert "of 4 ranks" in listed["dram.background"].source
    assert listed["dram.background"].source != listed["dram.read"].source
    assert not any("fp16-mac" in name for name in listed)
    assert all(constant.source for constant in listed.values())
    rules = EnergyRules(pe_picojoules=0.56, array_overhead=1.5, dram_pj_per_bit=18.75)
    listed = {constant.name: constant for constant in constants(design, activity, rules)}
    assert listed["rule.element"].value == 0.56
    assert listed["rule.array_overhead"].value == 1.5
    assert listed["dram.read"].value == 18.75
    assert "conventions" in listed["dram.read"].source
    assert constants(PLAIN, activity) == []


def test_unknown_element() -> None:
    with pytest.raises(InputError, match=r"unit\.pe.*'abacus'.*bitmod-pe"):
        energy(_array("abacus"), Activity(), 1.0)
