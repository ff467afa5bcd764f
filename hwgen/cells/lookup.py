"""Dot products by table lookup: the full table and the symmetrised half table.

Conventional (bits 0 and 1)::

    index -> 2**K entries -> inverted in the top plane -> shift by plane -> accumulator

Reinterpreted (bits -1 and +1, LUT Tensor Core, arXiv 2408.06003, section 3.1)::

    index -> [index inverter] -> 2**(K-1) entries -> inverted by its top bit -> shift -> accumulator
"""

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.accumulator import accumulate, negated_in_place, plane_bits, shifted

__all__ = ["FullLookup", "HalfLookup", "entry_bits", "select_entry"]


def entry_bits(terms: int, activation_bits: int) -> int:
    """Width of a signed sum of ``terms`` activations, with signs or without."""
    return activation_bits + (terms - 1).bit_length()


def select_entry(entries: list[Value], index: Value) -> Value:
    """One of ``2**len(index)`` entries, as a tree of multiplexers for each bit."""
    while len(entries) > 1:
        select, index = index[0], index[1:]
        pairs = zip(entries[::2], entries[1::2], strict=True)
        entries = [Mux(select, odd, even) for even, odd in pairs]
    return entries[0]


class _Lookup(wiring.Component):
    """What both kinds of lookup share: ports, shift and accumulation."""

    entries: int

    def __init__(
        self, terms: int, activation_bits: int, weight_bits: int, accumulator_bits: int
    ) -> None:
        self.terms = terms
        self.weight_bits = weight_bits
        self.accumulator_bits = accumulator_bits
        self.entry_bits = entry_bits(terms, activation_bits)
        members = {
            "enable": In(1),
            "first": In(1),
            "plane": In(plane_bits(weight_bits)),
            "negative": In(1),
            "table": In(self.entries * self.entry_bits),
            "index": In(terms),
            "total": Out(signed(accumulator_bits)),
        }
        if weight_bits == 1:
            del members["plane"]
        if not self.top_plane_negative:
            del members["negative"]
        super().__init__(members)

    top_plane_negative: bool

    def _entry(self, number: int) -> Value:
        return self.table.word_select(number, self.entry_bits)

    def _accumulate(self, m, entry: Value, negative: Value) -> None:
        plane = self.plane if self.weight_bits > 1 else Const(0, 1)
        value = negated_in_place(entry, negative)
        value = shifted(value, plane, self.weight_bits, fill=negative)
        accumulate(m, self, value, self.accumulator_bits, carry=negative)


class FullLookup(_Lookup):
    """Lookup in a table of all ``2**terms`` sums of activations (UNPU, JSSC 2019, re-drawn).

    Weights are two's complement: entry ``i`` is the sum of the activations whose bit in ``i`` is 1,
    and the top plane counts negative. Entry 0 is 0 and has no place in the table.

    Parameters
    ----------
    terms : int
        Activations of one table, K.
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
    table : In((2**terms - 1) * entry_bits)
        Entries 1 and up.
    index : In(terms)
        One plane of ``terms`` weights.
    total : Out(signed(accumulator_bits))
    """

    top_plane_negative = True

    def __init__(self, terms, activation_bits, weight_bits, accumulator_bits) -> None:
        self.entries = (1 << terms) - 1
        super().__init__(terms, activation_bits, weight_bits, accumulator_bits)

    def elaborate(self, platform):
        m = Module()
        entries = [self._entry(i) for i in range(self.entries)]
        zero = Const(0, self.entry_bits)
        self._accumulate(m, select_entry([zero, *entries], self.index), self.negative)
        return m


class HalfLookup(_Lookup):
    """Lookup in the half table of sums with signs, the top index bit giving the sign.

    A bit of 1 counts +1, a bit of 0 counts -1. Entry ``i`` is the top activation plus or minus the
    others; an index with top bit 0 asks for minus the entry at its inverted low bits.

    Parameters
    ----------
    terms, activation_bits, weight_bits, accumulator_bits : int
        As in :class:`FullLookup`.
    index_inverter : bool
        Whether the low index bits are inverted here. Without, weights are stored with those bits
        inverted already where the top bit is 0.

    Members
    -------
    enable, first, plane, index, total
        As in :class:`FullLookup`.
    table : In(2**(terms-1) * entry_bits)
    """

    top_plane_negative = False

    def __init__(
        self, terms, activation_bits, weight_bits, accumulator_bits, *, index_inverter: bool
    ) -> None:
        self.entries = 1 << (terms - 1)
        self.index_inverter = index_inverter
        super().__init__(terms, activation_bits, weight_bits, accumulator_bits)

    def elaborate(self, platform):
        m = Module()
        low, negative = self.index[:-1], ~self.index[-1]
        if self.index_inverter:
            low = low ^ negative.replicate(len(low))
        entries = [self._entry(i) for i in range(self.entries)]
        self._accumulate(m, select_entry(entries, Cat(low)), negative)
        return m
