"""Group sums of a column times their scale, a digit of the scale a cycle, added up to totals.

::

    group sums -> held -> product -> totals
                  1 stage 8 / digit  1 stage
                          cycles

While the next group's dot products run, ``product = (product + digit * held) / 2^bits`` goes
through the scale's digits, lowest first; what the division shifts out is the lower end of the
product, kept beside it. BitMoD multiplies its floating accumulator's mantissa in the same way
(HPCA'25, section IV-B, stage 4). Differences: the sums are integers, so that the product is exact
or rounded once; and every group starts its product anew, which the Verilog published with the paper
does not (it has no branch that clears the product, and a second group is added to the first).
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Dequantiser"]

_SCALE_BITS = 8


class Dequantiser(wiring.Component):
    """Scales and adds up the group sums of one output feature, for ``tokens`` tokens.

    Parameters
    ----------
    tokens : int
        Sums.
    sum_bits : int
        Width of a group's sum, signed; at least 9.
    total_bits : int
        Width of a total.
    digit_bits : int
        Bits of the scale a cycle: 1, 2 or 4.
    half : bool
        There are sums of FP16, whose products with a scale lose 8 bits, rounded.

    Members
    -------
    load : In(1)
        Take the sums and the scale.
    start, step : In(1)
        Multiply by the next digit; the first one.
    add, first : In(1)
        Add the product to the totals, or begin them with it: a cycle after the last digit.
    rounded : In(1)
        The product is ``(sum * scale + 128) >> 8``, told with ``start``; only with ``half``.
    shortened : In(1)
        The same, told with ``add``.
    scale : In(8)
        Unsigned; 1 for sums without a scale.
    sums : In(tokens * sum_bits)
    totals : Out(tokens * total_bits)
    """

    def __init__(
        self, tokens: int, sum_bits: int, total_bits: int, digit_bits: int, *, half: bool
    ) -> None:
        self.tokens, self.sum_bits, self.total_bits = tokens, sum_bits, total_bits
        self.digit_bits, self.half = digit_bits, half
        members = {name: In(1) for name in ("load", "start", "step", "add", "first")}
        if half:
            members |= {"rounded": In(1), "shortened": In(1)}
        members |= {
            "scale": In(_SCALE_BITS),
            "sums": In(tokens * sum_bits),
            "totals": Out(tokens * total_bits),
        }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        digits = Signal(_SCALE_BITS, reset_less=True)
        with m.If(self.load):
            m.d.sync += digits.eq(self.scale)
        with m.Elif(self.step):
            m.d.sync += digits.eq(digits >> self.digit_bits)
        half_up = 1 << (_SCALE_BITS - 1)
        begin = Mux(self.rounded, half_up, 0) if self.half else 0
        for t in range(self.tokens):
            held = Signal(signed(self.sum_bits), name=f"held_{t}", reset_less=True)
            product = Signal(signed(self.sum_bits), name=f"product_{t}", reset_less=True)
            low = Signal(_SCALE_BITS, name=f"low_{t}", reset_less=True)
            wide = Signal(signed(self.sum_bits + self.digit_bits), name=f"wide_{t}")
            m.d.comb += wide.eq(Mux(self.start, begin, product) + self._multiple(held, digits))
            with m.If(self.load):
                m.d.sync += held.eq(self.sums.word_select(t, self.sum_bits).as_signed())
            with m.If(self.step):
                m.d.sync += [
                    product.eq(wide >> self.digit_bits),
                    low.eq(Cat(low[self.digit_bits :], wide[: self.digit_bits])),
                ]
            whole = Cat(low, product).as_signed()
            scaled = Mux(self.shortened, product, whole) if self.half else whole
            total = Signal(signed(self.total_bits), name=f"total_{t}", reset_less=True)
            with m.If(self.add):
                m.d.sync += total.eq(Mux(self.first, 0, total) + scaled)
            m.d.comb += self.totals.word_select(t, self.total_bits).eq(total)
        return m

    def _multiple(self, held, digits):
        """The held sum times the lowest digit, a shifted copy for each of its bits."""
        total = Mux(digits[0], held, 0)
        for bit in range(1, self.digit_bits):
            total = total + (Mux(digits[bit], held, 0) << bit)
        return total
