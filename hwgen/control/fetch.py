"""Instruction fetch: reads blocks ahead, dispatches in program order."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import INSTRUCTION_BYTES, Design
from hwgen.memory.buffer import Buffer
from hwgen.memory.striped import Burst, ReadBeat
from mapping.isa import INSTRUCTION_BITS, Opcode

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Keeps up to ``control.fetch_blocks`` blocks of instructions on chip.

    Timing: an instruction whose last byte arrives in cycle t is dispatched in t + 2 at the
    earliest, one a cycle, and is visible to its engine the cycle after (its queue).

    Members
    -------
    start : In(1)
        Begins a program; ``program_line`` and ``program_blocks`` are sampled.
    program_line : In(32)
        First memory line; a multiple of ``design.fetch_block_lines``.
    program_blocks : In(32)
        Blocks to fetch, at least 1.
    request : Out(stream of Burst), data : In(stream of ReadBeat)
    load, compute, store : Out(stream of 256 bits)
    ended : Out(1)
        END has been dispatched and every block has been drained.
    bad_opcode : Out(1)
        High for a cycle when an unknown instruction is dropped.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        word = stream.Signature(INSTRUCTION_BITS)
        super().__init__(
            {
                "start": In(1),
                "program_line": In(32),
                "program_blocks": In(32),
                "request": Out(stream.Signature(Burst())),
                "data": In(stream.Signature(ReadBeat(design.line_bytes))),
                "load": Out(word),
                "compute": Out(word),
                "store": Out(word),
                "ended": Out(1),
                "bad_opcode": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self.design
        ring_blocks = design.control.fetch_blocks
        capacity = ring_blocks * design.fetch_block_bytes
        m.submodules.ring = ring = Buffer(design.line_bytes, INSTRUCTION_BYTES, capacity)
        instructions = capacity // INSTRUCTION_BYTES
        lines = capacity // design.line_bytes

        # Requests: one block each, while the ring has room for it.
        line = Signal(32)
        blocks_left = Signal(32)
        blocks_held = Signal(range(ring_blocks + 1))
        block_done = Signal()
        take = Signal()
        m.d.comb += [
            self.request.valid.eq((blocks_left != 0) & (blocks_held != ring_blocks)),
            self.request.payload.line.eq(line),
            self.request.payload.length.eq(design.fetch_block_lines - 1),
            take.eq(self.request.valid & self.request.ready),
        ]
        m.d.sync += blocks_held.eq(blocks_held + take - block_done)
        with m.If(take):
            m.d.sync += [line.eq(line + design.fetch_block_lines), blocks_left.eq(blocks_left - 1)]

        # Data into the ring; pointers carry one bit more than the address.
        written = Signal(range(2 * lines))
        read = Signal(range(2 * instructions))
        m.d.comb += [
            self.data.ready.eq(1),
            ring.write_enable.eq(self.data.valid),
            ring.write_address.eq(written),
            ring.write_data.eq(self.data.payload.data),
        ]
        with m.If(self.data.valid):
            m.d.sync += written.eq(written + 1)
        if instructions >= lines:
            arrived = written << (instructions // lines).bit_length() - 1
        else:
            arrived = written[(lines // instructions).bit_length() - 1 :]
        waiting = Signal()
        m.d.comb += waiting.eq(arrived != read)

        # Dispatch: the word on the ring's output goes to its engine.
        valid = Signal()
        dispatched = Signal()
        advance = Signal()
        word = ring.read_data
        opcode = word[:4]
        m.d.comb += [
            advance.eq(~valid | dispatched),
            ring.read_enable.eq(waiting & advance),
            ring.read_address.eq(read),
        ]
        with m.If(advance):
            m.d.sync += valid.eq(waiting)
        with m.If(ring.read_enable):
            m.d.sync += read.eq(read + 1)
        engines = {
            Opcode.LOAD: self.load,
            Opcode.MATMUL: self.compute,
            Opcode.STORE: self.store,
        }
        end_seen = Signal()
        with m.Switch(opcode):
            for code, queue in engines.items():
                with m.Case(code):
                    m.d.comb += [queue.valid.eq(valid), dispatched.eq(valid & queue.ready)]
            with m.Case(Opcode.NOP):
                m.d.comb += dispatched.eq(valid)
            with m.Case(Opcode.END):
                m.d.comb += dispatched.eq(valid)
                with m.If(valid):
                    m.d.sync += end_seen.eq(1)
            with m.Default():
                m.d.comb += [dispatched.eq(valid), self.bad_opcode.eq(valid)]
        for queue in engines.values():
            m.d.comb += queue.payload.eq(word)

        in_block = Signal(range(design.fetch_block_instructions))
        m.d.comb += block_done.eq(dispatched & in_block.all())
        with m.If(dispatched):
            m.d.sync += in_block.eq(in_block + 1)
        m.d.comb += self.ended.eq(end_seen & (blocks_left == 0) & (blocks_held == 0))

        with m.If(self.start):
            m.d.sync += [
                line.eq(self.program_line),
                blocks_left.eq(self.program_blocks),
                end_seen.eq(0),
            ]
        return m
