"""A column of bit-serial elements: one output feature's terms times several tokens' activations.

::

    activations, terms -> lanes, adder tree -> shift -> group sum -> dequantiser -> totals
                          1 stage each two     1 stage  1 stage
                          levels

An element adds ``lanes_k`` activations, each shifted by its term's exponent, with its sign; the sum
is shifted by what the terms of a cycle count and by the exponent that the token's activations share
(BitMoD, HPCA'25, section IV-B and figure 5). Differences from the paper: a step's activations are
aligned once for all elements of a token, not in every element; and the group's sum is an exact
integer, not a mantissa of 15 bits with an exponent, so that nothing has to be aligned to it. (The
Verilog published with the paper adds a product that is smaller than the running sum unaligned.)
"""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from designs.units.bit_serial import BitSerialSpec
from designs.units.lut import tree_stages
from hwgen.units.carried import Carried, adder_tree, carried_sum, registered, shifted
from hwgen.units.dequantiser import Dequantiser
from hwgen.units.term_generator import term_layout

__all__ = ["BitSerialColumn", "GroupControl"]


class GroupControl(data.StructLayout):
    """What the column must know of groups that end; see `Dequantiser`."""

    def __init__(self) -> None:
        names = ("load", "start", "step", "add", "first", "rounded", "shortened")
        super().__init__(dict.fromkeys(names, 1))


class BitSerialColumn(wiring.Component):
    """``tokens`` elements of one output feature.

    Parameters
    ----------
    spec : BitSerialSpec
        Lanes and widths.
    tokens : int
        Elements.

    Attributes
    ----------
    stages : int
        Register stages from the inputs to the group sums: adder tree, shift, sum.

    Members
    -------
    enable : In(stages)
        Enables of the stages, that of the first adder stage lowest.
    activations : In(tokens * lanes_k * aligned_bits)
        Signed integers, ``[tokens][lanes_k]``.
    terms : In(lanes_k terms)
    shifts : In(tokens * shift_bits)
        For the sums in the shift stage, by token; absent when nothing is ever shifted.
    first : In(1)
        The terms in the sum stage begin a group.
    group : In(GroupControl)
    scale : In(8)
        Taken with ``group.load``.
    totals : Out(tokens * accumulator_bits)
    """

    def __init__(self, spec: BitSerialSpec, tokens: int) -> None:
        self.spec, self.tokens = spec, tokens
        self.stages = tree_stages(spec.lanes_k) + 2
        self.shift_bits = spec.most_shift.bit_length()
        members = {
            "enable": In(self.stages),
            "activations": In(tokens * spec.lanes_k * spec.aligned_bits),
            "terms": In(data.ArrayLayout(term_layout(spec.has_float), spec.lanes_k)),
            "first": In(1),
            "group": In(GroupControl()),
            "scale": In(spec.scale_bits),
            "totals": Out(tokens * spec.accumulator_bits),
        }
        if self.shift_bits:
            members["shifts"] = In(tokens * self.shift_bits)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.dequantiser = dequantiser = Dequantiser(
            self.tokens,
            spec.group_sum_bits,
            spec.accumulator_bits,
            spec.scale_bits_per_beat,
            half=spec.has_half,
        )
        names = ["load", "start", "step", "add", "first"]
        names += ["rounded", "shortened"] if spec.has_half else []
        m.d.comb += [getattr(dequantiser, name).eq(getattr(self.group, name)) for name in names]
        m.d.comb += [dequantiser.scale.eq(self.scale), self.totals.eq(dequantiser.totals)]
        for token in range(self.tokens):
            total = self._group_sum(m, token)
            m.d.comb += dequantiser.sums.word_select(token, spec.group_sum_bits).eq(total)
        return m

    def _group_sum(self, m, token: int) -> Signal:
        """One element."""
        spec = self.spec
        lanes = [self._lane(m, token, k) for k in range(spec.lanes_k)]
        tree = adder_tree(m, f"{token}", lanes, self.enable)
        shift = Const(0, 0)
        if self.shift_bits:
            shift = self.shifts.word_select(token, self.shift_bits)
        bits = min(spec.tree_bits + spec.most_shift, spec.group_sum_bits)
        term = shifted(m, f"{token}", tree, shift, bits)
        term = registered(m, f"shifted_{token}", term, self.enable[-2])
        total = Signal(signed(spec.group_sum_bits), name=f"sum_{token}", reset_less=True)
        with m.If(self.enable[-1]):
            m.d.sync += total.eq(carried_sum(Mux(self.first, 0, total), term))
        return total

    def _lane(self, m, token: int, k: int) -> Carried:
        """An activation times its term."""
        spec, term = self.spec, self.terms[k]
        index = token * spec.lanes_k + k
        value: Value = self.activations.word_select(index, spec.aligned_bits).as_signed()
        for bit in range(len(term.exponent)):
            value = Mux(term.exponent[bit], value << (1 << bit), value)
        inverted = term.sign.replicate(spec.term_bits).as_signed()
        lane = Signal(signed(spec.term_bits), name=f"lane_{token}_{k}")
        m.d.comb += lane.eq(Mux(term.nonzero, value, 0) ^ inverted)
        return Carried(lane, term.sign)
