"""Bench of the compute engine: loops, addresses, step controls, pass descriptors and tokens."""

from collections.abc import Iterable

import cocotb
import numpy as np

from designs.units.base import CODE_TYPES, CODE_WIDTHS, IDENTIFIED_GROUPS, SPECIAL_VALUES
from mapping.instruction import FLAGS, Instruction, encode
from mapping.isa import Opcode
from rtl_tests.support.bench import Bench, TokenModel, fields, run_design
from rtl_tests.support.streams import PAUSES

CONTROL = {
    "weight_bits": 4,
    "code_type": 2,
    "half": 1,
    "beat": 3,
    "second": 1,
    "step_last": 1,
    "group_last": 1,
    "pass_last": 1,
    "scaled": 1,
    "identify": 1,
    "special": 8 * SPECIAL_VALUES,
}
"""Widths of the step control, lowest bits first (hwgen/units/base.py)."""


class ComputeBench(Bench):
    """Token counters around the engine, and what every MATMUL must read and put out."""

    def __init__(self, dut, held: str = "none", slow: str = "none") -> None:
        super().__init__(dut)
        self.unit = run_design().unit
        self.instructions = self.source("instruction", slow)
        self.control = self.sink(
            "control", held, "weight_word", "upper_weights", "upper_activations"
        )
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
        unit = self.unit
        narrow = i.weight_bits == unit.weight_word_bits // 2
        beats = unit.beats(i.weight_bits)
        pairs = unit.step_grain(i.weight_bits) > 1
        paired = len(unit.activation_formats) > 1 and not i.half
        self.coverage[f"{i.weight_bits} bits"] += 1
        self.coverage["half"] += i.half
        self.coverage["replayed"] += i.planes > 1
        self.coverage["one step"] += i.n_tiles * i.m_tiles * i.k_steps == 1
        self.coverage["special"] += i.special
        groups = i.k_steps // i.group_steps
        tile_words = int(i.k_steps * unit.step_words(i.weight_bits)) if beats > 1 else i.k_steps
        tile_scales = unit.scale_words(groups, bool(i.special))
        registers = sum(getattr(i, f"special_{j}") << 8 * j for j in range(SPECIAL_VALUES))
        upper = False
        for n, m, k, w in np.ndindex(i.n_tiles, i.m_tiles, i.k_steps, beats):
            second = pairs and k % 2 == 1
            weight = n * tile_words + k * beats + w - (k // 2 if pairs else 0)
            group, step = divmod(k, i.group_steps)
            activation = i.activation_step + m * i.activation_stride
            activation += group // i.planes * i.group_steps + step
            step_last = w + 1 == beats
            group_last = step_last and (k + 1) % i.group_steps == 0
            pass_last = step_last and k + 1 == i.k_steps
            last = pass_last and n + 1 == i.n_tiles and m + 1 == i.m_tiles
            has_word = not (second and step_last)
            identify = i.special and w == step == 0 and group % IDENTIFIED_GROUPS == 0
            scale = i.scale_word + n * tile_scales + group
            scale += group // IDENTIFIED_GROUPS + (not identify) if i.special else 0
            takes_scale = identify or (group_last and i.scaled)
            self.reads.expect(
                (
                    i.weight_word + (weight // 2 if narrow else weight) if has_word else None,
                    (activation // 2 if paired else activation) if w == 0 else None,
                    scale if takes_scale else None,
                    last and "signal_upstream" in flags,
                )
            )
            control = {
                "weight_bits": i.weight_bits,
                "code_type": i.code_type,
                "half": i.half,
                "beat": w,
                "second": second,
                "step_last": step_last,
                "group_last": group_last,
                "pass_last": pass_last,
                "scaled": i.scaled,
                "identify": identify,
                "special": registers if i.special else 0,
            }
            if w == 0:
                upper = bool(paired and activation % 2)
            self.steps.expect((control, has_word, narrow and weight % 2, upper))
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
        unit = self.unit
        bits = int(rng.choice(unit.weight_bits))
        grain = unit.step_grain(bits)
        group = int(rng.integers(1, largest)) * grain
        types = [t for t in unit.weight_types if bits in CODE_WIDTHS.get(t, (bits,))]
        code_type = CODE_TYPES.index(types[int(rng.integers(len(types)))])
        planes = int(rng.integers(1, 4)) if CODE_TYPES[code_type] == "bipolar" else 1
        special = CODE_TYPES[code_type] in ("float", "flint") and bool(rng.integers(2))
        values = rng.integers(0, 256, SPECIAL_VALUES).tolist()
        half = unit.activation_formats[int(rng.integers(len(unit.activation_formats)))] == "fp16"
        if flags is None:
            flags = [flag for flag in FLAGS if rng.random() < 0.4]
        self.add(
            *flags,
            weight_bits=bits,
            scaled=int(special or rng.integers(2)),
            code_type=code_type,
            special=int(special),
            **{f"special_{index}": value for index, value in enumerate(values)},
            half=int(half),
            planes=planes,
            accumulate=int(rng.integers(2)),
            emit=int(rng.integers(2)),
            weight_word=int(rng.integers(1 << 23)),
            activation_step=int(rng.integers(1 << 23)),
            activation_stride=int(rng.integers(1 << 12)),
            scale_word=int(rng.integers(1 << 23)),
            tile=int(rng.integers(1 << 15)),
            partial_tile=int(rng.integers(1 << 15)),
            n_tiles=int(rng.integers(1, largest)),
            m_tiles=int(rng.integers(1, largest)),
            k_steps=group * planes * int(rng.integers(1, min(largest, 4))),
            group_steps=group,
        )

    def _sample(self) -> None:
        dut = self.dut
        self.waits["load"] += bool(dut.wait_load.value)
        self.waits["store"] += bool(dut.wait_store.value)
        read = bool(dut.busy.value)
        if not read:
            assert not dut.weight_enable.value, "weights without a beat"
            assert not dut.give_load_token.value, "a token without a read"
            assert not dut.activation_enable.value, "activations without weights"
            assert not dut.scale_enable.value, "scales without weights"
            return
        self.read_cycles.append(self.cycle)
        found = []
        for name in ("weight", "activation", "scale"):
            enable, address = (getattr(dut, f"{name}_{end}") for end in ("enable", "address"))
            found.append(address.value.to_unsigned() if enable.value else None)
        self.reads.found((*found, bool(dut.give_load_token.value)))

    def _step_offered(self, transfer) -> None:
        payload, word, weights, activations = transfer.values
        self.steps.found((fields(payload, **CONTROL), word, weights, activations))

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
    seen = [f"{bits} bits" for bits in bench.unit.weight_bits]
    seen += ["half"] * ("fp16" in bench.unit.activation_formats)
    seen += ["replayed"] * ("bipolar" in bench.unit.weight_types)
    seen += ["special"] * ("float" in bench.unit.weight_types)
    await bench.finish(*seen, "signal_upstream", "signal_downstream")
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
