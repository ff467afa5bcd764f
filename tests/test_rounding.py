"""The shifter that rounds to nearest even, on every value and shift."""

from fractions import Fraction

import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from hwgen.units.rounding import halved_to_even


@pytest.mark.parametrize("shape", [signed(6), unsigned(6)], ids=["signed", "unsigned"])
def test_rounds_like_exact_division(shape):
    m = Module()
    value, amount, found = Signal(shape), Signal(4), Signal(signed(9))
    floor, up = halved_to_even(m, "value", value, amount)
    m.d.comb += found.eq(floor + up)
    lowest = -32 if shape.signed else 0

    async def bench(context):
        for number in range(lowest, lowest + 64):
            context.set(value, number)
            for shift in range(16):
                context.set(amount, shift)
                assert context.get(found) == round(Fraction(number, 1 << shift))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
