"""Table generators: all sums of a group of activations, in registers.

The tree of halves is FIGLUT's (HPCA'25, arXiv 2503.06862): sums of each half first, then every pair
of them, 11 adders for the 15 sums of four activations and 14 for their 8 sums with signs.
"""

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.lookup import entry_bits

__all__ = ["FullTable", "HalfTable", "TableRegisters"]


class TableRegisters(wiring.Component):
    """The registers of one table alone, for tables that are computed elsewhere.

    Parameters
    ----------
    entries : int
    bits : int
        Width of an entry.

    Members
    -------
    enable : In(1)
        Takes a new table.
    new : In(entries * bits)
    table : Out(entries * bits)
    """

    def __init__(self, entries: int, bits: int) -> None:
        super().__init__({"enable": In(1), "new": In(entries * bits), "table": Out(entries * bits)})

    def elaborate(self, platform):
        m = Module()
        register = Signal(len(self.table), name="entries", reset_less=True)
        with m.If(self.enable):
            m.d.sync += register.eq(self.new)
        m.d.comb += self.table.eq(register)
        return m


class _Table(wiring.Component):
    """What both kinds of table share: ports and registers."""

    def __init__(self, terms: int, activation_bits: int, entries: int) -> None:
        self.terms = terms
        self.activation_bits = activation_bits
        self.entry_bits = entry_bits(terms, activation_bits)
        super().__init__(
            {
                "enable": In(1),
                "activations": In(terms * activation_bits),
                "table": Out(entries * self.entry_bits),
            }
        )

    def _activations(self) -> list[Value]:
        bits = self.activation_bits
        return [self.activations.word_select(k, bits).as_signed() for k in range(self.terms)]

    def _store(self, m, entries: list[Value]) -> None:
        register = Signal(len(self.table), name="entries", reset_less=True)
        for i, entry in enumerate(entries):
            with m.If(self.enable):
                m.d.sync += register.word_select(i, self.entry_bits).eq(entry)
        m.d.comb += self.table.eq(register)


class FullTable(_Table):
    """All ``2**terms - 1`` sums of some of the activations, for :class:`FullLookup`.

    Parameters
    ----------
    terms, activation_bits : int

    Members
    -------
    enable : In(1)
        Takes a new table.
    activations : In(terms * activation_bits)
    table : Out((2**terms - 1) * entry_bits)
        Entries 1 and up.
    """

    def __init__(self, terms: int, activation_bits: int) -> None:
        super().__init__(terms, activation_bits, (1 << terms) - 1)

    def elaborate(self, platform):
        m = Module()
        sums = _subset_sums(m, "sum", self._activations())
        self._store(m, [entry for entry in sums if entry is not None])
        return m


class HalfTable(_Table):
    """The ``2**(terms-1)`` sums of the top activation and the others with signs.

    Parameters
    ----------
    terms, activation_bits : int

    Members
    -------
    enable, activations
        As in :class:`FullTable`.
    table : Out(2**(terms-1) * entry_bits)
        Bit ``k`` of an entry's number is 1 where activation ``k`` counts +1, else it counts -1.
    """

    def __init__(self, terms: int, activation_bits: int) -> None:
        super().__init__(terms, activation_bits, 1 << (terms - 1))

    def elaborate(self, platform):
        m = Module()
        sums = _signed_sums(m, "sum", self._activations())
        self._store(m, sums[len(sums) // 2 :])
        return m


def _subset_sums(m, name: str, terms: list[Value]) -> list[Value | None]:
    """Sum of every subset, by its bit mask; the empty one is None."""
    if len(terms) == 1:
        return [None, terms[0]]
    middle = len(terms) // 2
    low = _subset_sums(m, f"{name}_0", terms[:middle])
    high = _subset_sums(m, f"{name}_1", terms[middle:])
    sums: list[Value | None] = []
    for i, a in enumerate(high):
        for j, b in enumerate(low):
            if a is None or b is None:
                sums.append(b if a is None else a)
            else:
                sums.append(_named(m, f"{name}_{i}_{j}", a + b))
    return sums


def _signed_sums(m, name: str, terms: list[Value]) -> list[Value]:
    """Every sum with signs, by the bit mask of the plus signs; all come from adders."""
    if len(terms) == 1:
        return [-terms[0], terms[0]]
    if len(terms) == 2:
        low, high = terms
        both = _named(m, f"{name}_both", high + low)
        return [-both, low - high, high - low, both]
    middle = len(terms) // 2
    sides = (
        _signed_sums(m, f"{name}_0", terms[:middle]),
        _signed_sums(m, f"{name}_1", terms[middle:]),
    )
    low, high = (
        [_named(m, f"{name}_{s}_{i}", v) for i, v in enumerate(side)]
        for s, side in enumerate(sides)
    )
    return [a + b for a in high for b in low]


def _named(m, name: str, value: Value) -> Signal:
    """A signal of a value that is used more than once, so that it is computed once."""
    signal = Signal(Shape.cast(value.shape()), name=name)
    m.d.comb += signal.eq(value)
    return signal
