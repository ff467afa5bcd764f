"""What one output feature adds to its weights: the multiplexer that picks a plane."""

from amaranth.hdl import Cat, Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.accumulator import plane_bits
from hwgen.cells.lookup import select_entry

__all__ = ["IndexDecoder", "PlaneSelect"]


class PlaneSelect(wiring.Component):
    """One plane of ``terms`` weights, for all rows of the array that use them.

    Parameters
    ----------
    terms : int
        Weights, K.
    weight_bits : int
        2 or more.

    Members
    -------
    plane : In(bits of a plane number)
    weights : In(terms * weight_bits)
        ``[terms][weight_bits]``.
    index : Out(terms)
    """

    def __init__(self, terms: int, weight_bits: int) -> None:
        self.terms = terms
        self.weight_bits = weight_bits
        super().__init__(
            {
                "plane": In(plane_bits(weight_bits)),
                "weights": In(terms * weight_bits),
                "index": Out(terms),
            }
        )

    def elaborate(self, platform):
        m = Module()
        padding = [Const(0, 1)] * ((1 << plane_bits(self.weight_bits)) - self.weight_bits)
        bits = [
            select_entry([*self.weights.word_select(k, self.weight_bits), *padding], self.plane)
            for k in range(self.terms)
        ]
        m.d.comb += self.index.eq(Cat(bits))
        return m


class IndexDecoder(wiring.Component):
    """The circuit that offline negation saves: low index bits inverted where the top bit is 0.

    Parameters
    ----------
    terms : int

    Members
    -------
    index : In(terms)
    low : Out(terms - 1)
        Index into the half table.
    negative : Out(1)
    """

    def __init__(self, terms: int) -> None:
        super().__init__({"index": In(terms), "low": Out(terms - 1), "negative": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.negative.eq(~self.index[-1]),
            self.low.eq(self.index[:-1] ^ self.negative.replicate(len(self.low))),
        ]
        return m
