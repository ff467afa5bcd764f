"""Bench of a matrix unit: passes of random and extreme operands against numpy."""

import cocotb
import numpy as np

from mapping.code_books import decode_special
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.passes import (
    HALF_CORNERS,
    INT8_CORNERS,
    Pass,
    WeightType,
    random_pass,
    uniform_pass,
    weight_types,
)
from rtl_tests.support.streams import PAUSES

INPUTS = ("control", "activations", "weights", "scales")
_FLOATS = any(kind.special for kind in weight_types(run_design().unit))


class UnitBench(Bench):
    """Feeds passes and expects their sums."""

    def __init__(self, dut, inputs: str = "none", outputs: str = "none") -> None:
        super().__init__(dut)
        self.spec = spec = run_design().unit
        self.sources = {name: self.source(name, inputs) for name in INPUTS}
        self.sums = self.sink("sums", outputs)
        self.board = self.scoreboard("sums", lane_bits=spec.accumulator_bits)
        self.sums.callbacks.append(lambda transfer: self.board.found(transfer.value))

    def add(self, item: Pass, *, expect: bool = True) -> int:
        """Queue a pass on the inputs and its sums on the scoreboard; the beats it takes."""
        words = item.words(self.spec, self.rng)
        for name, values in words.items():
            self.sources[name].queue.extend(values)
        if expect:
            bits = self.spec.accumulator_bits
            sums = item.sums(self.spec).reshape(-1).tolist()
            self.board.expect(sum((s & (1 << bits) - 1) << i * bits for i, s in enumerate(sums)))
        return len(words["control"])

    def add_random(self, longest: int = 6) -> int:
        """Queue a random pass; the beats it takes."""
        return self.add(random_pass(self.spec, self.rng, self.coverage, longest))

    def uniform(self, kind: WeightType, value: int, activation, scales, steps: int = 0) -> Pass:
        """A pass of one group, the shortest unless ``steps`` are given; see `uniform_pass`."""
        steps = steps or self.spec.least_steps(kind.bits)
        return uniform_pass(self.spec, kind, steps, value, activation, scales)

    def corners(self) -> tuple:
        """Extreme activations of every format the unit takes: int is INT8, float is FP16."""
        of = {"int8": INT8_CORNERS, "fp16": HALF_CORNERS}
        return tuple(value for name in self.spec.activation_formats for value in of[name])


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(inputs=PAUSES, outputs=PAUSES)
async def random_passes(dut, inputs: str, outputs: str):
    """Random formats, shapes and operands under every pair of stall patterns."""
    bench = UnitBench(dut, inputs, outputs)
    for _ in range(40):
        bench.add_random()
    await bench.reset()
    await bench.finish(
        *bench.spec.activation_formats, "scaled", "unscaled", "several groups", "corner operands"
    )
    assert all(source.empty for source in bench.sources.values())
    if inputs == outputs == "heavy":
        bench.expect_stalls(*INPUTS, "sums")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_type(dut):
    """Enough random passes to meet every weight type, and every kind of FP16 operands."""
    bench = UnitBench(dut)
    for _ in range(150):
        bench.add_random(longest=3)
    await bench.reset()
    kinds = ("any", "near", "small", "corners") if "fp16" in bench.spec.activation_formats else ()
    await bench.finish(
        *(kind.name for kind in weight_types(bench.spec)), *(f"fp16 {kind}" for kind in kinds)
    )


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_pair_of_corners(dut):
    """Each extreme weight meets each extreme activation in every lane, under extreme scales."""
    bench = UnitBench(dut)
    for kind in weight_types(bench.spec):
        for value in kind.corners.tolist():
            for activation in bench.corners():
                for scales in (None, (0, 1, 128, 255)):
                    bench.add(bench.uniform(kind, value, activation, scales))
    await bench.reset()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def longest_reduction(dut):
    """max_k products of largest magnitude and largest scale: the widths hold them exactly."""
    bench = UnitBench(dut)
    spec = bench.spec
    steps = spec.max_k // spec.lanes_k
    widest = max(weight_types(spec), key=lambda kind: np.abs(kind.values.astype(int)).max())
    low, high = int(widest.values[0]), int(widest.values[-1])
    extremes: dict[str, list[tuple]] = {"int8": [(low, -128), (low, 127), (high, -128)]}
    extremes["fp16"] = [(low, -65504.0), (low, 65504.0)]
    if steps * spec.beats(widest.bits) > 10_000:  # a minute of simulation otherwise
        extremes = {name: pairs[:1] for name, pairs in extremes.items()}
    scale = {"int8": (255,), "fp16": None}  # scales divide sums of FP16
    for name in spec.activation_formats:
        for value, activation in extremes[name]:
            item = bench.uniform(widest, value, activation, scale[name], steps)
            exact = abs(int(value * activation)) * spec.max_k
            exact = exact * 255 if scale[name] else exact << 24
            if not getattr(spec, "table_bits", 0):
                assert abs(int(item.sums(spec).flat[0])) == exact
            bench.add(item)
    await bench.reset()
    await bench.finish(limit=200_000)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def latency_and_throughput(dut):
    """Without stalls a beat is taken every cycle, and sums follow after ``spec.latency``."""
    bench = UnitBench(dut)
    last_beats, beats = [], 0
    for _ in range(60):
        beats += bench.add_random(longest=4)
        last_beats.append(beats - 1)
    await bench.reset()
    await bench.finish("shortest group")
    taken = bench.monitors["control"].cycles
    assert taken == list(range(taken[0], taken[0] + beats)), "a cycle without a beat"
    expected = [taken[beat] + bench.spec.latency for beat in last_beats]
    assert bench.sums.cycles == expected, "sums are not spec.latency cycles behind"


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reset_within_a_pass(dut):
    """Nothing of an interrupted pass shows in the next one."""
    bench = UnitBench(dut)
    kind = weight_types(bench.spec)[len(bench.spec.weight_bits) - 1]
    bench.add(bench.uniform(kind, -1, bench.corners()[-1], None, steps=10), expect=False)
    await bench.reset()
    await bench.until(lambda: bench.sources["control"].sent == 7)
    bench.stop()
    again = UnitBench(dut)
    for _ in range(10):
        again.add_random()
    await again.reset()
    await again.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms", skip=not _FLOATS)
async def every_special_value(dut):
    """All bits a register of a special value can have, in all lanes; groups of random numbers."""
    bench = UnitBench(dut)
    spec = bench.spec
    kinds = [kind for kind in weight_types(spec) if kind.special]
    activations = [value for value in bench.corners() if value]
    for register in range(1, 256):
        kind = kinds[register % len(kinds)]
        activation = activations[int(bench.rng.integers(len(activations)))]
        steps = spec.least_steps(kind.bits)
        value = decode_special(register)
        bench.add(uniform_pass(spec, kind, steps, value, activation, None, register))
    for _ in range(30):
        bench.add_random()
    await bench.reset()
    await bench.finish("numbers of special values twice")
