"""Shared components: one module for all equal ones, and the component itself in a simulation."""

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hwgen.memory import buffer as buffer_module
from hwgen.memory.output_buffer import OutputBuffer
from hwgen.memory.ram import Ram
from hwgen.shared import Collection, shared
from hwgen.verilog import component_verilog


class Sum(wiring.Component):
    """Registered sum of an array port's two entries."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"a": In(width).array(2), "q": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.q.eq(self.a[0] + self.a[1])
        return m


class Pairs(wiring.Component):
    """Shares `Sum` twice; one input is not used and one output is constant."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(
            {"a": In(width).array(3), "unused": In(4), "q": Out(width).array(2), "one": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        for i in range(2):
            m.submodules[f"sum_{i}"] = part = shared(Sum, self.width)
            m.d.comb += [part.a[j].eq(self.a[i + j]) for j in range(2)]
            m.d.comb += self.q[i].eq(part.q)
        m.d.comb += self.one.eq(1)
        return m


class Wires(wiring.Component):
    """Has no register, and so neither clock nor reset."""

    def __init__(self) -> None:
        super().__init__({"a": In(4), "q": Out(signed(4))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.q.eq(self.a)
        return m


class Top(wiring.Component):
    """Two shared `Pairs` behind each other, and shared `Wires`."""

    def __init__(self, width: int = 8) -> None:
        self.width = width
        super().__init__(
            {
                "a": In(width).array(3),
                "r": In(4),
                "q": Out(width).array(4),
                "one": Out(2),
                "c": Out(signed(4)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for i in range(2):
            m.submodules[f"pairs_{i}"] = part = shared(Pairs, self.width)
            m.d.comb += [part.a[j].eq(self.a[j] + i) for j in range(3)]
            m.d.comb += [self.q[2 * i + j].eq(part.q[j]) for j in range(2)]
            m.d.comb += [part.unused.eq(self.r), self.one[i].eq(part.one)]
        m.submodules.wires = wires = shared(Wires)
        m.d.comb += [wires.a.eq(self.r), self.c.eq(wires.q)]
        return m


def _modules(text: str) -> list[str]:
    return re.findall(r"^module (\w+)", text, re.MULTILINE)


def _instances(text: str, module: str) -> list[str]:
    """Bodies of the instances of a module."""
    return re.findall(rf"^  {module} \w+ \((.*?)\);", text, re.MULTILINE | re.DOTALL)


def test_each_shared_component_is_one_module():
    """Also one that only a shared component shares."""
    text = component_verilog(Top(), "top")
    found = _modules(text)
    assert len(found) == len(set(found))
    for module, count in (("top_pairs", 2), ("top_sum", 2), ("top_wires", 1)):
        assert found.count(module) == 1
        assert len(_instances(text, module)) == count


def test_pins_are_those_of_the_module():
    text = component_verilog(Top(), "top")
    pins = {
        name: set(re.findall(r"\.(\w+)\(", _instances(text, f"top_{name}")[0]))
        for name in ("pairs", "sum", "wires")
    }
    assert pins["sum"] == {"a__0", "a__1", "q", "clk", "rst"}
    assert pins["wires"] == {"a", "q"}
    assert {"one", "q__0", "q__1", "a__2"} <= pins["pairs"]


def test_other_arguments_make_another_module():
    class Two(wiring.Component):
        def __init__(self):
            super().__init__({"a": In(4), "q": Out(4), "z": Out(5)})

        def elaborate(self, platform):
            m = Module()
            m.submodules.narrow = narrow = shared(Sum, 4)
            m.submodules.wide = wide = shared(Sum, width=5)
            m.d.comb += [port.eq(self.a) for part in (narrow, wide) for port in part.a]
            m.d.comb += [self.q.eq(narrow.q), self.z.eq(wide.q)]
            assert (narrow.width, wide.width) == (4, 5)  # attributes are the component's
            return m

    text = component_verilog(Two(), "top")
    assert _modules(text)[:3] == ["top", "top_sum", "top_sum_2"]


def test_the_text_depends_on_nothing_else():
    """Neither on what was made before nor on what another thread makes."""
    alone = component_verilog(Top(), "top")
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda width: component_verilog(Top(width), "top"), (8, 9, 8)))
    assert texts[0] == texts[2] == alone != texts[1]


def _adds(amount: int) -> type[wiring.Component]:
    class Adder(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"a": In(4), "q": Out(4)})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.q.eq(self.a + amount)
            return m

    return Adder


class Chain(wiring.Component):
    """Shared components of given classes behind each other."""

    def __init__(self, *kinds: type[wiring.Component]) -> None:
        self._kinds = kinds
        super().__init__({"a": In(4), "q": Out(4)})

    def elaborate(self, platform):
        m = Module()
        value = self.a
        for i, kind in enumerate(self._kinds):
            m.submodules[f"part_{i}"] = part = shared(kind)
            m.d.comb += part.a.eq(value)
            value = part.q
        m.d.comb += self.q.eq(value)
        return m


def test_classes_of_equal_names_are_different_modules():
    one, two = _adds(1), _adds(2)
    text = component_verilog(Chain(one, two, one), "top")
    assert _modules(text)[:3] == ["top", "top_adder", "top_adder_2"]
    assert len(_instances(text, "top_adder")) == 2
    assert len(_instances(text, "top_adder_2")) == 1


def test_a_name_of_the_top_is_refused():
    class Plain:
        pass

    def convert(component, name):
        return f"module {name}(a, q);\nendmodule\n"

    collection = Collection("top", convert, lambda text, name: {"a", "q"})
    collection.module((Plain, (), ()))
    top = "module top(a, q);\nendmodule\n"
    assert _modules("".join(collection.whole(top))) == ["top", "top_plain"]
    with pytest.raises(AssertionError, match="top_plain"):
        collection.whole(top + "module top_plain(a);\nendmodule\n")


def _simulated(component, testbench) -> None:
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator.run()


def test_without_a_collection_it_is_the_component():
    top, random = Top(), Random(5)

    async def testbench(ctx):
        for _ in range(20):
            a, r = [random.randrange(256) for _ in range(3)], random.randrange(16)
            for port, value in zip(top.a, a, strict=True):
                ctx.set(port, value)
            ctx.set(top.r, r)
            await ctx.tick()
            sums = [a[j] + a[j + 1] + 2 * i & 255 for i in range(2) for j in range(2)]
            assert [ctx.get(port) for port in top.q] == sums
            assert ctx.get(top.c) == (r - 16 if r >= 8 else r)
            assert ctx.get(top.one) == 3

    _simulated(top, testbench)


def _simulated_ram(m: Module, name: str, width: int, depth: int) -> Ram:
    """`hwgen.memory.ram.add_ram` for Amaranth's simulator, which cannot run its Verilog."""
    m.submodules[name] = memory = Memory(shape=width, depth=depth, init=[])
    write, read = memory.write_port(), memory.read_port()
    return Ram(write.en, write.addr, write.data, read.en, read.addr, read.data)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_output_buffer_returns_the_lines_written(rows, monkeypatch):
    """Tile, row and line of the row, in the order of the addresses, and in any order."""
    monkeypatch.setattr(buffer_module, "add_ram", _simulated_ram)
    row_bytes, line_bytes, tiles = 8, 2, 4
    buffer = OutputBuffer(rows, row_bytes, line_bytes, tiles * rows * row_bytes)
    random = Random(rows)
    written = [[random.randbytes(row_bytes) for _ in range(rows)] for _ in range(tiles)]
    whole = b"".join(b"".join(tile) for tile in written)
    lines = [whole[i : i + line_bytes] for i in range(0, len(whole), line_bytes)]

    async def read(ctx, address):
        ctx.set(buffer.read_enable, 1)
        ctx.set(buffer.read_address, address)
        await ctx.tick()
        return ctx.get(buffer.read_data).to_bytes(line_bytes, "little")

    async def testbench(ctx):
        ctx.set(buffer.write_enable, 1)
        for address in random.sample(range(tiles), tiles):
            ctx.set(buffer.write_address, address)
            for port, row in zip(buffer.write_data, written[address], strict=True):
                ctx.set(port, int.from_bytes(row, "little"))
            await ctx.tick()
        ctx.set(buffer.write_enable, 0)
        for address in [*range(len(lines)), *random.sample(range(len(lines)), len(lines))]:
            assert await read(ctx, address) == lines[address]
        ctx.set(buffer.read_enable, 0)  # held until the next read, whatever the address
        ctx.set(buffer.read_address, address ^ (len(lines) - 1))
        await ctx.tick()
        assert ctx.get(buffer.read_data).to_bytes(line_bytes, "little") == lines[address]

    _simulated(buffer, testbench)
