"""Cycles an operator's traffic takes: a closed form of the memory bus for regular streams."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from designs.memory_timing import memory_timing, sequential_fraction
from designs.spec import Design
from sim.conventions import Conventions
from sim.cost.base import Cycles

__all__ = ["Stream", "stream_of"]

_PARTS = 1 << 16
"""Cycles of a line are a fraction with at most this denominator."""


@dataclass(frozen=True)
class Stream:
    """How a design's memory serves streams that are striped over all its channels.

    Attributes
    ----------
    line_bytes : int
        Bytes of a beat on every channel.
    beat : Fraction
        Clock cycles of a beat while the bus carries data.
    sustained : Fraction
        Part of the time a long stream can use the bus: refresh and row changes take the rest.
    latency : int
        Cycles from a request to its first data.
    turnaround : int
        Cycles the bus idles for a write and a read after it.
    row_miss : int
        Further cycles of a first access whose row is closed.
    burst_bytes : int
        Bytes of the longest burst on all channels.
    """

    line_bytes: int
    beat: Fraction
    sustained: Fraction
    latency: int
    turnaround: int
    row_miss: int
    burst_bytes: int

    def cycles(
        self, read: Cycles | int, written: Cycles | int = 0, jumps: Cycles | int = 0
    ) -> Cycles:
        """Cycles the bus is taken by bytes read and written.

        Parameters
        ----------
        read, written : int64
            Bytes.
        jumps : int64
            Accesses to rows that no stream has opened.
        """
        read, written = np.asarray(read, np.int64), np.asarray(written, np.int64)
        lines = -(-read // self.line_bytes) + -(-written // self.line_bytes)
        rate = (self.beat / self.sustained).limit_denominator(_PARTS)
        # Whole denominators first: the product of all lines may not fit 64 bits.
        many, rest = np.divmod(lines, rate.denominator)
        moved = many * rate.numerator - (-rest * rate.numerator // rate.denominator)
        # Writes are gathered to whole bursts before the bus turns round.
        turns = -(-written // self.burst_bytes)
        return moved + turns * self.turnaround + np.asarray(jumps, np.int64) * self.row_miss


@lru_cache(maxsize=256)
def stream_of(design: Design, conventions: Conventions) -> Stream:
    """The stream model of a design; at peak, without latency, under such conventions."""
    beat = design.dram_beat_cycles
    burst = design.dram.max_burst_beats * design.line_bytes
    if conventions.memory == "peak":
        return Stream(design.line_bytes, beat, Fraction(1), 0, 0, 0, burst)
    timing = memory_timing(design)
    beat = Fraction(timing.beat_units, timing.cycle_units)
    sustained = Fraction(sequential_fraction(timing)).limit_denominator(_PARTS)

    def cycles(units: int) -> int:
        return -(-units // timing.cycle_units)

    return Stream(
        line_bytes=design.line_bytes,
        beat=beat,
        sustained=sustained,
        latency=cycles(timing.read_latency),
        turnaround=cycles(timing.read_to_write + timing.write_to_read),
        row_miss=cycles(timing.close + timing.open),
        burst_bytes=burst,
    )
