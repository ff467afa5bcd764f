"""The processing element of BitMoD as its authors draw it, with floating-point group sums.

Chen et al., "BitMoD", HPCA'25 (arXiv 2411.11745), figure 5 and section IV-B: four FP16 activations
times four signed one-bit terms a cycle, in four stages, the third of which is
`hwgen.cells.bitmod_group_sum`. Widths are those of the figure, with two exceptions that its own
ranges ask for: a sum of the group accumulator has 24 bits, since a product of 23 meets a mantissa
of 15, and a scaled mantissa 23, which 15 bits times 8 are.

Two things differ from the Verilog of its development repository, which adds a product below the
running exponent at full weight and keeps the product of the group before: here both operands of
the accumulator can be aligned, and the dequantiser starts at 0.

The authors state a patent application on BitMoD. This element is one side of the comparison in
docs/bit-serial-area.md; the unit of the accelerators, ``hwgen.units.bit_serial``, is built
otherwise.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.units.base import GUARD_BITS
from hwgen.cells.bitmod_group_sum import (
    ACCUMULATOR_BITS,
    EXPONENT_BITS,
    SHIFT_BITS,
    BitmodGroupSum,
)
from hwgen.units.rounding import halved_to_even

__all__ = [
    "ACCUMULATOR_BITS",
    "EXPONENT_BITS",
    "SCALED_BITS",
    "BitmodDequantiser",
    "BitmodElement",
    "BitmodExponents",
    "BitmodGroupSum",
    "BitmodProducts",
]

SCALED_BITS = ACCUMULATOR_BITS + 8
"""The same times a scale of 8 bits."""

_SIGNIFICAND_BITS = 11
_LANE_BITS = _SIGNIFICAND_BITS + GUARD_BITS
_TERM_BITS = 4  # nonzero, exponent of two bits, sign


class BitmodExponents(wiring.Component):
    """First stage: exponents of the products, the largest, and how far each lies below it.

    Parameters
    ----------
    lanes : int
        Activations and terms of a cycle, a power of two.

    Members
    -------
    enable : In(1)
    activations : In(16 * lanes)
        FP16; infinities and NaNs pass as numbers of exponent 31.
    terms : In(4 * lanes)
        Of each four bits: is there a term, its exponent (2), its sign.
    significands : Out(11 * lanes)
        With the leading bit, 0 for subnormal activations.
    present, signs : Out(lanes)
    distances : Out(6 * lanes)
    exponent : Out(6)
        The largest; 1 to 34.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "enable": In(1),
                "activations": In(16 * lanes),
                "terms": In(_TERM_BITS * lanes),
                "significands": Out(_SIGNIFICAND_BITS * lanes),
                "present": Out(lanes),
                "signs": Out(lanes),
                "distances": Out(EXPONENT_BITS * lanes),
                "exponent": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        numbers = [self.activations.word_select(k, 16) for k in range(self.lanes)]
        terms = [self.terms.word_select(k, _TERM_BITS) for k in range(self.lanes)]
        powers = []
        for k, (number, term) in enumerate(zip(numbers, terms, strict=True)):
            field = number[10:15]
            power = Signal(EXPONENT_BITS, name=f"power_{k}")
            m.d.comb += power.eq(Cat(field[0] | ~field.any(), field[1:]) + term[1:3])
            powers.append(power)
        largest = _largest(m, powers)
        with m.If(self.enable):
            m.d.sync += [
                self.significands.eq(Cat(Cat(n[:10], n[10:15].any()) for n in numbers)),
                self.present.eq(Cat(term[0] for term in terms)),
                self.signs.eq(Cat(n[15] ^ t[3] for n, t in zip(numbers, terms, strict=True))),
                self.distances.eq(Cat((largest - power)[:EXPONENT_BITS] for power in powers)),
                self.exponent.eq(largest),
            ]
        return m


