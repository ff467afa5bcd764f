"""Instruction fetch: reads blocks ahead, dispatches in program order."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import INSTRUCTION_BYTES, Design
from designs.units.base import CODE_TYPES, CODE_WIDTHS
from hwgen.control.fields import instruction_layout
from hwgen.memory.buffer import Buffer
from hwgen.memory.striped import Burst, ReadBeat
from mapping.isa import INSTRUCTION_BITS, Opcode
from mapping.isa import Buffer as BufferId

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Keeps up to ``control.fetch_blocks`` blocks of instructions on chip.

    Whatever follows END is dropped. An unknown opcode, an instruction that says to do nothing or
    the impossible, a memory error in a block, the end of all blocks without END, and ``abort``
    put the program out: everything not yet accepted by an engine is dropped.

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
        The program is over and every block has been drained.
    running, abort : In(1)
        From the control port.
    aborting : Out(1)
        The program has been put out; stays high until the next start.
    bad_program : Out(1)
        High for a cycle when an instruction is refused or END is missing.
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
                "running": In(1),
                "abort": In(1),
                "aborting": Out(1),
                "bad_program": Out(1),
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
        drop = Signal()
        refused = Signal()
        m.d.comb += drop.eq(end_seen | self.aborting)
        with m.Switch(opcode):
            for code, queue in engines.items():
                with m.Case(code):
                    m.d.comb += [
                        refused.eq(self._impossible(code, word)),
                        queue.valid.eq(valid & ~drop & ~refused),
                        dispatched.eq(valid & (queue.ready | drop | refused)),
                    ]
            with m.Case(Opcode.NOP):
                m.d.comb += dispatched.eq(valid)
            with m.Case(Opcode.END):
                m.d.comb += dispatched.eq(valid)
                with m.If(valid):
                    m.d.sync += end_seen.eq(1)
            with m.Default():
                m.d.comb += [dispatched.eq(valid), refused.eq(1)]
        for queue in engines.values():
            m.d.comb += queue.payload.eq(word)

        in_block = Signal(range(design.fetch_block_instructions))
        m.d.comb += block_done.eq(dispatched & in_block.all())
        with m.If(dispatched):
            m.d.sync += in_block.eq(in_block + 1)
        drained = Signal()
        m.d.comb += [
            drained.eq((blocks_left == 0) & (blocks_held == 0)),
            self.ended.eq(drained),
            self.bad_program.eq(self.running & ((valid & refused & ~drop) | (drained & ~drop))),
        ]
        fetch_error = self.data.valid & self.data.payload.error
        with m.If(self.abort | self.bad_program | fetch_error):
            # A request that is being offered stays until it is taken.
            m.d.sync += [
                self.aborting.eq(1),
                blocks_left.eq(self.request.valid & ~self.request.ready),
            ]

        with m.If(self.start):
            m.d.sync += [
                line.eq(self.program_line),
                blocks_left.eq(self.program_blocks),
                end_seen.eq(0),
                self.aborting.eq(0),
            ]
        return m

    def _impossible(self, opcode: Opcode, word):
        """An instruction no engine could carry out: it would never end."""
        view = data.View(instruction_layout(opcode), word)
        if opcode is Opcode.LOAD:
            return (view.lines == 0) | (view.buffer >= len(BufferId))
        if opcode is Opcode.STORE:
            return (view.tiles == 0) | (view.lines_per_tile == 0)
        unit = self.design.unit
        counts = (view.n_tiles, view.m_tiles, view.k_steps, view.group_steps, view.planes)
        widths = Cat(view.weight_bits == bits for bits in unit.weight_bits)
        wrong = Cat(count == 0 for count in counts).any() | ~widths.any()
        known = [CODE_TYPES.index(name) for name in unit.weight_types]
        wrong = wrong | ~Cat(view.code_type == number for number in known).any()
        for name, widths in CODE_WIDTHS.items():
            others = [bits for bits in unit.weight_bits if bits not in widths]
            if name in unit.weight_types and others:
                fits = ~Cat(view.weight_bits == bits for bits in others).any()
                wrong = wrong | ((view.code_type == CODE_TYPES.index(name)) & ~fits)
        if "bipolar" not in unit.weight_types:
            wrong = wrong | (view.planes != 1)
        if unit.has_special_values:
            floating = view.code_type >= CODE_TYPES.index("float")
            wrong = wrong | (view.special & ~(view.scaled & floating))
        else:
            wrong = wrong | view.special
        for bits in unit.weight_bits:
            short = view.group_steps < unit.least_steps(bits)
            if unit.step_grain(bits) > 1:
                short = short | view.group_steps[0]
            if unit.least_steps(bits) > 1:
                wrong = wrong | ((view.weight_bits == bits) & short)
        if unit.activation_formats == ("int8",):
            wrong = wrong | view.half
        if unit.activation_formats == ("fp16",):
            wrong = wrong | ~view.half
        return wrong
