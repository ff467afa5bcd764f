"""One token's lanes of the lookup unit: table reads, negation, adder tree, plane shift, sums.

::

    entries, indices -> lookup, adder tree -> shift by plane and exponent -> accumulator -> sums
                        1 stage each two     1 stage                       1 stage
                        levels

A weight bit plane of four weights is a 4-bit index ``w3 w2 w1 w0`` whose low bits were inverted
offline where ``w3`` is 0, so that the lookup is ``w3 ? T[w2w1w0] : -T[w2w1w0]`` with a table of 8
entries and no inverters on the index (Mo et al., "LUT Tensor Core", ISCA'25, arXiv 2408.06003,
section 3). Groups of four share one accumulator; with one accumulator each, the lookup is no
smaller than adding the activations bit by bit.
"""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.units.lut import tree_stages

__all__ = ["LutRow"]


class _Term(NamedTuple):
    """A number in two parts: ``value + carry``; the carry is the 1 that ends a negation."""

    value: Value
    carry: Value


class LutRow(wiring.Component):
    """``lanes_n`` lanes of one token; each reads ``groups`` tables a cycle.

    A lane negates an entry by inverting it; the missing 1 is the carry into an adder. A tree of
    ``groups`` numbers has one adder less than carries: the last one fills the places that the
    shift vacates and enters the accumulator's adder, where the two amount to it, shifted.

    Parameters
    ----------
    lanes_n : int
        Lanes: output features.
    groups : int
        Tables a lane reads in one cycle; a power of two.
    entry_bits : int
        Width of a table entry, signed.
    most_shift : int
        Largest shift of a looked-up sum: highest plane, plus ``most_base``.
    accumulator_bits : int
        Width of a lane's accumulator; wraps.
    pipelined : bool
        Registers between lookup, shift and accumulator; without, all three take one cycle.
    token_sum_bits : int
        Width of the accumulator of the token's own sum, which every lane needs to turn bipolar
        sums into those of two's complement codes; 0 leaves it out.
    most_base : int
        Part of ``most_shift`` that is no plane: the exponent of aligned activations and tables.

    Attributes
    ----------
    stages : int
        Register stages from the inputs to ``sums``: adder tree, shift, accumulator.

    Members
    -------
    enable : In(stages)
        Enables of the stages, that of the first adder stage lowest.
    entries : In(8 * groups * entry_bits)
        Signed table entries, ``[groups][8]``.
    indices : In(4 * lanes_n * groups)
        Remapped weight bits, ``[lanes_n][groups][4]``.
    shift : In(range(most_shift + 1))
        For the numbers in the shift stage; absent when ``most_shift`` is 0.
    first : In(1)
        The numbers in the accumulator stage start new sums.
    plane_first : In(1)
        Those numbers are plane 0 of their step; only with ``token_sum_bits``.
    sums : Out(lanes_n * accumulator_bits)
    token_sum : Out(token_sum_bits)
        Sum of the activations themselves, which are the tables' entries 7.
    """

    def __init__(
        self,
        lanes_n: int,
        groups: int,
        entry_bits: int,
        most_shift: int,
        accumulator_bits: int,
        *,
        pipelined: bool = True,
        token_sum_bits: int = 0,
        most_base: int = 0,
    ) -> None:
        self.lanes_n, self.groups, self.entry_bits = lanes_n, groups, entry_bits
        self.accumulator_bits, self.pipelined = accumulator_bits, pipelined
        self.token_sum_bits, self.most_base = token_sum_bits, most_base
        self.stages = tree_stages(groups) + 2 if pipelined else 1
        self._tree_bits = entry_bits + (groups - 1).bit_length()
        self._term_bits = self._tree_bits + most_shift
        members = {
            "enable": In(self.stages),
            "entries": In(8 * groups * entry_bits),
            "indices": In(4 * lanes_n * groups),
            "first": In(1),
            "sums": Out(lanes_n * accumulator_bits),
        }
        if most_shift:
            members["shift"] = In(range(most_shift + 1))
        if token_sum_bits:
            members |= {"plane_first": In(1), "token_sum": Out(token_sum_bits)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        tables = [
            [self.entries.word_select(8 * g + i, self.entry_bits).as_signed() for i in range(8)]
            for g in range(self.groups)
        ]
        add = self.enable[-1]
        shift = self.shift if hasattr(self, "shift") else Const(0, 0)
        for n in range(self.lanes_n):
            picks = [self._looked_up(m, table, n, g) for g, table in enumerate(tables)]
            term = self._shifted(m, f"{n}", self._tree(m, f"{n}", picks), shift)
            total = self._accumulated(m, f"sum_{n}", term, self.accumulator_bits, add)
            m.d.comb += self.sums.word_select(n, self.accumulator_bits).eq(total)
        if self.token_sum_bits:
            whole = [_Term(table[7], Const(0, 0)) for table in tables]
            base = shift if self.most_base else Const(0, 0)
            term = self._shifted(m, "token", self._tree(m, "token", whole), base)
            add = add & self.plane_first
            total = self._accumulated(m, "sum_token", term, self.token_sum_bits, add)
            m.d.comb += self.token_sum.eq(total)
        return m

    def _looked_up(self, m, table, lane: int, group: int) -> _Term:
        """One entry, or its negation: a tree of seven multiplexers a bit, and an XOR."""
        index = self.indices.word_select(lane * self.groups + group, 4)
        entries = table
        for bit in range(3):
            pairs = zip(entries[::2], entries[1::2], strict=True)
            entries = [Mux(index[bit], high, low) for low, high in pairs]
        negate = Signal(name=f"negate_{lane}_{group}")
        picked = Signal(signed(self.entry_bits), name=f"picked_{lane}_{group}")
        m.d.comb += [
            negate.eq(~index[3]),
            picked.eq(entries[0] ^ negate.replicate(self.entry_bits).as_signed()),
        ]
        return _Term(picked, negate)

    def _tree(self, m, name: str, terms: list[_Term]) -> _Term:
        """Adder tree, registered after every two levels (and after a lookup without adders)."""
        for stage in range(tree_stages(self.groups)):
            for _ in range(2):
                if len(terms) > 1:
                    pairs = zip(terms[::2], terms[1::2], strict=True)
                    terms = [_Term(_added(a.value, b), a.carry) for a, b in pairs]
            if self.pipelined:
                terms = [
                    self._registered(m, f"tree_{name}_{stage}_{i}", term, self.enable[stage])
                    for i, term in enumerate(terms)
                ]
        return terms[0]

    def _shifted(self, m, name: str, term: _Term, shift) -> _Term:
        """The term times ``2^shift``, the carry in the vacated places too."""
        value = term.value
        fill = term.carry if len(term.carry) else Const(0, 1)
        for bit in range(len(shift)):
            moved = Cat(fill.replicate(1 << bit), value).as_signed()
            bits = min(len(moved), self._term_bits)
            level = Signal(signed(bits), name=f"shift_{name}_{bit}")
            m.d.comb += level.eq(Mux(shift[bit], moved, value))
            value = level
        term = _Term(value, term.carry)
        if self.pipelined:
            term = self._registered(m, f"shifted_{name}", term, self.enable[-2])
        return term

    def _accumulated(self, m, name: str, term: _Term, bits: int, enable):
        total = Signal(signed(bits), name=name, reset_less=True)
        kept = Mux(self.first, 0, total)
        with m.If(enable):
            m.d.sync += total.eq(_added(kept, term))
        return total

    @staticmethod
    def _registered(m, name: str, term: _Term, enable) -> _Term:
        value = Signal(signed(len(term.value)), name=name, reset_less=True)
        with m.If(enable):
            m.d.sync += value.eq(term.value)
        if not len(term.carry):
            return _Term(value, term.carry)
        carry = Signal(name=f"{name}_carry", reset_less=True)
        with m.If(enable):
            m.d.sync += carry.eq(term.carry)
        return _Term(value, carry)


def _added(value, term: _Term):
    """``value + term`` with the carry on the adder's carry input: a place below the lowest."""
    if not len(term.carry):
        return value + term.value
    left = Cat(Const(1, 1), value).as_signed()
    right = Cat(term.carry, term.value).as_signed()
    return (left + right)[1:].as_signed()
