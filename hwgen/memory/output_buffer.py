"""The buffer of finished tiles: written a tile at a time, read a line at a time."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.memory.buffer import Buffer
from hwgen.shared import shared

__all__ = ["OutputBuffer"]


class OutputBuffer(wiring.Component):
    """A `Buffer` for each row of a tile, read as one: tile, row, line of the row.

    A tile has as many bits as a unit has sums, more than one signal may have; a row has not.

    Parameters
    ----------
    rows : int
        Rows of a tile; a power of two.
    row_bytes, line_bytes : int
        Bytes of a row, and of what is read at a time; the former a power of two times the latter.
    capacity_bytes : int
        A multiple of ``rows * row_bytes``.

    Members
    -------
    write_enable : In(1), write_address : In, write_data : In(8 * row_bytes) x rows
        Writes a tile at the end of the cycle.
    read_enable : In(1), read_address : In
        Starts a read of a line.
    read_data : Out(8 * line_bytes)
        The line read last; valid one cycle after ``read_enable`` and held until the next.

    Attributes
    ----------
    latency : int
        1 cycle from ``read_enable`` to ``read_data``.
    """

    latency = Buffer.latency

    def __init__(self, rows: int, row_bytes: int, line_bytes: int, capacity_bytes: int) -> None:
        self.rows, self.row_bytes, self.line_bytes = rows, row_bytes, line_bytes
        self.capacity_bytes = capacity_bytes
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(range(capacity_bytes // (rows * row_bytes))),
                "write_data": In(8 * row_bytes).array(rows),
                "read_enable": In(1),
                "read_address": In(range(capacity_bytes // line_bytes)),
                "read_data": Out(8 * line_bytes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        line_bits = (self.row_bytes // self.line_bytes - 1).bit_length()
        row_bits = (self.rows - 1).bit_length()
        line, row = self.read_address[:line_bits], self.read_address[line_bits:][:row_bits]
        tile = self.read_address[line_bits + row_bits :]
        outputs = []
        for index in range(self.rows):
            part = shared(Buffer, self.row_bytes, self.line_bytes, self.capacity_bytes // self.rows)
            m.submodules[f"row_{index}"] = part
            m.d.comb += [
                part.write_enable.eq(self.write_enable),
                part.write_address.eq(self.write_address),
                part.write_data.eq(self.write_data[index]),
                part.read_enable.eq(self.read_enable),
                part.read_address.eq(Cat(line, tile)),
            ]
            outputs.append(part.read_data)
        if self.rows == 1:
            m.d.comb += self.read_data.eq(outputs[0])
            return m
        select = Signal(row_bits)
        with m.If(self.read_enable):
            m.d.sync += select.eq(row)
        m.d.comb += self.read_data.eq(Cat(outputs).word_select(select, 8 * self.line_bytes))
        return m
