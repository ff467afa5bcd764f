"""Clock, reset, stream ends and end-of-test checks of one component under test."""

import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import RisingEdge

from designs.spec import Design
from rtl_tests.support.designs import test_design
from rtl_tests.support.scoreboard import Scoreboard
from rtl_tests.support.streams import Monitor, Sink, Source, Stream, log_streams, pauses

__all__ = ["Bench", "TokenModel", "fields", "run_design", "run_top"]

CLOCK_NS = 10


def run_design() -> Design:
    """The design this simulation was built from."""
    return test_design(os.environ["SILICAST_TEST_DESIGN"])


def run_top() -> str:
    """The top this simulation was built from."""
    return os.environ["SILICAST_TEST_TOP"]


def fields(value: int, **widths: int) -> dict[str, int]:
    """A packed word's fields, lowest bits first."""
    parts = {}
    for name, width in widths.items():
        parts[name] = value & (1 << width) - 1
        value >>= width
    return parts


class Bench:
    """A component under test.

    Parameters
    ----------
    dut
        The top's handle, with ports ``clk`` and ``rst``.
    inputs : iterable of str
        Ports that belong to no stream; held at 0 through reset.

    Attributes
    ----------
    rng : numpy Generator
        Follows the run's seed.
    coverage : Counter
        Cases seen, by name; ``finish`` demands those it is told.
    """

    def __init__(self, dut, inputs: Iterable[str] = ()) -> None:
        self.dut = dut
        self.rng = np.random.default_rng(random.getrandbits(64))
        self.edge = RisingEdge(dut.clk)
        self.coverage: Counter[str] = Counter()
        self.monitors: dict[str, Monitor] = {}
        self.sinks: dict[str, Sink] = {}
        self.scoreboards: list[Scoreboard] = []
        self._tasks: list = []
        self._pending: list[Coroutine] = []
        self._running = False
        for name in inputs:
            getattr(dut, name).value = 0
        Clock(dut.clk, CLOCK_NS, unit="ns").start()

    @property
    def cycle(self) -> int:
        """Clock edges so far."""
        return int(get_sim_time("ns")) // CLOCK_NS

    def run(self, coroutine: Coroutine) -> None:
        """Run a coroutine from the end of reset to the end of the test."""
        if self._running:
            self._tasks.append(cocotb.start_soon(coroutine))
        else:
            self._pending.append(coroutine)

    async def reset(self, cycles: int = 3) -> None:
        """Hold reset, then start everything that ``run`` was given."""
        self.dut.rst.value = 1
        for _ in range(cycles):
            await self.edge
        self.dut.rst.value = 0
        self._running = True
        self._tasks += [cocotb.start_soon(coroutine) for coroutine in self._pending]
        self._pending = []

    def stop(self) -> None:
        """End all coroutines, as before another reset."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._running = False

    # Streams ---------------------------------------------------------------------------------

    def watch(self, stream: Stream | str, *beside: str, **options) -> Monitor:
        """Check and record a stream."""
        if isinstance(stream, str):
            stream = Stream.of(self.dut, stream, *beside)
        self.monitors[stream.name] = monitor = Monitor(self, stream, **options)
        return monitor

    def source(self, name: str, held: str = "none") -> Source:
        """Drive a stream into the component, and check it."""
        stream = Stream.of(self.dut, name)
        self.watch(stream)
        return Source(self, stream, pauses(held, self.rng))

    def sink(self, name: str, held: str = "none", *beside: str, **options) -> Monitor:
        """Take a stream out of the component, and check it."""
        stream = Stream.of(self.dut, name, *beside)
        self.sinks[name] = Sink(self, stream, pauses(held, self.rng))
        return self.watch(stream, **options)

    def scoreboard(self, name: str, **options) -> Scoreboard:
        """A scoreboard that ``finish`` closes."""
        board = Scoreboard(name, **options)
        self.scoreboards.append(board)
        return board

    # Cycles ----------------------------------------------------------------------------------

    def every_cycle(self, action: Callable[[], None]) -> None:
        """Call ``action`` at each clock edge, with the values before the edge."""

        async def repeat() -> None:
            while True:
                await self.edge
                action()

        self.run(repeat())

    async def cycles(self, count: int) -> None:
        """Let so many edges pass."""
        for _ in range(count):
            await self.edge

    async def until(self, condition: Callable[[], bool], limit: int = 100_000) -> None:
        """Wait for a condition; AssertionError after ``limit`` cycles."""
        for _ in range(limit):
            if condition():
                return
            await self.edge
        names = ", ".join(f"{b.name}: {len(b.expected)} missing" for b in self.scoreboards)
        raise AssertionError(f"nothing after {limit} cycles ({names})")

    async def finish(self, *demanded: str, limit: int = 100_000) -> None:
        """Wait for all scoreboards, then a while for what should not come; check coverage."""
        await self.until(lambda: all(not board.expected for board in self.scoreboards), limit)
        await self.cycles(20)
        for board in self.scoreboards:
            board.finish()
        log_streams(list(self.monitors.values()))
        cocotb.log.info("coverage: %s", dict(sorted(self.coverage.items())))
        missing = [name for name in demanded if not self.coverage[name]]
        assert not missing, f"never seen: {', '.join(missing)}"

    def expect_stalls(self, *names: str) -> None:
        """The named streams have been stalled and have been idle."""
        for name in names:
            monitor = self.monitors[name]
            assert monitor.stalled, f"{name} was never stalled"
            assert monitor.idle, f"{name} was never idle"


class TokenModel:
    """A token counter beside an engine: drives ``available``, checks and counts ``take``."""

    def __init__(self, bench: Bench, available: str, take: str) -> None:
        self.available = getattr(bench.dut, available)
        self.take = getattr(bench.dut, take)
        self.count = self.taken = 0
        self._shown = 0
        self.available.value = 0
        bench.every_cycle(self._step)

    def give(self, tokens: int = 1) -> None:
        """Add tokens; seen from the next edge on."""
        self.count += tokens

    def _step(self) -> None:
        if self.take.value:
            assert self._shown, "a token was taken that was not there"
            self.count -= 1
            self.taken += 1
        shown = int(self.count > 0)
        if shown != self._shown:
            self.available.value = self._shown = shown
