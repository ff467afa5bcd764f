"""Sums of a pass plus the partial sums of earlier chunks of the reduction."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import Design
from hwgen.engines.compute import PassDescriptor
from hwgen.memory.ram import add_ram

__all__ = ["Accumulate"]


class Accumulate(wiring.Component):
    """Adds, keeps, or hands on one tile of sums a cycle; never stalls.

    Timing: sums taken in cycle t are written in t + 1, to the partial-sum memory or to the output
    buffer; the store engine's token is given in t + 1.

    Members
    -------
    sums : In(stream of lanes_m * lanes_n sums)
    passes : In(stream of PassDescriptor)
        One transfer with each transfer of ``sums``.
    write_enable : Out(1), write_address : Out(16), write_data : Out x lanes_m
        A finished tile by rows: each row's sums sign-extended to ``result_bytes`` and padded to
        lines.
    give_token : Out(1)
    idle : Out(1)

    Attributes
    ----------
    latency : int
        1 cycle from ``sums`` to the write.
    """

    latency = 1

    def __init__(self, design: Design) -> None:
        self.design = design
        unit = design.unit
        self.sum_bits = unit.accumulator_bits
        super().__init__(
            {
                "sums": In(stream.Signature(unit.lanes_m * unit.lanes_n * self.sum_bits)),
                "passes": In(stream.Signature(PassDescriptor())),
                "write_enable": Out(1),
                "write_address": Out(16),
                "write_data": Out(8 * design.row_lines * design.line_bytes).array(unit.lanes_m),
                "give_token": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design, unit, bits = self.design, self.design.unit, self.sum_bits
        lanes = unit.lanes_m * unit.lanes_n
        partials = add_ram(m, "partials", lanes * bits, design.partial_tiles)

        take = Signal()
        valid = Signal()
        sums = Signal(lanes * bits, reset_less=True)
        held = Signal(PassDescriptor())
        m.d.comb += [
            take.eq(self.sums.valid & self.passes.valid),
            self.sums.ready.eq(take),
            self.passes.ready.eq(take),
            partials.read_enable.eq(take),
            partials.read_address.eq(self.passes.payload.partial_tile),
        ]
        m.d.sync += valid.eq(take)
        with m.If(take):
            m.d.sync += [sums.eq(self.sums.payload), held.eq(self.passes.payload)]

        # The tile written last is not yet in the memory when the next pass reads it.
        newest = Signal(lanes * bits, reset_less=True)
        newest_tile = Signal(16)
        newest_valid = Signal()
        forward = Signal()
        earlier = Signal(lanes * bits)
        m.d.comb += [
            forward.eq(newest_valid & (newest_tile == held.partial_tile)),
            earlier.eq(Mux(forward, newest, partials.read_data)),
        ]
        totals = []
        for lane in range(lanes):
            total = Signal(bits, name=f"total_{lane}")
            old = Mux(held.accumulate, earlier.word_select(lane, bits), 0)
            m.d.comb += total.eq(sums.word_select(lane, bits) + old)
            totals.append(total)
        keep = Signal()
        m.d.comb += [
            keep.eq(valid & ~held.emit),
            partials.write_enable.eq(keep),
            partials.write_address.eq(held.partial_tile),
            partials.write_data.eq(Cat(totals)),
            self.write_enable.eq(valid & held.emit),
            self.write_address.eq(held.tile),
            self.give_token.eq(valid & held.signal),
            self.idle.eq(~valid & ~self.passes.valid),
        ]
        with m.If(keep):
            m.d.sync += [
                newest.eq(Cat(totals)),
                newest_tile.eq(held.partial_tile),
                newest_valid.eq(1),
            ]

        for row in range(unit.lanes_m):
            results = Cat(
                Cat(total, total[-1].replicate(8 * unit.result_bytes - bits))
                for total in totals[row * unit.lanes_n : (row + 1) * unit.lanes_n]
            )
            m.d.comb += self.write_data[row].eq(results)
        return m
