"""Counted dependency tokens between two engines."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mapping.isa import TOKEN_BITS

__all__ = ["TokenCounter"]


class TokenCounter(wiring.Component):
    """Counts tokens given and taken, up to ``mapping.isa.MOST_TOKENS``.

    Members
    -------
    give : In(1)
        Adds a token at the end of the cycle.
    take : In(1)
        Removes a token at the end of the cycle; only while ``available``.
    available : Out(1)
        At least one token is there.
    clear : In(1)
        Forgets all tokens, at the start of a program.

    Attributes
    ----------
    latency : int
        1 cycle from ``give`` to ``available``.
    """

    latency = 1

    def __init__(self) -> None:
        super().__init__({"give": In(1), "take": In(1), "available": Out(1), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(TOKEN_BITS)
        m.d.comb += self.available.eq(count != 0)
        m.d.sync += count.eq(count + self.give - self.take)
        with m.If(self.clear):
            m.d.sync += count.eq(0)
        return m
