"""Bench of the compute engine: loops, addresses, step controls, pass descriptors and tokens."""

from collections.abc import Iterable

import cocotb
import numpy as np

from mapping.instruction import FLAGS, Instruction, encode
from mapping.isa import Opcode
from rtl_tests.support.bench import Bench, TokenModel, fields, run_design
from rtl_tests.support.streams import PAUSES


class ComputeBench(Bench):
    """Token counters around the engine, and what every MATMUL must read and put out."""

    def __init__(self, dut, held: str = "none", slow: str = "none") -> None:
        super().__init__(dut)
        self.unit = run_design().unit
        self.instructions = self.source("instruction", slow)
        self.control = self.sink("control", held, "upper_half")
        self.passes = self.sink("passes", held)
        self.loads = TokenModel(self, "load_tokens", "take_load_token")
        self.stores = TokenModel(self, "store_tokens", "take_store_token")
        self.reads = self.scoreboard("reads")
        self.steps = self.scoreboard("steps")
        self.ended = self.scoreboard("passes")
        self.control.callbacks.append(self._step_offered)
        self.passes.callbacks.append(self._pass_ended)
        self.read_cycles: list[int] = []
        self.waits = {"load": 0, "store": 0}
        self.flags: list[tuple[str, ...]] = []
        self.every_cycle(self._sample)

    def add(self, *flags: str, **operands: int) -> None:
        """Queue a MATMUL and everything it must do."""
        i = Instruction.make(Opcode.MATMUL, *flags, **operands)
        self.instructions.queue.append(int.from_bytes(encode([i]), "little"))
        self.flags.append(flags)
        for flag in flags:
            self.coverage[flag] += 1
        narrow = i.weight_bits == 4
        self.coverage["narrow" if narrow else "wide"] += 1
        self.coverage["one step"] += i.n_tiles * i.m_tiles * i.k_steps == 1
        groups = i.k_steps // i.group_steps
        for n, m, k in np.ndindex(i.n_tiles, i.m_tiles, i.k_steps):
            weight = n * i.k_steps + k
            group_last = (k + 1) % i.group_steps == 0
            pass_last = k + 1 == i.k_steps
            last = pass_last and n + 1 == i.n_tiles and m + 1 == i.m_tiles
            self.reads.expect(
                (
                    i.weight_word + (weight // 2 if narrow else weight),
                    i.activation_word + m * i.activation_stride + k,
                    i.scale_word + n * groups + k // i.group_steps,
                    last and "signal_upstream" in flags,
                )
            )
            control = {
                "narrow": narrow,
                "group_last": group_last,
                "pass_last": pass_last,
                "scaled": i.scaled,
            }
            self.steps.expect((control, narrow and weight % 2))
            if pass_last:
                tile = n * i.m_tiles + m
                self.ended.expect(
                    {
                        "tile": i.tile + tile,
                        "partial_tile": i.partial_tile + tile,
                        "accumulate": i.accumulate,
                        "emit": i.emit,
                        "signal": last and "signal_downstream" in flags,
                    }
                )

    def add_random(self, largest: int = 5, flags: Iterable[str] | None = None) -> None:
        """A MATMUL of random loops, and random tokens unless they are given."""
        rng = self.rng
        group = int(rng.integers(1, largest))
        if flags is None:
            flags = [flag for flag in FLAGS if rng.random() < 0.4]
        self.add(
            *flags,
            weight_bits=int(rng.choice(self.unit.weight_bits)),
            scaled=int(rng.integers(2)),
            accumulate=int(rng.integers(2)),
            emit=int(rng.integers(2)),
            weight_word=int(rng.integers(1 << 23)),
            activation_word=int(rng.integers(1 << 23)),
            activation_stride=int(rng.integers(1 << 12)),
            scale_word=int(rng.integers(1 << 23)),
            tile=int(rng.integers(1 << 15)),
            partial_tile=int(rng.integers(1 << 15)),
            n_tiles=int(rng.integers(1, largest)),
            m_tiles=int(rng.integers(1, largest)),
            k_steps=group * int(rng.integers(1, min(largest, 4))),
            group_steps=group,
        )

    def _sample(self) -> None:
        dut = self.dut
        self.waits["load"] += bool(dut.wait_load.value)
        self.waits["store"] += bool(dut.wait_store.value)
        read = bool(dut.read_enable.value)
        assert bool(dut.busy.value) == read
        if not read:
            assert not dut.give_load_token.value, "a token without a read"
            return
        self.read_cycles.append(self.cycle)
        addresses = (dut.weight_address, dut.activation_address, dut.scale_address)
        gives = bool(dut.give_load_token.value)
        self.reads.found((*(port.value.to_unsigned() for port in addresses), gives))

    def _step_offered(self, transfer) -> None:
        payload, upper = transfer.values
        control = fields(payload, narrow=1, group_last=1, pass_last=1, scaled=1)
        self.steps.found((control, upper))

    def _pass_ended(self, transfer) -> None:
        widths = {"tile": 16, "partial_tile": 16, "accumulate": 1, "emit": 1, "signal": 1}
        self.ended.found(fields(transfer.value, **widths))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(held=PAUSES, slow=("none", "heavy"))
async def random_products(dut, held: str, slow: str):
    """Addresses, controls, descriptors and tokens of random instructions."""
    bench = ComputeBench(dut, held, slow)
    bench.add_random(flags=FLAGS)  # its tokens come late, one after the other
    for _ in range(60):
        bench.add_random()
    await bench.reset()

    async def give(model: TokenModel, flag: str, late: int) -> None:
        await bench.cycles(late)
        for flags in bench.flags:
            if flag in flags:
                await bench.cycles(int(bench.rng.integers(1, 120)))
                model.give()

    bench.run(give(bench.loads, "wait_upstream", 100))
    bench.run(give(bench.stores, "wait_downstream", 300))
    widths = ["narrow"] * (4 in bench.unit.weight_bits) + ["wide"]
    await bench.finish(*widths, "signal_upstream", "signal_downstream")
    assert bench.loads.taken == bench.coverage["wait_upstream"]
    assert bench.stores.taken == bench.coverage["wait_downstream"]
    assert bench.waits["load"], "never waited for the load engine"
    assert bench.waits["store"], "never waited for the store engine"
    assert dut.idle.value
    if held != "none":
        bench.expect_stalls("control", "passes")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_step_every_cycle(dut):
    """Steps follow each other without a gap, from one instruction to the next."""
    bench = ComputeBench(dut)
    for _ in range(30):
        bench.add_random(largest=3)
        bench.add_random(largest=2)
    waits = ("wait_upstream", "wait_downstream")
    bench.loads.give(sum(waits[0] in flags for flags in bench.flags))
    bench.stores.give(sum(waits[1] in flags for flags in bench.flags))
    await bench.reset()
    await bench.finish("one step")
    accepted = bench.monitors["instruction"].cycles
    reads = bench.read_cycles
    assert reads == list(range(reads[0], reads[0] + len(reads))), "a cycle without a step"
    assert reads[0] == accepted[0] + 1, "the first step is read one cycle after acceptance"
    assert bench.control.cycles == [cycle + 1 for cycle in reads], "steps follow their read"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def holds_without_tokens(dut):
    """Both tokens are taken together, and nothing is read before."""
    bench = ComputeBench(dut)
    bench.add_random(flags=FLAGS)
    await bench.reset()
    await bench.cycles(20)
    assert bench.waits["load"] >= 15
    assert not bench.waits["store"]
    bench.loads.give()
    await bench.cycles(20)
    assert bench.waits["store"] >= 15
    assert not bench.loads.taken, "one token was taken without the other"
    assert not bench.read_cycles
    bench.stores.give()
    await bench.finish()
    assert bench.loads.taken == bench.stores.taken == 1
