"""Store engine: finished tiles from the output buffer to memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import Design
from hwgen.control.fields import instruction_layout
from hwgen.engines.load import burst_length
from hwgen.memory.striped import Burst, WriteBeat
from mapping.isa import INSTRUCTION_BITS, Opcode

__all__ = ["StoreEngine"]


class StoreEngine(wiring.Component):
    """Sends one instruction's lines; memory's acknowledgements are counted beside it.

    Timing: an instruction accepted in cycle t offers its first burst in t + 1, later ones one a
    cycle while fewer than ``max_outstanding_writes`` are unacknowledged. The lines of a burst that
    is taken in cycle p are read from p + 1 on, one a cycle, and offered the cycle after. The token
    is given in the cycle the last line is taken, and the next instruction is accepted a cycle
    later at the earliest.

    Members
    -------
    instruction : In(stream of 256 bits)
    compute_tokens : In(1), take_token : Out(1)
        ``wait_upstream``: the tiles are there.
    give_token : Out(1)
        ``signal_upstream``: the lines have left, their place is free again.
    read_enable : Out(1), read_address : Out, read_data : In
        Output buffer, by lines; data one cycle after enable, held.
    request : Out(stream of Burst), data : Out(stream of WriteBeat)
    done : In(stream of 1 bit)
    idle : Out(1)
        Nothing to do, and every burst is acknowledged.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION_BITS)),
                "compute_tokens": In(1),
                "take_token": Out(1),
                "give_token": Out(1),
                "read_enable": Out(1),
                "read_address": Out(range(design.buffers.output_bytes // design.line_bytes)),
                "read_data": In(8 * design.line_bytes),
                "request": Out(stream.Signature(Burst())),
                "data": Out(stream.Signature(WriteBeat(design.line_bytes))),
                "done": In(stream.Signature(1)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        max_burst = self.design.dram.max_burst_beats
        word = data.View(instruction_layout(Opcode.STORE), self.instruction.payload)
        busy, accept, token_ready = Signal(), Signal(), Signal()
        signal = Signal()
        m.d.comb += [
            token_ready.eq(~word.wait_upstream | self.compute_tokens),
            self.instruction.ready.eq(~busy & token_ready),
            accept.eq(self.instruction.valid & self.instruction.ready),
            self.take_token.eq(accept & word.wait_upstream),
        ]
        total = Signal(32)
        m.d.comb += total.eq(word.tiles * word.lines_per_tile)

        # Addresses.
        line = Signal(32)
        remaining = Signal(32)
        length = Signal(9)
        unacknowledged = Signal(range(self.design.dram.max_outstanding_writes + 1))
        room = Signal()
        request_take = Signal()
        m.d.comb += [
            length.eq(burst_length(line, remaining, max_burst)),
            room.eq(unacknowledged != self.design.dram.max_outstanding_writes),
            self.request.valid.eq(busy & (remaining != 0) & room),
            self.request.payload.line.eq(line),
            self.request.payload.length.eq(length - 1),
            request_take.eq(self.request.valid & self.request.ready),
            self.done.ready.eq(1),
            self.idle.eq(~busy & ~self.instruction.valid & (unacknowledged == 0)),
        ]
        m.d.sync += unacknowledged.eq(unacknowledged + request_take - self.done.valid)
        with m.If(request_take):
            m.d.sync += [line.eq(line + length), remaining.eq(remaining - length)]

        # Lines: read one ahead of the write stream, never ahead of their burst's address.
        to_read = Signal(32)
        addressed = Signal(32)  # lines whose burst has been taken and that are not yet read
        read_line = Signal(32)  # memory line of the read, for the burst boundary
        tile_base = Signal.like(self.read_address)
        in_tile = Signal(16)
        tile_lines = Signal(16)
        offered, advance, read = Signal(), Signal(), Signal()
        tile_end = Signal()
        boundary = Signal()
        m.d.comb += [
            advance.eq(~offered | self.data.ready),
            read.eq((addressed != 0) & advance),
            self.read_enable.eq(read),
            self.read_address.eq(tile_base + in_tile),
            tile_end.eq(in_tile + 1 == tile_lines),
            boundary.eq((read_line & (max_burst - 1)) == max_burst - 1),
            self.data.valid.eq(offered),
            self.data.payload.data.eq(self.read_data),
        ]
        m.d.sync += addressed.eq(addressed + Mux(request_take, length, 0) - read)
        with m.If(advance):
            m.d.sync += offered.eq(read)
        with m.If(read):
            m.d.sync += [
                self.data.payload.last.eq(boundary | (to_read == 1)),
                to_read.eq(to_read - 1),
                read_line.eq(read_line + 1),
                in_tile.eq(in_tile + 1),
            ]
            with m.If(tile_end):
                m.d.sync += [in_tile.eq(0), tile_base.eq(tile_base + self.design.tile_lines)]

        finished = Signal()
        m.d.comb += [
            finished.eq(busy & (to_read == 0) & offered & self.data.ready),
            self.give_token.eq(finished & signal),
        ]
        with m.If(finished):
            m.d.sync += busy.eq(0)
        with m.If(accept):
            m.d.sync += [
                busy.eq(1),
                signal.eq(word.signal_upstream),
                line.eq(word.dram_line),
                remaining.eq(total),
                to_read.eq(total),
                read_line.eq(word.dram_line),
                tile_base.eq(word.tile * self.design.tile_lines),
                in_tile.eq(0),
                tile_lines.eq(word.lines_per_tile),
            ]
        return m
