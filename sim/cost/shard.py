"""Several cores and a level below DRAM: how work is cut, exchanged and waited for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np

from designs.spec import Design
from mapping.workload import Work
from sim.activity import Activity
from sim.cost.base import Cost
from sim.cost.vector import BETWEEN_BYTES

__all__ = ["exchanged", "shard", "with_flash"]


def shard(work: Work, cores: int) -> tuple[Work, int]:
    """The part of an operator one core computes, and how many cores have one.

    Products are cut along output features; heads and experts are dealt to the cores whole.
    Operators of the vector engine need whole rows and run on every core alike.
    """
    if cores == 1 or work.engine != "matrix":
        return work, cores if work.engine != "matrix" else 1
    if work.products > 1:
        each = ceil(work.products / cores)
        used = ceil(work.products / each)
        return replace(work, products=each), used
    if work.context is not None:  # one head: nothing to deal
        return work, 1
    each = ceil(work.n / cores)
    return replace(work, n=each), ceil(work.n / each)


def exchanged(design: Design, work: Work, cost: Cost) -> Cost:
    """An operator of one core, with the exchange and the barrier behind it.

    After a product every core receives what the others computed; scores and probabilities stay
    with their head.
    """
    cores = design.cores
    if cores.count == 1 or work.engine != "matrix" or work.kind == "attention_scores":
        return cost
    size = work.m * work.n * work.products * BETWEEN_BYTES
    received = size * (cores.count - 1) // cores.count
    rate = Fraction(cores.link_bytes_per_second, design.clock.frequency_hz)
    cycles = ceil(received / rate) + cores.barrier_cycles
    activity = replace(cost.activity, link_bytes=np.ones_like(cost.cycles) * float(received))
    return replace(cost.delayed("dependency", cycles), activity=activity)


def with_flash(design: Design, cost: Cost, weight_bytes: int, missing: float) -> Cost:
    """An operator whose weights are partly below DRAM.

    Parameters
    ----------
    weight_bytes : int
        Weights of one execution.
    missing : float
        Part of all weights that DRAM does not hold; every operator reads that part of its own
        from flash, in step with the rest, and waits when flash is slower.
    """
    flash = design.flash
    if not missing or flash is None or not weight_bytes:
        return cost
    read = ceil(weight_bytes * missing)
    rate = Fraction(flash.bandwidth_bytes_per_second, design.clock.frequency_hz)
    latency = Fraction(str(flash.latency_us)) * design.clock.frequency_hz / 10**6
    needed = ceil(read / rate + latency)
    cost = cost.delayed("weight_load", np.maximum(needed - cost.cycles, 0))
    extra = Activity(flash_read_bytes=np.ones_like(cost.cycles) * float(read))
    return replace(cost, activity=replace(cost.activity, flash_read_bytes=extra.flash_read_bytes))
