"""Bench of the read arbiter: fetches first, answers to whoever asked, a bound on bursts."""

import cocotb

from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.memory import pack_beat, unpack_burst
from rtl_tests.support.streams import PAUSES

OWNERS = ("fetch", "load")


class ArbiterBench(Bench):
    """Two requesters, and a memory that answers in order."""

    def __init__(self, dut, requests: str, memory: str, readers: str) -> None:
        super().__init__(dut)
        self.design = run_design()
        self.asking = {name: self.source(f"{name}_request", requests) for name in OWNERS}
        # a waiting load makes way for a fetch, so the payload may change
        self.memory = self.sink("request", memory, stable=False)
        self.answers = self.source("data", memory)
        self.boards = {name: self.scoreboard(f"{name} data", lane_bits=8) for name in OWNERS}
        self.granted = self.scoreboard("grants")
        self.in_flight = self.most = 0
        for name in OWNERS:
            self.monitors[f"{name}_request"].callbacks.append(
                lambda transfer, name=name: self._grant(name, transfer.value)
            )
            sink = self.sink(f"{name}_data", readers)
            sink.callbacks.append(
                lambda transfer, name=name: self.boards[name].found(transfer.value)
            )
        self.memory.callbacks.append(self._answer)
        self.monitors["data"].callbacks.append(self._line)
        self.every_cycle(self._sample)

    def _grant(self, name: str, burst: int) -> None:
        """A requester's transfer: note it and make the lines it will get."""
        width = 8 * self.design.line_bytes
        _, lines = unpack_burst(burst)
        for index in range(lines):
            data = int.from_bytes(self.rng.bytes(self.design.line_bytes), "little")
            error = bool(self.rng.random() < 0.1)
            beat = pack_beat(data, self.design.line_bytes, last=index == lines - 1, error=error)
            self.boards[name].expect(beat)
            self.answers.queue.append(beat)
        self.granted.expect(burst)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        assert self.in_flight <= self.design.dram.max_outstanding_reads
        self.last_bit = 1 << width

    def _answer(self, transfer) -> None:
        self.granted.found(transfer.value)

    def _line(self, transfer) -> None:
        self.in_flight -= bool(transfer.value & self.last_bit)

    def _sample(self) -> None:
        dut = self.dut
        if dut.fetch_request__valid.value:
            assert not dut.load_request__ready.value, "a load went before a fetch"
            self.coverage["both ask"] += bool(dut.load_request__valid.value)

    def add(self, name: str, count: int) -> None:
        """Queue random bursts."""
        for _ in range(count):
            length = int(self.rng.integers(1, 9))
            self.asking[name].queue.append(int(self.rng.integers(1 << 32)) | (length - 1) << 32)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(requests=PAUSES, memory=PAUSES, readers=("none", "some"))
async def random_requests(dut, requests: str, memory: str, readers: str):
    """Every line goes to the one who asked for it, in order."""
    bench = ArbiterBench(dut, requests, memory, readers)
    for name in OWNERS:
        bench.add(name, 60)
    await bench.reset()
    await bench.until(lambda: all(source.empty for source in bench.asking.values()))
    await bench.finish("both ask")
    assert dut.idle.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def outstanding_bursts_are_bounded(dut):
    """A memory that never answers is asked ``max_outstanding_reads`` times."""
    bench = ArbiterBench(dut, "none", "none", "none")
    bench.answers.held = iter(lambda: True, False)
    bench.add("load", 2 * bench.design.dram.max_outstanding_reads)
    await bench.reset()
    await bench.cycles(100)
    assert len(bench.memory.transfers) == bench.design.dram.max_outstanding_reads
    assert not dut.idle.value
    bench.answers.held = iter(lambda: False, True)
    bench.add("fetch", 1)
    await bench.until(lambda: all(source.empty for source in bench.asking.values()))
    await bench.finish()
    assert bench.most == bench.design.dram.max_outstanding_reads
