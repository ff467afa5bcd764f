"""Bench of the striped memory: line bursts against AXI memories of different speed."""

import cocotb
import numpy as np

from rtl_tests.support.axi import StripedRam
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.memory import bursts, pack_beat
from rtl_tests.support.streams import PAUSES

LINES = 4096


def word(line: np.ndarray) -> int:
    """A line as one integer."""
    return int.from_bytes(line.tobytes(), "little")


class MemoryBench(Bench):
    """Requests on one side, one AXI memory a channel on the other."""

    def __init__(self, dut, held: str = "none") -> None:
        super().__init__(dut)
        self.dram = run_design().dram
        self.ram = StripedRam(self, self.dram, "channel__{}", "__", LINES)
        self.content = self.rng.integers(0, 256, (LINES, self.dram.line_bytes), np.uint8)
        self.ram.write(0, self.content)
        self.reads = self.source("read_request", held)
        self.writes = self.source("write_request", held)
        self.lines = self.source("write_data", held)
        self.read = self.scoreboard("lines read", lane_bits=8)
        self.done = self.scoreboard("acknowledgements")
        read_data = self.sink("read_data", held)
        read_data.callbacks.append(lambda transfer: self.read.found(transfer.value))
        done = self.sink("write_done", held)
        done.callbacks.append(lambda transfer: self.done.found(transfer.value))

    def add_read(self, line: int, lines: int, faulty: range = range(0)) -> None:
        """Queue a burst of reads and the lines it gives."""
        self.reads.queue.append(line | (lines - 1) << 32)
        for index in range(lines):
            at = line + index
            data = word(self.content[at])
            if at in faulty:  # a faulty channel gives zeros
                masked = self.content[at].copy()
                masked[: self.dram.data_bytes] = 0
                data = word(masked)
            last = index == lines - 1
            beat = pack_beat(data, self.dram.line_bytes, last=last, error=at in faulty)
            self.read.expect(beat)

    def add_write(self, line: int, lines: int, *, error: bool = False) -> None:
        """Queue a burst of writes."""
        self.writes.queue.append(line | (lines - 1) << 32)
        for index in range(lines):
            data = self.rng.integers(0, 256, self.dram.line_bytes, np.uint8)
            self.content[line + index] = data
            last = index == lines - 1
            self.lines.queue.append(pack_beat(word(data), self.dram.line_bytes, last=last))
        self.done.expect(int(error))

    def random_burst(self, low: int, high: int) -> tuple[int, int]:
        """A burst inside an aligned block, between two lines."""
        line = int(self.rng.integers(low, high))
        most = self.dram.max_burst_beats
        lines = min(int(self.rng.integers(1, most + 1)), high - line)
        return bursts(line, lines, most)[0]


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(fast=PAUSES)
async def channels_of_different_speed(dut, fast: str):
    """Reads of one half and writes of the other, at the same time; channels stall apart."""
    bench = MemoryBench(dut, "some")
    bench.ram.stall([fast] * 5, [0])
    bench.ram.stall(["heavy"] * 5, range(1, bench.dram.channels))
    for _ in range(60):
        bench.add_read(*bench.random_burst(0, LINES // 2))
        bench.add_write(*bench.random_burst(LINES // 2, LINES))
    apart = 0

    def sample() -> None:
        nonlocal apart
        channels = range(bench.dram.channels)
        valids = {int(getattr(dut, f"channel__{c}__rvalid").value) for c in channels}
        apart += len(valids) == 2

    bench.every_cycle(sample)
    await bench.reset()
    await bench.finish()
    assert (bench.ram.read(0, LINES) == bench.content).all(), "memory differs from what was written"
    assert apart > 50, "the channels answered together"
    bench.expect_stalls("read_data", "write_done", "channel__0__ar", "channel__1__w")


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def errors_are_joined(dut):
    """SLVERR of any one channel marks exactly its lines and bursts."""
    bench = MemoryBench(dut)
    faulty = range(100, 103)
    bench.ram.fault(reads=faulty, writes=range(2000, 2001), channel=0)
    bench.add_read(96, 16, faulty)
    bench.add_read(112, 4)
    bench.add_write(1984, 4)
    bench.add_write(2000, 4, error=True)
    bench.add_write(2016, 4)
    await bench.reset()
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def written_lines_are_read_back(dut):
    """Every line of a block, byte for byte, through the component both ways."""
    bench = MemoryBench(dut)
    most = bench.dram.max_burst_beats
    for line in range(0, 8 * most, most):
        bench.add_write(line, most)
    await bench.reset()
    await bench.until(lambda: not bench.done.expected)
    for line in range(0, 8 * most, most):
        bench.add_read(line, most)
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def a_line_every_cycle(dut):
    """Without stalls lines are written, and a burst is read, without a gap inside a burst."""
    bench = MemoryBench(dut)
    most = bench.dram.max_burst_beats
    bench.add_write(0, most)
    await bench.reset()
    await bench.until(lambda: not bench.done.expected)
    bench.add_read(0, most)
    await bench.finish()
    for name in ("write_data", "read_data"):
        cycles = bench.monitors[name].cycles
        assert cycles == list(range(cycles[0], cycles[0] + most)), f"{name} has gaps"
