"""A cell with registers on its operands: what a pipeline stage of its own takes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

__all__ = ["Registered"]


class Registered(wiring.Component):
    """The same ports as a cell of this package; every operand is held a cycle.

    Parameters
    ----------
    cell : amaranth.lib.wiring.Component

    Members
    -------
    As those of the cell.
    """

    def __init__(self, cell: wiring.Component) -> None:
        self.cell = cell
        super().__init__(dict(cell.signature.members.items()))

    def elaborate(self, platform):
        m = Module()
        m.submodules.cell = self.cell
        for name, member in self.cell.signature.members.items():
            inside, outside = getattr(self.cell, name), getattr(self, name)
            if member.flow is wiring.Out:
                m.d.comb += outside.eq(inside)
                continue
            held = Signal(len(outside), name=f"held_{name}", reset_less=name != "enable")
            m.d.sync += held.eq(outside)
            m.d.comb += inside.eq(held)
        return m
