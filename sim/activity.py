"""What an operator does, counted: the figures energy is computed from.

Every count is a float or an array with one entry a pass (the context grows by a token a pass).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activity", "Count", "SramUse", "total"]

Count = float | NDArray[Any]


@dataclass(frozen=True)
class SramUse:
    """Accesses of one on-chip buffer through its port.

    Attributes
    ----------
    buffer : str
        ``activation``, ``weight``, ``scale``, ``output`` or ``partial``.
    capacity_bytes, port_bits : int
        Size of the buffer, and the width of one access.
    reads, writes : Count
        Accesses of the full port width.
    """

    buffer: str
    capacity_bytes: int
    port_bits: int
    reads: Count = 0.0
    writes: Count = 0.0


@dataclass(frozen=True)
class Activity:
    """Counts of one execution of an operator, or of many.

    Attributes
    ----------
    unit_cycles : Count
        Cycles in which the matrix unit works, whatever part of its lanes is used.
    macs : Count
        Multiply-accumulates of the model.
    vector_elements : Count
        Element passes of the vector engine.
    dram_read_bytes, dram_write_bytes : Count
        Over the memory bus.
    flash_read_bytes : Count
        From the level below DRAM.
    link_bytes : Count
        Exchanged between cores.
    srams : tuple of SramUse
        At most one entry a buffer and port width.
    """

    unit_cycles: Count = 0.0
    macs: Count = 0.0
    vector_elements: Count = 0.0
    dram_read_bytes: Count = 0.0
    dram_write_bytes: Count = 0.0
    flash_read_bytes: Count = 0.0
    link_bytes: Count = 0.0
    srams: tuple[SramUse, ...] = field(default=())

    @property
    def dram_bytes(self) -> Count:
        """Bytes read and written."""
        return self.dram_read_bytes + self.dram_write_bytes

    def times(self, factor: float) -> Activity:
        """The counts of ``factor`` executions."""
        scaled = {f.name: getattr(self, f.name) * factor for f in fields(self) if f.name != "srams"}
        srams = tuple(
            replace(use, reads=use.reads * factor, writes=use.writes * factor) for use in self.srams
        )
        return Activity(**scaled, srams=srams)

    def summed(self) -> Activity:
        """Arrays of passes added up."""
        flat = {
            f.name: float(np.sum(getattr(self, f.name))) for f in fields(self) if f.name != "srams"
        }
        srams = tuple(
            replace(use, reads=float(np.sum(use.reads)), writes=float(np.sum(use.writes)))
            for use in self.srams
        )
        return Activity(**flat, srams=srams)


def total(activities: list[Activity]) -> Activity:
    """The sum of summed activities; accesses of equal buffers and ports are joined."""
    flat = [activity.summed() for activity in activities]
    names = [f.name for f in fields(Activity) if f.name != "srams"]
    counts = {name: float(sum(getattr(activity, name) for activity in flat)) for name in names}
    joined: dict[tuple[str, int, int], SramUse] = {}
    for activity in flat:
        for use in activity.srams:
            key = (use.buffer, use.capacity_bytes, use.port_bits)
            before = joined.get(key, replace(use, reads=0.0, writes=0.0))
            joined[key] = replace(
                before, reads=before.reads + use.reads, writes=before.writes + use.writes
            )
    return Activity(**counts, srams=tuple(joined.values()))
