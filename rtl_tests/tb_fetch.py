"""Bench of instruction fetch: blocks into the ring, words in order to their engines."""

from itertools import pairwise, repeat

import cocotb

from mapping.instruction import FLAGS, Instruction, encode, operand_names
from mapping.isa import FORMS, Buffer, Opcode
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.memory import ReadMemory, unpack_burst
from rtl_tests.support.streams import PAUSES

ENGINES = {Opcode.LOAD: "load", Opcode.MATMUL: "compute", Opcode.STORE: "store"}
UNKNOWN = max(Opcode) + 5
REFUSED = {
    "unknown": None,
    "buffer": (Opcode.LOAD, {"buffer": len(Buffer)}),
    "lines": (Opcode.LOAD, {"lines": 0}),
    "tiles": (Opcode.STORE, {"tiles": 0}),
    "lines_per_tile": (Opcode.STORE, {"lines_per_tile": 0}),
    "weight_bits": (Opcode.MATMUL, {"weight_bits": 3}),
    "n_tiles": (Opcode.MATMUL, {"n_tiles": 0}),
    "m_tiles": (Opcode.MATMUL, {"m_tiles": 0}),
    "k_steps": (Opcode.MATMUL, {"k_steps": 0}),
    "group_steps": (Opcode.MATMUL, {"group_steps": 0}),
    "no planes": (Opcode.MATMUL, {"planes": 0}),
    "planes": (Opcode.MATMUL, {"planes": 2}),
    "code_type": (Opcode.MATMUL, {"code_type": 1}),
    "special": (Opcode.MATMUL, {"special": 1}),
    "half": (Opcode.MATMUL, {"half": 1}),
}
"""An opcode that is none, and operands no engine around a dense unit could carry out."""

MAY_BE_ZERO = ("line", "word", "tile", "partial_tile", "scaled", "accumulate", "emit", "stride")


