"""Bench of the control port: every register over AXI4-Lite, start, status and counters."""

import cocotb
from cocotbext.axi import AxiResp

from designs.registers import COUNTERS, REGISTERS, STATUS, register_offset
from rtl_tests.support.axi import control_master
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.streams import PAUSES

DERIVED = ("cycles", "weight_window", "weight_window_lines")
COUNTED = [counter.name for counter in COUNTERS if counter.name not in DERIVED]
ERRORS = {"memory_error", "bad_program", "aborted"}
EVENTS = ("finished", *sorted(ERRORS), *(f"count_{name}" for name in COUNTED))


class ControlBench(Bench):
    """An AXI4-Lite manager and a model of the counters."""

    def __init__(self, dut, held: str = "none") -> None:
        super().__init__(dut, EVENTS)
        self.design = run_design()
        self.master = control_master(self, "bus", "__", held)
        self.counters = dict.fromkeys((counter.name for counter in COUNTERS), 0)
        self.window: list[int] | None = None  # cycles and lines since the first weight line
        self.starts = self.aborts = 0
        self.every_cycle(self._sample)

    async def read(self, name: str) -> int:
        """A register, both words of a counter."""
        register = next(register for register in REGISTERS if register.name == name)
        data = await self.master.read(register_offset(name), register.bits // 8)
        return int.from_bytes(data.data, "little")

    async def write(self, name: str, value: int) -> None:
        """A whole word of a register."""
        await self.master.write(register_offset(name), value.to_bytes(4, "little"))

    async def status(self) -> set[str]:
        """Names of the status bits that are set."""
        value = await self.read("status")
        assert value < 1 << len(STATUS)
        return {name for name, bit in STATUS.items() if value >> bit & 1}

    def _sample(self) -> None:
        dut = self.dut
        self.aborts += bool(dut.abort.value)
        if dut.start.value:
            self.starts += 1
            self.counters = dict.fromkeys(self.counters, 0)
            self.window = None
            return
        if not dut.running.value:
            return
        seen = {name: int(getattr(dut, f"count_{name}").value) for name in COUNTED}
        for name, value in seen.items():
            self.counters[name] += value
        self.counters["cycles"] += 1
        if self.window is None and seen["weight_lines"]:
            self.window = [0, 0]
        if self.window is not None:
            self.window[0] += 1
            self.window[1] += seen["read_lines"] + seen["write_lines"]
            if seen["weight_lines"]:
                self.counters["weight_window"] = self.window[0]
                self.counters["weight_window_lines"] = self.window[1]

    async def events(self, cycles: int) -> None:
        """Random counter events, then nothing."""
        for _ in range(cycles):
            for name in COUNTED:
                getattr(self.dut, f"count_{name}").value = int(self.rng.random() < 0.4)
            await self.edge
        for name in COUNTED:
            getattr(self.dut, f"count_{name}").value = 0

    async def pulse(self, name: str) -> None:
        """One cycle of an input."""
        getattr(self.dut, name).value = 1
        await self.edge
        getattr(self.dut, name).value = 0


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(held=PAUSES)
async def every_register(dut, held: str):
    """Reset values, read and write access, and addresses without a register."""
    bench = ControlBench(dut, held)
    await bench.reset()
    constants = {
        "design_hash": int(bench.design.digest[:8], 16),
        "line_bytes": bench.design.line_bytes,
        "fetch_block_lines": bench.design.fetch_block_lines,
    }
    for register in REGISTERS:
        assert await bench.read(register.name) == constants.get(register.name, 0), register.name
    for register in REGISTERS:
        if register.access == "ro" or register.name == "control":
            offset = register_offset(register.name)
            value = 0xFFFFFFFE if register.name == "control" else 0xFFFFFFFF
            for part in range(register.bits // 32):
                await bench.master.write(offset + 4 * part, value.to_bytes(4, "little"))
            assert await bench.read(register.name) == constants.get(register.name, 0)
        else:
            for value in (0xFFFFFFFF, 0x12345678, 0):
                await bench.write(register.name, value)
                assert await bench.read(register.name) == value
            await bench.write(register.name, 0xCAFE0000 | register_offset(register.name))
    for name in ("program_line", "program_blocks"):  # neither has touched the other
        assert await bench.read(name) == 0xCAFE0000 | register_offset(name)
        assert int(getattr(dut, name).value) == 0xCAFE0000 | register_offset(name)
    unused = register_offset(REGISTERS[-1].name) + 8
    await bench.master.write(unused, b"\xff\xff\xff\xff")
    assert await bench.master.read(unused, 4) is not None
    assert (await bench.master.read(unused, 4)).data == bytes(4)
    assert not bench.starts
    assert not bench.aborts, "an abort with nothing running"
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def part_of_a_word_is_ignored(dut):
    """Writes that strobe less than a word change nothing, not even a start, and get SLVERR."""
    bench = ControlBench(dut)
    await bench.reset()
    await bench.write("program_line", 0x12345678)
    offset = register_offset("program_line")
    for size in (1, 2, 3):
        answer = await bench.master.write(offset, bytes(size))
        assert answer.resp is AxiResp.SLVERR
    answer = await bench.master.write(register_offset("control"), b"\1")
    assert answer.resp is AxiResp.SLVERR
    assert (await bench.master.write(offset + 4, bytes(4))).resp is AxiResp.OKAY
    assert await bench.read("program_line") == 0x12345678
    assert not bench.starts
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(held=PAUSES)
async def programs_and_counters(dut, held: str):
    """Starts, status bits and counters over three programs."""
    bench = ControlBench(dut, held)
    await bench.reset()
    await bench.events(20)
    for index in range(3):
        await bench.write("control", 1)
        assert bench.starts == index + 1
        assert await bench.status() == {"running"}
        await bench.events(int(bench.rng.integers(1, 300)))
        await bench.write("control", 1)
        assert bench.starts == index + 1, "a start while running"
        if index == 1:
            await bench.pulse("memory_error")
            assert await bench.status() == {"running", "memory_error"}
            await bench.write("control", 2)
            assert bench.aborts == 1
            for name in sorted(ERRORS - {"memory_error"}):
                await bench.pulse(name)
        await bench.events(50)
        await bench.pulse("finished")
        errors = ERRORS if index == 1 else set()
        assert await bench.status() == {"done"} | errors
        await bench.events(30)  # no longer counted
        for name in sorted(ERRORS):
            await bench.pulse(name)
        assert await bench.status() == {"done"} | errors
        for name, value in bench.counters.items():
            assert await bench.read(name) == value, name
        assert bench.counters["cycles"] > 50
        assert bench.counters["weight_window"], "no weight line was counted"
    await bench.finish()
