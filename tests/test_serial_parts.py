"""Parts of the bit-serial element, and the cells it is compared with, against NumPy."""

import numpy as np
import pytest
from cell_bench import operands, simulate, word
from test_float_cells import FP8, code, float_operands, rounded, value_of

from designs.units import BitSerialSpec
from hwgen.cells.dense_dot import DenseDot
from hwgen.cells.float_arithmetic import FP16
from hwgen.cells.float_cells import FloatIntegerDot
from hwgen.cells.registered import Registered
from hwgen.cells.serial_parts import SerialGroupSum, SerialLanes

_INTEGER = BitSerialSpec(1, 8, 4, (6, 8), 1024)
_BOTH = BitSerialSpec(1, 8, 4, (4, 8), 1024, ("int8", "fp16"))


@pytest.mark.parametrize("spec", [_INTEGER, _BOTH], ids=["integers", "all"])
def test_lanes(spec):
    rng = np.random.default_rng(1)
    cell = SerialLanes(spec)
    a = operands(rng, spec.aligned_bits, (80, 4))
    there, negative = rng.integers(0, 2, (2, 80, 4))
    exponent = rng.integers(0, spec.most_exponent + 1, (80, 4))
    bits = spec.most_exponent.bit_length()

    async def bench(context):
        context.set(cell.enable, 1)
        for i in range(len(a)):
            terms = there[i] | exponent[i] << 1 | negative[i] << (1 + bits)
            context.set(cell.activations, word(a[i], spec.aligned_bits))
            context.set(cell.terms.as_value(), word(terms, 2 + bits))
            await context.tick()
            found = context.get(cell.total) + context.get(cell.carry)
            assert found == ((-1) ** negative[i] * there[i] * a[i] << exponent[i]).sum()

    simulate(cell, bench)


@pytest.mark.parametrize("spec", [_INTEGER, _BOTH], ids=["integers", "all"])
def test_group_sum(spec):
    """Groups of a few numbers; an enable of 0 holds."""
    rng = np.random.default_rng(2)
    cell = SerialGroupSum(spec)
    totals = operands(rng, spec.tree_bits, 60)
    carries = rng.integers(0, 2, 60)
    shifts = rng.integers(0, spec.most_shift + 1, 60)

    async def bench(context):
        expected, before = 0, None
        for i in range(60):
            context.set(cell.enable, 0b01)
            context.set(cell.total, int(totals[i]))
            context.set(cell.carry, int(carries[i]))
            context.set(cell.shift, int(shifts[i]))
            await context.tick()
            context.set(cell.enable, 0b10)
            context.set(cell.first, int(i % 5 == 0))
            await context.tick()
            expected = 0 if i % 5 == 0 else expected
            expected += (int(totals[i]) + int(carries[i])) << int(shifts[i])
            limit = 1 << (spec.group_sum_bits - 1)
            expected = (expected + limit) % (2 * limit) - limit
            assert context.get(cell.group) == expected
            before = expected
        context.set(cell.enable, 0)
        await context.tick()
        assert context.get(cell.group) == before

    simulate(cell, bench)


@pytest.mark.parametrize(("fmt", "bits"), [(FP16, 8), (FP8, 5), (FP16, 2)])
def test_float_times_integer(fmt, bits):
    """Product rounded, then sum rounded; every integer occurs."""
    rng = np.random.default_rng(bits)
    count = 600
    cell = FloatIntegerDot(fmt, 1, bits)
    a = float_operands(rng, count, fmt)
    w = np.resize(np.arange(-(1 << (bits - 1)), 1 << (bits - 1)), count)
    rng.shuffle(w)
    largest = (2 - 2.0**-fmt.fraction_bits) * 2.0 ** (fmt.infinite - 1 - fmt.bias)
    a[:2], w[:2] = [largest, 2.0 ** (1 - fmt.bias)], [-2, -1]

    async def bench(context):
        total = 0.0
        context.set(cell.enable, 1)
        for i in range(count):
            start = i < 3 or i % 4 == 0 or not np.isfinite(total)
            context.set(cell.activations, code(a[i], fmt))
            context.set(cell.weights, int(w[i]) & ((1 << bits) - 1))
            context.set(cell.first, int(start))
            await context.tick()
            before = 0.0 if start else total
            total = rounded(before + rounded(a[i] * w[i], fmt), fmt)
            assert value_of(context.get(cell.total), fmt) == total, (a[i], w[i], before)

    simulate(cell, bench)


def test_registered_operands_are_a_cycle_late():
    rng = np.random.default_rng(3)
    cell = Registered(DenseDot(1, 8, 8, 32))
    a, w = operands(rng, 8, 40), operands(rng, 8, 40)

    async def bench(context):
        for i in range(41):
            context.set(cell.enable, 1)
            context.set(cell.first, 1)
            if i < 40:
                context.set(cell.activations, int(a[i]) & 255)
                context.set(cell.weights, int(w[i]) & 255)
            await context.tick()
            if i:
                assert context.get(cell.total) == a[i - 1] * w[i - 1]

    simulate(cell, bench)
