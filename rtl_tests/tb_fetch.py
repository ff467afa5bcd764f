"""Bench of instruction fetch: blocks into the ring, words in order to their engines."""

from itertools import pairwise, repeat

import cocotb

from mapping.isa import Opcode
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.memory import ReadMemory, unpack_burst
from rtl_tests.support.streams import PAUSES

ENGINES = {Opcode.LOAD: "load", Opcode.MATMUL: "compute", Opcode.STORE: "store"}
UNKNOWN = tuple(range(max(Opcode) + 1, 16))


class FetchBench(Bench):
    """Program memory and instruction queues around the fetch unit."""

    def __init__(self, dut, memory: str = "none", engines: str = "none") -> None:
        super().__init__(dut, ["start", "program_line", "program_blocks"])
        self.design = run_design()
        self.content: dict[int, int] = {}
        self.memory = ReadMemory(self, self.design, self.content, held=memory)
        self.memory.content = self.content
        self.requested = self.scoreboard("blocks")
        self.memory.requests.callbacks.append(
            lambda transfer: self.requested.found(unpack_burst(transfer.value))
        )
        self.boards = {}
        for name in ENGINES.values():
            sink = self.sink(name, engines)
            self.boards[name] = board = self.scoreboard(name)
            sink.callbacks.append(lambda transfer, board=board: board.found(transfer.value))
        self.bad = self.bad_expected = 0
        self.every_cycle(self._sample)

    def _sample(self) -> None:
        self.bad += bool(self.dut.bad_opcode.value)

    def program(self, line: int, opcodes: list[int]) -> int:
        """Put a program of random words into memory; the blocks it takes."""
        design = self.design
        size = design.fetch_block_instructions
        blocks = -(-len(opcodes) // size)
        words = []
        for opcode in opcodes:
            random_bits = int.from_bytes(self.rng.bytes(32), "little")
            word = (random_bits & ~0xF) | opcode
            words.append(word)
            if opcode in ENGINES:
                self.boards[ENGINES[Opcode(opcode)]].expect(word)
            self.bad_expected += opcode in UNKNOWN
            self.coverage[f"opcode {opcode}"] += 1
        data = b"".join(word.to_bytes(32, "little") for word in words)
        data = data.ljust(blocks * design.fetch_block_bytes, b"\0")
        for index in range(blocks * design.fetch_block_lines):
            part = data[index * design.line_bytes : (index + 1) * design.line_bytes]
            self.content[line + index] = int.from_bytes(part, "little")
        for block in range(blocks):
            first = line + block * design.fetch_block_lines
            self.requested.expect((first, design.fetch_block_lines))
        return blocks

    async def start(self, line: int, blocks: int) -> None:
        """One cycle of ``start``; the location may change right after."""
        self.dut.program_line.value = line
        self.dut.program_blocks.value = blocks
        self.dut.start.value = 1
        await self.edge
        self.dut.start.value = 0
        self.dut.program_line.value = 0x5555
        self.dut.program_blocks.value = 0
        await self.cycles(2)
        assert not self.dut.ended.value, "ended with blocks still to come"

    async def ended(self) -> None:
        """Wait until everything has been dispatched."""
        await self.until(lambda: bool(self.dut.ended.value))


def random_opcodes(bench: FetchBench, count: int, unknown: float = 0.05) -> list[int]:
    """``count`` opcodes and an END."""
    rng = bench.rng
    opcodes = [
        int(rng.choice(UNKNOWN)) if rng.random() < unknown else int(rng.integers(0, 4))
        for _ in range(count)
    ]
    return [*opcodes, Opcode.END]


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(memory=PAUSES, engines=PAUSES)
async def random_programs(dut, memory: str, engines: str):
    """Three programs one after the other, longer than the ring, with padding and unknown words."""
    bench = FetchBench(dut, memory, engines)
    size, blocks = bench.design.fetch_block_instructions, bench.design.control.fetch_blocks
    lines = bench.design.fetch_block_lines
    await bench.reset()
    for index, count in enumerate((size * blocks * 4 + 3, 3, 2 * size - 1)):
        line = lines * (7 + 1000 * index)
        await bench.start(line, bench.program(line, random_opcodes(bench, count)))
        await bench.ended()
    await bench.finish(*(f"opcode {int(opcode)}" for opcode in Opcode))
    assert bench.bad == bench.bad_expected > 0
    if engines != "none":
        bench.expect_stalls(*ENGINES.values())


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def ring_fills_and_waits(dut):
    """With no engine taking anything, exactly ``fetch_blocks`` blocks are fetched."""
    bench = FetchBench(dut)
    for name in ENGINES.values():
        bench.sinks[name].held = repeat(True)
    blocks = bench.design.control.fetch_blocks
    size = bench.design.fetch_block_instructions
    total = bench.program(0, random_opcodes(bench, size * (blocks + 3) - 1))
    await bench.reset()
    await bench.start(0, total)
    await bench.cycles(200 + 20 * blocks * bench.design.fetch_block_lines)
    assert len(bench.memory.requests.transfers) == blocks
    for name in ENGINES.values():
        bench.sinks[name].held = repeat(False)
    await bench.ended()
    await bench.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency_and_throughput(dut):
    """A word is dispatched two cycles after its last byte, then one a cycle while they last."""
    bench = FetchBench(dut)
    count = bench.design.fetch_block_instructions
    kinds = [Opcode.LOAD, Opcode.MATMUL, Opcode.STORE]
    blocks = bench.program(0, [kinds[i % 3] for i in range(2 * count - 1)] + [Opcode.END])
    await bench.reset()
    await bench.start(0, blocks)
    await bench.ended()
    await bench.finish()
    arrivals = bench.monitors["data"].cycles
    line_bytes = bench.design.line_bytes
    dispatched = sorted(c for name in ENGINES.values() for c in bench.monitors[name].cycles)
    last_line = max(1, 32 // line_bytes) - 1
    assert dispatched[0] == arrivals[last_line] + 2, (dispatched[0], arrivals[last_line])
    pace = max(1, 32 // line_bytes)
    gaps = {b - a for a, b in pairwise(dispatched[:count])}
    assert gaps == {pace}, f"words are {gaps} cycles apart"
