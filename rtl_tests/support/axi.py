"""AXI memories with stalls and faults on every channel of a top, and checks of its pins."""

import logging
from collections.abc import Sequence

import numpy as np
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from cocotbext.axi.axi_ram import AxiRamRead, AxiRamWrite
from cocotbext.axi.memory import Memory

from designs.spec import Dram
from rtl_tests.support.bench import Bench
from rtl_tests.support.streams import Stream, pauses

__all__ = ["StripedRam", "control_master"]

_BOUNDARY = 4096
_ADDRESS = ("addr", "len", "size", "burst", "id", "cache", "prot")
_DRIVEN = {"aw": _ADDRESS, "w": ("data", "strb", "last"), "ar": _ADDRESS}
_QUIET = logging.ERROR


class _Faults:
    """Byte ranges of one channel that answer with SLVERR."""

    def __init__(self) -> None:
        self.ranges: list[range] = []

    def check(self, address: int) -> None:
        if any(address in part for part in self.ranges):
            raise ValueError("fault")


class _FaultyRead(AxiRamRead):
    async def _read(self, address, length):
        self.faults.check(address)
        return await super()._read(address, length)


class _FaultyWrite(AxiRamWrite):
    async def _write(self, address, data):
        self.faults.check(address)
        await super()._write(address, data)


class _FaultyRam(AxiRam):
    """AxiRam whose ``faults`` can be set for reads and for writes."""

    def __init__(self, bus, clock, reset, size: int) -> None:
        Memory.__init__(self, size)
        self.write_if = _FaultyWrite(bus.write, clock, reset, mem=self.mem)
        self.read_if = _FaultyRead(bus.read, clock, reset, mem=self.mem)
        self.write_if.faults = _Faults()
        self.read_if.faults = _Faults()
        for part in (self.write_if, self.read_if):
            part.log.setLevel(_QUIET)


class StripedRam:
    """The memory behind all channels of a top, seen as lines.

    Parameters
    ----------
    bench : Bench
    dram : Dram
        Channel count and width; channel c holds bytes c * data_bytes of every line.
    prefix : str
        Port prefix with ``{}`` for the channel, e.g. ``m_axi_{}``.
    separator : str
        Between prefix and signal.
    lines : int
        Size.
    """

    def __init__(
        self, bench: Bench, dram: Dram, prefix: str, separator: str = "_", lines: int = 1 << 16
    ) -> None:
        dut = bench.dut
        self.bench, self.dram = bench, dram
        self.rams = []
        for channel in range(dram.channels):
            name = prefix.format(channel)
            bus = AxiBus.from_prefix(dut, name, bus_separator=separator)
            self.rams.append(_FaultyRam(bus, dut.clk, dut.rst, lines * dram.data_bytes))
        self._prefix = prefix + separator
        self.watch()

    def watch(self) -> None:
        """Check the pins of all channels."""
        for channel in range(self.dram.channels):
            self._watch_channel(self._prefix.format(channel))

    def _watch_channel(self, prefix: str) -> None:
        dut, bench = self.bench.dut, self.bench
        for channel, signals in _DRIVEN.items():
            name = prefix + channel
            payload = [getattr(dut, name + signal) for signal in signals]
            valid, ready = getattr(dut, name + "valid"), getattr(dut, name + "ready")
            monitor = bench.watch(Stream(name, valid, ready, payload))
            if channel != "w":
                monitor.callbacks.append(self._address)
        for channel in ("r", "b"):
            name = prefix + channel
            ends = [getattr(dut, name + end) for end in ("valid", "ready", "resp")]
            bench.watch(Stream(name, ends[0], ends[1], ends[2:]))

    def _address(self, transfer) -> None:
        """IHI 0022, A3.4.1: bursts are whole beats, incrementing, inside 4 KB."""
        address, length, size, burst = transfer.values[:4]
        data_bytes = self.dram.data_bytes
        assert 1 << size == data_bytes
        assert burst == 1
        assert address % data_bytes == 0
        last = address + (length + 1) * data_bytes - 1
        assert address // _BOUNDARY == last // _BOUNDARY, f"{address:#x} crosses 4 KB"
        assert length < self.dram.max_burst_beats

    def stall(self, kinds: Sequence[str], channels: Sequence[int] | None = None) -> None:
        """Stall patterns of aw, w, b, ar and r, on some memory channels or on all."""
        for ram in self.rams if channels is None else [self.rams[c] for c in channels]:
            write, read = ram.write_if, ram.read_if
            ends = (
                write.aw_channel,
                write.w_channel,
                write.b_channel,
                read.ar_channel,
                read.r_channel,
            )
            for end, kind in zip(ends, kinds, strict=True):
                end.set_pause_generator(pauses(kind, self.bench.rng))

    def write(self, first: int, lines: np.ndarray) -> None:
        """Lines, uint8 (count, line_bytes), from a line on."""
        width = self.dram.data_bytes
        for channel, ram in enumerate(self.rams):
            part = lines[:, channel * width : (channel + 1) * width]
            ram.write(first * width, part.tobytes())

    def read(self, first: int, count: int) -> np.ndarray:
        """Lines, uint8 (count, line_bytes), from a line on."""
        width = self.dram.data_bytes
        parts = [
            np.frombuffer(ram.read(first * width, count * width), np.uint8).reshape(count, width)
            for ram in self.rams
        ]
        return np.concatenate(parts, axis=1)

    def fault(self, *, reads: range = range(0), writes: range = range(0), channel: int = 0):
        """Answer SLVERR for lines of one channel; no lines to end it."""
        width = self.dram.data_bytes
        ram = self.rams[channel]
        for part, lines in ((ram.read_if, reads), (ram.write_if, writes)):
            part.faults.ranges = [range(lines.start * width, lines.stop * width)] if lines else []


def control_master(bench: Bench, prefix: str, separator: str, held: str) -> AxiLiteMaster:
    """An AXI4-Lite manager on a top's control port, stalled and checked on all channels."""
    dut = bench.dut
    bus = AxiLiteBus.from_prefix(dut, prefix, bus_separator=separator)
    master = AxiLiteMaster(bus, dut.clk, dut.rst)
    write, read = master.write_if, master.read_if
    for part in (write, read):
        part.log.setLevel(_QUIET)
    ends = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    for end in ends:
        end.set_pause_generator(pauses(held, bench.rng))
    for channel, signals in {"b": ("resp",), "r": ("data", "resp")}.items():
        name = prefix + separator + channel
        payload = [getattr(dut, name + signal) for signal in signals]
        bench.watch(
            Stream(name, getattr(dut, name + "valid"), getattr(dut, name + "ready"), payload)
        )
    return master
