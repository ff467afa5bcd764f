"""Dense dot product: integer multiplications with one accumulator."""

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.carry_save import carry_save_sum

__all__ = ["DenseDot"]


class DenseDot(wiring.Component):
    """``terms`` products of two's complement numbers, added to one accumulator each cycle.

    A product is written as Baugh-Wooley rows (C. R. Baugh and B. A. Wooley, IEEE Transactions on
    Computers C-22, 1973): partial products of a sign bit are inverted, and one constant corrects
    the sum of all products. The rows of all products and the accumulator are added in one tree.

    Parameters
    ----------
    terms : int
        Products of one cycle, K.
    activation_bits, weight_bits : int
        Widths of the factors, 2 or more.
    accumulator_bits : int

    Members
    -------
    enable, first : In(1)
        See :func:`hwgen.cells.accumulator.accumulate`.
    activations : In(terms * activation_bits)
    weights : In(terms * weight_bits)
    total : Out(signed(accumulator_bits))
        The sum, modulo its width, one cycle after the operands.
    """

    def __init__(
        self, terms: int, activation_bits: int, weight_bits: int, accumulator_bits: int
    ) -> None:
        self.terms = terms
        self.activation_bits = activation_bits
        self.weight_bits = weight_bits
        self.accumulator_bits = accumulator_bits
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "activations": In(terms * activation_bits),
                "weights": In(terms * weight_bits),
                "total": Out(signed(accumulator_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.accumulator_bits
        columns: list[list[Value]] = [[] for _ in range(bits)]
        for term in range(self.terms):
            self._add_rows(
                columns,
                self.activations.word_select(term, self.activation_bits),
                self.weights.word_select(term, self.weight_bits),
            )
        top = self.activation_bits + self.weight_bits - 1
        correction = -(1 << top) + (1 << self.activation_bits - 1) + (1 << self.weight_bits - 1)
        correction = self.terms * correction % (1 << bits)
        register = Signal(bits, name="accumulator", reset_less=True)
        for index, column in enumerate(columns):
            column.append(register[index] & ~self.first)
            if correction >> index & 1:
                column.append(Const(1, 1))
        with m.If(self.enable):
            m.d.sync += register.eq(carry_save_sum(m, columns))
        m.d.comb += self.total.eq(register)
        return m

    def _add_rows(self, columns, activation, weight) -> None:
        """Put the partial products of one product into the columns."""
        for i in range(self.weight_bits):
            for j in range(self.activation_bits):
                bit = activation[j] & weight[i]
                inverted = (i == self.weight_bits - 1) != (j == self.activation_bits - 1)
                if i + j < len(columns):
                    columns[i + j].append(~bit if inverted else bit)
