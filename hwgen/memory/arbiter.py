"""Instruction fetch and load engine share the read side of memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from designs.spec import Dram
from hwgen.memory.striped import Burst, ReadBeat

__all__ = ["ReadArbiter"]


class ReadArbiter(wiring.Component):
    """Fixed priority: a fetch goes before a load. Data returns in request order.

    Parameters
    ----------
    dram : Dram
        ``max_outstanding_reads`` bounds the bursts in flight.

    Members
    -------
    fetch_request, load_request : In(stream of Burst)
    request : Out(stream of Burst)
        To memory. May change its payload while it waits: the memory's fork takes it in the cycle
        it is ready, so the ports that leave the chip never see that.
    data : In(stream of ReadBeat)
        From memory.
    fetch_data, load_data : Out(stream of ReadBeat)
    idle : Out(1)
        No burst in flight.
    """

    def __init__(self, dram: Dram) -> None:
        self.dram = dram
        beat = ReadBeat(dram.line_bytes)
        super().__init__(
            {
                "fetch_request": In(stream.Signature(Burst())),
                "load_request": In(stream.Signature(Burst())),
                "request": Out(stream.Signature(Burst())),
                "data": In(stream.Signature(beat)),
                "fetch_data": Out(stream.Signature(beat)),
                "load_data": Out(stream.Signature(beat)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.owners = owners = SyncFIFO(width=1, depth=self.dram.max_outstanding_reads)
        fetch, load = self.fetch_request, self.load_request
        fetch_turn = fetch.valid
        grant = Signal()
        m.d.comb += [
            self.request.valid.eq((fetch.valid | load.valid) & owners.w_rdy),
            self.request.payload.eq(Mux(fetch_turn, fetch.payload, load.payload)),
            grant.eq(self.request.ready & owners.w_rdy),
            fetch.ready.eq(grant),
            load.ready.eq(grant & ~fetch_turn),
            owners.w_en.eq(self.request.valid & self.request.ready),
            owners.w_data.eq(fetch_turn),
        ]
        to_fetch = owners.r_data
        m.d.comb += [
            self.fetch_data.payload.eq(self.data.payload),
            self.load_data.payload.eq(self.data.payload),
            self.fetch_data.valid.eq(self.data.valid & owners.r_rdy & to_fetch),
            self.load_data.valid.eq(self.data.valid & owners.r_rdy & ~to_fetch),
            self.data.ready.eq(
                owners.r_rdy & Mux(to_fetch, self.fetch_data.ready, self.load_data.ready)
            ),
            owners.r_en.eq(self.data.valid & self.data.ready & self.data.payload.last),
            self.idle.eq(~owners.r_rdy),
        ]
        return m
