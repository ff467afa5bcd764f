"""The circuits of `benchmarks.unit_circuits` that only the bit-serial unit has parts of."""

from amaranth.hdl import Cat, Mux, Signal, signed

from benchmarks.circuit import Sample
from hwgen.units.carried import Carried, carried_sum
from hwgen.units.term_generator import DecodeControl, TermGenerator, term_layout

__all__ = ["one_term", "serial_scaler", "shortened_total", "term_pair", "terms"]


def _term(m, c, name: str, bits: int, exponent: int) -> Carried:
    """An activation times a term, as hwgen/units/bit_serial_column.py."""
    value = c[f"a{name}"].as_signed()
    for bit in range(exponent):
        value = Mux(c[f"e{name}"][bit], value << (1 << bit), value)
    lane = Signal(signed(bits), name=f"lane_{name}")
    inverted = c[f"sign{name}"].replicate(bits).as_signed()
    m.d.comb += lane.eq(Mux(c[f"there{name}"], value, 0) ^ inverted)
    return Carried(lane, c[f"sign{name}"])


def _term_ports(names: str, bits: int, levels: int) -> dict[str, int]:
    each = {"a": bits, "e": levels, "sign": 1, "there": 1}
    return {f"{port}{name}": width for name in names for port, width in each.items()}


def one_term(bits: int, most: int) -> Sample:
    """One lane: an activation of ``bits`` shifted by up to ``most``."""
    levels, wide = most.bit_length(), bits + most

    def body(c, m):
        ports = {name: getattr(c, name) for name in _term_ports("0", bits, levels)}
        m.d.comb += c.y.eq(_term(m, ports, "0", wide, levels).value)

    return Sample(f"term-{most}", wide, (_term_ports("0", bits, levels), wide, body))


def term_pair(bits: int, most: int) -> Sample:
    levels, wide = most.bit_length(), bits + most

    def body(c, m):
        ports = {name: getattr(c, name) for name in _term_ports("01", bits, levels)}
        left, right = (_term(m, ports, name, wide, levels) for name in "01")
        m.d.comb += c.y.eq(carried_sum(left.value, right))

    ports = _term_ports("01", bits, levels)
    return Sample(f"term-pair-{most}", wide + 1, (ports, wide + 1, body))


def terms(codes: int, odd: bool, floating: bool) -> Sample:
    """The term generator of a few codes; its registers are parts of their own."""
    widths = {"decode": 1, "emit": 1, "control": DecodeControl().size, "word": 2 * codes}
    if floating:
        widths["special"] = 8
    term = term_layout(floating).size

    def body(c, m):
        m.submodules.made = made = TermGenerator(codes, odd=odd, floating=floating)
        m.d.comb += [getattr(made, name).eq(getattr(c, name)) for name in widths]
        m.d.comb += c.y.eq(made.terms)

    kind = f"{'float' if floating else 'booth'}-terms{'-odd' if odd else ''}"
    return Sample(kind, codes, (widths, codes * term, body))


def serial_scaler(bits: int, digit: int) -> Sample:
    """Digits of a product, as hwgen/units/dequantiser.py."""

    def body(c, m):
        product = Signal(signed(bits), reset_less=True)
        held = Signal(signed(bits), reset_less=True)
        low = Signal(8, reset_less=True)
        total = Mux(c.digit[0], held, 0)
        for bit in range(1, digit):
            total = total + (Mux(c.digit[bit], held, 0) << bit)
        wide = Signal(signed(bits + digit))
        m.d.comb += wide.eq(Mux(c.start, c.rounded << 7, product) + total)
        with m.If(c.load):
            m.d.sync += held.eq(c.a)
        with m.If(c.step):
            m.d.sync += [product.eq(wide >> digit), low.eq(Cat(low[digit:], wide[:digit]))]
        m.d.comb += c.y.eq(Cat(low, product))

    ports = {"a": bits, "digit": digit, "start": 1, "rounded": 1, "load": 1, "step": 1}
    return Sample(f"serial-scaler-{digit}", bits, (ports, bits + 8, body))


def shortened_total(bits: int) -> Sample:
    """The word is eight bits longer than its upper part."""

    def body(c, m):
        product = Signal(signed(bits), reset_less=True)
        low = Signal(8, reset_less=True)
        total = Signal(signed(bits), reset_less=True)
        m.d.sync += [product.eq(c.a), low.eq(c.low)]
        whole = Cat(low, product).as_signed()
        with m.If(c.enable):
            m.d.sync += total.eq(Mux(c.first, 0, total) + Mux(c.shortened, product, whole))
        m.d.comb += c.y.eq(total)

    ports = {"a": bits, "low": 8, "shortened": 1, "first": 1, "enable": 1}
    return Sample("shortened-total", bits, (ports, bits, body))
