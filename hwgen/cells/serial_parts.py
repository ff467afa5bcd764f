"""Parts of the element of ``hwgen.units.bit_serial_column``, to synthesise one by one."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from designs.units.bit_serial import BitSerialSpec
from designs.units.lut import tree_stages
from hwgen.units.carried import Carried, adder_tree, carried_sum, registered, shifted
from hwgen.units.term_generator import term_layout

__all__ = ["SerialGroupSum", "SerialLanes"]


class SerialLanes(wiring.Component):
    """``lanes_k`` activations times a term each, and their adder tree with its registers.

    Parameters
    ----------
    spec : BitSerialSpec

    Members
    -------
    enable : In(stages)
        Of the tree's registers.
    activations : In(lanes_k * aligned_bits)
    terms : In(lanes_k terms)
        In the layout of `hwgen.units.term_generator.term_layout`.
    total, carry : Out(signed(tree_bits)), Out(1)
        The sum is ``total + carry``.
    """

    def __init__(self, spec: BitSerialSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "enable": In(tree_stages(spec.lanes_k)),
                "activations": In(spec.lanes_k * spec.aligned_bits),
                "terms": In(data.ArrayLayout(term_layout(spec.has_float), spec.lanes_k)),
                "total": Out(signed(spec.tree_bits)),
                "carry": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = [self._lane(m, k) for k in range(self.spec.lanes_k)]
        tree = adder_tree(m, "sum", lanes, self.enable)
        m.d.comb += [self.total.eq(tree.value), self.carry.eq(tree.carry)]
        return m

    def _lane(self, m, k: int) -> Carried:
        spec, term = self.spec, self.terms[k]
        value: Value = self.activations.word_select(k, spec.aligned_bits).as_signed()
        for bit in range(len(term.exponent)):
            value = Mux(term.exponent[bit], value << (1 << bit), value)
        lane = Signal(signed(spec.term_bits), name=f"lane_{k}")
        inverted = term.sign.replicate(spec.term_bits).as_signed()
        m.d.comb += lane.eq(Mux(term.nonzero, value, 0) ^ inverted)
        return Carried(lane, term.sign)


class SerialGroupSum(wiring.Component):
    """Shift by what the terms count and the token's exponent, and the exact sum of a group.

    Parameters
    ----------
    spec : BitSerialSpec

    Members
    -------
    enable : In(2)
        Of the shifted sum, and of the group's.
    total, carry : In
        From :class:`SerialLanes`.
    shift : In
        Up to ``spec.most_shift``.
    first : In(1)
        The number in the shift register begins a group.
    group : Out(signed(group_sum_bits))
    """

    def __init__(self, spec: BitSerialSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "enable": In(2),
                "total": In(signed(spec.tree_bits)),
                "carry": In(1),
                "shift": In(range(spec.most_shift + 1)),
                "first": In(1),
                "group": Out(signed(spec.group_sum_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        bits = min(spec.tree_bits + spec.most_shift, spec.group_sum_bits)
        term = shifted(m, "sum", Carried(self.total, self.carry), self.shift, bits)
        term = registered(m, "shifted", term, self.enable[0])
        with m.If(self.enable[1]):
            m.d.sync += self.group.eq(carried_sum(Mux(self.first, 0, self.group), term))
        return m
