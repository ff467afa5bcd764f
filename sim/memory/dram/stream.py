"""What a channel sustains, without simulating it: long streams, changes of direction, row misses.

For a stream whose consecutive bursts change the bank group, everything but refresh, the start after
it and crowded command pins is hidden by the queues, so a few terms give the sustained rate. Any
other mapping makes groups wait for each other through the queues; that rate is simulated.
"""

from fractions import Fraction
from functools import cache

from designs.memory_technology import MemoryTechnology, address_fields
from sim.memory.dram.clocks import Clocks
from sim.memory.dram.patterns import run_pattern

__all__ = ["has_closed_form", "row_miss_ns", "stream_fraction", "turnaround_ns"]

_SIMULATED_REQUESTS = 20_000


def has_closed_form(technology: MemoryTechnology) -> bool:
    """Whether the few terms of `stream_fraction` hold.

    The channel has one rank; the bank group is the lowest address field, or the device is no slower
    within a bank group than between groups; and the next row is in another bank, so it can be
    opened in time.
    """
    fields, clocks = address_fields(technology.address_mapping), Clocks.of(technology)
    spread = fields[-1] == "bankgroup" or clocks.tccd_l == clocks.tccd_s
    return technology.ranks == 1 and spread and fields.index("row") < fields.index("bank")


@cache
def stream_fraction(technology: MemoryTechnology) -> Fraction:
    """Share of the peak rate that an endless stream of sequential reads gets.

    With the closed form, in clocks a refresh interval: the last read before a refresh and the
    first after it are tRTP + tRP + tRFC + tRCD apart (close the rows, refresh, open a row,
    read; JESD79-4 for DDR4); the bank groups open tRRD_S after each other, and the first of
    them alone cannot fill the bus. An activate delays a column command when both do not fit between
    two bursts on shared command pins, once a row. Changing rows is hidden otherwise.

    Parameters
    ----------
    technology : MemoryTechnology
        With its own mapping and queues.
    """
    if not has_closed_form(technology):
        result = run_pattern(technology, "sequential", requests=_SIMULATED_REQUESTS)
        return Fraction(result.efficiency)
    clocks, groups = Clocks.of(technology), technology.bank_groups
    # Column commands a clock when one, two, ... groups have an open row.
    rates = [min(Fraction(1, clocks.tccd_s), Fraction(n, clocks.tccd_l)) for n in range(groups + 1)]
    spacing = 1 / rates[groups]
    lost = clocks.trtp + clocks.trp + clocks.trfc + clocks.trcd - spacing
    lost += sum(clocks.trrd_s * (1 - spacing * rate) for rate in rates[1:groups])
    room = 1 if technology.dual_command else spacing - technology.activate_clocks
    crowded = max(Fraction(0), 1 - room)
    row = technology.columns * spacing
    sustained = (1 - lost / clocks.trefi) * row / (row + crowded)
    return Fraction(technology.burst_length, technology.transfers_per_clock) / spacing * sustained


def turnaround_ns(technology: MemoryTechnology) -> Fraction:
    """Time the data bus is unused around writes: one change to writing and one back to reading.

    trtw before the first write; after the last, tWTR to the next read command and CL to its data.
    Consecutive bursts change the bank group, so that read goes to the group written longest ago.
    """
    clocks = Clocks.of(technology)
    since = (technology.bank_groups - 1) * clocks.tccd_s
    to_read = max(clocks.twtr_s, clocks.twtr_l - since)
    to_write = clocks.read_to_write - clocks.cl - clocks.burst + clocks.cwl
    return (to_write + to_read + clocks.cl) * technology.clock_ns


def row_miss_ns(technology: MemoryTechnology) -> Fraction:
    """Time the data bus is unused when a read needs another row of the bank that was read last.

    tRTP, tRP and tRCD pass between the two read commands; nothing else is in the queue.
    """
    clocks = Clocks.of(technology)
    return (clocks.trtp + clocks.trp + clocks.trcd - clocks.burst) * technology.clock_ns
