"""Every compared floating-point cell against float64, rounded to its format."""

import numpy as np
import pytest
from cell_bench import operands, planes_of, simulate, word

from hwgen.cells.float_arithmetic import FP16, FloatFormat
from hwgen.cells.float_cells import (
    FloatDot,
    FloatFullLookup,
    FloatFullTable,
    FloatHalfLookup,
    FloatSerialDot,
)

WEIGHT_BITS = (1, 2, 4)
FP8 = FloatFormat(exponent_bits=4, fraction_bits=3)


def rounded(value, fmt=FP16):
    """An exact float64 in a format: nearest even, subnormals as zero, overflow as infinity."""
    mantissa, exponent = np.frexp(np.float64(value))
    scale = 2 << fmt.fraction_bits
    near = np.ldexp(np.rint(mantissa * scale) / scale, exponent)  # rint rounds to even
    if abs(near) < 2.0 ** (1 - fmt.bias):
        return np.copysign(0.0, value)
    too_large = abs(near) >= 2.0 ** (fmt.infinite - fmt.bias)
    return np.copysign(np.inf, value) if too_large else near


def code(value, fmt=FP16):
    """Word of a representable value."""
    sign = int(np.signbit(value)) << (fmt.bits - 1)
    if value == 0:
        return sign
    mantissa, exponent = np.frexp(abs(value))  # 0.5 <= mantissa < 1
    fraction = int((2 * mantissa - 1) * (1 << fmt.fraction_bits))
    return sign | int(exponent - 1 + fmt.bias) << fmt.fraction_bits | fraction


def value_of(bits, fmt=FP16):
    """Value of a word; its subnormals do not occur."""
    exponent = bits >> fmt.fraction_bits & fmt.infinite
    sign = -1.0 if bits >> (fmt.bits - 1) else 1.0
    if exponent in (0, fmt.infinite):
        assert not bits & ((1 << fmt.fraction_bits) - 1)
        return sign * (np.inf if exponent else 0.0)
    fraction = 1 + (bits & ((1 << fmt.fraction_bits) - 1)) / (1 << fmt.fraction_bits)
    return sign * fraction * 2.0 ** (exponent - fmt.bias)


def float_operands(rng, size, fmt):
    """Random finite numbers of all magnitudes, a third of them near 1 so that sums cancel."""
    exponent = rng.integers(0, fmt.infinite, size)
    exponent = np.where(
        rng.integers(0, 3, size) == 0, fmt.bias - rng.integers(0, 3, size), exponent
    )
    fraction = 1 + rng.integers(0, 1 << fmt.fraction_bits, size) / (1 << fmt.fraction_bits)
    sign = np.where(rng.integers(0, 2, size), -1.0, 1.0)
    return np.where(exponent > 0, sign * fraction * 2.0 ** (exponent - fmt.bias), 0.0)


def test_the_reference_is_half_precision():
    """NumPy rounds the same way where neither side is subnormal or infinite."""
    rng = np.random.default_rng(0)
    for value in rng.normal(0, 100, 500):
        assert rounded(value) == np.float64(np.float16(value))
        assert code(rounded(value)) == int(np.float16(value).view(np.uint16))
        assert value_of(code(rounded(value))) == rounded(value)


@pytest.mark.parametrize(("fmt", "count"), [(FP16, 120), (FP8, 2000)])
def test_float_product_and_sum(fmt, count):
    rng = np.random.default_rng(1)
    cell = FloatDot(fmt, 1)
    a, w = float_operands(rng, count, fmt), float_operands(rng, count, fmt)
    w[::3] = np.where(rng.integers(0, 2, len(w[::3])), 1.0, -1.0)  # sums without rounding before
    largest = (2 - 2.0**-fmt.fraction_bits) * 2.0 ** (fmt.infinite - 1 - fmt.bias)
    a[:3], w[:3] = [largest, -largest, 2.0 ** (1 - fmt.bias)], [2.0, 2.0, 0.5]

    async def bench(context):
        total = 0.0
        context.set(cell.enable, 1)
        for i in range(count):
            start = i < 3 or i % 5 == 0 or not np.isfinite(total)
            if i % 7 == 6 and np.isfinite(total):  # equal magnitudes
                a[i], w[i] = (-total, 1.0) if i % 2 else (total, -1.0)
            context.set(cell.activations, code(a[i], fmt))
            context.set(cell.weights, code(w[i], fmt))
            context.set(cell.first, int(start))
            await context.tick()
            before = 0.0 if start else total
            total = rounded(before + rounded(a[i] * w[i], fmt), fmt)
            found = value_of(context.get(cell.total), fmt)
            assert found == total, (i, a[i], w[i], before, found, total)

    simulate(cell, bench)


