"""Small circuits on which the costs of the parts of units are measured, one or more of each kind.

They are written as the generators of hwgen/units write the same structure, with ports for operands.
"""

from amaranth.hdl import Cat, Const, Mux, Signal, signed

from benchmarks.circuit import Circuit, Sample
from benchmarks.serial_circuits import (
    one_term,
    serial_scaler,
    shortened_total,
    term_pair,
    terms,
)
from hwgen.units.rounding import halved_to_even

__all__ = ["CIRCUITS", "Circuit", "Sample"]


def _sum(left, right, carry):
    return (Cat(Const(1, 1), left).as_signed() + Cat(carry, right).as_signed())[1:].as_signed()


def _adder(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(_sum(c.a.as_signed(), c.b.as_signed(), c.c))

    return Sample("adder", bits, ({"a": bits - 1, "b": bits - 1, "c": 1}, bits, body))


def _four_adder(bits: int) -> Sample:
    def body(c, m):
        a, b, d, e = (word.as_signed() for word in (c.a, c.b, c.d, c.e))
        m.d.comb += c.y.eq((a + b) + (d + e))

    return Sample("four-adder", bits, (dict.fromkeys("abde", bits - 2), bits, body))


def _table(bits: int) -> Sample:
    """The eight sums of four activations, out of six sums of pairs, as hwgen/units/lut_table.py."""

    def body(c, m):
        a = [c.a.word_select(i, bits - 2).as_signed() for i in range(4)]
        words = [Signal(signed(bits - 1), name=f"pair_{i}") for i in range(6)]
        both = words[3]
        pairs = (a[3] - a[2], a[3] + a[2], -both, a[1] + a[0], a[0] - a[1], a[1] - a[0])
        m.d.comb += [word.eq(pair) for word, pair in zip(words, pairs, strict=True)]
        upper, lower = words[:2], (words[2], words[4], words[5], both)
        for i in range(8):
            entry = Signal(bits, name=f"entry_{i}", reset_less=True)
            m.d.sync += entry.eq(upper[i >> 2] + lower[i & 3])
            m.d.comb += c.y.word_select(i, bits).eq(entry)

    return Sample("table", bits, ({"a": 4 * (bits - 2)}, 8 * bits, body))


def _accumulator(bits: int) -> Sample:
    """The term is two thirds as wide as the register."""
    term = 2 * bits // 3

    def body(c, m):
        total = Signal(signed(bits), reset_less=True)
        m.d.comb += c.y.eq(total)
        with m.If(c.enable):
            m.d.sync += total.eq(_sum(Mux(c.first, 0, total), c.a.as_signed(), c.c))

    return Sample("accumulator", bits, ({"a": term, "c": 1, "first": 1, "enable": 1}, bits, body))


def _running_total(bits: int) -> Sample:
    def body(c, m):
        term = Signal(signed(bits), reset_less=True)
        total = Signal(signed(bits), reset_less=True)
        m.d.comb += c.y.eq(total)
        m.d.sync += term.eq(c.a)
        with m.If(c.enable):
            m.d.sync += total.eq(Mux(c.first, 0, total) + term)

    return Sample("running-total", bits, ({"a": bits, "first": 1, "enable": 1}, bits, body))


def _half_difference(bits: int) -> Sample:
    def body(c, m):
        first = c.a.as_signed()
        m.d.comb += c.y.eq(Mux(c.select, first, (first - c.b.as_signed()) >> 1))

    return Sample("half-difference", bits, ({"a": bits, "b": bits - 3, "select": 1}, bits, body))


def _rounding_negation(bits: int) -> Sample:
    def body(c, m):
        signs = c.sign.replicate(bits)
        m.d.comb += c.y.eq((Cat(c.a, Const(0, 1)) ^ signs) + (c.up ^ c.sign))

    return Sample("rounding-negation", bits, ({"a": bits - 1, "sign": 1, "up": 1}, bits, body))


def _magnitude(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(abs(c.a.as_signed()))

    return Sample("magnitude", bits, ({"a": bits}, bits, body))


def _comparison(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(Mux(c.a > c.b, c.a, c.b))

    return Sample("comparison", bits, ({"a": bits, "b": bits}, bits, body))


def _picked(m, name: str, table, index, bits: int) -> Signal:
    entries = [table.word_select(i, bits).as_signed() for i in range(8)]
    for bit in range(3):
        pairs = zip(entries[::2], entries[1::2], strict=True)
        entries = [Mux(index[bit], high, low) for low, high in pairs]
    picked = Signal(signed(bits), name=name)
    m.d.comb += picked.eq(entries[0] ^ (~index[3]).replicate(bits).as_signed())
    return picked


def _lookup(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(_picked(m, "picked", c.table, c.index, bits))

    return Sample("lookup", bits, ({"table": 8 * bits, "index": 4}, bits, body))


def _lookup_pair(bits: int) -> Sample:
    def body(c, m):
        left = _picked(m, "left", c.table_0, c.index_0, bits)
        right = _picked(m, "right", c.table_1, c.index_1, bits)
        m.d.comb += c.y.eq(_sum(left, right, ~c.index_1[3]))

    ports = {f"{name}_{i}": n for i in range(2) for name, n in (("table", 8 * bits), ("index", 4))}
    return Sample("lookup-pair", bits, (ports, bits + 1, body))


def _selector(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(Mux(c.select, c.a, c.b))

    return Sample("selector-2", bits, ({"a": bits, "b": bits, "select": 1}, bits, body))


def _selector_of_three(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(Mux(c.select[0], Mux(c.select[1], c.a, c.b), c.d))

    return Sample("selector-3", bits, ({**dict.fromkeys("abd", bits), "select": 2}, bits, body))


def _selector_of_four(bits: int) -> Sample:
    def body(c, m):
        m.d.comb += c.y.eq(c.a.word_select(c.select, bits))

    return Sample("selector-4", bits, ({"a": 4 * bits, "select": 2}, bits, body))


def _shifter(bits: int, most: int) -> Sample:
    """A left shift of 0 to ``most`` places, the vacated ones filled (hwgen/units/lut_row.py)."""
    levels = most.bit_length()

    def body(c, m):
        value = c.a.as_signed()
        for level in range(levels):
            moved = Cat(c.fill.replicate(1 << level), value).as_signed()
            shifted = Signal(signed(min(len(moved), bits + most)), name=f"level_{level}")
            m.d.comb += shifted.eq(Mux(c.amount[level], moved, value))
            value = shifted
        m.d.comb += c.y.eq(value)

    recipe = ({"a": bits, "fill": 1, "amount": levels}, bits + most, body)
    return Sample(f"shift-{levels}", bits + most, recipe)


def _rounding_shifter(bits: int, levels: int) -> Sample:
    def body(c, m):
        floor, up = halved_to_even(m, "value", c.a.as_signed(), c.amount)
        m.d.comb += c.y.eq(Cat(floor, up))

    return Sample(
        "rounding-shifter", bits * levels, ({"a": bits, "amount": levels}, bits + 1, body)
    )


def _multiplier(first: int, second: int) -> Sample:
    """A product of INT8 and a code; the product has room for 8 bits whatever the code has."""

    def body(c, m):
        m.d.comb += c.y.eq(c.a.as_signed() * c.b.as_signed())

    recipe = ({"a": first, "b": second}, first + 8, body)
    return Sample("multiplier", first * second, recipe, operands=(first, second))


def _scaler(bits: int, rounded: bool) -> Sample:
    def body(c, m):
        product = c.a.as_signed() * c.scale
        m.d.comb += c.y.eq((product + 128) >> 8 if rounded else product)

    kind = "rounding-scaler" if rounded else "scaler"
    recipe = ({"a": bits, "scale": 8}, bits if rounded else bits + 8, body)
    return Sample(kind, 8 * bits, recipe, operands=(bits, 9))


def _gates(bits: int) -> Sample:
    """Enables of stages: something is there, and nothing holds it."""

    def body(c, m):
        m.d.comb += c.y.eq(c.a & c.b & c.advance.replicate(bits))

    return Sample("gate", bits, ({"a": bits, "b": bits, "advance": 1}, bits, body))


def _register(bits: int, reset: bool) -> Sample:
    def body(c, m):
        word = Signal(bits, reset_less=not reset)
        m.d.comb += c.y.eq(word)
        with m.If(c.enable):
            m.d.sync += word.eq(c.a)

    kind = "control-register" if reset else "register"
    return Sample(kind, bits, ({"a": bits, "enable": 1}, bits, body))


def _delay_line(bits: int, length: int) -> Sample:
    def body(c, m):
        word = c.a
        for stage in range(length):
            held = Signal(bits, name=f"stage_{stage}", reset_less=True)
            with m.If(c.enable):
                m.d.sync += held.eq(word)
            word = held
        m.d.comb += c.y.eq(word)

    return Sample("delay-line", bits * length, ({"a": bits, "enable": 1}, bits, body), length)


CIRCUITS: tuple[Sample, ...] = (
    *(_adder(bits) for bits in (8, 12, 20)),
    *(_four_adder(bits) for bits in (10, 18)),
    *(_table(bits) for bits in (10, 13, 17)),
    *(_accumulator(bits) for bits in (18, 30)),
    *(_running_total(bits) for bits in (24, 40)),
    *(_half_difference(bits) for bits in (18, 30)),
    *(_rounding_negation(bits) for bits in (8, 15)),
    *(_magnitude(bits) for bits in (8, 15)),
    *(_comparison(bits) for bits in (5, 10)),
    *(_lookup(bits) for bits in (8, 17)),
    *(_lookup_pair(bits) for bits in (8, 10, 14, 17)),
    *(_selector(bits) for bits in (8, 32)),
    *(_selector_of_three(bits) for bits in (16, 48)),
    *(_selector_of_four(bits) for bits in (8, 16)),
    *(_shifter(*widths) for widths in ((8, 1), (12, 1), (17, 1))),
    *(_shifter(*widths) for widths in ((8, 3), (12, 3), (17, 2))),
    *(_shifter(*widths) for widths in ((8, 4), (10, 7), (17, 7))),
    *(_shifter(*widths) for widths in ((8, 8), (10, 10), (17, 15))),
    *(_shifter(*widths) for widths in ((8, 20), (17, 27), (19, 31))),
    *(_shifter(*widths) for widths in ((9, 36), (17, 33), (19, 40))),
    *(_rounding_shifter(*widths) for widths in ((10, 2), (14, 5), (17, 4))),
    *(_multiplier(*widths) for widths in ((8, 4), (8, 8))),
    *(_scaler(bits, rounded=False) for bits in (20, 28, 44, 56)),
    *(_scaler(bits, rounded=True) for bits in (46, 56)),
    *(one_term(bits, 1) for bits in (8, 15)),
    *(one_term(bits, 3) for bits in (8, 15)),
    *(term_pair(bits, 1) for bits in (8, 15)),
    *(term_pair(bits, 3) for bits in (8, 15)),
    *(terms(codes, odd=False, floating=False) for codes in (2, 4)),
    *(terms(codes, odd=True, floating=False) for codes in (2, 4)),
    *(terms(codes, odd=False, floating=True) for codes in (2, 4)),
    *(terms(codes, odd=True, floating=True) for codes in (2, 4)),
    *(serial_scaler(bits, 1) for bits in (24, 56)),
    *(serial_scaler(bits, 2) for bits in (24, 56)),
    *(serial_scaler(bits, 4) for bits in (24, 56)),
    *(shortened_total(bits) for bits in (30, 56)),
    _gates(16),
    _register(16, reset=False),
    _register(16, reset=True),
    _delay_line(8, 6),
)
"""Every circuit; the widths span what units have."""
