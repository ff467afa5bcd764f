"""On-chip RAM as an instance of one hand-written Verilog module, the place for a vendor macro."""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RAM_MODULE", "Ram"]

RAM_MODULE = "silicast_ram"
"""Module name; its source is templates/verilog/silicast_ram.v."""


class Ram(wiring.Component):
    """One write port and one read port; see the Verilog module for what it promises.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words, at least 2.

    Attributes
    ----------
    latency : int
        1 cycle from ``read_enable`` to ``read_data``, which then holds.
    """

    latency = 1

    def __init__(self, width: int, depth: int) -> None:
        self.width = width
        self.depth = max(depth, 2)
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(range(self.depth)),
                "write_data": In(width),
                "read_enable": In(1),
                "read_address": In(range(self.depth)),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = Instance(
            RAM_MODULE,
            p_WIDTH=self.width,
            p_DEPTH=self.depth,
            p_ADDRESS_BITS=len(self.read_address),
            i_clk=ClockSignal(),
            i_write_enable=self.write_enable,
            i_write_address=self.write_address,
            i_write_data=self.write_data,
            i_read_enable=self.read_enable,
            i_read_address=self.read_address,
            o_read_data=self.read_data,
        )
        return m
