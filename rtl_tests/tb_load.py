"""Bench of the load engine: bursts out, lines into the right buffer, tokens with the last line."""

import cocotb

from mapping.instruction import Instruction, encode
from mapping.isa import Buffer, Opcode
from rtl_tests.support.bench import Bench, TokenModel, run_design
from rtl_tests.support.memory import ReadMemory, bursts, unpack_burst
from rtl_tests.support.streams import PAUSES


class LoadBench(Bench):
    """Memory and token counter around the engine, and what is expected of it."""

    def __init__(self, dut, held: str = "none", slow: str = "none") -> None:
        super().__init__(dut)
        self.design = run_design()
        self.instructions = self.source("instruction", slow)
        self.memory = ReadMemory(self, self.design, held=held)
        self.tokens = TokenModel(self, "compute_tokens", "take_token")
        self.requested = self.scoreboard("bursts")
        self.written = self.scoreboard("writes")
        self.memory.requests.callbacks.append(
            lambda transfer: self.requested.found(unpack_burst(transfer.value))
        )
        self.tokens_expected = 0
        self.write_cycles: list[int] = []
        self.waited = 0
        self.every_cycle(self._sample)

    def add(self, buffer: Buffer, dram_line: int, buffer_line: int, lines: int, *flags: str):
        """Queue a LOAD and everything it must do."""
        instruction = Instruction.make(
            Opcode.LOAD,
            *flags,
            buffer=buffer,
            dram_line=dram_line,
            buffer_line=buffer_line,
            lines=lines,
        )
        self.instructions.queue.append(int.from_bytes(encode([instruction]), "little"))
        for burst in bursts(dram_line, lines, self.design.dram.max_burst_beats):
            self.requested.expect(burst)
        for index in range(lines):
            gives = index == lines - 1 and "signal_downstream" in flags
            data = self.memory.line(dram_line + index)
            self.written.expect((buffer.name, buffer_line + index, f"{data:#x}", gives))
        self.tokens_expected += "wait_downstream" in flags
        self.coverage[buffer.name] += 1
        for flag in flags:
            self.coverage[flag] += 1

    def _sample(self) -> None:
        dut = self.dut
        enable = dut.write_enable.value.to_unsigned()
        gives = bool(dut.give_token.value)
        self.waited += bool(dut.waiting.value)
        assert bool(dut.weight_beat.value) == bool(enable & ~1), "weight_beat is wrong"
        if not enable:
            assert not gives, "a token without a line"
            return
        assert enable in (1, 2, 4), f"write_enable is {enable:#b}"
        self.write_cycles.append(self.cycle)
        address = dut.write_address.value.to_unsigned()
        data = dut.write_data.value.to_unsigned()
        self.written.found((Buffer(enable.bit_length() - 1).name, address, f"{data:#x}", gives))

    def add_random(self, count: int, longest: int) -> None:
        """Loads of random place, length and tokens."""
        for _ in range(count):
            flags = [f for f in ("wait_downstream", "signal_downstream") if self.rng.random() < 0.5]
            self.add(
                Buffer(int(self.rng.integers(3))),
                int(self.rng.integers(1 << 16)),
                int(self.rng.integers(1 << 20)),
                int(self.rng.integers(1, longest)),
                *flags,
            )


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(held=PAUSES, slow=("none", "heavy"))
async def random_loads(dut, held: str, slow: str):
    """Bursts stay in their blocks, lines reach their buffer, tokens come with the last line."""
    bench = LoadBench(dut, held, slow)
    bench.add(Buffer.SCALE, 3, 5, 2, "wait_downstream")  # its token comes late
    bench.add_random(40, 3 * bench.design.dram.max_burst_beats)
    bench.add(Buffer.WEIGHT, 7, 0, 1, "wait_downstream", "signal_downstream")
    await bench.reset()

    async def give():
        await bench.cycles(200)
        for _ in range(bench.tokens_expected):
            await bench.cycles(int(bench.rng.integers(1, 80)))
            bench.tokens.give()

    bench.run(give())
    names = [buffer.name for buffer in Buffer]
    await bench.finish(*names, "wait_downstream", "signal_downstream")
    assert bench.tokens.taken == bench.tokens_expected
    assert bench.waited, "never waited for a token"
    assert dut.idle.value
    assert not bench.monitors["data"].stalled, "data that was asked for is always taken"
    if held != "none":
        bench.expect_stalls("request")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def address_timing(dut):
    """First burst one cycle after acceptance, then one a cycle, across instructions."""
    bench = LoadBench(dut)
    most = bench.design.dram.max_burst_beats
    for index in range(2):
        bench.add(Buffer.ACTIVATION, 8 * most * index, 0, 4 * most)
    await bench.reset()
    await bench.finish()
    accepted = bench.monitors["instruction"].cycles
    requests = bench.memory.requests.cycles
    assert requests == list(range(accepted[0] + 1, accepted[0] + 9)), requests
    assert accepted[1] == requests[3], "the next load is accepted with the last burst"
    data = bench.monitors["data"].cycles
    assert bench.write_cycles == data, "a line is written in the cycle it arrives"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def holds_without_token(dut):
    """A load that waits does nothing until its token comes."""
    bench = LoadBench(dut)
    bench.add(Buffer.SCALE, 0, 0, 3, "wait_downstream")
    await bench.reset()
    await bench.cycles(40)
    assert not bench.memory.requests.transfers
    assert bench.waited >= 38
    bench.tokens.give()
    await bench.finish()
    assert bench.tokens.taken == 1
