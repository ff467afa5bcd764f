"""Weight codes as terms +-2^e or 0: one term of every code a cycle, two bits of it at a time.

Integers, two's complement of any width: digit i of radix-4 Booth recoding is ``-2 b[2i+1] + b[2i] +
b[2i-1]``, a term that counts 2^(2i) (HPCA'25, section IV-A). Floating codes, counted in halves: a
first term that counts 2^(e+1) and a second that counts 2^e, both known with the second beat, when
the code is complete. ``e2`` is the magnitude's exponent field and ``m`` its last bit:

======================  ===========  ================
magnitude               first        second
======================  ===========  ================
``e2 = 0``              0            m
``e2 > 0``              2^e2         m * 2^(e2 - 1)
largest one of flint4   16           0
special value           a register's lower and upper four bits
======================  ===========  ================

The paper finds the terms of a floating code with leading-one detectors over ``{I3 I2 I1 I0}`` and
``{I2 I1 I0 F0}``. As that is written it counts ones twice: in 6 = 0110.0 both windows begin with
I2. Here no bit belongs to both terms. A special value is two signed terms that a program sets, so
that 7 = 8 - 1 is one too.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DecodeControl", "TermGenerator", "term_layout"]


def term_layout(floating: bool) -> data.StructLayout:
    """A term: ``nonzero``, ``exponent`` of 2 bits (1 without floating codes), ``sign``."""
    return data.StructLayout({"nonzero": 1, "exponent": 2 if floating else 1, "sign": 1})


class DecodeControl(data.StructLayout):
    """What the generator must know of the beat whose word it has.

    Members
    -------
    first, last : 1 bit
        The beat begins, or ends, its step.
    odd : 1 bit
        Codes have an odd width: the last beat of a step brings one bit.
    second : 1 bit
        Second step of a pair of odd width: that one bit came with the first step's.
    floating, flint : 1 bit
        Codes are a sign and a magnitude; and 12 is 16.
    """

    def __init__(self) -> None:
        super().__init__({"first": 1, "last": 1, "odd": 1, "second": 1, "floating": 1, "flint": 1})


class TermGenerator(wiring.Component):
    """Terms of one output feature's ``lanes_k`` codes.

    Parameters
    ----------
    lanes_k : int
        Codes of a step.
    odd : bool
        There are codes of odd width.
    floating : bool
        There are floating codes.

    Members
    -------
    decode : In(1)
        A beat's word is decoded in this cycle.
    emit : In(1)
        The next term enters ``terms``: a floating code's first one as its last beat is decoded,
        every other one a cycle after its beat was.
    control : In(DecodeControl)
        Of the beat that is decoded.
    word : In(2 * lanes_k)
        Its word, two bits a code. Not looked at in the last beat of a second step of odd width.
    special : In(8)
        The special value of the feature's group (`hwgen.units.base.StepControl`); only with
        ``floating``.
    terms : Out(lanes_k terms)
        In the layout of `term_layout`.
    """

    def __init__(self, lanes_k: int, *, odd: bool = True, floating: bool = True) -> None:
        self.lanes_k, self.odd, self.floating = lanes_k, odd, floating
        self._term = term_layout(floating)
        members = {
            "decode": In(1),
            "emit": In(1),
            "control": In(DecodeControl()),
            "word": In(2 * lanes_k),
            "terms": Out(data.ArrayLayout(self._term, lanes_k)),
        }
        if floating:
            members["special"] = In(8)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for k in range(self.lanes_k):
            pair = self._pair(m, k)
            previous = Signal(2, name=f"previous_{k}", reset_less=True)
            waiting = Signal(self._term, name=f"waiting_{k}", reset_less=True)
            term = Signal(self._term, name=f"term_{k}", reset_less=True)
            later = self._booth(m, k, pair, previous)
            next_term = waiting.as_value()
            if self.floating:
                control = self.control
                first, second = self._floating(m, k, pair, previous)
                later = Mux(control.floating, second, later)
                now = self.decode & control.floating & control.last
                next_term = Mux(now, first, next_term)
            with m.If(self.decode):
                m.d.sync += [previous.eq(pair), waiting.eq(later)]
            with m.If(self.emit):
                m.d.sync += term.eq(next_term)
            m.d.comb += self.terms[k].eq(term)
        return m

    def _pair(self, m, k: int) -> Value:
        """The two bits of the beat; the one bit that ends a code of odd width, twice."""
        word = self.word.word_select(k, 2)
        if not self.odd:
            return word
        top = Signal(name=f"top_{k}", reset_less=True)  # of the next step's code
        control = self.control
        with m.If(self.decode & control.odd & control.last & ~control.second):
            m.d.sync += top.eq(word[1])
        pair = Signal(2, name=f"pair_{k}")
        one = Mux(control.second, top, word[0])
        m.d.comb += pair.eq(Mux(control.odd & control.last, one.replicate(2), word))
        return pair

    def _booth(self, m, k: int, pair, previous) -> Value:
        """The digit ``-2 pair[1] + pair[0] + below``; its sign says nothing when it is 0."""
        below = ~self.control.first & previous[1]
        digit = Signal(self._term, name=f"digit_{k}")
        m.d.comb += [
            digit.nonzero.eq((pair[0] ^ below) | (pair[1] ^ below)),
            digit.exponent.eq(~(pair[0] ^ below)),
            digit.sign.eq(pair[1]),
        ]
        return digit.as_value()

    def _floating(self, m, k: int, pair, previous) -> tuple[Value, Value]:
        """Both terms of a floating code whose last two bits are ``pair``."""
        sign = pair[1]
        field = Signal(2, name=f"field_{k}")  # e2
        last = Signal(name=f"last_{k}")  # m
        odd = self.control.odd if self.odd else Const(0, 1)  # FP3: no m
        m.d.comb += [
            field.eq(Mux(odd, previous, Cat(previous[1], pair[0]))),
            last.eq(previous[0] & ~odd),
        ]
        largest = self.control.flint & field.all() & last
        first = Signal(self._term, name=f"first_{k}")
        second = Signal(self._term, name=f"second_{k}")
        with m.If(sign & ~field.any() & ~last):  # -0
            m.d.comb += [
                first.as_value().eq(self.special[:4]),
                second.as_value().eq(self.special[4:]),
            ]
        with m.Else():
            m.d.comb += [
                first.nonzero.eq(field.any()),
                first.exponent.eq(Cat((field == 2) | largest, field == 3)),
                first.sign.eq(sign),
                second.nonzero.eq(last & ~largest),
                second.exponent.eq(Cat(field == 2, field == 3)),
                second.sign.eq(sign),
            ]
        return first.as_value(), second.as_value()
