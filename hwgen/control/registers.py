"""AXI4-Lite control port: configuration registers and counters."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.registers import COUNTERS, REGISTERS, STATUS, register_offset
from designs.spec import Design

__all__ = ["ADDRESS_BITS", "ControlPort", "axi4_lite_members"]

ADDRESS_BITS = 8
"""Width of the control port's byte addresses: 256 bytes of registers."""


def axi4_lite_members() -> dict[str, wiring.Member]:
    """Members of the AXI4-Lite subordinate port (ARM IHI 0022, chapter B1)."""
    return {
        "awaddr": In(ADDRESS_BITS),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(ADDRESS_BITS),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }


class ControlPort(wiring.Component):
    """Start, status, program location and the counters of ``designs.registers``.

    Writes take full words, others get SLVERR; a write to a read-only register is acknowledged and
    ignored. Reads of an address without a register give 0.

    Members
    -------
    bus : In(AXI4-Lite)
    start : Out(1)
        High for one cycle; ignored while a program runs.
    program_line, program_blocks : Out(32)
    finished : In(1)
        All engines have come to rest after END; ends the program.
    running : Out(1)
    abort : Out(1)
        High for one cycle when the host aborts.
    memory_error, bad_program, aborted : In(1)
        Set their status bits.
    count_NAME : In(1)
        Adds one to that counter while running. ``cycles`` counts by itself; ``weight_window``
        counters are fed by ``count_weight_lines``, ``count_read_lines`` and ``count_write_lines``.
    """

    _derived = ("cycles", "weight_window", "weight_window_lines")

    def __init__(self, design: Design) -> None:
        self.design = design
        counted = [c.name for c in COUNTERS if c.name not in self._derived]
        super().__init__(
            {
                "bus": In(wiring.Signature({k: v.flip() for k, v in axi4_lite_members().items()})),
                "start": Out(1),
                "program_line": Out(32),
                "program_blocks": Out(32),
                "finished": In(1),
                "running": Out(1),
                "memory_error": In(1),
                "bad_program": In(1),
                "abort": Out(1),
                "aborted": In(1),
                **{f"count_{name}": In(1) for name in counted},
            }
        )

    def elaborate(self, platform):
        m = Module()
        counters = {c.name: Signal(64, name=f"counter_{c.name}") for c in COUNTERS}
        done = Signal()
        sticky = {
            name: Signal(name=f"status_{name}")
            for name in ("memory_error", "bad_program", "aborted")
        }
        with m.If(self.running):
            for name, counter in counters.items():
                if name not in self._derived:
                    m.d.sync += counter.eq(counter + getattr(self, f"count_{name}"))
            m.d.sync += counters["cycles"].eq(counters["cycles"] + 1)
            for name, bit in sticky.items():
                with m.If(getattr(self, name)):
                    m.d.sync += bit.eq(1)
            with m.If(self.finished):
                m.d.sync += [self.running.eq(0), done.eq(1)]
            self._weight_window(m, counters)
        with m.If(self.start):
            m.d.sync += [self.running.eq(1), done.eq(0)]
            m.d.sync += [bit.eq(0) for bit in sticky.values()]
            m.d.sync += [counter.eq(0) for counter in counters.values()]

        bits = {"running": self.running, "done": done, **sticky}
        status = Cat(bits[name] for name in sorted(STATUS, key=STATUS.__getitem__))
        values = {
            "status": status,
            "program_line": self.program_line,
            "program_blocks": self.program_blocks,
            "design_hash": int(self.design.digest[:8], 16),
            "line_bytes": self.design.line_bytes,
            "fetch_block_lines": self.design.fetch_block_lines,
            **counters,
        }
        self._read_side(m, values)
        self._write_side(m)
        return m

    def _weight_window(self, m, counters):
        """Cycles and lines since the first weight line, taken over with every weight line."""
        begun = Signal()
        cycles, lines = Signal(64), Signal(64)
        now_cycles, now_lines = Signal(64), Signal(64)
        m.d.comb += [
            now_cycles.eq(cycles + 1),
            now_lines.eq(lines + self.count_read_lines + self.count_write_lines),
        ]
        with m.If(begun | self.count_weight_lines):
            m.d.sync += [begun.eq(1), cycles.eq(now_cycles), lines.eq(now_lines)]
        with m.If(self.count_weight_lines):
            m.d.sync += [
                counters["weight_window"].eq(now_cycles),
                counters["weight_window_lines"].eq(now_lines),
            ]
        with m.If(self.finished):
            m.d.sync += [begun.eq(0), cycles.eq(0), lines.eq(0)]

    def _read_side(self, m, values):
        bus = self.bus
        m.d.comb += bus.arready.eq(~bus.rvalid | bus.rready)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(bus.araddr[2:]):
                for register in REGISTERS:
                    if register.name not in values:
                        continue
                    for part in range(register.bits // 32):
                        with m.Case(register_offset(register.name) // 4 + part):
                            value = values[register.name]
                            word = value if isinstance(value, int) else value[32 * part :][:32]
                            m.d.sync += bus.rdata.eq(word)

    def _write_side(self, m):
        bus = self.bus
        take = Signal()
        full_word = Signal()
        m.d.comb += [
            take.eq(bus.awvalid & bus.wvalid & (~bus.bvalid | bus.bready)),
            bus.awready.eq(take),
            bus.wready.eq(take),
            full_word.eq(bus.wstrb.all()),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(take):
            m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(Mux(full_word, 0b00, 0b10))]
        with m.If(take & full_word), m.Switch(bus.awaddr[2:]):
            with m.Case(register_offset("control") // 4):
                m.d.comb += [
                    self.start.eq(bus.wdata[0] & ~self.running),
                    self.abort.eq(bus.wdata[1] & self.running),
                ]
            for name in ("program_line", "program_blocks"):
                with m.Case(register_offset(name) // 4):
                    m.d.sync += getattr(self, name).eq(bus.wdata)
