"""Dot products of floating-point activations: multiplied, added bit by bit, looked up.

All three add into one accumulator of the same format. Lookup and serial addition take one plane of
the weights a cycle and put the plane into the exponent.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.cells.accumulator import plane_bits
from hwgen.cells.float_arithmetic import (
    FloatFormat,
    float_integer_product,
    float_product,
    float_scaled,
    float_sum,
)
from hwgen.cells.lookup import select_entry

__all__ = [
    "FloatDot",
    "FloatFullLookup",
    "FloatFullTable",
    "FloatHalfLookup",
    "FloatIntegerDot",
    "FloatSerialDot",
]


class _FloatCell(wiring.Component):
    """Ports and accumulator of all cells."""

    def __init__(self, fmt: FloatFormat, members: dict, weight_bits: int = 1) -> None:
        self.fmt = fmt
        self.weight_bits = weight_bits
        control = {"enable": In(1), "first": In(1)}
        if weight_bits > 1:
            control["plane"] = In(plane_bits(weight_bits))
        super().__init__(control | members | {"total": Out(fmt.bits)})

    def _words(self, port) -> list[Value]:
        return [port.word_select(i, self.fmt.bits) for i in range(len(port) // self.fmt.bits)]

    def _tree(self, m, terms: list[Value]) -> Value:
        level = 0
        while len(terms) > 1:
            pairs = list(zip(terms[::2], terms[1::2], strict=False))
            sums = [
                float_sum(m, f"tree_{level}_{i}", self.fmt, a, b) for i, (a, b) in enumerate(pairs)
            ]
            terms = sums + terms[2 * len(pairs) :]
            level += 1
        return terms[0]

    def _accumulate(self, m, value: Value) -> None:
        if self.weight_bits > 1:
            value = float_scaled(m, "plane", self.fmt, value, self.plane)
        register = Signal(self.fmt.bits, name="accumulator", reset_less=True)
        kept = Signal(self.fmt.bits)
        m.d.comb += kept.eq(Mux(self.first, 0, register))
        total = float_sum(m, "accumulate", self.fmt, kept, value)
        with m.If(self.enable):
            m.d.sync += register.eq(total)
        m.d.comb += self.total.eq(register)


class FloatDot(_FloatCell):
    """``terms`` products, an adder tree, one accumulator, each operation rounded.

    Parameters
    ----------
    fmt : FloatFormat
    terms : int

    Members
    -------
    enable, first : In(1)
        Take the operands; start a new sum.
    activations, weights : In(terms * fmt.bits)
    total : Out(fmt.bits)
    """

    def __init__(self, fmt: FloatFormat, terms: int) -> None:
        words = {"activations": In(terms * fmt.bits), "weights": In(terms * fmt.bits)}
        super().__init__(fmt, words)

    def elaborate(self, platform):
        m = Module()
        pairs = zip(self._words(self.activations), self._words(self.weights), strict=True)
        products = [
            float_product(m, f"product_{i}", self.fmt, a, b) for i, (a, b) in enumerate(pairs)
        ]
        self._accumulate(m, self._tree(m, products))
        return m


class FloatIntegerDot(_FloatCell):
    """``terms`` products of floats and integers, an adder tree, one accumulator, each rounded.

    Parameters
    ----------
    fmt : FloatFormat
    terms : int
    integer_bits : int
        Width of a two's complement weight.

    Members
    -------
    enable, first : In(1)
        Take the operands; start a new sum.
    activations : In(terms * fmt.bits)
    weights : In(terms * integer_bits)
    total : Out(fmt.bits)
    """

    def __init__(self, fmt: FloatFormat, terms: int, integer_bits: int) -> None:
        self.integer_bits = integer_bits
        words = {"activations": In(terms * fmt.bits), "weights": In(terms * integer_bits)}
        super().__init__(fmt, words)

    def elaborate(self, platform):
        m = Module()
        products = [
            float_integer_product(
                m,
                f"product_{i}",
                self.fmt,
                activation,
                self.weights.word_select(i, self.integer_bits),
            )
            for i, activation in enumerate(self._words(self.activations))
        ]
        self._accumulate(m, self._tree(m, products))
        return m


class FloatSerialDot(_FloatCell):
    """``terms`` activations, each added where its weight bit is 1.

    Parameters
    ----------
    fmt : FloatFormat
    terms : int
    weight_bits : int
        Planes of a two's complement weight.

    Members
    -------
    enable, first : In(1)
        Take the operands; start a new sum.
    plane : In(bits of a plane number)
        Only with two planes or more.
    negative : In(1)
        This plane counts negative.
    activations : In(terms * fmt.bits)
    weights : In(terms)
        One plane.
    total : Out(fmt.bits)
    """

    def __init__(self, fmt: FloatFormat, terms: int, weight_bits: int) -> None:
        words = {"activations": In(terms * fmt.bits), "weights": In(terms), "negative": In(1)}
        super().__init__(fmt, words, weight_bits)

    def elaborate(self, platform):
        m = Module()
        terms = [
            word & self.weights[k].replicate(self.fmt.bits)
            for k, word in enumerate(self._words(self.activations))
        ]
        total = self._tree(m, terms)
        self._accumulate(m, Cat(total[:-1], total[-1] ^ self.negative))
        return m


class FloatFullLookup(_FloatCell):
    """Lookup in all ``2**terms`` sums of activations; entry 0 is no part of the table.

    Parameters
    ----------
    fmt, terms, weight_bits
        As in :class:`FloatSerialDot`.

    Members
    -------
    enable, first, plane, negative, total
        As in :class:`FloatSerialDot`.
    table : In((2**terms - 1) * fmt.bits)
        Entries 1 and up.
    index : In(terms)
        One plane of the weights.
    """

    def __init__(self, fmt: FloatFormat, terms: int, weight_bits: int) -> None:
        entries = (1 << terms) - 1
        words = {"table": In(entries * fmt.bits), "index": In(terms), "negative": In(1)}
        super().__init__(fmt, words, weight_bits)

    def elaborate(self, platform):
        m = Module()
        zero = Const(0, self.fmt.bits)
        entry = select_entry([zero, *self._words(self.table)], self.index)
        self._accumulate(m, Cat(entry[:-1], entry[-1] ^ self.negative))
        return m


class FloatHalfLookup(_FloatCell):
    """Lookup in the half table of sums with signs; low index bits come inverted offline.

    Parameters
    ----------
    fmt, terms, weight_bits
        As in :class:`FloatSerialDot`.

    Members
    -------
    enable, first, plane, total
        As in :class:`FloatSerialDot`.
    table : In(2**(terms-1) * fmt.bits)
    index : In(terms)
        Top bit 0 asks for minus the entry.
    """

    def __init__(self, fmt: FloatFormat, terms: int, weight_bits: int) -> None:
        words = {"table": In((1 << (terms - 1)) * fmt.bits), "index": In(terms)}
        super().__init__(fmt, words, weight_bits)

    def elaborate(self, platform):
        m = Module()
        entry = select_entry(self._words(self.table), self.index[:-1])
        self._accumulate(m, Cat(entry[:-1], entry[-1] ^ ~self.index[-1]))
        return m


class FloatFullTable(wiring.Component):
    """Generator of the full table of four activations with its registers: 11 adders.

    Parameters
    ----------
    fmt : FloatFormat

    Members
    -------
    enable : In(1)
        Takes a new table.
    activations : In(4 * fmt.bits)
    table : Out(15 * fmt.bits)
        Entries 1 and up: sums of the activations whose bit is 1.
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        super().__init__(
            {"enable": In(1), "activations": In(4 * fmt.bits), "table": Out(15 * fmt.bits)}
        )

    def elaborate(self, platform):
        m = Module()
        fmt = self.fmt
        a = [self.activations.word_select(k, fmt.bits) for k in range(4)]
        low, high = (
            [None, pair[0], pair[1], float_sum(m, f"pair_{i}", fmt, *pair)]
            for i, pair in enumerate((a[:2], a[2:]))
        )
        entries = []
        for number in range(1, 16):
            x, y = high[number >> 2], low[number & 3]
            both = x is not None and y is not None
            single = y if x is None else x
            entries.append(float_sum(m, f"entry_{number}", fmt, x, y) if both else single)
        register = Signal(15 * fmt.bits, name="entries", reset_less=True)
        with m.If(self.enable):
            m.d.sync += register.eq(Cat(entries))
        m.d.comb += self.table.eq(register)
        return m