class BitmodProducts(wiring.Component):
    """Second stage: one-bit products, shifted to the largest exponent, signed and added.

    Parameters
    ----------
    lanes : int
    rounded : bool
        Shifted products are rounded to nearest even; otherwise bits below the guard bits are cut
        off, as in the published Verilog.

    Members
    -------
    enable : In(1)
    significands, present, signs, distances
        As in :class:`BitmodExponents`.
    total : Out(signed)
        Sum of the lanes, 17 bits for four; it counts an eighth of a significand's last bit.
    """

    def __init__(self, lanes: int, *, rounded: bool) -> None:
        self.lanes, self.rounded = lanes, rounded
        self.total_bits = _LANE_BITS + 1 + (lanes - 1).bit_length()
        super().__init__(
            {
                "enable": In(1),
                "significands": In(_SIGNIFICAND_BITS * lanes),
                "present": In(lanes),
                "signs": In(lanes),
                "distances": In(EXPONENT_BITS * lanes),
                "total": Out(signed(self.total_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        terms = [self._lane(m, k) for k in range(self.lanes)]
        while len(terms) > 1:
            terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
        with m.If(self.enable):
            m.d.sync += self.total.eq(terms[0])
        return m

    def _lane(self, m, k: int) -> Value:
        """One product as a signed number of 15 bits."""
        present = self.present[k].replicate(_SIGNIFICAND_BITS)
        product = self.significands.word_select(k, _SIGNIFICAND_BITS) & present
        distance = self.distances.word_select(k, EXPONENT_BITS)
        wide = Signal(_LANE_BITS, name=f"wide_{k}")
        m.d.comb += wide.eq(Cat(Const(0, GUARD_BITS), product))
        floor, up = halved_to_even(m, f"lane_{k}", wide, distance)
        sign = self.signs[k]
        more = up ^ sign if self.rounded else sign
        number = Signal(signed(_LANE_BITS + 1), name=f"number_{k}")
        m.d.comb += number.eq((Cat(floor, Const(0, 1)) ^ sign.replicate(_LANE_BITS + 1)) + more)
        return number


class BitmodDequantiser(wiring.Component):
    """Fourth stage: a finished group's mantissa times its scale, one bit of the scale a cycle.

    Members
    -------
    start : In(1)
        Take a finished sum.
    mantissa : In(signed(15))
    power : In(6)
    next_bit : In(1)
        Take a bit of the scale: eight times, the first one a cycle after ``start``.
    scale_bit : In(1)
        The highest first.
    scaled : Out(signed(23))
        The product, from the cycle after the last bit on.
    scaled_power : Out(6)
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "mantissa": In(signed(ACCUMULATOR_BITS)),
                "power": In(EXPONENT_BITS),
                "next_bit": In(1),
                "scale_bit": In(1),
                "scaled": Out(signed(SCALED_BITS)),
                "scaled_power": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        factor, fresh = Signal(signed(ACCUMULATOR_BITS)), Signal()
        with m.If(self.start):
            m.d.sync += [factor.eq(self.mantissa), self.scaled_power.eq(self.power)]
        with m.If(self.start | self.next_bit):
            m.d.sync += fresh.eq(self.start)
        before = Mux(fresh, 0, self.scaled << 1)
        product = factor & self.scale_bit.replicate(ACCUMULATOR_BITS).as_signed()
        with m.If(self.next_bit):
            m.d.sync += self.scaled.eq(before + product)
        return m


class BitmodElement(wiring.Component):
    """The four stages in a row; terms of a group may follow those of the one before at once.

    Parameters
    ----------
    lanes : int
        4 in the publication.
    rounded : bool
        Of :class:`BitmodProducts` and :class:`BitmodGroupSum`.

    Members
    -------
    enable : In(1)
        Stages one to three take what is before them.
    activations, terms
        As in :class:`BitmodExponents`.
    shift, first
        As in :class:`BitmodGroupSum`, beside the terms.
    start, next_bit, scale_bit, scaled, scaled_power
        As in :class:`BitmodDequantiser`; ``start`` three cycles after the group's last terms.
    """

    def __init__(self, lanes: int = 4, *, rounded: bool = True) -> None:
        self.lanes, self.rounded = lanes, rounded
        super().__init__(
            {
                "enable": In(1),
                "activations": In(16 * lanes),
                "terms": In(_TERM_BITS * lanes),
                "shift": In(SHIFT_BITS),
                "first": In(1),
                "start": In(1),
                "next_bit": In(1),
                "scale_bit": In(1),
                "scaled": Out(signed(SCALED_BITS)),
                "scaled_power": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.exponents = one = BitmodExponents(self.lanes)
        m.submodules.products = two = BitmodProducts(self.lanes, rounded=self.rounded)
        m.submodules.group_sum = three = BitmodGroupSum(two.total_bits, rounded=self.rounded)
        m.submodules.dequantiser = four = BitmodDequantiser()
        m.d.comb += [
            one.activations.eq(self.activations),
            one.terms.eq(self.terms),
            two.significands.eq(one.significands),
            two.present.eq(one.present),
            two.signs.eq(one.signs),
            two.distances.eq(one.distances),
            three.total.eq(two.total),
            four.mantissa.eq(three.mantissa),
            four.power.eq(three.power),
            four.start.eq(self.start),
            four.next_bit.eq(self.next_bit),
            four.scale_bit.eq(self.scale_bit),
            self.scaled.eq(four.scaled),
            self.scaled_power.eq(four.scaled_power),
            *(stage.enable.eq(self.enable) for stage in (one, two, three)),
        ]
        shift, first = self.shift, self.first  # beside the data, up to the third stage
        for stage in range(2):
            late, flag = Signal(SHIFT_BITS, name=f"shift_{stage}"), Signal(name=f"first_{stage}")
            with m.If(self.enable):
                m.d.sync += [late.eq(shift), flag.eq(first)]
            shift, first = late, flag
        exponent = Signal(EXPONENT_BITS, name="exponent_1")
        with m.If(self.enable):
            m.d.sync += exponent.eq(one.exponent)
        m.d.comb += [three.shift.eq(shift), three.first.eq(first), three.exponent.eq(exponent)]
        return m


def _largest(m, values: list[Value]) -> Value:
    """Largest of unsigned values, by a tree of comparisons."""
    level = 0
    while len(values) > 1:
        winners = []
        for i, (left, right) in enumerate(zip(values[::2], values[1::2], strict=True)):
            winner = Signal(len(left), name=f"largest_{level}_{i}")
            m.d.comb += winner.eq(Mux(left > right, left, right))
            winners.append(winner)
        values, level = winners, level + 1
    return values[0]
