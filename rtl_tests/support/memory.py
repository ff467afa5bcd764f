"""Models of what lies around the engines: line memory behind bursts, a buffer behind an engine."""

from collections import deque

import numpy as np

from designs.spec import Design
from rtl_tests.support.bench import Bench, fields
from rtl_tests.support.streams import Transfer

__all__ = ["BufferModel", "ReadMemory", "bursts", "pack_beat", "unpack_burst"]


def unpack_burst(value: int) -> tuple[int, int]:
    """First line and number of lines of a Burst."""
    parts = fields(value, line=32, length=8)
    return parts["line"], parts["length"] + 1


def bursts(line: int, lines: int, max_burst: int) -> list[tuple[int, int]]:
    """Runs of lines cut at multiples of ``max_burst``: (first line, lines)."""
    result = []
    while lines:
        length = min(lines, max_burst - line % max_burst)
        result.append((line, length))
        line, lines = line + length, lines - length
    return result


def pack_beat(data: int, line_bytes: int, *, last: bool, error: bool = False) -> int:
    """A ReadBeat; without ``error`` also a WriteBeat."""
    return data | last << 8 * line_bytes | error << 8 * line_bytes + 1


class ReadMemory:
    """Answers the bursts of a request stream, in order, on a data stream.

    Parameters
    ----------
    bench : Bench
    design : Design
    content : dict of int to int
        Lines by number; a line that is not there is made from its number.
    request, data : str
        Streams of the component.
    held : str
        Stall pattern of both.
    """

    def __init__(
        self,
        bench: Bench,
        design: Design,
        content: dict[int, int] | None = None,
        *,
        request: str = "request",
        data: str = "data",
        held: str = "none",
    ) -> None:
        self.design = design
        self.content = content or {}
        self.faults: set[int] = set()  # lines answered with an error
        self.answers = bench.source(data, held)
        self.requests = bench.sink(request, held)
        self.requests.callbacks.append(self._answer)

    def line(self, number: int) -> int:
        """Content of a line."""
        if number in self.content:
            return self.content[number]
        seed = np.random.default_rng(number)
        return int.from_bytes(seed.bytes(self.design.line_bytes), "little")

    def _answer(self, transfer: Transfer) -> None:
        first, lines = unpack_burst(transfer.value)
        most = self.design.dram.max_burst_beats
        assert first // most == (first + lines - 1) // most, f"burst {first}+{lines} is too long"
        for index in range(lines):
            beat = pack_beat(
                self.line(first + index),
                self.design.line_bytes,
                last=index == lines - 1,
                error=first + index in self.faults,
            )
            self.answers.queue.append(beat)


class BufferModel:
    """A memory read by ``read_enable``/``read_address``: data one cycle later, then held."""

    def __init__(self, bench: Bench, words: list[int]) -> None:
        dut = bench.dut
        self.words = words
        self.reads: deque[int] = deque()
        self.enable, self.address, self.data = dut.read_enable, dut.read_address, dut.read_data
        self.data.value = 0
        bench.every_cycle(self._step)

    def _step(self) -> None:
        if self.enable.value:
            address = self.address.value.to_unsigned()
            self.reads.append(address)
            self.data.value = self.words[address]
