"""Constants behind cycles: memory timings and rates of the design, each with its source."""

from __future__ import annotations

import dataclasses

from designs.memory_technology import load_memory
from designs.memory_timing import IDEAL
from designs.process import Constant
from designs.spec import Design

__all__ = ["machine_constants"]


def machine_constants(design: Design) -> list[Constant]:
    """What time is computed from, beside the geometry of the unit.

    Values of the design file have it as their source; timings come from the memory technology.
    """
    own = f"design file {design.name}"
    dram, vector, cores = design.dram, design.vector, design.cores

    def constant(name: str, value: float, unit: str, source: str = own) -> Constant:
        return Constant(name, float(value), unit, None, None, source)

    found = [
        constant("clock", design.clock.frequency_hz, "Hz"),
        constant("dram.channel_rate", dram.bandwidth_bytes_per_second, "B/s"),
        constant("dram.latency", dram.latency_ns, "ns"),
        constant("unit.latency", design.unit.latency, "cycles"),
    ]
    if dram.technology != IDEAL:
        technology = load_memory(dram.technology)
        found += [
            constant(
                f"dram.{field.name}",
                getattr(technology.timing, field.name),
                "ns",
                technology.source,
            )
            for field in dataclasses.fields(technology.timing)
        ]
    if vector is not None:
        found += [
            constant("vector.lanes", vector.lanes, "elements a cycle"),
            constant("vector.latency", vector.latency, "cycles"),
        ]
        found += [
            constant(f"vector.passes.{field.name}", getattr(vector.passes, field.name), "passes")
            for field in dataclasses.fields(vector.passes)
        ]
    if cores.count > 1:
        found += [
            constant("cores.barrier", cores.barrier_cycles, "cycles"),
            constant("cores.link_rate", cores.link_bytes_per_second, "B/s"),
        ]
    if design.flash is not None:
        found += [
            constant("flash.rate", design.flash.bandwidth_bytes_per_second, "B/s"),
            constant("flash.latency", design.flash.latency_us, "us"),
        ]
    return found
