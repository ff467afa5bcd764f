"""Synthesis: counts that can be checked by hand, the cache, and what is refused."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from tiny_liberty import AREAS, liberty_text

from designs.errors import InputError
from hwgen.memory.ram import add_ram
from hwgen.synth import (
    Memory,
    SynthesisError,
    SynthesisReport,
    process,
    read_liberty,
    synthesise,
    synthesise_component,
)

pytest.importorskip("pyosys", reason="the extra synth is not installed")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))


class Registers(wiring.Component):
    """``width`` registers behind a NAND of two words: every cell can be counted by hand."""

    def __init__(self, width: int) -> None:
        super().__init__({"a": In(width), "b": In(width), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        word = Signal(len(self.o), reset_less=True)
        m.d.sync += word.eq(~(self.a & self.b))
        m.d.comb += self.o.eq(word)
        return m


class Product(wiring.Component):
    """A registered signed product."""

    def __init__(self) -> None:
        super().__init__({"a": In(8), "b": In(8), "o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        product = Signal(signed(16), reset_less=True)
        m.d.sync += product.eq(self.a.as_signed() * self.b.as_signed())
        m.d.comb += self.o.eq(product)
        return m


class Store(wiring.Component):
    """One RAM and an output register."""

    def __init__(self, width: int, depth: int) -> None:
        self.depth = depth
        address = (depth - 1).bit_length()
        super().__init__({"address": In(address), "data": In(width), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        ram = add_ram(m, "words", len(self.data), self.depth)
        word = Signal(len(self.o), reset_less=True)
        m.d.comb += [
            ram.write_enable.eq(1),
            ram.write_address.eq(self.address),
            ram.write_data.eq(self.data),
            ram.read_enable.eq(1),
            ram.read_address.eq(self.address),
            self.o.eq(word),
        ]
        m.d.sync += word.eq(~ram.read_data)
        return m


class Mixed(wiring.Component):
    """The three above side by side."""

    def __init__(self, ram_width: int) -> None:
        self.parts = (Registers(9), Product(), Store(ram_width, 512))
        ports = {}
        for index, part in enumerate(self.parts):
            for name, member in part.signature.members.items():
                ports[f"{name}_{index}"] = member
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        for index, part in enumerate(self.parts):
            m.submodules[f"part_{index}"] = part
            for name, member in part.signature.members.items():
                outer, inner = getattr(self, f"{name}_{index}"), getattr(part, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        return m


# Counts --------------------------------------------------------------------------------------


def test_area_is_that_of_the_cells(liberty: Path) -> None:
    report = synthesise_component(Registers(5), "registers", "liberty", liberty)
    assert report.cells == {"DFF": 5, "NAND2": 5}
    assert report.area_um2 == 5 * (AREAS["DFF"] + AREAS["NAND2"])
    assert report.sequential_um2 == 5 * AREAS["DFF"]
    assert report.combinational_um2 == 5 * AREAS["NAND2"]
    assert (report.ff, report.cell_count, report.library) == (5, 10, "small")
    assert report.lut is report.dsp is report.transistors is None


def test_a_compressed_library_is_the_same_library(liberty: Path, tmp_path: Path) -> None:
    packed = tmp_path / "small.lib.gz"
    packed.write_bytes(gzip.compress(liberty.read_bytes()))
    assert read_liberty(packed).digest == read_liberty(liberty).digest
    first = synthesise_component(Registers(3), "registers", "liberty", liberty)
    again = synthesise_component(Registers(3), "registers", "generic", packed)
    assert again == replace(first, cached=True)


def test_cells_that_may_not_be_used(liberty: Path) -> None:
    component = Registers(2)
    report = synthesise_component(component, "registers", "liberty", liberty, dont_use=["NAN*"])
    assert "NAND2" not in report.cells
    assert report.cells["NOR2"] >= 2


def test_transistors_of_a_nand_and_a_flip_flop() -> None:
    report = synthesise_component(Registers(6), "registers", "generic")
    assert report.cells == {"$_DFF_P_": 6, "$_NAND_": 6}
    assert report.transistors == 6 * (16 + 4)  # Yosys 0.70, kernel/cost.h
    assert report.ff == 6
    assert report.area_um2 is None


def test_fpga_resources() -> None:
    """Nine NANDs and flip-flops, a product, and a RAM of a shape the block RAMs have."""
    xcup = synthesise_component(Mixed(ram_width=72), "mixed", "xcup")
    # An inverter a bit stands behind the RAM; Yosys leaves the product's register outside.
    assert (xcup.lut, xcup.lut_by_size) == (9 + 72, {1: 72, 2: 9})
    assert (xcup.ff, xcup.dsp, xcup.uram, xcup.carry) == (9 + 72 + 16, 1, 0, 0)
    assert xcup.bram == 1.0  # 512 x 72 is one shape of a 36 Kb block (AMD UG573)
    assert xcup.macros == ()
    ecp5 = synthesise_component(Registers(9), "registers", "ecp5")
    assert (ecp5.lut, ecp5.lut_by_size, ecp5.ff, ecp5.uram) == (9, {4: 9}, 9, None)
    ecp5 = synthesise_component(Mixed(ram_width=36), "mixed", "ecp5")
    assert (ecp5.dsp, ecp5.bram) == (1, 1.0)
    # More than the parts: registers keep the old word when the one being written is read.
    assert ecp5.ff > 9 + 36 + 16


@pytest.mark.parametrize("target", ["generic", "liberty"])
def test_rams_are_never_made_of_flip_flops(target: str, liberty: Path) -> None:
    library = liberty if target == "liberty" else None
    report = synthesise_component(Store(16, 64), "store", target, library)
    assert report.macros == (Memory(16, 64, 1),)
    assert report.ff == 16  # the register behind the RAM
    assert "silicast_ram" not in report.cells
    assert "1,024 bits" in report.not_counted["memory macros"]
    if target == "liberty":
        assert report.area_um2 == 16 * (AREAS["DFF"] + AREAS["INV"])


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("target", ["generic", "liberty", "ecp5"])
def test_a_module_used_twice_counts_twice(flatten: bool, target: str, liberty: Path) -> None:
    text = """
    module leaf(input clk, input [3:0] a, input [3:0] b, output reg [3:0] o);
      always @(posedge clk) o <= ~(a & b);
    endmodule
    module twice(input clk, input [3:0] a, input [3:0] b, output [3:0] o);
      wire [3:0] between;
      leaf first(clk, a, b, between);
      leaf second(clk, between, a, o);
    endmodule
    """
    library = liberty if target == "liberty" else None
    report = synthesise(text, "twice", target, library, flatten=flatten)
    assert report.ff == 8
    assert report.cell_count == 16
    assert (report.flatten, report.top) == (flatten, "twice")


def test_small_memories_of_registers_are_named(liberty: Path) -> None:
    text = """
    module queue(input clk, input [2:0] w, input [2:0] r, input [3:0] d, output [3:0] q);
      reg [3:0] words [7:0];
      always @(posedge clk) words[w] <= d;
      assign q = words[r];
    endmodule
    """
    report = synthesise(text, "queue", "liberty", liberty)
    assert report.flop_memories == (Memory(4, 8, 1),)
    assert report.ff == 32
    assert synthesise(text, "queue", "xcup").lut_memory == 8  # one RAM32M16


def test_a_real_library() -> None:
    path = os.environ.get("SILICAST_LIBERTY")
    if path is None:
        pytest.skip("SILICAST_LIBERTY names no Liberty file")
    report = synthesise_component(Registers(4), "registers", "liberty", path)
    assert report.ff == 4
    assert report.area_um2 is not None
    assert report.area_um2 > (report.sequential_um2 or 0) > 0


# Records and cache ---------------------------------------------------------------------------


def test_records_survive_json() -> None:
    report = SynthesisReport(
        target="xcup",
        top="t",
        tool="pyosys 0.70",
        flatten=True,
        cells={"LUT2": 3},
        ff=4,
        lut=3,
        lut_by_size={2: 3},
        bram=0.5,
        macros=(Memory(8, 4, 2),),
    )
    again = SynthesisReport.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again == replace(report, cached=True)
    assert report.macros[0].bits == 64


def test_an_equal_run_comes_from_the_cache(liberty: Path, monkeypatch, tmp_path: Path) -> None:
    first = synthesise_component(Registers(3), "registers", "liberty", liberty)
    assert not first.cached
    assert synthesise_component(Registers(3), "registers", "liberty", liberty) == replace(
        first, cached=True
    )
    assert not synthesise_component(Registers(4), "registers", "liberty", liberty).cached
    other = tmp_path / "other.lib"
    other.write_text(liberty_text(AREAS | {"DFF": 9.0}))
    changed = synthesise_component(Registers(3), "registers", "liberty", other)
    assert not changed.cached
    assert changed.sequential_um2 == 27.0
    for record in (tmp_path / "cache" / "synthesis").glob("*.json"):
        record.write_text("{}")  # damaged: made again
    assert not synthesise_component(Registers(3), "registers", "liberty", liberty).cached
    left = {path.suffix for path in (tmp_path / "cache" / "synthesis").iterdir()}
    assert left <= {".json", ".seal", ".lock"}


# Failures ------------------------------------------------------------------------------------


def test_a_failed_run_tells_the_tools_last_error(liberty: Path) -> None:
    with pytest.raises(SynthesisError, match=r"ERROR: .*syntax error"):
        synthesise("module broken(", "broken", "generic")
    with pytest.raises(SynthesisError, match=r"ERROR: .*missing.*not part of the design"):
        synthesise("module m(output o); missing x(.o(o)); endmodule", "m", "generic")
    with pytest.raises(SynthesisError, match="ERROR: Module `other' not found"):
        synthesise("module m(output o); assign o = 1; endmodule", "other", "generic")


def test_a_crash_does_not_end_the_caller(tmp_path: Path, monkeypatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        f"import os\nprint('{process.MARK}abc', flush=True)\nos.kill(os.getpid(), 11)\n"
    )
    monkeypatch.setattr(process, "_WORKER", worker)
    with pytest.raises(SynthesisError, match="ended by SIGSEGV in `abc`"):
        synthesise("module m(output o); assign o = 1; endmodule", "m", "generic")


def test_a_missing_tool_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SynthesisError, match=r"pip install 'silicast\[synth\]'"):
        synthesise("module m(output o); assign o = 1; endmodule", "m", "generic")


def test_undriven_logic_is_refused() -> None:
    text = "module m(input a, output o); wire b; assign o = a & b; endmodule"
    with pytest.raises(SynthesisError, match="problems in 'check -assert'"):
        synthesise(text, "m", "generic")


def test_latches_have_no_count() -> None:
    text = "module m(input e, input a, output reg o); always @* if (e) o = a; endmodule"
    with pytest.raises(SynthesisError, match="LATCH"):
        synthesise(text, "m", "generic")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("module m; endmodule", "without a library group"),
        ("library (x) { }", "no cell with an area"),
        ("library (x) { cell (A) { area : 1; } }", "no flip-flop"),
        ("library (x) { cell (A) { area : 1; ff (I, J) {} } }", "no buffer"),
        (b"\x1f\x8bnot gzip", "damaged gzip"),
    ],
)
def test_what_is_no_library(content: str | bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.lib"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=found):
        read_liberty(path)


def test_targets_and_libraries_that_do_not_go_together(liberty: Path) -> None:
    for arguments in (("asic", None), ("xcup", liberty), ("liberty", None)):
        with pytest.raises(InputError):
            synthesise("module m; endmodule", "m", *arguments)
    with pytest.raises(InputError, match="with a Liberty file only"):
        synthesise("module m; endmodule", "m", "xcup", dont_use=["X"])
    with pytest.raises(InputError, match="letters"):
        synthesise("module m; endmodule", "m", "liberty", liberty, dont_use=["X; shell"])
    with pytest.raises(InputError, match="plain Verilog identifier"):
        synthesise("module m; endmodule", "m; shell", "xcup")


# The command ---------------------------------------------------------------------------------
