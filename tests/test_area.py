"""Silicon area against sums written out."""

from dataclasses import replace

import pytest

from designs.errors import InputError
from designs.files import load_design
from designs.parts import Cores, Silicon, Vector
from designs.process import load_process
from designs.spec import Design
from designs.units import ArraySpec
from sim.area import NOT_MODELLED, area, buffer_ports
from sim.units import NotModelled
from sim.units.dense import unit_registers
from sim.units.lut import unit_registers as lut_registers

PROCESS = load_process("28nm")
PLAIN = replace(load_design("dense-int8"), silicon=Silicon(), vector=None)


def _dense(**changes) -> Design:
    return replace(PLAIN, silicon=Silicon(process="28nm"), **changes)


def _array() -> Design:
    """BitMoD's array: 32 x 32 elements of four lanes, in decode 64 x 16."""
    unit = ArraySpec(
        lanes_m=32,
        lanes_n=32,
        lanes_k=4,
        weight_bits=(4,),
        max_k=32768,
        pe="bitmod-pe",
        latency_cycles=16,
        decode_lanes_m=16,
        decode_lanes_n=64,
        bit_serial=True,
    )
    dense = _dense()
    return replace(dense, unit=unit, formats=replace(dense.formats, activation_bits=16))


def test_array_by_hand() -> None:
    design = _array()
    found = area(design)
    assert isinstance(found, dict)
    assert found["unit"] == pytest.approx(1024 * 97090 / 64 * 1e-6)
    assert found["encoder"] == pytest.approx(1024 * 2419 / 64 * 1e-6)
    # Weights: 64 rows x 4 lanes x 4 bits / 2 = 512; activations: 32 columns x 4 x 16 / 2 = 1024.
    ports = {port.buffer: port.port_bits for port in buffer_ports(design)}
    assert (ports["weight"], ports["activation"]) == (512, 1024)
    assert found["buffer_weight"] == pytest.approx(1.60, abs=0.005)
    assert found["buffer_activation"] == pytest.approx(1.57, abs=0.005)


def test_dense_by_hand() -> None:
    design = _dense()
    unit = design.unit
    found = area(design)
    assert isinstance(found, dict)
    each = {name: PROCESS.element(name).square_micrometres for name in ("int8-mac", "register-bit")}
    multiply = PROCESS.element("int8-multiply").square_micrometres
    by_hand = (
        1024 * each["int8-mac"]
        + unit_registers(unit) * each["register-bit"]
        + 64 * 4 * multiply  # 64 scale multipliers of a 31-bit sum: four bytes each
    )
    assert found["unit"] == pytest.approx(by_hand * 1e-6)
    assert found["encoder"] == 0
    # The weight buffer is read 512 bytes a step and written 256 bytes a line.
    assert found["buffer_weight"] == PROCESS.sram.figure(524288, 4096).square_millimetres
    assert found["buffer_activation"] == PROCESS.sram.figure(524288, 2048).square_millimetres
    assert found["vector"] == 0


def test_lookup_unit_is_smaller_than_multipliers_of_its_lookups() -> None:
    """2 x 128 x 32 one-bit products in less area than as many INT8 multipliers, more than none."""
    design = load_design("lut-int8")
    found = area(design)
    assert isinstance(found, dict)
    mac = PROCESS.element("int8-mac").square_micrometres * 1e-6
    assert 0 < found["unit"] < design.unit.macs * mac
    registers = lut_registers(design.unit) * PROCESS.element("register-bit").square_micrometres
    assert found["unit"] > 1.2 * registers * 1e-6


def test_vector_engine_and_cores() -> None:
    one = area(_dense(vector=Vector(64, 8)))
    four = area(_dense(vector=Vector(64, 8), cores=Cores(4, 0, 10**9)))
    assert isinstance(one, dict)
    assert isinstance(four, dict)
    assert one["vector"] == pytest.approx(
        64 * PROCESS.element("vector-fp32").square_micrometres * 1e-6
    )
    assert four == {name: pytest.approx(4 * value) for name, value in one.items()}


def test_larger_buffers_are_larger() -> None:
    design = _dense()
    found = area(design)
    larger = area(replace(design, buffers=replace(design.buffers, activation_bytes=1 << 21)))
    assert isinstance(found, dict)
    assert isinstance(larger, dict)
    assert larger["buffer_activation"] > 3 * found["buffer_activation"]
    assert {k: v for k, v in larger.items() if k != "buffer_activation"} == {
        k: v for k, v in found.items() if k != "buffer_activation"
    }


def test_no_figures_is_no_zero() -> None:
    assert area(PLAIN) == NotModelled("the design names no silicon.process")
    fpga = area(replace(PLAIN, silicon=Silicon(device="u280")))
    assert isinstance(fpga, NotModelled)
    assert "u280" in fpga.reason
    assert {"network on chip", "memory interface"} <= set(NOT_MODELLED)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"silicon\.process.*'6nm'"):
        area(replace(PLAIN, silicon=Silicon(process="6nm")))
    design = _array()
    with pytest.raises(InputError, match=r"unit\.pe.*'abacus'"):
        area(replace(design, unit=replace(design.unit, pe="abacus")))
