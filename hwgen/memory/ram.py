"""On-chip RAM as an instance of one hand-written Verilog module, the place for a vendor macro."""

from dataclasses import dataclass

from amaranth.hdl import ClockSignal, Instance, Module, Signal

__all__ = ["RAM_MODULE", "Ram", "add_ram"]

RAM_MODULE = "silicast_ram"
"""Module name; its source is templates/verilog/silicast_ram.v, with what it promises."""


@dataclass(frozen=True)
class Ram:
    """Signals of one RAM; ``read_data`` follows ``read_enable`` by one cycle, then holds."""

    write_enable: Signal
    write_address: Signal
    write_data: Signal
    read_enable: Signal
    read_address: Signal
    read_data: Signal


def add_ram(m: Module, name: str, width: int, depth: int) -> Ram:
    """Put a RAM with one write and one read port into a module.

    Parameters
    ----------
    m : Module
        Gets the instance as submodule ``name``.
    name : str
        Instance name, and prefix of its signals.
    width : int
        Bits of a word.
    depth : int
        Words; at least 2 are made.
    """
    depth = max(depth, 2)
    address = range(depth)
    ram = Ram(
        write_enable=Signal(name=f"{name}_write_enable"),
        write_address=Signal(address, name=f"{name}_write_address"),
        write_data=Signal(width, name=f"{name}_write_data"),
        read_enable=Signal(name=f"{name}_read_enable"),
        read_address=Signal(address, name=f"{name}_read_address"),
        read_data=Signal(width, name=f"{name}_read_data"),
    )
    m.submodules[name] = Instance(
        RAM_MODULE,
        p_WIDTH=width,
        p_DEPTH=depth,
        p_ADDRESS_BITS=len(ram.read_address),
        i_clk=ClockSignal(),
        i_write_enable=ram.write_enable,
        i_write_address=ram.write_address,
        i_write_data=ram.write_data,
        i_read_enable=ram.read_enable,
        i_read_address=ram.read_address,
        o_read_data=ram.read_data,
    )
    return ram
