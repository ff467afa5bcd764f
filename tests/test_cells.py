"""Every compared integer cell computes its dot product: all modes, random operands and corners."""

import numpy as np
import pytest
from cell_bench import operands, planes_of, simulate, word

from hwgen.cells.dense_dot import DenseDot
from hwgen.cells.lookup import FullLookup, HalfLookup
from hwgen.cells.plane_select import IndexDecoder, PlaneSelect
from hwgen.cells.serial_dot import SerialDot
from hwgen.cells.tables import FullTable, HalfTable, TableRegisters

WEIGHT_BITS = (1, 2, 4)
KINDS = ("serial", "full", "inverter", "half")


def wrap(value, bits):
    """Modulo ``2**bits``, signed."""
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


@pytest.mark.parametrize(
    ("terms", "activation_bits", "weight_bits", "accumulator"),
    [(1, 8, 8, 32), (4, 8, 8, 20), (3, 5, 4, 16), (16, 8, 8, 32), (2, 8, 2, 12)],
)
def test_dense_dot(terms, activation_bits, weight_bits, accumulator):
    rng = np.random.default_rng(terms)
    cell = DenseDot(terms, activation_bits, weight_bits, accumulator)
    a = operands(rng, activation_bits, (60, terms))
    w = operands(rng, weight_bits, (60, terms))
    w[2:5] = -w[2:5] - 1
    first = rng.integers(0, 4, 60) == 0
    first[0] = True
    enable = rng.integers(0, 5, 60) > 0
    enable[0] = True

    async def bench(context):
        total = 0
        for i in range(60):
            context.set(cell.activations, word(a[i], activation_bits))
            context.set(cell.weights, word(w[i], weight_bits))
            context.set(cell.first, int(first[i]))
            context.set(cell.enable, int(enable[i]))
            await context.tick()
            if enable[i]:
                total = (0 if first[i] else total) + int(a[i] @ w[i])
            assert context.get(cell.total) == wrap(total, accumulator)

    simulate(cell, bench)


def test_dense_product_of_every_pair():
    cell = DenseDot(1, 4, 3, 12)

    async def bench(context):
        context.set(cell.first, 1)
        context.set(cell.enable, 1)
        for a in range(-8, 8):
            for w in range(-4, 4):
                context.set(cell.activations, a & 15)
                context.set(cell.weights, w & 7)
                await context.tick()
                assert context.get(cell.total) == a * w

    simulate(cell, bench)


def integer_cell(kind, terms, activation_bits, weight_bits, accumulator):
    """A bit-serial cell and the generator of its table."""
    arguments = (terms, activation_bits, weight_bits, accumulator)
    if kind == "serial":
        return SerialDot(*arguments), None
    if kind == "full":
        return FullLookup(*arguments), FullTable(terms, activation_bits)
    cell = HalfLookup(*arguments, index_inverter=kind == "inverter")
    return cell, HalfTable(terms, activation_bits)


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight_bits", WEIGHT_BITS)
def test_bit_serial_cells(kind, weight_bits, terms):
    rng = np.random.default_rng(10 * weight_bits + terms)
    accumulator = 18
    cell, table = integer_cell(kind, terms, 8, weight_bits, accumulator)
    steps = 20
    a = operands(rng, 8, (steps, terms))
    codes = operands(rng, weight_bits, (steps, terms))

    async def bench(context):
        total = 0
        for i in range(steps):
            port = cell.activations if table is None else table.activations
            context.set(port, word(a[i], 8))
            context.set(cell.enable, 0)
            if table is not None:
                context.set(table.enable, 1)
                await context.tick()
                context.set(table.enable, 0)
                context.set(table.activations, 0)
                context.set(cell.table, context.get(table.table))
            value = codes[i]
            if kind in ("inverter", "half"):
                value = 2 * codes[i] + 1  # the planes' own value
            start = i % 7 == 0
            total = (0 if start else total) + int(a[i] @ value)
            for plane, index, last in planes_of(kind, codes[i], weight_bits):
                context.set(cell.weights if table is None else cell.index, index)
                if weight_bits > 1:
                    context.set(cell.plane, plane)
                if hasattr(cell, "negative"):
                    context.set(cell.negative, int(last))
                context.set(cell.first, int(start and plane == 0))
                context.set(cell.enable, 1)
                await context.tick()
            assert context.get(cell.total) == wrap(total, accumulator)

    simulate(cell, bench, *(() if table is None else (table,)))


def test_full_and_half_tables_hold_every_sum():
    full, half = FullTable(3, 4), HalfTable(3, 4)

    async def bench(context):
        context.set(full.enable, 1)
        context.set(half.enable, 1)
        rng = np.random.default_rng(0)
        for a in [np.array([-8, -8, -8]), np.array([7, 7, 7]), *rng.integers(-8, 8, (30, 3))]:
            context.set(full.activations, word(a, 4))
            context.set(half.activations, word(a, 4))
            await context.tick()
            bits = np.array([[i >> k & 1 for k in range(3)] for i in range(8)])
            assert context.get(full.table) == word((bits @ a)[1:], full.entry_bits)
            assert context.get(half.table) == word(((2 * bits - 1) @ a)[4:], half.entry_bits)

    simulate(full, bench, half)


def test_registers_hold():
    cell = TableRegisters(8, 10)

    async def bench(context):
        context.set(cell.new, 123 << 60)
        context.set(cell.enable, 1)
        await context.tick()
        context.set(cell.new, 5)
        context.set(cell.enable, 0)
        await context.tick()
        assert context.get(cell.table) == 123 << 60

    simulate(cell, bench)


@pytest.mark.parametrize("weight_bits", [2, 3, 4])
def test_plane_select(weight_bits):
    cell = PlaneSelect(4, weight_bits)
    codes = np.array([1, 2, 0, 3])

    async def bench(context):
        context.set(cell.weights, word(codes, weight_bits))
        for plane in range(weight_bits):
            context.set(cell.plane, plane)
            await context.delay(1e-9)
            assert context.get(cell.index) == word(codes >> plane & 1, 1)

    simulate(cell, bench)


def test_index_decoder():
    cell = IndexDecoder(4)

    async def bench(context):
        for index in range(16):
            context.set(cell.index, index)
            await context.delay(1e-9)
            assert context.get(cell.negative) == (index < 8)
            assert context.get(cell.low) == (index & 7 if index >= 8 else ~index & 7)

    simulate(cell, bench)
