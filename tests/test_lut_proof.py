"""Formal proof of the lookup unit's table and row, on their synthesised netlists.

The claim in three parts, for activations of reduced width and weights of 1, 2 and 4 planes:

1. *Table* (SAT, all activations): every entry is ``a3 +- a2 +- a1 +- a0``.
2. *Plane* (SAT, induction over cycles): with any remapped plane, any earlier sum and any order of
   enables, a row adds exactly ``2^i * sum_k p_k a_k``, each ``p_k a_k`` taken by itself. So after
   the planes of a step its sum is ``P = sum_i 2^i sum_k p_ik a_k``, and the token's sum is ``A``.
3. *Products* (all cases of one factor each): ``sum_i 2^i p_i a = q' a`` and ``(q' a - a) / 2 = c
   a``. Both sides are sums over k, so this one factor is enough.
"""

import re

import numpy as np
import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.synth import prove_zero
from hwgen.units.lut_row import LutRow
from hwgen.units.lut_table import LutTable
from hwgen.verilog import component_verilog
from mapping.planes import remap, stored_bits

pytest.importorskip("pyosys")

_BITS = 3  # of an activation
_STEPS = 2  # longest induction: a table is loaded in one cycle and used in the next
_SEARCHED = 4  # cycles in which a fault must show


class LookupMiter(wiring.Component):
    """Table and row beside direct sums of the same activations; ``mismatch`` must stay 0.

    Members
    -------
    table_enable, enable, first, plane_first, shift
        Of the table and the row, free in every cycle.
    activations : In(4 * bits)
    plane : In(4)
        One plane of four weights as it is meant: 1 is +1, 0 is -1.
    mismatch : Out(1)
        An entry, the sum or the token's sum is not the direct one.
    direct, whole : Out(signed(bits + 3))
        Direct sums of the plane and of the activations. As outputs they stay sums of their own;
        merged into the accumulators' adders the proof is slower.
    """

    def __init__(self, bits: int, planes: int) -> None:
        self.bits, self.planes = bits, planes
        members = {
            "table_enable": In(1),
            "enable": In(1),
            "first": In(1),
            "plane_first": In(1),
            "activations": In(4 * bits),
            "plane": In(4),
            "mismatch": Out(1),
            "direct": Out(signed(bits + 3)),
            "whole": Out(signed(bits + 3)),
        }
        if planes > 1:
            members["shift"] = In(range(planes))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        bits, sum_bits = self.bits, self.bits + 2 + self.planes
        token_bits = bits + 3
        m.submodules.table = table = LutTable(1, bits)
        m.submodules.row = row = LutRow(
            1, 1, table.entry_bits, self.planes - 1, sum_bits, pipelined=False,
            token_sum_bits=token_bits,
        )  # fmt: skip
        top = self.plane[3]
        stored = Cat(Mux(top, bit, ~bit) for bit in self.plane[:3])
        m.d.comb += [
            table.enable.eq(self.table_enable),
            table.activations.eq(self.activations),
            row.entries.eq(table.entries),
            row.indices.eq(Cat(stored, top)),
            row.enable.eq(self.enable),
            row.first.eq(self.first),
            row.plane_first.eq(self.plane_first),
        ]
        held = Signal(4 * bits, reset_less=True)
        with m.If(self.table_enable):
            m.d.sync += held.eq(self.activations)
        a = [held.word_select(k, bits).as_signed() for k in range(4)]
        shift = Const(0, 1)
        if self.planes > 1:
            m.d.comb += row.shift.eq(self.shift)
            shift = self.shift
        signed_terms = [Mux(self.plane[k], a[k], -a[k]) for k in range(4)]
        m.d.comb += [self.direct.eq(self._sum(signed_terms)), self.whole.eq(self._sum(a))]
        total = Signal(signed(sum_bits), reset_less=True)
        token = Signal(signed(token_bits), reset_less=True)
        with m.If(self.enable):
            m.d.sync += total.eq(Mux(self.first, 0, total) + (self.direct << shift))
            with m.If(self.plane_first):
                m.d.sync += token.eq(Mux(self.first, 0, token) + self.whole)
        wrong = [row.sums.as_signed() != total, row.token_sum.as_signed() != token]
        for i in range(8):
            signs = [i & 1, i >> 1 & 1, i >> 2 & 1, 1]
            entry = self._sum([x if s else -x for s, x in zip(signs, a, strict=True)])
            wrong.append(table.entries.word_select(i, bits + 2).as_signed() != entry)
        # The registers of table and row start at 0, which are the sums of activations 0.
        m.d.comb += self.mismatch.eq(Cat(wrong).any())
        return m

    @staticmethod
    def _sum(terms):
        return (terms[3] + terms[2]) + (terms[1] + terms[0])


def miter_text(planes, bits=_BITS):
    return component_verilog(LookupMiter(bits, planes), "miter")


@pytest.mark.parametrize("planes", [1, 2, 4])
def test_a_plane_adds_its_direct_sum(planes):
    """Parts 1 and 2: entries, sums and the token's sum, whatever came before."""
    proof = prove_zero(miter_text(planes), "miter", "mismatch", steps=_STEPS)
    assert proof.proven, proof.counterexample
    assert proof.clauses > 10_000  # not folded away before the solver saw it


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("bipolar", [False, True])
def test_planes_of_a_code_are_its_product(bits, bipolar):
    """Part 3: all codes, all activations of the reduced width, as the weights are stored."""
    top = 1 << (bits - 1)
    codes = np.arange(1 - (1 << bits), 1 << bits, 2) if bipolar else np.arange(-top, top)
    stored = stored_bits(codes.astype(np.int8), bits, bipolar).astype(int)
    signs = 2 * (stored[:, None] >> np.arange(bits) & 1) - 1
    a = np.arange(-(1 << (_BITS - 1)), 1 << (_BITS - 1))
    plane_sum = ((signs << np.arange(bits)).sum(axis=1))[:, None] * a
    direct = codes[:, None] * a
    assert (plane_sum == direct if bipolar else plane_sum - a == 2 * direct).all()


def test_the_miters_remapping_is_the_storages():
    """Harness and `mapping.planes` invert the same bits."""
    for nibble in range(16):
        expected = nibble if nibble & 8 else nibble ^ 7
        assert remap(np.array([nibble], np.uint8)) == expected


MUTATIONS = {
    "no carry after inverting": ("row", r"1'h1 \}\)", "1'h0 })"),
    "sign of the entry inverted": ("row", r"= ~ ", "= "),
    "two entries exchanged": ("row", r"\? (entries\S+) : (entries\S+);", r"? \2 : \1;"),
    "plane not shifted": ("row", r"(assign shift\w+ = )shift \?", r"\1 1'h0 ?"),
    "clear ignored": ("row", r"= first \?", "= 1'h0 ?"),
    "sum for a difference": ("table", r" - ", " + "),
    "an entry's half from its neighbour": ("table", r"(\+ \$signed\()both_0", r"\1lower_0_1"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_netlist_is_refuted(name):
    module, pattern, replacement = MUTATIONS[name]
    text = miter_text(2, bits=2)
    start = text.index(f"module miter_{module}(")
    end = text.index("endmodule", start)
    mutated, count = re.subn(pattern, replacement, text[start:end], count=1)
    assert count == 1
    proof = prove_zero(text[:start] + mutated + text[end:], "miter", "mismatch", steps=_SEARCHED)
    assert not proof.proven
    assert any(port.startswith("activations") for port in proof.counterexample)
