"""The publication's element against a model in Python integers, and its stages one by one."""

import numpy as np
import pytest
from cell_bench import simulate, word

from benchmarks.bitmod_arithmetic import (
    add_to_group,
    float_terms,
    group_errors,
    group_sum,
    lane_products,
)
from designs.units.base import GUARD_BITS
from hwgen.cells.bitmod_element import BitmodDequantiser, BitmodElement, BitmodGroupSum
from mapping.code_books import magnitudes
from mapping.half_precision import aligned_integers


def random_terms(rng, count):
    """Rows of four terms, a quarter of them absent."""
    drawn = rng.integers(0, (4, 4, 2), (count, 4, 3)).tolist()
    return [[(int(p > 0), exponent, negative) for p, exponent, negative in row] for row in drawn]


def random_halves(rng, shape):
    """All exponents, subnormal values and zeros among them, and near equals that cancel."""
    bits = rng.integers(0, 1 << 15, shape, dtype=np.uint16)
    near = rng.normal(0, 1, shape).astype(np.float16).view(np.uint16)
    bits = np.where(rng.integers(0, 2, shape), near, bits)
    bits = np.where((bits >> 10 & 31) == 31, bits & 0x83FF, bits)
    bits = np.where(rng.integers(0, 16, shape) == 0, 0, bits).astype(np.uint16)
    return (bits | rng.integers(0, 2, shape, dtype=np.uint16) << np.uint16(15)).view(np.float16)


@pytest.mark.parametrize("rounded", [True, False])
def test_element(rounded):
    """Groups of every length one behind another; a group is scaled while the next one is added."""
    rng = np.random.default_rng(5)
    cell = BitmodElement(rounded=rounded)
    groups = []
    for _ in range(25):
        length = int(rng.integers(9, 24))
        shifts = [int(rng.integers(0, 7)) for _ in range(length)]
        groups.append((random_halves(rng, (length, 4)), random_terms(rng, length), shifts))
    scales = rng.integers(0, 256, len(groups))
    rows = [
        (a, t, s, i == 0, i == len(g[2]) - 1)
        for g in groups
        for i, (a, t, s) in enumerate(zip(*g, strict=True))
    ]
    expected = [group_sum(*g, rounded) for g in groups]

    async def bench(context):
        context.set(cell.enable, 1)
        done, begun, bits_left, pending = 0, 0, 0, []
        for cycle, (a, t, s, first, last) in enumerate([*rows, *[rows[-1]] * 16]):
            context.set(cell.activations, word(a.view(np.uint16), 16))
            context.set(cell.terms, word([p | e << 1 | n << 3 for p, e, n in t], 4))
            context.set(cell.shift, s)
            context.set(cell.first, int(first))
            if last and cycle < len(rows):
                pending.append(cycle + 3)
            start = cycle in pending
            context.set(cell.start, int(start))
            context.set(cell.next_bit, int(bits_left > 0))
            if bits_left:
                bits_left -= 1
                context.set(cell.scale_bit, int(scales[begun - 1]) >> bits_left & 1)
                ready = bits_left == 0
            else:
                ready = False
            if start:
                begun, bits_left = begun + 1, 8
            await context.tick()
            if ready:
                mantissa, power = expected[done]
                assert context.get(cell.scaled) == mantissa * int(scales[done]), done
                assert context.get(cell.scaled_power) == power
                done += 1
        assert done == len(groups)

    simulate(cell, bench)


@pytest.mark.parametrize("rounded", [True, False])
def test_group_sum_of_every_distance_and_extremes(rounded):
    """The published accumulator adds what lies below the running exponent at full weight."""
    rng = np.random.default_rng(6)
    cell = BitmodGroupSum(17, rounded=rounded)
    corners = (0, 1, -1, 65504, -65504, 65535, -65536, 8191, -8193)
    cases = [(t, e, s) for e in range(1, 35) for t in corners for s in (0, 6)]
    order = rng.permutation(len(cases))

    async def bench(context):
        mantissa = power = 0
        context.set(cell.enable, 1)
        for i in [*range(len(cases)), *order]:
            total, exponent, shift = cases[i]
            first = i % 7 == 0
            context.set(cell.total, total)
            context.set(cell.exponent, exponent)
            context.set(cell.shift, shift)
            context.set(cell.first, int(first))
            await context.tick()
            if first:
                mantissa = power = 0
            mantissa, power = add_to_group(mantissa, power, total, exponent, shift, rounded)
            assert context.get(cell.mantissa) == mantissa, cases[i]
            assert context.get(cell.power) == power, cases[i]

    simulate(cell, bench)


def test_a_small_product_is_aligned():
    """1 and then 2^-10: the published Verilog makes 2.0 of them."""
    for rounded in (True, False):
        one, small = np.float16([1, 0, 0, 0]), np.float16([2**-10, 0, 0, 0])
        terms = [[(1, 0, 0)] * 4] * 2
        mantissa, power = group_sum([one, small], terms, [0, 0], rounded)
        assert mantissa * 2.0 ** (power - 25 - GUARD_BITS) == 1 + 2**-10


def test_dequantiser_starts_anew():
    """Every scale, group behind group; the published one goes on from the product before."""
    cell = BitmodDequantiser()

    async def bench(context):
        for scale in (255, 1, 0, 128, 15, 254):
            for mantissa in (-(1 << 14), (1 << 14) - 1, 1, -1):
                context.set(cell.mantissa, mantissa)
                context.set(cell.start, 1)
                context.set(cell.next_bit, 0)
                await context.tick()
                context.set(cell.start, 0)
                context.set(cell.mantissa, 77)
                context.set(cell.next_bit, 1)
                for bit in reversed(range(8)):
                    context.set(cell.scale_bit, scale >> bit & 1)
                    await context.tick()
                context.set(cell.next_bit, 0)
                await context.tick()
                assert context.get(cell.scaled) == mantissa * scale

    simulate(cell, bench)


def test_lanes_align_as_the_golden_model_does():
    """With terms of one exponent a sum is that of `mapping.half_precision`'s integers."""
    rng = np.random.default_rng(7)
    values = random_halves(rng, (200, 4))
    aligned, base = aligned_integers(values, 4)
    for row, integers, b in zip(values, aligned, base[:, 0], strict=True):
        total, exponent = lane_products(row, [(1, 0, 0)] * 4, True)
        scale = exponent - 1 - GUARD_BITS - int(b)  # below exponent 4 the golden base is clipped
        assert total == int(integers.astype(int).sum()) << -min(scale, 0)


def test_terms_of_every_value_add_up():
    for value in {*magnitudes("float", 4), *magnitudes("flint", 4), *magnitudes("float", 3)}:
        for signed in (value, -value):
            first, second = float_terms(signed)
            total = sum(
                (-1) ** n * present << e + more
                for (present, e, n), more in ((first, 1), (second, 0))
            )
            assert total == signed
            assert first[1] <= 3
            assert second[1] <= 3


def test_errors_of_group_sums():
    """Exact sums lose by alignment only; a mantissa of 15 bits more; cut off most of all."""
    errors = group_errors(groups=60)
    assert errors["exact"] < errors["rounded"] < errors["cut off"] < 1e-2
    assert errors["exact"] < 1e-4
