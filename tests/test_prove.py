"""Formal proofs on synthesised netlists: what is equal is proven, what is not is refuted."""

from pathlib import Path

import pytest
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.synth import SynthesisError, prove_components_equal, prove_equal, prove_zero

pytest.importorskip("pyosys", reason="the extra synth is not installed")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))


class SignedSum(wiring.Component):
    """``sum of +-a[k]``, three of them, directly or from a table of half the sums.

    ``mistake`` takes the sign of the table from the wrong value of the top bit.
    """

    def __init__(self, table: bool, mistake: bool = False, registered: bool = False) -> None:
        self.table, self.mistake, self.registered = table, mistake, registered
        super().__init__({"a": In(12), "signs": In(3), "o": Out(6)})

    def elaborate(self, platform):
        m = Module()
        a = [self.a.word_select(k, 4).as_signed() for k in range(3)]
        result = Signal(signed(6))
        if self.table:
            top = self.signs[2]
            entry = Signal(signed(6))
            with m.Switch(Mux(top, self.signs[:2], ~self.signs[:2])):
                for index in range(4):
                    terms = [a[k] if index >> k & 1 else -a[k] for k in range(2)]
                    with m.Case(index):
                        m.d.comb += entry.eq(a[2] + sum(terms))
            m.d.comb += result.eq(Mux(~top if self.mistake else top, entry, -entry))
        else:
            m.d.comb += result.eq(sum(Mux(self.signs[k], a[k], -a[k]) for k in range(3)))
        if self.registered:
            word = Signal(6)
            m.d.sync += word.eq(result)
            result = word
        m.d.comb += self.o.eq(result)
        return m


def test_a_half_table_is_proven_equal_to_the_sum() -> None:
    proof = prove_components_equal(SignedSum(False), SignedSum(True))
    assert proof.proven
    assert proof.counterexample == {}
    assert proof.variables > 0
    assert proof.clauses > 0


def test_a_wrong_table_is_refuted_with_inputs_that_show_it() -> None:
    proof = prove_components_equal(SignedSum(False), SignedSum(True, mistake=True))
    assert not proof.proven
    a, signs = proof.counterexample["in_a"], proof.counterexample["in_signs"]
    values = [((a >> 4 * k & 15) ^ 8) - 8 for k in range(3)]
    right = sum(value if signs >> k & 1 else -value for k, value in enumerate(values))
    assert proof.counterexample["gold_o"] == right % 64
    assert proof.counterexample["gate_o"] == -right % 64 != right % 64


def test_registers_need_induction() -> None:
    right = SignedSum(False, registered=True), SignedSum(True, registered=True)
    with pytest.raises(SynthesisError, match="has registers"):
        prove_components_equal(*right)
    assert prove_components_equal(*right, steps=4).proven
    wrong = right[0], SignedSum(True, mistake=True, registered=True)
    proof = prove_components_equal(*wrong, steps=4)
    assert not proof.proven
    assert proof.counterexample["trigger@2"] == 1


def test_an_output_that_is_never_one() -> None:
    text = """
    module m(input [3:0] a, output never, output once);
      assign never = (a + 4'd1 == a);
      assign once = (a == 4'd11);
    endmodule
    """
    assert prove_zero(text, "m", "never").proven
    proof = prove_zero(text, "m", "once")
    assert (proof.proven, proof.counterexample["a"]) == (False, 11)
    with pytest.raises(SynthesisError):
        prove_zero(text, "m", "absent")


def test_a_deeper_difference_than_the_induction_is_not_proven() -> None:
    """Two counters that differ after five cycles: three steps prove nothing, eight refute."""
    text = """
    module a(input clk, output o); reg [2:0] n = 0; always @(posedge clk) if (n != 7) n <= n + 1;
      assign o = 0; endmodule
    module b(input clk, output o); reg [2:0] n = 0; always @(posedge clk) if (n != 7) n <= n + 1;
      assign o = n == 5; endmodule
    """
    with pytest.raises(SynthesisError, match="neither proven nor refuted"):
        prove_equal(text, "a", "b", steps=3)
    assert not prove_equal(text, "a", "b", steps=8).proven
