"""The whole accelerator: engines, buffers, unit, memory ports and control.

::

    AXI4 x channels <-> striped memory <-> read arbiter -> fetch -> instruction queues
                             ^                  |                    |     |      |
                             |                  v                    v     v      v
                             |                load -> buffers -> compute -> unit  |
                             |                                       accumulate   |
                             +------------ store <- output buffer <------+  ^-----+
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Out, connect

from designs.spec import Design
from hwgen.control.fetch import Fetch
from hwgen.control.registers import ControlPort, axi4_lite_members
from hwgen.control.tokens import TokenCounter
from hwgen.engines.accumulate import Accumulate
from hwgen.engines.compute import ComputeEngine, PassDescriptor
from hwgen.engines.load import LoadEngine
from hwgen.engines.store import StoreEngine
from hwgen.memory.arbiter import ReadArbiter
from hwgen.memory.axi import axi4_members
from hwgen.memory.buffer import Buffer
from hwgen.memory.output_buffer import OutputBuffer
from hwgen.memory.striped import StripedMemory
from hwgen.units import UNITS
from mapping.isa import INSTRUCTION_BITS
from mapping.isa import Buffer as BufferId

__all__ = ["Accelerator", "top_ports"]

CONTROL_PREFIX = "s_axil_"


def channel_prefix(channel: int) -> str:
    """Port prefix of one memory channel, e.g. ``m_axi_0_``."""
    return f"m_axi_{channel}_"


def top_ports(design: Design) -> dict[str, wiring.Member]:
    """Every port of the accelerator but clock and reset, by its Verilog name."""
    ports = {CONTROL_PREFIX + name: member for name, member in axi4_lite_members().items()}
    for channel in range(design.dram.channels):
        for name, member in axi4_members(design.dram.data_bytes).items():
            ports[channel_prefix(channel) + name] = member
    return ports


class Accelerator(wiring.Component):
    """Top level; ports as in :func:`top_ports`, one clock ``clk``, synchronous reset ``rst``.

    Parameters
    ----------
    design : Design
        The design file; nothing else sets a width, a depth or a latency.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(top_ports(design))

    def elaborate(self, platform):
        m = Module()
        design, unit_spec = self.design, self.design.unit
        line = design.line_bytes
        m.submodules.control = control = ControlPort(design)
        m.submodules.memory = memory = StripedMemory(design.dram)
        m.submodules.arbiter = arbiter = ReadArbiter(design.dram)
        m.submodules.fetch = fetch = Fetch(design)
        m.submodules.load = load = LoadEngine(design)
        m.submodules.compute = compute = ComputeEngine(design)
        m.submodules.unit = unit = UNITS[unit_spec.kind](unit_spec)
        m.submodules.accumulate = accumulate = Accumulate(design)
        m.submodules.store = store = StoreEngine(design)
        self._pins(m, control, memory)

        # Memory streams.
        connect(m, fetch.request, arbiter.fetch_request)
        connect(m, load.request, arbiter.load_request)
        connect(m, arbiter.request, memory.read_request)
        connect(m, memory.read_data, arbiter.data)
        connect(m, arbiter.fetch_data, fetch.data)
        connect(m, arbiter.load_data, load.data)
        connect(m, store.request, memory.write_request)
        connect(m, store.data, memory.write_data)
        connect(m, memory.write_done, store.done)

        # Instruction queues.
        for name, engine in (("load", load), ("compute", compute), ("store", store)):
            queue = SyncFIFO(width=INSTRUCTION_BITS, depth=design.control.queue_depth)
            m.submodules[f"{name}_queue"] = queue
            connect(m, getattr(fetch, name), queue.w_stream)
            # An aborted program loses the instructions no engine has accepted yet.
            m.d.comb += [
                engine.instruction.payload.eq(queue.r_data),
                engine.instruction.valid.eq(queue.r_rdy & ~fetch.aborting),
                queue.r_en.eq(engine.instruction.ready | fetch.aborting),
            ]

        # Tokens between neighbours.
        tokens = {}
        for name in ("load_to_compute", "compute_to_load", "compute_to_store", "store_to_compute"):
            m.submodules[name] = tokens[name] = TokenCounter()
            m.d.comb += tokens[name].clear.eq(control.start)
        m.d.comb += [
            tokens["load_to_compute"].give.eq(load.give_token),
            compute.load_tokens.eq(tokens["load_to_compute"].available),
            tokens["load_to_compute"].take.eq(compute.take_load_token),
            tokens["compute_to_load"].give.eq(compute.give_load_token),
            load.compute_tokens.eq(tokens["compute_to_load"].available),
            tokens["compute_to_load"].take.eq(load.take_token),
            tokens["compute_to_store"].give.eq(accumulate.give_token),
            store.compute_tokens.eq(tokens["compute_to_store"].available),
            tokens["compute_to_store"].take.eq(store.take_token),
            tokens["store_to_compute"].give.eq(store.give_token),
            compute.store_tokens.eq(tokens["store_to_compute"].available),
            tokens["store_to_compute"].take.eq(compute.take_store_token),
        ]

        # Buffers.
        sizes = design.buffers
        m.submodules.activation_buffer = activations = Buffer(
            line, unit_spec.activation_word_bytes, sizes.activation_bytes
        )
        m.submodules.weight_buffer = weights = Buffer(
            line, unit_spec.weight_word_bytes, sizes.weight_bytes
        )
        m.submodules.scale_buffer = scales = Buffer(
            line, unit_spec.scale_word_bytes, sizes.scale_bytes
        )
        m.submodules.output_buffer = outputs = OutputBuffer(
            unit_spec.lanes_m, design.row_lines * line, line, sizes.output_bytes
        )
        for buffer, buffer_id, enable, address in (
            (
                activations,
                BufferId.ACTIVATION,
                compute.activation_enable,
                compute.activation_address,
            ),
            (weights, BufferId.WEIGHT, compute.weight_enable, compute.weight_address),
            (scales, BufferId.SCALE, compute.scale_enable, compute.scale_address),
        ):
            m.d.comb += [
                buffer.write_enable.eq(load.write_enable[buffer_id]),
                buffer.write_address.eq(load.write_address),
                buffer.write_data.eq(load.write_data),
                buffer.read_enable.eq(enable),
                buffer.read_address.eq(address),
            ]
        m.d.comb += [
            outputs.write_enable.eq(accumulate.write_enable),
            outputs.write_address.eq(accumulate.write_address),
            *(
                own.eq(row)
                for own, row in zip(outputs.write_data, accumulate.write_data, strict=True)
            ),
            outputs.read_enable.eq(store.read_enable),
            outputs.read_address.eq(store.read_address),
            store.read_data.eq(outputs.read_data),
        ]

        # Unit: control and the words on the buffer outputs move together.
        word, tokens_word = weights.read_data, activations.read_data
        if min(unit_spec.weight_bits) < unit_spec.weight_word_bits:
            word = Mux(compute.upper_weights, word[len(word) // 2 :], word)
        if len(unit_spec.activation_formats) > 1:
            upper = tokens_word[len(tokens_word) // 2 :]
            tokens_word = Mux(compute.upper_activations, upper, tokens_word)
        step = compute.control.payload
        connect(m, compute.control, unit.control)
        m.d.comb += [
            unit.activations.valid.eq(compute.control.valid & (step.beat == 0)),
            unit.activations.payload.eq(tokens_word),
            unit.weights.valid.eq(compute.control.valid & compute.weight_word),
            unit.weights.payload.eq(word),
            unit.scales.valid.eq(
                compute.control.valid & ((step.group_last & step.scaled) | step.identify)
            ),
            unit.scales.payload.eq(scales.read_data),
        ]

        # Passes in flight: read, but their sums not yet accumulated.
        passes = SyncFIFO(width=PassDescriptor().size, depth=self._pass_depth())
        m.submodules.pass_queue = passes
        m.d.comb += [
            passes.w_data.eq(compute.passes.payload.as_value()),
            passes.w_en.eq(compute.passes.valid),
            compute.passes.ready.eq(passes.w_rdy),
            accumulate.passes.payload.as_value().eq(passes.r_data),
            accumulate.passes.valid.eq(passes.r_rdy),
            passes.r_en.eq(accumulate.passes.ready),
        ]
        # The descriptor of a pass is always there before its sums, so they never wait: a constant
        # ready keeps the stall logic of the unit out of its clock enables.
        m.d.comb += [
            accumulate.sums.valid.eq(unit.sums.valid),
            accumulate.sums.payload.eq(unit.sums.payload),
            unit.sums.ready.eq(1),
        ]

        # Control and counters.
        read_line, write_line = Signal(), Signal()
        m.d.comb += [
            fetch.start.eq(control.start),
            fetch.program_line.eq(control.program_line),
            fetch.program_blocks.eq(control.program_blocks),
            control.finished.eq(
                fetch.ended & arbiter.idle & load.idle & compute.idle & accumulate.idle & store.idle
            ),
            read_line.eq(memory.read_data.valid & memory.read_data.ready),
            write_line.eq(memory.write_data.valid & memory.write_data.ready),
            control.memory_error.eq(
                (read_line & memory.read_data.payload.error)
                | (memory.write_done.valid & memory.write_done.payload)
            ),
            control.bad_program.eq(fetch.bad_program),
            control.aborted.eq(fetch.aborting),
            fetch.abort.eq(control.abort),
            fetch.running.eq(control.running),
            control.count_compute_busy.eq(compute.busy),
            control.count_compute_wait_load.eq(compute.wait_load),
            control.count_compute_wait_store.eq(compute.wait_store),
            control.count_load_wait_compute.eq(load.waiting),
            control.count_read_lines.eq(read_line),
            control.count_write_lines.eq(write_line),
            control.count_weight_lines.eq(load.weight_beat),
        ]
        return m

    def _pass_depth(self) -> int:
        """Enough for one pass a cycle through the unit, so that the queue never stalls compute."""
        return 1 << (self.design.unit.latency + 4).bit_length()

    def _pins(self, m, control, memory):
        """Flat ports to the control port and the memory channels."""
        groups = [(CONTROL_PREFIX, axi4_lite_members(), control.bus)]
        for index in range(self.design.dram.channels):
            members = axi4_members(self.design.dram.data_bytes)
            groups.append((channel_prefix(index), members, memory.channel[index]))
        for prefix, members, bus in groups:
            for name, member in members.items():
                pin, inner = getattr(self, prefix + name), getattr(bus, name)
                m.d.comb += pin.eq(inner) if member.flow == Out else inner.eq(pin)
