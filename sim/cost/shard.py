"""Several cores and a level below DRAM: how work is cut, exchanged and waited for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np

from designs.spec import Design
from mapping.workload import Work
from sim.conventions import Conventions
from sim.cost.base import Cost
from sim.cost.memory import stream_of
from sim.cost.vector import BETWEEN_BYTES

__all__ = ["exchanged", "shard", "with_flash"]


def shard(work: Work, cores: int) -> tuple[Work, int]:
    """The part of an operator one core computes, and how many cores have one.

    Products are cut along output features, and so are their sums on the way to activations; heads
    and experts are dealt to the cores whole, with scores and cache of a head. The other operators
    of the vector engine need whole rows and run on every core alike.
    """
    if cores == 1:
        return work, 1
    if work.products > 1:  # a head's keys and values stay together
        grain = 2 if work.kind == "kv_append" else 1
        each = ceil(work.products // grain / cores) * grain
        return replace(work, products=each), ceil(work.products / each)
    if work.context is not None:  # one head: nothing to deal
        return work, 1
    if work.engine != "matrix" and work.kind != "requantise":
        return work, cores
    each = ceil(work.n / cores)
    return replace(work, n=each), ceil(work.n / each)


def exchanged(design: Design, work: Work, part: Work, used: int, cost: Cost) -> Cost:
    """An operator of one core, with the exchange and the barrier behind it.

    After a product every core receives what the others computed, as FP16; scores and
    probabilities stay with their head. The core with the smallest part waits longest.

    Parameters
    ----------
    work, part : Work
        The whole operator, and what one core computes of it.
    used : int
        Cores that have a part.
    cost : Cost
        Of the part.
    """
    cores = design.cores
    if cores.count == 1 or work.engine != "matrix" or work.kind == "attention_scores":
        return cost
    whole, own = (w.m * w.n * w.products * BETWEEN_BYTES for w in (work, part))
    received = whole if used < cores.count else own * (used - 1)
    rate = Fraction(cores.link_bytes_per_second, design.clock.frequency_hz)
    cycles = ceil(received / rate) + cores.barrier_cycles
    # All cores together receive all parts but their own; a count of each core that has one.
    link = np.full(len(cost.cycles), whole * (cores.count - 1) / used)
    return replace(
        cost.delayed("dependency", cycles), activity=replace(cost.activity, link_bytes=link)
    )


def with_flash(
    design: Design, rules: Conventions, cost: Cost, weight_bytes: int, missing: float, used: int
) -> Cost:
    """An operator of one core whose weights are partly below DRAM.

    They are written to DRAM first, where the operator reads them like all others, in step with
    the rest; it waits when flash, which all cores share, or the bus is slower.

    Parameters
    ----------
    weight_bytes : int
        Weights of one execution, of one core.
    missing : float
        Part of all weights that DRAM does not hold; every operator has that part of its own in
        flash.
    used : int
        Cores that execute it at once.
    """
    flash = design.flash
    if not missing or flash is None or not weight_bytes:
        return cost
    read = ceil(weight_bytes * missing)
    staged = stream_of(design, rules).cycles(0, read)
    rate = Fraction(flash.bandwidth_bytes_per_second, design.clock.frequency_hz)
    latency = Fraction(str(flash.latency_us)) * design.clock.frequency_hz / 10**6
    needed = ceil(read * used / rate + latency)
    memory = cost.memory_cycles + staged
    longest = np.maximum(memory, needed)
    written = np.full_like(cost.write_bytes, read)
    activity = replace(
        cost.activity,
        flash_read_bytes=written.astype(float),
        dram_write_bytes=cost.activity.dram_write_bytes + written,
    )
    cost = replace(
        cost, memory_cycles=memory, write_bytes=cost.write_bytes + written, activity=activity
    )
    return cost.delayed("weight_load", np.maximum(longest - cost.cycles, 0))
