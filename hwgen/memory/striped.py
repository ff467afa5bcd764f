"""Many AXI4 channels as one wide memory: every burst goes to all channels at the same address."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import Dram
from hwgen.memory.axi import axi4_signature

__all__ = ["Burst", "Fork", "ReadBeat", "StripedMemory", "WriteBeat"]


class Burst(data.StructLayout):
    """A request: ``line`` is the first memory line, ``length`` the number of lines less one."""

    def __init__(self) -> None:
        super().__init__({"line": 32, "length": 8})


class ReadBeat(data.StructLayout):
    """One line read; ``last`` ends the burst, ``error`` is set when any channel says so."""

    def __init__(self, line_bytes: int) -> None:
        super().__init__({"data": 8 * line_bytes, "last": 1, "error": 1})


class WriteBeat(data.StructLayout):
    """One line to write; ``last`` ends the burst."""

    def __init__(self, line_bytes: int) -> None:
        super().__init__({"data": 8 * line_bytes, "last": 1})


class Fork(wiring.Component):
    """One stream to ``ways`` registered copies, each taken when its consumer is ready.

    Members
    -------
    input : In(stream)
    valid : Out(ways), ready : In(ways)
        Handshake of each copy.
    payload : Out
        The payload all copies share.

    Attributes
    ----------
    latency : int
        1 cycle; initiation interval 1 while all consumers are ready.
    """

    latency = 1

    def __init__(self, shape, ways: int) -> None:
        super().__init__(
            {
                "input": In(stream.Signature(shape)),
                "valid": Out(ways),
                "ready": In(ways),
                "payload": Out(shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        open_copies = Signal.like(self.valid)
        m.d.comb += [
            open_copies.eq(self.valid & ~self.ready),
            self.input.ready.eq(~open_copies.any()),
        ]
        m.d.sync += self.valid.eq(open_copies)
        with m.If(self.input.valid & self.input.ready):
            m.d.sync += [self.valid.eq(~0), self.payload.eq(self.input.payload)]
        return m


class StripedMemory(wiring.Component):
    """Turns line bursts into AXI4 bursts on every channel, and joins the answers.

    Parameters
    ----------
    dram : Dram
        Channel count and width.

    Members
    -------
    read_request, write_request : In(stream of Burst)
        Bursts must stay inside ``dram.max_burst_beats`` lines of an aligned block of that size.
    read_data : Out(stream of ReadBeat)
        Lines in the order they were requested.
    write_data : In(stream of WriteBeat)
    write_done : Out(stream of 1 bit)
        One transfer a burst, when all channels have acknowledged it; payload 1 is an error.
    channel : Out(AXI4) array
    """

    def __init__(self, dram: Dram) -> None:
        self.dram = dram
        line = dram.line_bytes
        super().__init__(
            {
                "read_request": In(stream.Signature(Burst())),
                "read_data": Out(stream.Signature(ReadBeat(line))),
                "write_request": In(stream.Signature(Burst())),
                "write_data": In(stream.Signature(WriteBeat(line))),
                "write_done": Out(stream.Signature(1)),
                "channel": Out(axi4_signature(dram.data_bytes)).array(dram.channels),
            }
        )

    def elaborate(self, platform):
        m = Module()
        ways, width = self.dram.channels, 8 * self.dram.data_bytes
        size = (self.dram.data_bytes - 1).bit_length()
        channels = [self.channel[index] for index in range(ways)]

        m.submodules.read_fork = read = Fork(Burst(), ways)
        m.submodules.write_fork = write = Fork(Burst(), ways)
        m.submodules.data_fork = beat = Fork(WriteBeat(self.dram.line_bytes), ways)
        wiring.connect(m, wiring.flipped(self.read_request), read.input)
        wiring.connect(m, wiring.flipped(self.write_request), write.input)
        wiring.connect(m, wiring.flipped(self.write_data), beat.input)

        for index, port in enumerate(channels):
            for fork, prefix in ((read, "ar"), (write, "aw")):
                pins = {
                    "id": 0,
                    "addr": fork.payload.line << size,
                    "len": fork.payload.length,
                    "size": size,
                    "burst": 1,  # INCR
                    "cache": 0b0011,  # normal, non-cacheable, bufferable
                    "prot": 0,
                    "valid": fork.valid[index],
                }
                m.d.comb += [getattr(port, prefix + pin).eq(value) for pin, value in pins.items()]
                m.d.comb += fork.ready[index].eq(getattr(port, prefix + "ready"))
            m.d.comb += [
                port.wdata.eq(beat.payload.data.word_select(index, width)),
                port.wstrb.eq(~0),
                port.wlast.eq(beat.payload.last),
                port.wvalid.eq(beat.valid[index]),
                beat.ready[index].eq(port.wready),
            ]

        # A joined beat moves when every channel has it and the consumer takes it.
        read_take, done_take = Signal(), Signal()
        m.d.comb += [
            self.read_data.valid.eq(Cat(port.rvalid for port in channels).all()),
            self.read_data.payload.data.eq(Cat(port.rdata for port in channels)),
            self.read_data.payload.last.eq(channels[0].rlast),
            self.read_data.payload.error.eq(Cat(port.rresp[1] for port in channels).any()),
            read_take.eq(self.read_data.valid & self.read_data.ready),
            self.write_done.valid.eq(Cat(port.bvalid for port in channels).all()),
            self.write_done.payload.eq(Cat(port.bresp[1] for port in channels).any()),
            done_take.eq(self.write_done.valid & self.write_done.ready),
        ]
        for port in channels:
            m.d.comb += [port.rready.eq(read_take), port.bready.eq(done_take)]
        return m
