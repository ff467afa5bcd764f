"""Timing of a memory technology in command clocks."""

from dataclasses import dataclass

from designs.memory_technology import MemoryTechnology

__all__ = ["Clocks"]


@dataclass(frozen=True)
class Clocks:
    """Timing in command clocks; names as in `DramTiming`, and ``burst``: clocks of its data."""

    cl: int
    cwl: int
    trcd: int
    trp: int
    tras: int
    trrd_s: int
    trrd_l: int
    tfaw: int
    tccd_s: int
    tccd_l: int
    trtp: int
    twtr_s: int
    twtr_l: int
    twr: int
    trfc: int
    trefi: int
    trtw: int
    trtrs: int
    burst: int

    @classmethod
    def of(cls, technology: MemoryTechnology) -> "Clocks":
        """Rounded as `MemoryTechnology.clocks` rounds; at least a burst between column commands."""
        names = [name for name in cls.__dataclass_fields__ if name != "burst"]
        clocks = {name: technology.clocks(name) for name in names}
        burst = technology.burst_clocks
        for name in ("tccd_s", "tccd_l"):
            clocks[name] = max(clocks[name], burst)
        for name in ("trrd_s", "trrd_l"):
            clocks[name] = max(clocks[name], 1)
        return cls(**clocks, burst=burst)

    @property
    def read_to_write(self) -> int:
        """Read command to write command of any banks: the data bus changes direction."""
        return max(self.cl + self.burst + self.trtw - self.cwl, self.burst)

    @property
    def write_to_read_of_other_rank(self) -> int:
        """Write command to read command of another rank: only the data bus is in the way."""
        return max(self.cwl + self.burst + self.trtrs - self.cl, 1)

    @property
    def read_to_write_of_other_rank(self) -> int:
        """Read command to write command of another rank."""
        return max(self.cl + self.burst + self.trtrs - self.cwl, 1)
