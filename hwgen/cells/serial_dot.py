"""Bit-serial dot product by addition: one weight plane a cycle."""

from amaranth.hdl import Const, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.accumulator import accumulate, negated_in_place, plane_bits, shifted

__all__ = ["SerialDot"]


class SerialDot(wiring.Component):
    """``terms`` activations, each added where its weight bit is 1, shifted by the plane.

    Weights are two's complement: the top plane counts negative, and its sum is inverted with the
    missing 1 as carry into the accumulator.

    Parameters
    ----------
    terms : int
        Activations of one cycle, K.
    activation_bits : int
    weight_bits : int
        Planes of a weight; the shifter reaches ``weight_bits - 1``.
    accumulator_bits : int

    Members
    -------
    enable, first : In(1)
        See :func:`hwgen.cells.accumulator.accumulate`.
    plane : In(bits of a plane number)
        Only with two planes or more.
    negative : In(1)
        This plane counts negative.
    activations : In(terms * activation_bits)
    weights : In(terms)
        One plane.
    total : Out(signed(accumulator_bits))
    """

    def __init__(
        self, terms: int, activation_bits: int, weight_bits: int, accumulator_bits: int
    ) -> None:
        self.terms = terms
        self.activation_bits = activation_bits
        self.weight_bits = weight_bits
        self.accumulator_bits = accumulator_bits
        members = {
            "enable": In(1),
            "first": In(1),
            "plane": In(plane_bits(weight_bits)),
            "negative": In(1),
            "activations": In(terms * activation_bits),
            "weights": In(terms),
            "total": Out(signed(accumulator_bits)),
        }
        if weight_bits == 1:
            del members["plane"]
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        terms = [
            self.activations.word_select(k, self.activation_bits).as_signed()
            & self.weights[k].replicate(self.activation_bits).as_signed()
            for k in range(self.terms)
        ]
        while len(terms) > 1:
            pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[len(pairs) * 2 :]
        plane = self.plane if self.weight_bits > 1 else Const(0, 1)
        value = negated_in_place(terms[0], self.negative)
        value = shifted(value, plane, self.weight_bits, fill=self.negative)
        accumulate(m, self, value, self.accumulator_bits, carry=self.negative)
        return m
