"""Ends of ready/valid streams with random stalls, and the rules every stream must keep."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cocotb
import numpy as np

__all__ = ["PAUSES", "Monitor", "Sink", "Source", "Stream", "Transfer", "pauses"]

PAUSES = ("none", "some", "heavy", "bursts")
"""Names of the stall patterns: every cycle free, 30 % held, 80 % held, long runs of either."""


def pauses(kind: str, rng: np.random.Generator) -> Iterator[bool]:
    """Endless stall pattern: True holds the stream's end for one cycle."""
    share = {"none": 0.0, "some": 0.3, "heavy": 0.8, "bursts": 0.5}[kind]
    while True:
        if kind == "bursts":
            held = bool(rng.random() < share)
            for _ in range(int(rng.integers(1, 30))):
                yield held
        else:
            yield from (rng.random(64) < share).tolist()


@dataclass(frozen=True)
class Transfer:
    """One transfer: the cycle of the clock edge, and the value of each payload signal."""

    cycle: int
    values: tuple[int, ...]

    @property
    def value(self) -> int:
        """The payload of a stream with one payload signal."""
        return self.values[0]


class Stream:
    """Handles of one stream.

    Parameters
    ----------
    name : str
        For messages.
    valid, ready
        Handles.
    payload : sequence of handles
        Signals that are valid with ``valid``.
    """

    def __init__(self, name: str, valid, ready, payload: Sequence) -> None:
        self.name = name
        self.valid = valid
        self.ready = ready
        self.payload = tuple(payload)

    @classmethod
    def of(cls, dut, name: str, *beside: str) -> "Stream":
        """Stream ``name`` of an Amaranth component; ``beside`` names ports that travel with it."""
        ports = [getattr(dut, f"{name}__{end}") for end in ("valid", "ready", "payload")]
        others = [getattr(dut, port) for port in beside]
        return cls(name, ports[0], ports[1], [ports[2], *others])


class Source:
    """Offers queued payloads in order, each after a pause, and never takes an offer back.

    While nothing is offered the payload is random, so that a consumer that looks at it
    without ``valid`` is found out.
    """

    def __init__(self, bench, stream: Stream, held: Iterator[bool]) -> None:
        self.stream = stream
        self.queue: deque[int] = deque()
        self.held = held
        self.sent = 0
        self.noise = [int(word) for word in bench.rng.integers(0, 1 << 31, 16)]
        stream.valid.value = 0
        stream.payload[0].value = 0
        bench.run(self._drive(bench))

    @property
    def empty(self) -> bool:
        """Everything has been taken."""
        return not self.queue

    async def _drive(self, bench) -> None:
        valid, ready, payload = self.stream.valid, self.stream.ready, self.stream.payload[0]
        mask = (1 << len(payload)) - 1
        offered = False
        while True:
            await bench.edge
            if offered:
                if not ready.value:
                    continue
                self.queue.popleft()
                self.sent += 1
            was, offered = offered, bool(self.queue) and not next(self.held)
            if offered:
                payload.value = self.queue[0]
                valid.value = 1
            elif was:
                payload.value = self.noise[self.sent % 16] * 0x9E3779B97F4A7C15 & mask
                valid.value = 0


class Sink:
    """Drives ``ready`` after a stall pattern; a Monitor sees what arrives."""

    def __init__(self, bench, stream: Stream, held: Iterator[bool]) -> None:
        self.held = held
        self.ready = stream.ready
        self.ready.value = 0
        bench.run(self._drive(bench))

    async def _drive(self, bench) -> None:
        now = 0
        while True:
            await bench.edge
            ready = int(not next(self.held))
            if ready != now:
                self.ready.value = now = ready


class Monitor:
    """Records transfers, checks the protocol and counts what has been seen.

    The rules: once ``valid`` is high it stays high, with the same payload, until a cycle with
    ``ready``; neither is ever unknown.

    Parameters
    ----------
    bench : Bench
    stream : Stream
    stable : bool
        The payload must hold while the stream is stalled.
    on_transfer : callable, optional
        Called with each transfer.

    Attributes
    ----------
    may_withdraw : bool
        Set it where an offer may be taken back: on the way to queues that an abort empties.
    transfers : list of Transfer
    stalled : int
        Cycles with ``valid`` and no ``ready``.
    idle : int
        Cycles without ``valid``.
    back_to_back : int
        Transfers in the cycle after another one.
    """

    def __init__(
        self,
        bench,
        stream: Stream,
        *,
        stable: bool = True,
        on_transfer: Callable[[Transfer], None] | None = None,
    ) -> None:
        self.stream = stream
        self.stable = stable
        self.callbacks = [on_transfer] if on_transfer else []
        self.may_withdraw = False
        self.transfers: list[Transfer] = []
        self.stalled = self.idle = self.back_to_back = 0
        bench.run(self._watch(bench))

    @property
    def cycles(self) -> list[int]:
        """Cycles of all transfers."""
        return [transfer.cycle for transfer in self.transfers]

    async def _watch(self, bench) -> None:
        stream = self.stream
        held: tuple | None = None  # payload of a stalled offer
        last = -2
        while True:
            await bench.edge
            valid = stream.valid.value
            assert valid.is_resolvable, f"{stream.name}: valid is {valid} at {bench.cycle}"
            if not valid:
                withdrawn = held is not None and not self.may_withdraw
                assert not withdrawn, f"{stream.name}: offer taken back at cycle {bench.cycle}"
                held = None
                self.idle += 1
                continue
            ready = stream.ready.value
            assert ready.is_resolvable, f"{stream.name}: ready is {ready} at {bench.cycle}"
            payload = tuple(signal.value for signal in stream.payload)
            if held is not None and self.stable and payload != held:
                raise AssertionError(
                    f"{stream.name}: payload changed while stalled at cycle {bench.cycle}: "
                    f"{[str(value) for value in held]} -> {[str(value) for value in payload]}"
                )
            if not ready:
                held = payload
                self.stalled += 1
                continue
            held = None
            values = tuple(int(value) for value in payload)
            transfer = Transfer(bench.cycle, values)
            self.back_to_back += last == transfer.cycle - 1
            last = transfer.cycle
            self.transfers.append(transfer)
            for callback in self.callbacks:
                callback(transfer)


def log_streams(monitors: Sequence[Monitor]) -> None:
    """One line a stream: what its monitor saw."""
    for monitor in monitors:
        cocotb.log.info(
            "%-16s %6d transfers, %6d stalled, %6d idle, %6d back to back",
            monitor.stream.name,
            len(monitor.transfers),
            monitor.stalled,
            monitor.idle,
            monitor.back_to_back,
        )
