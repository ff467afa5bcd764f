"""Load engine: memory lines into the on-chip buffers."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from designs.spec import Design
from hwgen.control.fields import instruction_layout
from hwgen.memory.striped import Burst, ReadBeat
from mapping.isa import FORMS, INSTRUCTION_BITS, Buffer, Opcode

__all__ = ["LoadEngine", "burst_length"]


def burst_length(line, remaining, max_burst):
    """Lines until the next aligned burst boundary or the end, whichever is nearer."""
    to_boundary = max_burst - (line & (max_burst - 1))
    return Mux(remaining < to_boundary, remaining, to_boundary)


class LoadEngine(wiring.Component):
    """Issues read bursts for one instruction while the data of earlier ones is on its way.

    Timing: an instruction accepted in cycle t puts its first burst on ``request`` in t + 1 and
    one a cycle from there; the next instruction is accepted in the cycle of the last burst. A
    line is written to its buffer in the cycle it arrives, and the token is given with the last.

    Members
    -------
    instruction : In(stream of 256 bits)
    compute_tokens : In(1), take_token : Out(1)
        ``wait_downstream``: a slot is free again.
    give_token : Out(1)
        ``signal_downstream``: the data is there.
    request : Out(stream of Burst), data : In(stream of ReadBeat)
    write_enable : Out(3)
        One bit a buffer, in the order of :class:`mapping.isa.Buffer`.
    write_address : Out(24), write_data : Out
        Buffer line, and its content.
    waiting : Out(1)
        Held by a missing token.
    weight_beat : Out(1)
        A line of weights or scales arrives in this cycle.
    idle : Out(1)
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION_BITS)),
                "compute_tokens": In(1),
                "take_token": Out(1),
                "give_token": Out(1),
                "request": Out(stream.Signature(Burst())),
                "data": In(stream.Signature(ReadBeat(design.line_bytes))),
                "write_enable": Out(len(Buffer)),
                "write_address": Out(24),
                "write_data": Out(8 * design.line_bytes),
                "waiting": Out(1),
                "weight_beat": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        form = FORMS[Opcode.LOAD]
        width = {field.name: field.bits for field in form.fields}
        word = data.View(instruction_layout(Opcode.LOAD), self.instruction.payload)
        transfer = data.StructLayout(
            {"buffer": 2, "line": width["buffer_line"], "lines": width["lines"], "signal": 1}
        )
        m.submodules.in_flight = in_flight = SyncFIFO(
            width=transfer.size, depth=self.design.control.loads_in_flight
        )

        # Issue side: address bursts.
        active = Signal()
        line = Signal(width["dram_line"])
        remaining = Signal(width["lines"])
        length = Signal(9)
        last_issued, ready, token_ready, accept = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            length.eq(burst_length(line, remaining, self.design.dram.max_burst_beats)),
            self.request.valid.eq(active),
            self.request.payload.line.eq(line),
            self.request.payload.length.eq(length - 1),
            last_issued.eq(active & self.request.ready & (remaining == length)),
            token_ready.eq(~word.wait_downstream | self.compute_tokens),
            ready.eq((~active | last_issued) & in_flight.w_rdy & token_ready),
            accept.eq(self.instruction.valid & ready),
            self.instruction.ready.eq(ready),
            self.take_token.eq(accept & word.wait_downstream),
            self.waiting.eq(self.instruction.valid & ~active & ~token_ready),
        ]
        with m.If(active & self.request.ready):
            m.d.sync += [line.eq(line + length), remaining.eq(remaining - length)]
        with m.If(last_issued):
            m.d.sync += active.eq(0)
        with m.If(accept):
            m.d.sync += [active.eq(1), line.eq(word.dram_line), remaining.eq(word.lines)]

        # Receive side: lines into the buffer of the oldest instruction in flight.
        incoming = data.View(transfer, in_flight.w_data)
        oldest = data.View(transfer, in_flight.r_data)
        received = Signal(width["lines"])
        write, last = Signal(), Signal()
        m.d.comb += [
            in_flight.w_en.eq(accept),
            incoming.buffer.eq(word.buffer),
            incoming.line.eq(word.buffer_line),
            incoming.lines.eq(word.lines),
            incoming.signal.eq(word.signal_downstream),
            self.data.ready.eq(in_flight.r_rdy),
            write.eq(self.data.valid & in_flight.r_rdy),
            last.eq(write & (received + 1 == oldest.lines)),
            in_flight.r_en.eq(last),
            self.give_token.eq(last & oldest.signal),
            self.write_address.eq(oldest.line + received),
            self.write_data.eq(self.data.payload.data),
            self.weight_beat.eq(write & (oldest.buffer != Buffer.ACTIVATION)),
            self.idle.eq(~active & ~self.instruction.valid & ~in_flight.r_rdy),
        ]
        for buffer in Buffer:
            m.d.comb += self.write_enable[buffer].eq(write & (oldest.buffer == buffer))
        with m.If(write):
            m.d.sync += received.eq(received + 1)
        with m.If(last):
            m.d.sync += received.eq(0)
        return m