class FetchBench(Bench):
    """Program memory and instruction queues around the fetch unit."""

    def __init__(self, dut, memory: str = "none", engines: str = "none") -> None:
        super().__init__(dut, ["start", "program_line", "program_blocks", "running", "abort"])
        self.design = run_design()
        self.memory = ReadMemory(self, self.design, held=memory)
        self.requested = self.scoreboard("blocks")
        self.memory.requests.callbacks.append(
            lambda transfer: self.requested.found(unpack_burst(transfer.value))
        )
        self.boards = {}
        for name in ENGINES.values():
            sink = self.sink(name, engines)
            self.boards[name] = board = self.scoreboard(name)
            sink.callbacks.append(lambda transfer, board=board: board.found(transfer.value))
        self.bad = 0
        self.every_cycle(self._sample)

    def _sample(self) -> None:
        self.bad += bool(self.dut.bad_program.value)

    def word(self, opcode: Opcode, **changes: int) -> int:
        """A random instruction that can be carried out, but for ``changes``."""
        if FORMS[opcode].engine == "control":
            return int.from_bytes(encode([Instruction.make(opcode)]), "little")
        bits = {field.name: field.bits for field in FORMS[opcode].fields}
        operands = {
            name: int(self.rng.integers(not name.endswith(MAY_BE_ZERO), 1 << bits[name]))
            for name in operand_names(opcode)
        }
        if opcode is Opcode.LOAD:
            operands["buffer"] = int(self.rng.integers(len(Buffer)))
        if opcode is Opcode.MATMUL:
            operands["weight_bits"] = int(self.rng.choice(self.design.unit.weight_bits))
            operands |= {"code_type": 0, "half": 0, "planes": 1, "special": 0}
        flags = [flag for flag in FLAGS if self.rng.random() < 0.5]
        instruction = Instruction.make(opcode, *flags, **(operands | changes))
        return int.from_bytes(encode([instruction]), "little")

    def refused(self, kind: str) -> int:
        """A word that fetch must refuse."""
        if REFUSED[kind] is None:
            return int.from_bytes(self.rng.bytes(32), "little") & ~0xF | UNKNOWN
        opcode, changes = REFUSED[kind]
        return self.word(opcode, **changes)

    def random_words(self, count: int) -> list[int]:
        """``count`` instructions, padding among them."""
        opcodes = [Opcode.NOP, *ENGINES]
        return [self.word(opcodes[int(self.rng.integers(4))]) for _ in range(count)]

    def program(self, line: int, words: list[int], behind: list[int] | None = None) -> int:
        """Put a program into memory; the blocks it takes.

        Engines must get the ``words``, and nothing of what lies ``behind``.
        """
        design = self.design
        size = design.fetch_block_instructions
        for word in words:
            opcode = Opcode(word & 15)
            self.coverage[opcode.name] += 1
            if opcode in ENGINES:
                self.boards[ENGINES[opcode]].expect(word)
        words = words + (behind or [])
        blocks = -(-len(words) // size)
        data = b"".join(word.to_bytes(32, "little") for word in words)
        data = data.ljust(blocks * design.fetch_block_bytes, b"\0")
        for index in range(blocks * design.fetch_block_lines):
            part = data[index * design.line_bytes : (index + 1) * design.line_bytes]
            self.memory.content[line + index] = int.from_bytes(part, "little")
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
        self.dut.running.value = 1
        self.dut.program_line.value = 0x5555
        self.dut.program_blocks.value = 0
        await self.cycles(2)
        assert not blocks or not self.dut.ended.value, "ended with blocks still to come"

    async def ended(self) -> bool:
        """Wait until the program is over; whether it was put out."""
        await self.until(lambda: bool(self.dut.ended.value))
        await self.edge
        self.dut.running.value = 0
        return bool(self.dut.aborting.value)

    def forget(self) -> None:
        """Expect nothing more of a program that was put out."""
        for board in (self.requested, *self.boards.values()):
            board.expected.clear()

    async def run_good(self, line: int = 0) -> None:
        """A program of the usual kind, from start to end."""
        words = [*self.random_words(11), *map(self.word, ENGINES), self.word(Opcode.END)]
        await self.start(line, self.program(line, words))
        bad = self.bad
        assert not await self.ended()
        assert self.bad == bad


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(memory=PAUSES, engines=PAUSES)
async def random_programs(dut, memory: str, engines: str):
    """Three programs one after the other, longer than the ring; what follows END is dropped."""
    bench = FetchBench(dut, memory, engines)
    size, blocks = bench.design.fetch_block_instructions, bench.design.control.fetch_blocks
    lines = bench.design.fetch_block_lines
    await bench.reset()
    for index, count in enumerate((size * blocks * 4 + 3, 3, 2 * size - 1)):
        line = lines * (7 + 1000 * index)
        words = [*bench.random_words(count), bench.word(Opcode.END)]
        behind = [*bench.random_words(index * size), *map(bench.refused, REFUSED)]
        await bench.start(line, bench.program(line, words, behind))
        assert not await bench.ended(), "the program was put out"
    await bench.finish(*(opcode.name for opcode in Opcode))
    assert not bench.bad
    if engines != "none":
        bench.expect_stalls(*ENGINES.values())


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(kind=list(REFUSED))
async def refused_instructions(dut, kind: str):
    """A word no engine could carry out ends the program: all before it runs, nothing behind it."""
    bench = FetchBench(dut, "some", "some")
    await bench.reset()
    for before in (0, 5, 3 * bench.design.fetch_block_instructions):
        words, behind = bench.random_words(before), bench.random_words(60)
        blocks = bench.program(0, words, [bench.refused(kind), *behind])
        bad = bench.bad
        await bench.start(0, blocks)
        assert await bench.ended(), "the program was not put out"
        assert bench.bad == bad + 1
        bench.requested.expected.clear()  # the rest need not be fetched
        await bench.run_good(1 << 16)
    await bench.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def missing_end(dut):
    """All blocks without END, or no blocks at all: a bad program."""
    bench = FetchBench(dut)
    await bench.reset()
    size = bench.design.fetch_block_instructions
    await bench.start(0, bench.program(0, bench.random_words(2 * size)))
    assert await bench.ended()
    assert bench.bad == 1
    await bench.run_good()
    await bench.start(0, 0)
    assert await bench.ended()
    assert bench.bad == 2
    await bench.run_good()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(engines=PAUSES, why=("abort", "error"))
async def put_out(dut, engines: str, why: str):
    """An abort, or a memory error in a block, at any time: fetch drains and starts anew."""
    bench = FetchBench(dut, "some", engines)
    for name in ENGINES.values():
        bench.monitors[name].may_withdraw = True  # what no queue has taken is dropped
    size, lines = bench.design.fetch_block_instructions, bench.design.fetch_block_lines
    await bench.reset()
    for _ in range(8):
        words = [*bench.random_words(12 * size - 1), bench.word(Opcode.END)]
        blocks = bench.program(0, words)
        if why == "error":
            bench.memory.faults = {int(bench.rng.integers(blocks * lines))}
            await bench.start(0, blocks)
        else:
            await bench.start(0, blocks)
            await bench.cycles(int(bench.rng.integers(1, 8 * blocks)))
            dut.abort.value = 1
            await bench.edge
            dut.abort.value = 0
        assert await bench.ended(), "the program was not put out"
        assert not bench.bad
        assert bench.memory.answers.empty, "ended with lines on their way"
        bench.coverage["words dropped"] += any(b.expected for b in bench.boards.values())
        bench.memory.faults = set()
        bench.forget()
        await bench.run_good(1 << 16)
    await bench.finish("words dropped")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def ring_fills_and_waits(dut):
    """With no engine taking anything, exactly ``fetch_blocks`` blocks are fetched."""
    bench = FetchBench(dut)
    for name in ENGINES.values():
        bench.sinks[name].held = repeat(True)
    blocks = bench.design.control.fetch_blocks
    size = bench.design.fetch_block_instructions
    words = bench.random_words(size * (blocks + 3) - 1)
    total = bench.program(0, [*map(bench.word, ENGINES), *words, bench.word(Opcode.END)])
    await bench.reset()
    await bench.start(0, total)
    await bench.cycles(200 + 20 * blocks * bench.design.fetch_block_lines)
    assert len(bench.memory.requests.transfers) == blocks
    for name in ENGINES.values():
        bench.sinks[name].held = repeat(False)
    assert not await bench.ended()
    await bench.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency_and_throughput(dut):
    """A word is dispatched two cycles after its last byte, then one a cycle while they last."""
    bench = FetchBench(dut)
    count = bench.design.fetch_block_instructions
    kinds = list(ENGINES)
    words = [bench.word(kinds[i % 3]) for i in range(2 * count - 1)]
    blocks = bench.program(0, [*words, bench.word(Opcode.END)])
    await bench.reset()
    await bench.start(0, blocks)
    await bench.ended()
    await bench.finish()
    arrivals = bench.monitors["data"].cycles
    pace = max(1, 32 // bench.design.line_bytes)  # lines of an instruction
    dispatched = sorted(c for name in ENGINES.values() for c in bench.monitors[name].cycles)
    assert dispatched[0] == arrivals[pace - 1] + 2, (dispatched[0], arrivals[pace - 1])
    gaps = {b - a for a, b in pairwise(dispatched[:count])}
    assert gaps == {pace}, f"words are {gaps} cycles apart"
