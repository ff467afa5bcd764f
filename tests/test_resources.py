"""FPGA resources: what is counted is what the netlist has."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks import accelerator_area
from benchmarks.accelerator_area import AFTERWARDS, BOUNDS, FIGURES_FROM, RESULTS, Row
from designs.errors import InputError
from designs.files import load_design
from designs.fpga import device_names, load_device
from designs.parts import Cores, Formats, Silicon
from designs.spec import Buffers, Control, Design
from designs.units import ArraySpec
from hwgen.accelerator import Accelerator
from sim.resources import check_device, dsp_blocks, fits, ram_blocks
from sim.rtl_storage import rams, registers, repeated_registers, unread_registers
from sim.surroundings import around_unit, saved_in_place, selector_luts
from sim.units import UNIT_COSTS, bit_serial, dense, lut
from sim.units.parts import MULTIPLIERS

_TINY = load_design("dense-int8-tiny")
_LUT = load_design("lut-tiny")
_SERIAL = load_design("bitmod-tiny")
_REGISTERS = {
    "dense": dense.unit_registers,
    "lut": lut.unit_registers,
    "bit_serial": bit_serial.unit_registers,
}


def _design(unit: dict, dram: dict, **parts) -> Design:
    dram = {"technology": "ideal", **dram}
    return replace(
        _TINY, unit=replace(_TINY.unit, **unit), dram=replace(_TINY.dram, **dram), **parts
    )


def _lut(**unit) -> Design:
    bits = 16 if unit.get("activations") == ("fp16",) else 8
    formats = replace(_LUT.formats, activation_bits=bits)
    return replace(_LUT, unit=replace(_LUT.unit, **unit), formats=formats)


def _serial(**unit) -> Design:
    bits = 16 if unit.get("activations") == ("fp16",) else 8
    formats = Formats(activation_bits=bits)
    return replace(_SERIAL, unit=replace(_SERIAL.unit, **unit), formats=formats)


DESIGNS = {
    "tiny": _TINY,
    "two channels, shallow queues": _design(
        {"lanes_m": 1, "lanes_n": 4, "lanes_k": 4},
        {
            "channels": 2,
            "data_bytes": 8,
            "bandwidth_bytes_per_second": 350_000_000,
            "max_outstanding_reads": 2,
            "max_outstanding_writes": 1,
            "max_burst_beats": 32,
        },
        control=Control(2, 2, 2),
        buffers=Buffers(8192, 4096, 512, 512, 1024),
    ),
    "a line wider than every word, 4 bits only": _design(
        {"lanes_m": 2, "lanes_n": 4, "lanes_k": 16, "weight_bits": (4,)},
        {
            "channels": 4,
            "data_bytes": 32,
            "bandwidth_bytes_per_second": 3_200_000_000,
            "max_burst_beats": 128,
        },
        control=Control(4, 2, 4),
        buffers=Buffers(32768, 32768, 4096, 16384, 8192),
    ),
    "one product a dot, 8 bits only": _design(
        {"lanes_m": 1, "lanes_n": 8, "lanes_k": 1, "weight_bits": (8,)},
        {"max_burst_beats": 16},
    ),
    "lookups, both formats": _LUT,
    "lookups, INT8, one bit": _lut(lanes_m=1, weight_bits=(1,), activations=("int8",)),
    "lookups, quantised tables": _lut(lanes_k=16, weight_bits=(2, 4), table_bits=8),
    "lookups, quantised, INT8": _lut(lanes_k=4, activations=("int8",), table_bits=8),
    "lookups, FP16 alone": _lut(lanes_k=32, weight_bits=(3,), activations=("fp16",)),
    "bit-serial, all codes, both formats": _SERIAL,
    "bit-serial, integers of even width": _serial(weight_bits=(6, 8), activations=("int8",)),
    "bit-serial, 7 bits, rows of tiles": _serial(
        lanes_n=4,
        tile_m=1,
        tile_n=0,
        weight_bits=(7,),
        activations=("int8",),
        scale_bits_per_beat=2,
    ),
    "bit-serial, FP16 alone, eight lanes": _serial(
        lanes_n=4, lanes_k=8, tile_m=0, tile_n=2, weight_bits=(4, 8), activations=("fp16",)
    ),
}


def _netlist(design: Design) -> tuple[Counter, Counter, Counter]:
    """RAMs (width, depth), multipliers (width, width) and register bits a module."""
    from amaranth.back import rtlil

    text = rtlil.convert(Accelerator(design), name="top", emit_src=False)
    found, products, bits = Counter(), Counter(), Counter()
    module, kind, parameters = "", "", {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("module "):
            module = line.split()[1].removeprefix("\\top").removeprefix(".")
        elif line.startswith("cell "):
            kind, parameters = line.split()[1], {}
        elif setting := re.match(r"parameter (?:signed )?\\(\w+) (\d+)$", line):
            parameters[setting[1]] = int(setting[2])
        elif line == "end" and kind:
            if kind == "\\silicast_ram":
                found[parameters["WIDTH"], parameters["DEPTH"]] += 1
            elif kind == "$mul":
                products[module, parameters["A_WIDTH"], parameters["B_WIDTH"]] += 1
            elif kind in ("$dff", "$dffe", "$sdff", "$sdffe"):
                bits[module] += parameters["WIDTH"]
            kind = ""
    return found, products, bits


@pytest.fixture(scope="module")
def netlists() -> dict[str, tuple[Counter, Counter, Counter]]:
    return {name: _netlist(design) for name, design in DESIGNS.items()}


@pytest.mark.parametrize("name", DESIGNS)
def test_rams_are_those_of_the_netlist(name: str, netlists) -> None:
    ours: Counter = Counter()
    for ram in rams(DESIGNS[name]):
        ours[ram.width, ram.depth] += ram.count
    assert ours == netlists[name][0]


@pytest.mark.parametrize("name", DESIGNS)
def test_registers_are_those_of_the_netlist(name: str, netlists) -> None:
    design, bits = DESIGNS[name], netlists[name][2]
    in_unit = sum(count for module, count in bits.items() if module.startswith("unit"))
    unread = unread_registers(design)
    assert _REGISTERS[design.unit.kind](design.unit) == in_unit
    parts = registers(design)
    assert sum(parts.values()) + unread + repeated_registers(design) == bits.total() - in_unit
    assert parts["accumulate"] == bits["accumulate"]
    assert parts["store engine"] == bits["store"]
    assert parts["fetch"] == bits["fetch"]
    assert parts["compute engine"] + unread == bits["compute"]


@pytest.mark.parametrize("name", DESIGNS)
def test_multipliers_are_those_of_the_netlist(name: str, netlists) -> None:
    unit, products = DESIGNS[name].unit, netlists[name][1]
    rows = sum(count for (module, *_), count in products.items() if module.startswith("unit.row_"))
    assert rows == (unit.macs if unit.kind == "dense" else 0)
    parts = UNIT_COSTS[unit.kind].parts(unit)
    counted = sum(part.count for part in parts if part.kind in MULTIPLIERS)
    scaled = 0 if unit.kind == "bit_serial" else unit.lanes_m * unit.lanes_n
    assert counted == rows + scaled
    assert products["unit", unit.group_sum_bits, 9] == scaled
    assert products["store", 16, 16] == 1


@pytest.mark.parametrize(
    ("vendor", "width", "depth", "blocks"),
    [
        ("amd", 72, 512, 1.0),
        ("amd", 73, 512, 1.5),  # two 36-bit halves and one more
        ("amd", 18, 1024, 0.5),
        ("amd", 256, 2048, 14.5),  # 15 x 18 bits of 2048, or 29 halves of 9 bits
        ("amd", 1, 32768, 1.0),
        ("intel", 40, 512, 1.0),
        ("intel", 41, 512, 2.0),
        ("intel", 20, 1024, 1.0),
    ],
)
def test_ram_blocks(vendor: str, width: int, depth: int, blocks: float) -> None:
    assert ram_blocks(vendor, width, depth) == blocks


def test_dsp_blocks() -> None:
    amd, intel = load_device("u280"), load_device("d5005")
    assert dsp_blocks(amd, ((8, 8, 100),)) == 100  # no packing of two
    assert dsp_blocks(amd, ((27, 18, 1),)) == 1
    assert dsp_blocks(amd, ((31, 9, 4),)) == 8  # 17 bits below, the rest above
    assert dsp_blocks(amd, ((45, 9, 4),)) == 12  # the cascade shifts by 17
    assert dsp_blocks(intel, ((8, 8, 101),)) == 51


PLAIN = replace(load_design("dense-int8"), silicon=Silicon(), vector=None)
"""Without the parts that have no RTL."""


def _on(device: str, **changes) -> Design:
    return replace(PLAIN, silicon=Silicon(device=device), **changes)


def test_known_design_on_a_known_device() -> None:
    fit = fits(_on("u280"))
    found = rams(_on("u280"))
    blocks = {r.owner: r.count * ram_blocks("amd", r.width, r.depth) for r in found}
    assert blocks["activation"] == 116
    assert blocks["weight"] == 114
    assert fit.used["bram36"] == sum(v for k, v in blocks.items() if k != "fetch")  # 4 words deep
    assert fit.used["dsp"] == 1024 + 2 * 64 + 1
    assert fit.free["bram36"] == 2016 - 195.5
    assert fit.problems == ()
    assert fit.estimated == ("lut",)
    assert fit.not_modelled


def test_every_device_loads_with_sources() -> None:
    assert {"u280", "vhk158", "kv260", "zcu102", "d5005"} <= set(device_names())
    for name in device_names():
        device = load_device(name)
        assert all(item.source for item in device.resources.values())
        fits(replace(_TINY, silicon=Silicon(device=name)))
    assert load_device("vhk158").recalled
    assert not load_device("u280").recalled


def test_too_little_block_ram_is_refused_with_the_shortfall() -> None:
    fit = fits(_on("kv260"))
    short = fit.used["bram36"] - fit.free["bram36"]
    assert short > 0
    with pytest.raises(InputError, match=rf"silicon\.device.*'kv260'.*BRAM36.*{short:g} too few"):
        check_device(_on("kv260"))
    assert check_device(PLAIN) is None
    assert check_device(_on("u280")) == fits(_on("u280"))


def test_cores_multiply_and_ultra_ram_takes_over() -> None:
    one, four = fits(_on("u280")), fits(_on("u280", cores=Cores(4, 0, 10**9)))
    assert four.used["dsp"] == 4 * one.used["dsp"]
    assert four.used["bram36"] + four.used["uram"] > one.used["bram36"]
    many = fits(_on("u280", cores=Cores(8, 0, 10**9)))
    assert many.in_uram
    assert all(owner in many.not_modelled["UltraRAM"] for owner in many.in_uram)
    assert "UltraRAM" not in one.not_modelled
    assert many.used["bram36"] <= many.free["bram36"]
    assert many.used["uram"] <= many.free["uram"]
    assert any(problem.startswith("dsp") for problem in many.problems)


def test_array_reports_what_is_known() -> None:
    unit = ArraySpec(16, 16, 4, (4, 8), 32768, pe="bitmod-pe", latency_cycles=8, dsp_per_element=3)
    fit = fits(_on("u280", unit=unit))
    assert fit.used["dsp"] == 256 * 3
    assert "lut" not in fit.used
    assert "look-up tables and registers" in fit.not_modelled
    assert "dsp" in fits(_on("u280", unit=replace(unit, dsp_per_element=0))).not_modelled


def test_an_array_has_both_sizes_of_a_second_shape_or_neither() -> None:
    sizes = {"pe": "bitmod-pe", "latency_cycles": 8}
    both = ArraySpec(16, 16, 4, (4,), 32768, **sizes, decode_lanes_m=8, decode_lanes_n=32)
    assert both.shapes == ((16, 16), (8, 32))
    for half in ({"decode_lanes_m": 16}, {"decode_lanes_n": 16}):
        with pytest.raises(InputError, match=r"decode_lanes_m \* decode_lanes_n = 256"):
            ArraySpec(16, 16, 4, (4,), 32768, **sizes, **half)


def test_wrong_device() -> None:
    with pytest.raises(InputError, match=r"silicon\.device.*u280"):
        fits(_on("u250"))


_ROWS = [Row(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.design)
def test_whole_accelerators_are_within_the_bound(row: Row) -> None:
    """Committed syntheses, and the model as it is now."""
    now = accelerator_area.estimate(accelerator_area.designs()[row.design])
    assert now == row.estimate
    for resource, bound in BOUNDS.items():
        assert row.estimate[resource] == pytest.approx(row.synthesis[resource], rel=bound)


def test_enough_accelerators_gave_no_figure() -> None:
    names = {row.design for row in _ROWS}
    assert names == set(accelerator_area.designs())
    others = names - set(FIGURES_FROM)
    assert set(AFTERWARDS) <= others
    assert len(AFTERWARDS) >= 3


def test_around_the_unit_by_hand() -> None:
    """dense-int8-tiny: sums of 16 lanes of 38 bits, a tile of eight lines of 128 bits."""
    parts = {part.name: part for part in around_unit(_TINY, load_device("u280"))}
    assert parts["sums"].luts == 16 * 38
    assert parts["output buffer"].luts == 128 * 3
    assert parts["scale buffer"].luts == 64
    assert parts["weight buffer"].luts == 4
    assert parts["output memory"].luts == 8 * 8 * 10  # eight of 128 bits, 14 in eight tables
    assert parts["output memory"].memory
    assert parts["loads in flight"].luts == 8 * 3  # 51 bits less 14 of the line's 24
    assert parts["load queue"].luts == 8 * 5
    assert parts["compute queue"].luts == 8 * 15
    assert parts["store queue"].luts == 8 * 6
    assert parts["passes"].luts == 8 * 2
    assert saved_in_place(_TINY) == 16 * 38
    assert [selector_luts(ways) for ways in (1, 2, 4, 8, 16)] == [0, 1, 1, 3, 5]


def test_every_wider_thing_around_the_unit_costs_more() -> None:
    device = load_device("u280")

    def around(design: Design) -> float:
        return sum(part.luts for part in around_unit(design, device))

    here = around(_TINY)
    for more in (
        replace(_TINY, unit=replace(_TINY.unit, lanes_m=4)),
        replace(_TINY, control=replace(_TINY.control, queue_depth=64)),
        _design({}, {"channels": 2, "data_bytes": 8, "bandwidth_bytes_per_second": 800_000_000}),
    ):
        assert around(more) > here
    both, one = _LUT, _lut(activations=("fp16",))
    assert around(both) > around(one)


def test_packing_of_products_needs_products() -> None:
    packing = "packing of INT8 products"
    assert packing in fits(_on("u280")).not_modelled
    assert packing not in fits(replace(_LUT, silicon=Silicon(device="u280"))).not_modelled
