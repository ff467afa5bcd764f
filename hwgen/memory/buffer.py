"""On-chip buffer written at one width and read at another."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.memory.ram import add_ram

__all__ = ["Buffer"]


class Buffer(wiring.Component):
    """Simple dual-port memory, one clock, byte order kept across the two widths.

    Banks are as wide as the narrower port, so each maps onto plain block RAM. Reading a word in
    the cycle it is written gives the old word; token waits keep that from happening.

    Parameters
    ----------
    write_bytes, read_bytes : int
        Port widths; one divides the other by a power of two.
    capacity_bytes : int
        Size; a multiple of both widths.

    Members
    -------
    write_enable, write_address, write_data
        Writes one word of ``write_bytes`` at the end of the cycle.
    read_enable, read_address : In
        Starts a read of one word of ``read_bytes``.
    read_data : Out(8 * read_bytes)
        The word read last; valid one cycle after ``read_enable`` and held until the next.

    Attributes
    ----------
    latency : int
        1 cycle from ``read_enable`` to ``read_data``.
    """

    latency = 1

    def __init__(self, write_bytes: int, read_bytes: int, capacity_bytes: int) -> None:
        wide, narrow = max(write_bytes, read_bytes), min(write_bytes, read_bytes)
        ratio = wide // narrow
        if wide % narrow or ratio & (ratio - 1):
            raise ValueError(
                f"widths must divide by a power of two, not {write_bytes} and {read_bytes}"
            )
        if capacity_bytes % wide:
            raise ValueError(f"capacity_bytes must be a multiple of {wide}, not {capacity_bytes}")
        self.write_bytes = write_bytes
        self.read_bytes = read_bytes
        self.capacity_bytes = capacity_bytes
        self.banks = ratio
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(range(capacity_bytes // write_bytes)),
                "write_data": In(8 * write_bytes),
                "read_enable": In(1),
                "read_address": In(range(capacity_bytes // read_bytes)),
                "read_data": Out(8 * read_bytes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = 8 * min(self.write_bytes, self.read_bytes)
        depth = self.capacity_bytes // max(self.write_bytes, self.read_bytes)
        select_bits = (self.banks - 1).bit_length()
        bank_write = self.write_bytes < self.read_bytes
        bank_read = self.read_bytes < self.write_bytes
        outputs = []
        for index in range(self.banks):
            bank = add_ram(m, f"bank_{index}", width, depth)
            if bank_write:
                chosen = self.write_address[:select_bits] == index
                m.d.comb += [
                    bank.write_enable.eq(self.write_enable & chosen),
                    bank.write_address.eq(self.write_address[select_bits:]),
                    bank.write_data.eq(self.write_data),
                ]
            else:
                m.d.comb += [
                    bank.write_enable.eq(self.write_enable),
                    bank.write_address.eq(self.write_address),
                    bank.write_data.eq(self.write_data.word_select(index, width)),
                ]
            m.d.comb += [
                bank.read_enable.eq(self.read_enable),
                bank.read_address.eq(
                    self.read_address[select_bits:] if bank_read else self.read_address
                ),
            ]
            outputs.append(bank.read_data)
        if bank_read:
            select = Signal(select_bits)
            with m.If(self.read_enable):
                m.d.sync += select.eq(self.read_address[:select_bits])
            m.d.comb += self.read_data.eq(Cat(outputs).word_select(select, width))
        else:
            m.d.comb += self.read_data.eq(Cat(outputs))
        return m
