"""Tables of the lookup unit: eight signed sums of every four activations.

``T[s2 s1 s0] = a3 +- a2 +- a1 +- a0``, a plus where the bit is 1. The other eight of the sixteen
sums are the negations of these and are not stored (LUT Tensor Core, ISCA'25, arXiv 2408.06003,
section 3; half tables also in FIGLUT, HPCA'25, arXiv 2503.06862).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.units.rounding import halved_to_even

__all__ = ["LutTable"]

_ENTRY_BITS = 8  # of a quantised table


class LutTable(wiring.Component):
    """Tables of one token's step; registers hold them while the step's planes pass.

    A tree of two levels: six sums of pairs, then eight sums of those, 14 adders where 24 would
    compute the entries one by one (FIGLUT's generator).

    With ``table_bits = 8`` a second stage quantises: the tables of a step share a power of two
    ``2^e``, the least that brings all entries within 7 bits and a sign, and entries become
    ``entry / 2^e`` rounded to nearest even and clipped to +-127.

    Parameters
    ----------
    groups : int
        Tables: groups of four activations.
    activation_bits : int
        Width of an activation, signed.
    table_bits : int
        0 for exact entries, 8 for quantised ones.

    Attributes
    ----------
    entry_bits : int
        Width of an entry that leaves: two bits wider than an activation, or 8.
    most_exponent : int
        Largest ``e``; 0 with exact entries.
    stages : int
        Register stages: 1 or 2.

    Members
    -------
    enable : In(stages)
        Enables of the tables' registers and of those of the quantised tables.
    activations : In(4 * groups * activation_bits)
        Signed, ``[groups][4]``, ``a0`` first.
    entries : Out(8 * groups * entry_bits)
        Signed, ``[groups][8]``.
    exponent : Out(range(most_exponent + 1))
        ``e``, with the entries it belongs to; only with ``table_bits``.
    """

    def __init__(self, groups: int, activation_bits: int, table_bits: int = 0) -> None:
        if table_bits not in (0, _ENTRY_BITS):
            raise ValueError(f"table_bits must be 0 or {_ENTRY_BITS}, not {table_bits!r}")
        self.groups, self.activation_bits = groups, activation_bits
        self._sum_bits = activation_bits + 2
        self.entry_bits = table_bits or self._sum_bits
        # Magnitudes reach 4 * 2^(activation_bits - 1), a number of activation_bits + 2 bits.
        self.most_exponent = max(0, self._sum_bits - (_ENTRY_BITS - 1)) if table_bits else 0
        self.stages = 2 if table_bits else 1
        members = {
            "enable": In(self.stages),
            "activations": In(4 * groups * activation_bits),
            "entries": Out(8 * groups * self.entry_bits),
        }
        if table_bits:
            members["exponent"] = Out(range(self.most_exponent + 1))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        quantised = self.stages == 2
        entries = Signal(8 * self.groups * self._sum_bits, name="table", reset_less=True)
        groups = [self._group(g) for g in range(self.groups)]
        for g, a in enumerate(groups):
            for i, entry in enumerate(_sums(m, g, a)):
                with m.If(self.enable[0]):
                    m.d.sync += entries.word_select(8 * g + i, self._sum_bits).eq(entry)
        if not quantised:
            m.d.comb += self.entries.eq(entries)
            return m

        # The highest bit of any table's largest entry, |a3| + |a2| + |a1| + |a0|.
        peak = Signal(self._sum_bits, reset_less=True)
        largest = Const(0)
        for a in groups:
            largest |= (abs(a[0]) + abs(a[1])) + (abs(a[2]) + abs(a[3]))
        with m.If(self.enable[0]):
            m.d.sync += peak.eq(largest)
        exponent = Signal(range(self.most_exponent + 1), name="table_exponent")
        for e in range(1, self.most_exponent + 1):  # the highest bit's assignment is the last
            with m.If(peak[e + _ENTRY_BITS - 2]):
                m.d.comb += exponent.eq(e)
        codes = []
        for i in range(8 * self.groups):
            entry = entries.word_select(i, self._sum_bits).as_signed()
            codes.append(self._quantised(m, i, entry, exponent))
        with m.If(self.enable[1]):
            m.d.sync += [self.exponent.eq(exponent), self.entries.eq(Cat(codes))]
        return m

    def _group(self, group: int):
        bits = self.activation_bits
        return [self.activations.word_select(4 * group + k, bits).as_signed() for k in range(4)]

    @staticmethod
    def _quantised(m, index: int, entry, exponent):
        """One entry as an 8-bit code; -128 is brought to -127 and 128 never arises."""
        floor, up = halved_to_even(m, f"entry_{index}", entry, exponent)
        code = Signal(_ENTRY_BITS, name=f"floor_{index}")
        top, bottom = (1 << (_ENTRY_BITS - 1)) - 1, 1 << (_ENTRY_BITS - 1)
        m.d.comb += code.eq(floor)
        return (code + Mux(code == top, 0, up | (code == bottom)))[:_ENTRY_BITS]


def _sums(m, group: int, a):
    """The eight entries of one group, from the sums of its pairs."""
    both = _named(m, f"both_{group}", a[1] + a[0])
    upper, lower = (
        [_named(m, f"{name}_{group}_{i}", pair) for i, pair in enumerate(pairs)]
        for name, pairs in (
            ("upper", (a[3] - a[2], a[3] + a[2])),
            ("lower", (-both, a[0] - a[1], a[1] - a[0], both)),
        )
    )
    return [upper[i >> 2] + lower[i & 3] for i in range(8)]


def _named(m, name: str, value) -> Signal:
    """A signal of a value that is used more than once, so that it is computed once."""
    signal = Signal(Shape.cast(value.shape()), name=name)
    m.d.comb += signal.eq(value)
    return signal
