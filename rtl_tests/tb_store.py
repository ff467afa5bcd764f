"""Bench of the store engine: tiles of the output buffer as bursts of lines, tokens behind them."""

import cocotb
from cocotb.triggers import RisingEdge

from mapping.instruction import Instruction, encode
from mapping.isa import Opcode
from rtl_tests.support.bench import Bench, TokenModel, run_design
from rtl_tests.support.memory import BufferModel, bursts, pack_beat, unpack_burst
from rtl_tests.support.streams import PAUSES


class StoreBench(Bench):
    """Output buffer, write memory and token counter around the engine."""

    def __init__(self, dut, held: str = "none", delay: int = 3) -> None:
        super().__init__(dut)
        self.design = design = run_design()
        lines = design.output_tiles * design.tile_lines
        self.buffer = BufferModel(
            self,
            [int.from_bytes(self.rng.bytes(design.line_bytes), "little") for _ in range(lines)],
        )
        self.instructions = self.source("instruction", held)
        self.tokens = TokenModel(self, "compute_tokens", "take_token")
        self.requests = self.sink("request", held)
        self.data = self.sink("data", held)
        self.done = self.source("done", held)
        self.requested = self.scoreboard("bursts")
        self.written = self.scoreboard("lines", lane_bits=8)
        self.requests.callbacks.append(self._request)
        self.data.callbacks.append(self._line)
        self.delay = delay
        self.bursts_open = self.bursts_written = 0
        self.lines = 0
        self.signal_lines: list[int] = []  # lines up to the end of each STORE with a token
        self.token_cycles: list[int] = []
        self.every_cycle(self._sample)
        self.run(self._acknowledge())

    def add(self, line: int, tile: int, tiles: int, lines_per_tile: int, *flags: str) -> None:
        """Queue a STORE and everything it must do."""
        design = self.design
        instruction = Instruction.make(
            Opcode.STORE,
            *flags,
            dram_line=line,
            tile=tile,
            tiles=tiles,
            lines_per_tile=lines_per_tile,
        )
        self.instructions.queue.append(int.from_bytes(encode([instruction]), "little"))
        source = [
            (tile + t) * design.tile_lines + index
            for t in range(tiles)
            for index in range(lines_per_tile)
        ]
        cut = bursts(line, len(source), design.dram.max_burst_beats)
        for burst in cut:
            self.requested.expect(burst)
            for index in range(burst[1]):
                word = self.buffer.words[source[burst[0] - line + index]]
                self.written.expect(pack_beat(word, design.line_bytes, last=index == burst[1] - 1))
        self.lines += len(source)
        if "signal_upstream" in flags:
            self.signal_lines.append(self.lines)
        for flag in flags:
            self.coverage[flag] += 1
        self.coverage["several bursts"] += len(cut) > 1
        self.coverage["part of a tile"] += lines_per_tile < design.tile_lines

    def add_random(self) -> None:
        """A store of random place and size that waits for a token or not."""
        rng, design = self.rng, self.design
        tiles = int(rng.integers(1, design.output_tiles + 1))
        flags = [f for f in ("wait_upstream", "signal_upstream") if rng.random() < 0.5]
        self.add(
            int(rng.integers(1 << 20)),
            int(rng.integers(design.output_tiles - tiles + 1)),
            tiles,
            int(rng.integers(1, design.tile_lines + 1)),
            *flags,
        )
        if "wait_upstream" in flags:
            self.tokens.give()

    def _request(self, transfer) -> None:
        self.requested.found(unpack_burst(transfer.value))
        self.bursts_open += 1
        waiting = self.bursts_open - len(self.monitors["done"].transfers)
        limit = self.design.dram.max_outstanding_writes
        assert waiting <= limit, f"{waiting} bursts without an answer"
        self.coverage["every burst outstanding"] += waiting == limit

    def _line(self, transfer) -> None:
        assert self.bursts_open > self.bursts_written, "a line ahead of its address"
        self.written.found(transfer.value)
        self.bursts_written += transfer.value >> 8 * self.design.line_bytes

    async def _acknowledge(self) -> None:
        """One answer a burst, once its address and its last line have been taken."""
        answered = 0
        while True:
            await RisingEdge(self.dut.clk)
            if answered < min(self.bursts_open, self.bursts_written):
                await self.cycles(self.delay)
                self.done.queue.append(0)
                answered += 1

    def _sample(self) -> None:
        if self.dut.give_token.value:
            self.token_cycles.append(self.cycle)

    def check_tokens(self) -> None:
        """Each token came in the cycle in which the last line of its store was taken."""
        assert self.token_cycles == [self.data.cycles[lines - 1] for lines in self.signal_lines]


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(held=PAUSES)
async def random_stores(dut, held: str):
    """Lines, burst ends and tokens of random stores."""
    bench = StoreBench(dut, held)
    for _ in range(40):
        bench.add_random()
    await bench.reset()
    await bench.finish("wait_upstream", "signal_upstream", "several bursts", "part of a tile")
    await bench.until(lambda: bool(bench.dut.idle.value))
    await bench.cycles(3)
    assert len(bench.monitors["done"].transfers) == bench.bursts_open, "idle before the last answer"
    bench.check_tokens()
    if held != "none":
        bench.expect_stalls("request", "data")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def timing(dut):
    """First burst after one cycle, lines from the third on, one a cycle; token with the last."""
    bench = StoreBench(dut)
    tiles = bench.design.output_tiles
    bench.add(5, 0, tiles, bench.design.tile_lines, "signal_upstream")
    bench.add(5, 0, 1, 1)
    await bench.reset()
    await bench.finish()
    accepted = bench.monitors["instruction"].cycles
    lines = tiles * bench.design.tile_lines
    assert bench.requests.cycles[0] == accepted[0] + 1
    assert bench.data.cycles[:lines] == list(range(accepted[0] + 3, accepted[0] + 3 + lines))
    bench.check_tokens()
    assert accepted[1] == bench.token_cycles[0] + 1, "the next store is accepted the cycle after"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def waits_for_answers(dut):
    """No more bursts than may be outstanding are sent while memory does not answer."""
    bench = StoreBench(dut, delay=300)
    limit = bench.design.dram.max_outstanding_writes
    for index in range(2 * limit):
        bench.add(index, 0, 1, 1, "signal_upstream")
    await bench.reset()
    await bench.finish("every burst outstanding")
    bench.check_tokens()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def holds_without_token(dut):
    """A store that waits reads nothing until its token comes."""
    bench = StoreBench(dut)
    bench.add(0, 0, 1, 1, "wait_upstream")
    await bench.reset()
    await bench.cycles(40)
    assert not bench.buffer.reads
    assert not bench.requests.transfers
    bench.tokens.give()
    await bench.finish()
