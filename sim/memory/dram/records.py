"""What a simulated DRAM channel did: its commands, and what serving requests took."""

from dataclasses import dataclass, field

__all__ = ["Command", "Served"]

Command = tuple[int, str, int, int]
"""Clock, name (ACT, PRE, RD, WR, REF), bank, row; REF has the first bank of its rank and row -1."""


@dataclass
class Served:
    """What serving a list of requests took.

    Attributes
    ----------
    clocks : int
        From the first request to the end of the last data.
    activations, refreshes, row_hits, turnarounds : int
        Counts; a row hit found its row open and was not the first access to it, a turnaround is
        a change between reading and writing.
    read_latency : int
        Clocks from arriving to the end of the data, summed over reads.
    commands : list of Command
        Only if asked for.
    """

    clocks: int = 0
    activations: int = 0
    refreshes: int = 0
    row_hits: int = 0
    turnarounds: int = 0
    read_latency: int = 0
    commands: list[Command] = field(default_factory=list)
