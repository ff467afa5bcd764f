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

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.units.lut import tree_stages
from hwgen.units.carried import Carried, adder_tree, carried_sum, registered, shifted

__all__ = ["LutRow"]


class LutRow(wiring.Component):
    """``lanes_n`` lanes of one token; each reads ``groups`` tables a cycle.

    A lane negates an entry by inverting it; the missing 1 is the carry into an adder
    (`hwgen.units.carried`).

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
            whole = [Carried(table[7], Const(0, 0)) for table in tables]
            base = shift if self.most_base else Const(0, 0)
            term = self._shifted(m, "token", self._tree(m, "token", whole), base)
            add = add & self.plane_first
            total = self._accumulated(m, "sum_token", term, self.token_sum_bits, add)
            m.d.comb += self.token_sum.eq(total)
        return m

    def _looked_up(self, m, table, lane: int, group: int) -> Carried:
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
        return Carried(picked, negate)

    def _tree(self, m, name: str, terms: list[Carried]) -> Carried:
        """Adder tree, registered after every two levels (and after a lookup without adders)."""
        return adder_tree(m, name, terms, self.enable if self.pipelined else None)

    def _shifted(self, m, name: str, term: Carried, shift) -> Carried:
        """The term times ``2^shift``, the carry in the vacated places too."""
        term = shifted(m, name, term, shift, self._term_bits)
        return registered(m, f"shifted_{name}", term, self.enable[-2]) if self.pipelined else term

    def _accumulated(self, m, name: str, term: Carried, bits: int, enable):
        total = Signal(signed(bits), name=name, reset_less=True)
        kept = Mux(self.first, 0, total)
        with m.If(enable):
            m.d.sync += total.eq(carried_sum(kept, term))
        return total
