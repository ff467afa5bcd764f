"""Formal proof of the term generator of the bit-serial unit, on its synthesised netlist.

The claim: whatever codes, widths, code types and special values follow each other, and whatever
came before, the terms of a step, each times what it counts, add up to the code's value. Values are
those of `mapping.code_books`, as tables; all 256 settings of a special value are in it.

The proof is by induction over cycles. Every beat is free: its word, and all that is said about it.
When the last beats make up a step (a first one, a last one, nothing else said in between), its
value is looked up, and the terms that come out two cycles later must have that sum. A step needs
four beats, and one before them for the shared word of an odd width.

Cycles without a beat (gaps) and cycles in which the unit holds (stalls) are free as well, up to a
limit that induction over a few cycles needs: no gap follows a gap, and no stall a gap or a stall.
In such a cycle word and control are anything. A longer hold is not part of the proof; the generator
has no state by which a second stalled cycle could differ from the first.

One thing is taken for granted: floating codes have two beats.
"""

import re
from itertools import pairwise

import numpy as np
import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.synth import prove_zero
from hwgen.units.term_generator import DecodeControl, TermGenerator
from hwgen.verilog import component_verilog
from mapping.code_books import decode_special, decode_values

pytest.importorskip("pyosys")

_STEPS = 30  # longest induction
_SEARCHED = 9  # cycles in which a fault must show
_BEATS = 4  # of the longest step


