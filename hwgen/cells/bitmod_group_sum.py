"""The third stage of BitMoD's element: a group's sum in floating point.

Chen et al., "BitMoD", HPCA'25 (arXiv 2411.11745), figure 5; `hwgen.cells.bitmod_element` says what
of it is as drawn.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ACCUMULATOR_BITS", "EXPONENT_BITS", "SHIFT_BITS", "BitmodGroupSum"]

EXPONENT_BITS = 6
"""Of an activation's exponent plus a term's."""

ACCUMULATOR_BITS = 15
"""Mantissa of a group's sum, with its sign."""

SHIFT_BITS = 3
"""Of a term's bit significance, up to 6 for the last Booth digit of INT8."""

_MOST_SHIFT = 6


class BitmodGroupSum(wiring.Component):
    """Third stage: the group's sum, a mantissa of 15 bits and an exponent that only grows.

    The operand of the smaller exponent moves right, the sum moves right as far as it must to have
    15 bits again.

    Parameters
    ----------
    total_bits : int
        Width of ``total``.
    rounded : bool
        Sums are rounded to nearest even; otherwise what moves out is cut off.

    Members
    -------
    enable : In(1)
    first : In(1)
        Start a new group.
    total : In(signed(total_bits))
        From `hwgen.cells.bitmod_element.BitmodProducts`.
    exponent : In(6)
        Of it.
    shift : In(3)
        Bit significance of the terms, 0 to 6.
    mantissa : Out(signed(15))
    power : Out(6)
        Exponent of the mantissa.
    """

    def __init__(self, total_bits: int, *, rounded: bool) -> None:
        self.rounded = rounded
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "total": In(signed(total_bits)),
                "exponent": In(EXPONENT_BITS),
                "shift": In(SHIFT_BITS),
                "mantissa": Out(signed(ACCUMULATOR_BITS)),
                "power": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = len(self.total) + _MOST_SHIFT
        product = _shifted_left(m, self.total, self.shift, bits)
        kept, power = Signal(signed(ACCUMULATOR_BITS)), Signal(EXPONENT_BITS)
        m.d.comb += [kept.eq(Mux(self.first, 0, self.mantissa))]
        m.d.comb += power.eq(Mux(self.first, 0, self.power))
        ahead, behind = Signal(signed(EXPONENT_BITS + 1)), Signal(EXPONENT_BITS)
        m.d.comb += [ahead.eq(self.exponent - power), behind.eq(power - self.exponent)]
        swap = Signal()
        m.d.comb += swap.eq(ahead[-1])
        small, large = Signal(signed(bits)), Signal(signed(bits))
        distance, most = Signal(EXPONENT_BITS), Signal(EXPONENT_BITS)
        m.d.comb += [
            small.eq(Mux(swap, product, kept)),
            large.eq(Mux(swap, kept, product)),
            distance.eq(Mux(swap, behind, ahead[:EXPONENT_BITS])),
            most.eq(Mux(swap, power, self.exponent)),
        ]
        guards = 2 if self.rounded else 0  # the highest bit that moves out, and any below it
        aligned = _shifted_right(m, "aligned", small, distance, guards)
        total = Signal(signed(bits + 1 + guards), name="sum")
        m.d.comb += total.eq(aligned + Cat(Const(0, guards), large).as_signed())
        mantissa, growth = self._renormalised(m, total, guards)
        with m.If(self.enable):
            m.d.sync += [self.mantissa.eq(mantissa), self.power.eq(most + growth)]
        return m

    def _renormalised(self, m, total, guards: int) -> tuple[Value, Value]:
        """The sum as a mantissa, and what is added to its exponent."""
        sign = total[-1]
        above = total[ACCUMULATOR_BITS - 1 + guards : -1]  # bits that should equal the sign
        growth = Signal(range(len(above) + 1))
        for index in range(len(above)):
            with m.If(above[index] ^ sign):  # the last assignment, that of the highest bit, holds
                m.d.comb += growth.eq(index + 1)
        moved = _shifted_right(m, "normal", total, growth, 0, sticky=bool(guards))
        if not guards:
            return moved[:ACCUMULATOR_BITS], growth
        floor = moved[guards : guards + ACCUMULATOR_BITS].as_signed()
        up = moved[1] & (moved[0] | floor[0])
        near = Signal(signed(ACCUMULATOR_BITS + 1), name="near")
        m.d.comb += near.eq(floor + Cat(up, Const(0, 1)).as_signed())
        over = Signal(name="over")  # 2^14 after rounding up
        m.d.comb += over.eq(~near[-1] & near[-2])
        return Mux(over, 1 << (ACCUMULATOR_BITS - 2), near), growth + over


def _shifted_left(m, value, amount, bits: int) -> Value:
    """Signed ``value * 2^amount``, of so many bits."""
    value = Cat(value, value[-1].replicate(bits - len(value)))
    for level in range(len(amount)):
        moved = Signal(bits, name=f"left_{level}")
        m.d.comb += moved.eq(Mux(amount[level], value << (1 << level), value))
        value = moved
    return value.as_signed()


def _shifted_right(
    m, name: str, value, amount, guards: int, *, sticky: bool | None = None
) -> Value:
    """Signed ``floor(value * 2^guards / 2^amount)``; sticky: the last bit gathers what is lost."""
    sticky = bool(guards) if sticky is None else sticky
    value = Cat(Const(0, guards), value).as_signed()
    for level in range(len(amount)):
        step = 1 << level
        lost = value[:step].any() if sticky else Const(0, 1)
        down = value >> min(step, len(value) - 1)
        down = Cat(down[0] | lost, down[1:]).as_signed()
        moved = Signal(signed(len(value)), name=f"{name}_{level}")
        m.d.comb += moved.eq(Mux(amount[level], down, value))
        value = moved
    return value