@pytest.mark.parametrize("fmt", [FP16, FP8])
def test_float_sum(fmt):
    """Sums alone, by the cell that adds where a weight bit is 1."""
    rng = np.random.default_rng(3)
    cell = FloatSerialDot(fmt, 1, 1)
    count = 2000
    a = float_operands(rng, count, fmt)

    async def bench(context):
        total = 0.0
        context.set(cell.enable, 1)
        context.set(cell.weights, 1)
        for i in range(count):
            start = i % 3 == 0 or not np.isfinite(total)
            context.set(cell.activations, code(a[i], fmt))
            context.set(cell.negative, i & 1)
            context.set(cell.first, int(start))
            await context.tick()
            before = 0.0 if start else total
            total = rounded(before + (-a[i] if i & 1 else a[i]), fmt)
            assert value_of(context.get(cell.total), fmt) == total, (a[i], before)

    simulate(cell, bench)


def tree(values):
    """Pairwise sums, rounded each, as the cells' trees."""
    while len(values) > 1:
        pairs = [rounded(x + y) for x, y in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[2 * len(pairs) :]
    return values[0]


def test_float_dot():
    rng = np.random.default_rng(2)
    cell = FloatDot(FP16, 4)
    count = 12
    a, w = rng.normal(0, 1, (count, 4)).astype(np.float16), rng.normal(0, 2, (count, 4))
    a, w = a.astype(np.float64), w.astype(np.float16).astype(np.float64)

    async def bench(context):
        total = 0.0
        context.set(cell.enable, 1)
        for i in range(count):
            context.set(cell.activations, word([code(x) for x in a[i]], 16))
            context.set(cell.weights, word([code(x) for x in w[i]], 16))
            context.set(cell.first, int(i % 4 == 0))
            await context.tick()
            products = [rounded(x * y) for x, y in zip(a[i], w[i], strict=True)]
            total = rounded((0.0 if i % 4 == 0 else total) + tree(products))
            assert value_of(context.get(cell.total)) == total

    simulate(cell, bench)


@pytest.mark.parametrize("kind", ["serial", "full", "half"])
@pytest.mark.parametrize("weight_bits", WEIGHT_BITS)
def test_float_bit_serial_cells(kind, weight_bits):
    """The sum of a plane is rounded, scaled exactly, and added with one rounding."""
    rng = np.random.default_rng(weight_bits)
    kinds = {"serial": FloatSerialDot, "full": FloatFullLookup, "half": FloatHalfLookup}
    cell = kinds[kind](FP16, 4, weight_bits)
    table = FloatFullTable(FP16) if kind == "full" else None
    steps = 12
    a = rng.normal(0, 1, (steps, 4)).astype(np.float16).astype(np.float64)
    a[0] = 0.0  # a table of zeros stays zero in every plane
    codes = operands(rng, weight_bits, (steps, 4))

    def signed_sum(step, index):
        signs = [1 if index >> k & 1 else -1 for k in range(4)]
        return tree([s * x for s, x in zip(signs, a[step], strict=True)])

    def subset_sum(step, index):
        return tree([x if index >> k & 1 else 0.0 for k, x in enumerate(a[step])])

    async def bench(context):
        total = 0.0
        for i in range(steps):
            context.set(cell.enable, 0)
            words = word([code(x) for x in a[i]], 16)
            if kind == "serial":
                context.set(cell.activations, words)
            elif table is not None:
                context.set(table.activations, words)
                context.set(table.enable, 1)
                await context.tick()
                context.set(cell.table, context.get(table.table))
            else:
                entries = [code(signed_sum(i, 8 + e)) for e in range(8)]
                context.set(cell.table, word(entries, 16))
            for plane, index, last in planes_of(kind, codes[i], weight_bits):
                context.set(cell.weights if kind == "serial" else cell.index, index)
                if weight_bits > 1:
                    context.set(cell.plane, plane)
                if kind == "half":
                    entry = signed_sum(i, index) if index & 8 else -signed_sum(i, 8 | index)
                else:
                    context.set(cell.negative, int(last))
                    entry = subset_sum(i, index) * (-1 if last else 1)
                start = i % 6 == 0 and plane == 0
                context.set(cell.first, int(start))
                context.set(cell.enable, 1)
                await context.tick()
                total = rounded((0.0 if start else total) + rounded(entry * 2.0**plane))
                assert value_of(context.get(cell.total)) == total

    simulate(cell, bench, *(() if table is None else (table,)))


def test_scaling_a_plane_overflows_to_infinity():
    cell = FloatSerialDot(FP16, 1, 4)

    async def bench(context):
        context.set(cell.enable, 1)
        context.set(cell.first, 1)
        context.set(cell.weights, 1)
        for value, plane, expected in ((16384.0, 1, 32768.0), (16384.0, 2, np.inf), (0.0, 3, 0.0)):
            context.set(cell.activations, code(value))
            context.set(cell.plane, plane)
            await context.tick()
            assert value_of(context.get(cell.total)) == expected

    simulate(cell, bench)