class TermMiter(wiring.Component):
    """The generator of one code beside tables of values; ``mismatch`` must stay 0.

    Parameters
    ----------
    odd, floating : bool
        As in `TermGenerator`; what a variant has not is never asked of it.

    Members
    -------
    stall : In(1)
        Nothing moves in this cycle, unless ``stall`` or ``gap`` was set in the one before.
    gap : In(1)
        No beat in this cycle, unless ``gap`` was set in the one before.
    first, last, odd, second, floating, flint : In(1)
        Of the beat, as in `DecodeControl`.
    word, special : In(2), In(8)
    mismatch : Out(1)
        A step's terms have been added up to something else than its value.
    """

    def __init__(self, odd: bool = True, floating: bool = True) -> None:
        self.odd_widths, self.floating_codes = odd, floating
        flags = ("stall", "gap", "first", "last", "odd", "second", "floating", "flint")
        members = {name: In(1) for name in flags}
        super().__init__(members | {"word": In(2), "special": In(8), "mismatch": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.generator = generator = TermGenerator(
            1, odd=self.odd_widths, floating=self.floating_codes
        )
        control = generator.control
        self._advance = advance = Signal()
        was_stall = _registered(m, "was_stall", self.stall)
        was_gap = _registered(m, "was_gap", self.gap)
        m.d.comb += advance.eq(~self.stall | was_stall | was_gap)
        take = ~self.gap | was_gap
        absent = set() if self.odd_widths else {"odd", "second"}
        absent |= set() if self.floating_codes else {"floating", "flint"}
        m.d.comb += [
            generator.decode.eq(advance & take),
            generator.word.eq(self.word),
            *(
                getattr(control, name).eq(0 if name in absent else getattr(self, name))
                for name, _ in DecodeControl()
                if name != "last"
            ),
        ]
        if self.floating_codes:
            m.d.comb += generator.special.eq(self.special)
        layout = data.StructLayout({"control": DecodeControl(), "word": 2})
        beats = [Signal(layout, name=f"beat_{i}", reset_less=True) for i in range(_BEATS + 1)]
        m.d.comb += [beats[0].control.eq(control), beats[0].word.eq(self.word)]
        with m.If(advance & take):
            m.d.sync += [older.eq(newer) for newer, older in pairwise(beats)]
        before = beats[1].control
        last = self.last & (~control.floating | (before.floating & before.first))
        m.d.comb += control.last.eq(last)
        value, length = self._step(m, beats)
        self._check(m, generator, take, value, Mux(take, length, 0))
        return m

    def _step(self, m, beats) -> tuple[Value, Value]:
        """The value of the step that ends with this beat, and its beats; 0 when there is none."""
        now = beats[0].control
        names = ("odd", "second", "floating", "flint")
        kinds = [Cat(getattr(beat.control, name) for name in names) for beat in beats]
        length, value = Signal(range(_BEATS + 1)), Signal(signed(8))
        for count in range(1, _BEATS + 1):
            begun = beats[count - 1].control.first & now.last
            for place in range(count):
                begun &= kinds[place] == kinds[0]
                begun &= beats[place].control.first == (place == count - 1)
                begun &= beats[place].control.last == (place == 0)
            whole = Cat(b.word for b in beats[count - 1 :: -1])
            before = beats[count]
            paired = before.control.last & before.control.odd & ~before.control.second
            top = Mux(now.second, before.word[1], beats[0].word[0])
            code = Mux(now.odd, Cat(whole[:-2], top, top).as_signed(), whole.as_signed())
            exists = (~now.second | (now.odd & paired)) & (~now.flint | (now.floating & ~now.odd))
            if count == 1:
                exists &= ~now.odd  # two bits: the least there are
            if count == 2:
                code = Mux(now.floating, self._floating(code, now), code)
            else:
                exists &= ~now.floating
            with m.If(begun & exists):
                m.d.comb += [length.eq(count), value.eq(code)]
        return value, length

    def _floating(self, code, control) -> Value:
        """A floating code's value from the tables of `mapping.code_books`."""
        every = np.arange(16, dtype=np.uint8)
        three = _looked_up(code[:3], decode_values(every[:8], "float", 3))
        four = _looked_up(code[:4], decode_values(every, "float", 4))
        flint = _looked_up(code[:4], decode_values(every, "flint", 4))
        own = _looked_up(self.special, [decode_special(i) for i in range(256)])
        found = Mux(control.odd, three, Mux(control.flint, flint, four))
        negative_zero = Mux(control.odd, code[:3] == 4, code[:4] == 8)
        return Mux(negative_zero, own, found)

    def _check(self, m, generator, take, value, length) -> None:
        """Adds terms up as the unit does, and compares when a step is complete."""
        control = generator.control
        old = {n: self._held(m, f"old_{n}", getattr(control, n)) for n in ("last", "floating")}
        now = take & control.floating & control.last
        later = self._held(m, "taken", take) & (~old["floating"] | old["last"])
        m.d.comb += generator.emit.eq(self._advance & (now | later))
        present = self._held(m, "present", now | later)
        is_first = self._held(m, "is_first", now)
        is_floating = self._held(m, "is_floating", old["floating"])
        for delay in range(2):  # until the last term is out
            value = self._held(m, f"value_{delay}", value).as_signed()
            length = self._held(m, f"length_{delay}", length)
        term = generator.terms[0]
        size = term.nonzero << term.exponent << (is_first & 1)
        newest = Signal(signed(7))
        m.d.comb += newest.eq(Mux(term.sign, -size, size))
        terms = [newest]
        for place in range(_BEATS - 1):
            older = Signal(signed(7), name=f"term_{place}", reset_less=True)
            with m.If(self._advance & present):
                m.d.sync += older.eq(terms[-1])
            terms.append(older)
        total = Const(0, signed(8))
        for count in range(1, _BEATS + 1):
            # Digit i of an integer counts 4^i; the first term of a floating code is twice itself.
            weights = range(2 * count - 2, -1, -2)
            found = sum(t << weight for t, weight in zip(terms, weights, strict=False))
            if count == 2:
                found = Mux(is_floating, terms[0] + terms[1], found)
            total = Mux(length == count, found, total)
        m.d.comb += self.mismatch.eq((length != 0) & ~(present & (total == value)))

    def _held(self, m, name: str, value) -> Signal:
        """The value of the cycle before, stalled ones not counted."""
        return _registered(m, name, value, self._advance)


def _registered(m, name: str, value, enable=1) -> Signal:
    """The value of the last cycle that ``enable`` was set in."""
    register = Signal(len(value), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register


def _looked_up(index, values) -> Value:
    """An entry of a table of int8, as a tree of multiplexers."""
    entries = [Const(int(v), signed(8)) for v in values]
    for bit in range(len(index)):
        pairs = zip(entries[::2], entries[1::2], strict=True)
        entries = [Mux(index[bit], high, low) for low, high in pairs]
    return entries[0]


def miter_text(odd: bool = True, floating: bool = True) -> str:
    return component_verilog(TermMiter(odd, floating), "miter")


@pytest.mark.parametrize("floating", [True, False])
@pytest.mark.parametrize("odd", [True, False])
def test_terms_add_up_to_the_value(odd, floating):
    """All codes of 2 to 8 bits, all code types, all special values, in any order."""
    proof = prove_zero(miter_text(odd, floating), "miter", "mismatch", steps=_STEPS)
    assert proof.proven, proof.counterexample
    assert proof.clauses > 10_000  # not folded away before the solver saw it


# On a generator without what the mutation does not need: variant, pattern, replacement.
_PLAIN, _ODD, _FLOATING, _BOTH = (False, False), (True, False), (False, True), (True, True)
MUTATIONS = {
    "a digit begins with the last step's bit": (_PLAIN, r"= ~ control\[0\];", "= 1'h1;"),
    "a digit begins with the wrong bit": (_PLAIN, r"& previous_0\[1\];", "& previous_0[0];"),
    "exponent of a digit inverted": (_FLOATING, r"= \{ 1'h0, (n_\d+) \};", r"= { 1'h0, ~\1 };"),
    "odd width not sign-extended": (
        _ODD, r"\? \{ n_\d+, (n_\d+) \} : word", r"? { 1'h0, \1 } : word"
    ),
    "the other step's highest bit": (_ODD, r"\? top_0 : word\[0\];", "? word[0] : top_0;"),
    # What the paper's two leading-one detectors find, as they are described.
    "leading one counted twice": (_FLOATING, r"second_0\[0\] = n_\d+;", "second_0[0] = | field_0;"),
    # What the Verilog published with the paper has.
    "exponents of a floating code inverted": (
        _FLOATING, r"first_0\[2:1\] = \{ (n_\d+), (n_\d+) \};", r"first_0[2:1] = { ~\1, ~\2 };"
    ),
    "special value is always 8": (_FLOATING, r"special\[3:0\]", "4'h7"),
    "special value's terms exchanged": (
        _FLOATING, r"first_0 = special\[3:0\]", "first_0 = special[7:4]"
    ),
    "largest of flint has two terms": (_FLOATING, r"= last_0 & n_\d+;", "= last_0;"),
    "FP3 has a last bit": (_BOTH, r"= previous_0\[0\] & n_\d+;", "= previous_0[0];"),
    "a waiting term is lost in a stall": (
        _PLAIN, r"if \(decode\)( begin\s+waiting_0)", r"if (1'h1)\1"
    ),
    "a term is lost in a stall": (_PLAIN, r"if \(emit\)( begin\s+term)", r"if (1'h1)\1"),
    "a beat is taken in a stall": (_PLAIN, r"if \(decode\)( begin\s+previous_0)", r"if (1'h1)\1"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_netlist_is_refuted(name):
    variant, pattern, replacement = MUTATIONS[name]
    text = miter_text(*variant)
    start = text.index("module miter_generator(")
    end = text.index("endmodule", start)
    mutated, count = re.subn(pattern, replacement, text[start:end])
    assert count
    proof = prove_zero(text[:start] + mutated + text[end:], "miter", "mismatch", steps=_SEARCHED)
    assert not proof.proven
    assert any(port.startswith("word@") for port in proof.counterexample)
