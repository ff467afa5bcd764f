"""Trace events on their way to a file: one JSON object a line, never a list in memory.

The format is the Trace Event Format that Perfetto and chrome://tracing open ("Trace Event Format",
Google, sections "Complete Events", "Counter Events", "Flow Events" and "Metadata Events"): slices
``ph: X``, counters ``C``, arrows ``s``, ``t``, ``f`` that bind to the slice around them
(``bp: e``), names and order of tracks ``M``. Times are microseconds; here they are whole
nanoseconds, rounded from the cycle since the start of the trace, so that slices that touch in
cycles touch in time.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TextIO

__all__ = ["ENGINES", "HEAD", "EventWriter"]

HEAD = '{"displayTimeUnit":"ns","traceEvents":['
"""First line of every file."""

ENGINES = {
    "operator": "phases and operators",
    "fetch": "fetch: instructions",
    "load": "load: weights, scales, activations",
    "compute": "compute: matrix unit",
    "tables": "tables: built beside the lookups",
    "vector": "vector engine (simulated only)",
    "store": "store: results",
}
"""Tracks of the accelerator from top to bottom, and what viewers call them."""

_TIDS = {name: tid for tid, name in enumerate(ENGINES, 1)}
_ACCELERATOR, _MEMORY = 1, 2
_NANOSECONDS = 10**9


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class EventWriter:
    """Writes events and counts them.

    Parameters
    ----------
    stream : file open for writing text
        Gets the whole JSON object; call `close` once at the end.
    frequency_hz : int
        Clock: cycles become time with it.
    design, memory : str
        What the two groups of tracks are called.
    channels : int
        Tracks of the memory.

    Attributes
    ----------
    events : int
        Events written, metadata included.
    """

    def __init__(
        self, stream: TextIO, frequency_hz: int, design: str, memory: str, channels: int
    ) -> None:
        self.events = 0
        self._stream = stream
        self._frequency = frequency_hz
        self._channels = channels
        self._flows = 0
        stream.write(HEAD)
        for pid, name in ((_ACCELERATOR, design), (_MEMORY, memory)):
            self._name("process", pid, 0, name, pid)
        for track, name in ENGINES.items():
            self._name("thread", _ACCELERATOR, _TIDS[track], name, _TIDS[track])
        for channel in range(channels):
            self._name("thread", _MEMORY, channel + 1, f"channel {channel}", channel)

    @staticmethod
    def heading_events(channels: int) -> int:
        """Events that every trace begins with."""
        return 2 * (2 + len(_TIDS) + channels)

    def nanoseconds(self, cycle: int) -> int:
        """Time of a cycle, rounded."""
        return (2 * cycle * _NANOSECONDS + self._frequency) // (2 * self._frequency)

    def slice(
        self,
        track: str,
        phase: str,
        name: str,
        start: int,
        end: int,
        args: Mapping[str, object] | None = None,
    ) -> None:
        """Cycles [start, end) of an engine; ``args`` are shown with it."""
        self._slice(_ACCELERATOR, _TIDS[track], phase, name, start, end, args or {})

    def bursts(self, phase: str, name: str, start: int, end: int, dram_bytes: int) -> None:
        """The same slice on every channel; they carry ``dram_bytes`` together, exactly."""
        share, rest = divmod(dram_bytes, self._channels)
        for channel in range(self._channels):
            part = {"dram_bytes": share + (channel < rest)}
            self._slice(_MEMORY, channel + 1, phase, name, start, end, part)

    def arrow(self, phase: str, points: Sequence[tuple[str, int]]) -> None:
        """An arrow through slices: (track, cycle inside the slice), two or three of them."""
        self._flows += 1
        last = len(points) - 1
        for index, (track, cycle) in enumerate(points):
            kind = "s" if not index else "f" if index == last else "t"
            self._write(
                f'"ph":"{kind}","pid":{_ACCELERATOR},"tid":{_TIDS[track]},"ts":{self._time(cycle)},'
                f'"cat":"{phase}","name":"data","id":{self._flows},"bp":"e"'
            )

    def bandwidth(self, cycle: int, read: float, write: float) -> None:
        """From ``cycle`` on, bytes a microsecond of all channels."""
        values = {"read": round(read, 3), "write": round(write, 3)}
        self._counter(_MEMORY, "DRAM bandwidth (bytes per microsecond)", cycle, values)

    def occupancy(self, cycle: int, values: Mapping[str, float]) -> None:
        """From ``cycle`` on, bytes in use by buffer."""
        whole = {name: round(value) for name, value in values.items()}
        self._counter(_ACCELERATOR, "on-chip occupancy (bytes)", cycle, whole)

    def close(self, other: Mapping[str, object]) -> None:
        """End the file with ``otherData``."""
        self._stream.write(f'\n],"otherData":{_text(other)}}}\n')

    def _counter(self, pid: int, name: str, cycle: int, values: Mapping[str, float]) -> None:
        self._write(
            f'"ph":"C","pid":{pid},"tid":0,"ts":{self._time(cycle)},"name":"{name}",'
            f'"args":{_text(values)}'
        )

    def _slice(
        self,
        pid: int,
        tid: int,
        phase: str,
        name: str,
        start: int,
        end: int,
        args: Mapping[str, object],
    ) -> None:
        begin = self.nanoseconds(start)
        duration = self.nanoseconds(end) - begin
        cycles = {"start_cycle": start, "cycles": end - start}
        self._write(
            f'"ph":"X","pid":{pid},"tid":{tid},"ts":{_microseconds(begin)},'
            f'"dur":{_microseconds(duration)},"cat":"{phase}","name":{_text(name)},'
            f'"args":{_text(cycles | dict(args))}'
        )

    def _name(self, what: str, pid: int, tid: int, name: str, order: int) -> None:
        place = f'"ph":"M","pid":{pid},"tid":{tid},"ts":0'
        self._write(f'{place},"name":"{what}_name","args":{_text({"name": name})}')
        self._write(f'{place},"name":"{what}_sort_index","args":{_text({"sort_index": order})}')

    def _time(self, cycle: int) -> str:
        return _microseconds(self.nanoseconds(cycle))

    def _write(self, inside: str) -> None:
        self._stream.write(("," if self.events else "") + "\n{" + inside + "}")
        self.events += 1


def _microseconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
