"""Bench of a matrix unit: passes of random and extreme operands against numpy."""

from dataclasses import dataclass

import cocotb
import numpy as np

from designs.units import UnitSpec
from mapping.layout import pack_codes
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.streams import PAUSES

STEP_INPUTS = ("control", "activations", "weights")
CORNERS = (-128, -127, -1, 0, 1, 127)


@dataclass
class Pass:
    """One pass: a list of groups of steps, and the sums they give.

    ``weights`` (steps, lanes_n, lanes_k), ``activations`` (steps, lanes_m, lanes_k),
    ``scales`` (groups, lanes_n) or None, ``groups`` the steps of each group.
    """

    bits: int
    groups: list[int]
    weights: np.ndarray
    activations: np.ndarray
    scales: np.ndarray | None

    @property
    def steps(self) -> int:
        return len(self.weights)

    def sums(self) -> np.ndarray:
        """Reference: int64 (lanes_m, lanes_n)."""
        dots = np.einsum("snk,smk->smn", self.weights, self.activations, dtype=np.int64)
        total = np.zeros(dots.shape[1:], np.int64)
        step = 0
        for group, length in enumerate(self.groups):
            scale = 1 if self.scales is None else self.scales[group].astype(np.int64)
            total += dots[step : step + length].sum(axis=0) * scale
            step += length
        return total


def random_pass(bench: Bench, spec: UnitSpec, longest: int = 6) -> Pass:
    """A pass of random shape; operands uniform, or from the corners only."""
    rng = bench.rng
    bits = int(rng.choice(spec.weight_bits))
    low = -(1 << (bits - 1))
    groups = rng.integers(1, longest, int(rng.integers(1, 4))).tolist()
    steps = sum(groups)
    shape_w = steps, spec.lanes_n, spec.lanes_k
    shape_a = steps, spec.lanes_m, spec.lanes_k
    if rng.random() < 0.3:
        codes = [c for c in CORNERS if low <= c < -low] + [low, -low - 1]
        weights = rng.choice(codes, shape_w)
        activations = rng.choice(CORNERS, shape_a)
        bench.coverage["corner operands"] += 1
    else:
        weights = rng.integers(low, -low, shape_w)
        activations = rng.integers(-128, 128, shape_a)
    scales = None
    if rng.random() < 0.5:
        scales = rng.choice([0, 1, 2, 127, 128, 254, 255], (len(groups), spec.lanes_n))
    bench.coverage["scaled" if scales is not None else "unscaled"] += 1
    bench.coverage[f"int{bits}"] += 1
    bench.coverage["one step"] += steps == 1
    bench.coverage["several groups"] += len(groups) > 1
    return Pass(bits, groups, weights.astype(np.int8), activations.astype(np.int8), scales)


def word(array: np.ndarray) -> int:
    """Bytes of an array as one integer, first byte lowest."""
    return int.from_bytes(np.ascontiguousarray(array).astype(np.uint8).tobytes(), "little")


class UnitBench(Bench):
    """Feeds passes and expects their sums."""

    def __init__(self, dut, inputs: str = "none", outputs: str = "none") -> None:
        super().__init__(dut)
        self.spec = spec = run_design().unit
        self.sources = {name: self.source(name, inputs) for name in (*STEP_INPUTS, "scales")}
        self.sums = self.sink("sums", outputs)
        self.board = self.scoreboard("sums", lane_bits=spec.accumulator_bits)
        self.sums.callbacks.append(lambda transfer: self.board.found(transfer.value))

    def add(self, item: Pass, *, expect: bool = True) -> None:
        """Queue a pass on the inputs and its sums on the scoreboard."""
        spec = self.spec
        ends = np.cumsum(item.groups)
        noise = self.rng.integers(0, 256, spec.weight_word_bytes * (8 - item.bits) // 8)
        for step in range(item.steps):
            group_last = step + 1 in ends
            control = (item.bits == 4) | group_last << 1 | (step + 1 == item.steps) << 2
            packed = pack_codes(item.weights[step].reshape(1, -1), item.bits)[0]
            self.sources["control"].queue.append(control | (item.scales is not None) << 3)
            self.sources["activations"].queue.append(word(item.activations[step]))
            self.sources["weights"].queue.append(word(np.concatenate([packed, noise])))
            if group_last and item.scales is not None:
                group = int(np.searchsorted(ends, step + 1))
                self.sources["scales"].queue.append(word(item.scales[group]))
        if expect:
            bits = spec.accumulator_bits
            sums = item.sums().reshape(-1).tolist()
            self.board.expect(sum((s & (1 << bits) - 1) << i * bits for i, s in enumerate(sums)))

    def clear(self) -> None:
        """Forget what is queued."""
        for source in self.sources.values():
            source.queue.clear()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(inputs=PAUSES, outputs=PAUSES)
async def random_passes(dut, inputs: str, outputs: str):
    """Random formats, shapes and operands under every pair of stall patterns."""
    bench = UnitBench(dut, inputs, outputs)
    for _ in range(40):
        bench.add(random_pass(bench, bench.spec))
    await bench.reset()
    formats = [f"int{bits}" for bits in bench.spec.weight_bits]
    await bench.finish(*formats, "scaled", "unscaled", "several groups", "corner operands")
    assert all(source.empty for source in bench.sources.values())
    if inputs == outputs == "heavy":
        bench.expect_stalls(*STEP_INPUTS, "sums")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_pair_of_corners(dut):
    """Each extreme weight meets each extreme activation in every lane, under extreme scales."""
    bench = UnitBench(dut)
    spec = bench.spec
    for bits in spec.weight_bits:
        codes = (-128, -127, -1, 0, 1, 127) if bits == 8 else (-8, -7, -1, 0, 1, 7)
        for code in codes:
            for activation in CORNERS:
                for scale in (None, 0, 1, 128, 255):
                    weights = np.full((1, spec.lanes_n, spec.lanes_k), code, np.int8)
                    activations = np.full((1, spec.lanes_m, spec.lanes_k), activation, np.int8)
                    scales = None if scale is None else np.full((1, spec.lanes_n), scale)
                    bench.add(Pass(bits, [1], weights, activations, scales))
    await bench.reset()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def longest_reduction(dut):
    """max_k products of largest magnitude and largest scale: the widths hold them exactly."""
    bench = UnitBench(dut)
    spec = bench.spec
    steps = spec.max_k // spec.lanes_k
    low = -(1 << (max(spec.weight_bits) - 1))
    for code, activation in ((low, -128), (low, 127), (-low - 1, -128)):
        weights = np.full((steps, spec.lanes_n, spec.lanes_k), code, np.int8)
        activations = np.full((steps, spec.lanes_m, spec.lanes_k), activation, np.int8)
        scales = np.full((1, spec.lanes_n), 255)
        item = Pass(max(spec.weight_bits), [steps], weights, activations, scales)
        assert abs(int(item.sums().flat[0])) == abs(code * activation) * 255 * spec.max_k
        bench.add(item)
    await bench.reset()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def latency_and_throughput(dut):
    """Without stalls a step is taken every cycle, and sums follow after ``spec.latency``."""
    bench = UnitBench(dut)
    last_steps, steps = [], 0
    for _ in range(60):
        item = random_pass(bench, bench.spec, longest=4)
        steps += item.steps
        last_steps.append(steps - 1)
        bench.add(item)
    await bench.reset()
    await bench.finish("one step")
    taken = bench.monitors["control"].cycles
    assert taken == list(range(taken[0], taken[0] + steps)), "a cycle without a step"
    expected = [taken[step] + bench.spec.latency for step in last_steps]
    assert bench.sums.cycles == expected, "sums are not spec.latency cycles behind"


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reset_within_a_pass(dut):
    """Nothing of an interrupted pass shows in the next one."""
    bench = UnitBench(dut)
    cut = Pass(
        8,
        [9],
        *(
            bench.rng.integers(-128, 128, (9, lanes, bench.spec.lanes_k)).astype(np.int8)
            for lanes in (bench.spec.lanes_n, bench.spec.lanes_m)
        ),
        None,
    )
    bench.add(cut, expect=False)
    await bench.reset()
    await bench.until(lambda: bench.sources["control"].sent == 7)
    bench.stop()
    again = UnitBench(dut)
    for _ in range(10):
        again.add(random_pass(again, again.spec))
    await again.reset()
    await again.finish()
