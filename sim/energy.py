"""Energy of an execution: counted activity times the figures of the process and the memory.

Clocks of idle engines are taken to be gated: an idle engine costs its leakage and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from designs.memory_technology import load_memory
from designs.memory_timing import IDEAL
from designs.process import Constant, Process, load_process
from designs.spec import Design
from sim.activity import Activity, Count
from sim.area import VECTOR_ELEMENT, area, buffer_ports
from sim.units import UNIT_COSTS, NotModelled

__all__ = [
    "PARTS",
    "EnergyRules",
    "constants",
    "dram_ranks",
    "energy",
    "leakage_watts",
    "not_modelled",
]

PARTS = (
    "unit",
    "encoder",
    "vector",
    "sram_read",
    "sram_write",
    "dram",
    "dram_background",
    "flash",
    "link",
    "leakage",
)
"""Keys of `energy`, always all of them; the total is their sum."""

_PICO = 1e-12


@dataclass(frozen=True)
class EnergyRules:
    """How energy is counted; the defaults are physical, others reproduce a publication.

    Parameters
    ----------
    pe_picojoules : float or None
        Stands in for the process's energy of a processing element and cycle.
    array_overhead : float
        Factor on unit and encoders, for wires and clock tree between elements. BitMoD's simulator
        takes 1.5 (pe_array.py, PR_SCALING).
    encoder : bool
        Whether encoders count.
    leakage : bool
        Whether leakage counts.
    background : bool
        Whether DRAM that moves nothing costs anything.
    dram_pj_per_bit : float or None
        Stands in for the memory's energy of a bit read or written.
    """

    pe_picojoules: float | None = None
    array_overhead: float = 1.0
    encoder: bool = True
    leakage: bool = True
    background: bool = True
    dram_pj_per_bit: float | None = None

    def __post_init__(self) -> None:
        for name in ("pe_picojoules", "dram_pj_per_bit"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number of at least 0, not {value!r}")
        if not 0 < self.array_overhead < float("inf"):
            raise ValueError(f"array_overhead must be above 0, not {self.array_overhead!r}")


PHYSICAL = EnergyRules()


def _process(design: Design) -> Process | NotModelled:
    silicon = design.silicon
    if silicon.device is not None:
        return NotModelled(
            f"silicon.device {silicon.device}: the energy of an FPGA's fabric is not modelled"
        )
    if silicon.process is None:
        return NotModelled("the design names no silicon.process")
    return load_process(silicon.process)


def _dram(design: Design, rules: EnergyRules) -> tuple[float, float, float] | NotModelled:
    """Picojoules of a bit read, of a bit written, and background watts of a core's channels."""
    each = rules.dram_pj_per_bit
    if each is not None and not rules.background:
        return each, each, 0.0
    if design.dram.technology == IDEAL:
        return NotModelled(f"dram.technology {IDEAL} has no energy figures")
    figures = load_memory(design.dram.technology).energy
    devices = design.dram.channels * dram_ranks(design)
    watts = figures.background_milliwatts * 1e-3 * devices if rules.background else 0.0
    if each is not None:
        return each, each, watts
    return figures.read_pj_per_bit, figures.write_pj_per_bit, watts


def dram_ranks(design: Design) -> int:
    """Ranks of a channel that the design's capacity takes, all of them on standby."""
    each = load_memory(design.dram.technology).capacity_bytes * design.dram.channels
    return max(1, -(-design.dram.capacity_bytes // each))


def leakage_watts(design: Design, process: Process) -> tuple[float, float]:
    """Leakage of one core's matrix unit, and of everything else on one core, in watts.

    Raises
    ------
    ValueError
        The process has no leakage figures.
    """
    if process.leakage is None:
        raise ValueError(f"process {process.name} has no leakage figures")
    parts = area(design)
    assert not isinstance(parts, NotModelled)
    density = process.leakage.milliwatts_per_square_millimetre * 1e-3 / design.cores.count
    unit = density * (parts["unit"] + parts["encoder"])
    memories = 0.0
    for port in buffer_ports(design):
        figure = process.sram.figure(port.capacity_bytes, port.port_bits)
        assert figure.leakage_milliwatts is not None
        memories += figure.leakage_milliwatts * 1e-3
    return unit, density * parts["vector"] + memories


def _leakage(design: Design, process: Process, activity: Activity, seconds: float) -> float:
    """Joules of all cores; a unit whose cycle energy holds leakage adds it while idle only."""
    unit, rest = leakage_watts(design, process)
    unit_seconds = seconds * design.cores.count
    if UNIT_COSTS[design.unit.kind].includes_leakage(design.unit, process):
        working = float(np.sum(activity.unit_cycles)) / design.clock.frequency_hz
        unit_seconds = max(0.0, unit_seconds - working)
    return unit * unit_seconds + rest * seconds * design.cores.count


def energy(
    design: Design, activity: Activity, seconds: Count, overrides: EnergyRules = PHYSICAL
) -> dict[str, float] | NotModelled:
    """Joules by part.

    Parameters
    ----------
    design : Design
        Its process, memory, unit, vector engine, cores and flash are read.
    activity : Activity
        Counts of all cores together: ``unit_cycles`` of two cores that work for one cycle are 2.
        Arrays of passes are added up.
    seconds : float or array
        Time of the execution: what leaks, and what stands by, does so for as long.
    overrides : EnergyRules
        Other ways of counting.

    Returns
    -------
    dict or NotModelled
        All keys of `PARTS`; `NotModelled` for an FPGA, a design without a process, or a memory
        without figures. A part that is zero because nothing models it is in `not_modelled`.

    Raises
    ------
    InputError
        The process or memory file, or a name in it, is wrong.
    ValueError
        The activity uses a part the design does not have.
    """
    process = _process(design)
    if isinstance(process, NotModelled):
        return process
    dram = _dram(design, overrides)
    if isinstance(dram, NotModelled):
        return dram
    flat, time = activity.summed(), float(np.sum(seconds))
    costs = UNIT_COSTS[design.unit.kind]
    elements, encoders = costs.cycle_picojoules(design.unit, process, overrides.pe_picojoules)
    cycles = float(flat.unit_cycles) * overrides.array_overhead
    read, write, background = dram
    joules = dict.fromkeys(PARTS, 0.0)
    joules["unit"] = cycles * elements * _PICO
    joules["encoder"] = cycles * encoders * _PICO if overrides.encoder else 0.0
    if float(flat.vector_elements):
        if design.vector is None:
            raise ValueError("vector_elements of a design without a vector engine")
        each = process.element(VECTOR_ELEMENT).picojoules
        joules["vector"] = float(flat.vector_elements) * each * _PICO
    for use in flat.srams:
        figure = process.sram.figure(use.capacity_bytes, use.port_bits)
        joules["sram_read"] += float(use.reads) * figure.read_picojoules * _PICO
        joules["sram_write"] += float(use.writes) * figure.write_picojoules * _PICO
    bits_read, bits_written = 8 * float(flat.dram_read_bytes), 8 * float(flat.dram_write_bytes)
    joules["dram"] = (bits_read * read + bits_written * write) * _PICO
    joules["dram_background"] = background * time * design.cores.count
    if float(flat.flash_read_bytes):
        if design.flash is None:
            raise ValueError("flash_read_bytes of a design without flash")
        bits = 8 * float(flat.flash_read_bytes)
        joules["flash"] = bits * design.flash.read_pj_per_bit * _PICO
    if process.link is not None:
        joules["link"] = 8 * float(flat.link_bytes) * process.link.picojoules_per_bit * _PICO
    if overrides.leakage and process.leakage is not None:
        joules["leakage"] = _leakage(design, process, flat, time)
    return joules


def not_modelled(design: Design, overrides: EnergyRules = PHYSICAL) -> dict[str, str]:
    """What the joules of `energy` leave out, and why; one entry when there are none at all."""
    process, dram = _process(design), _dram(design, overrides)
    for missing in (process, dram):
        if isinstance(missing, NotModelled):
            return {"energy": missing.reason}
    assert isinstance(process, Process)
    left_out = dict(process.not_modelled)
    left_out |= UNIT_COSTS[design.unit.kind].not_modelled(design.unit)
    left_out["idle clocks"] = "idle engines are clock gated: leakage only"
    if design.vector is not None:
        left_out["vector functions"] = (
            "an element pass costs one FP32 multiply and add, also where it is an exponential, a "
            "division or a comparison"
        )
    if design.cores.count > 1 and process.link is None:
        left_out["link"] = f"process {process.name} has no figure for links between cores"
    if design.flash is not None:
        left_out["flash standby"] = "flash costs what is read; standing by costs nothing"
    if overrides.background:
        left_out["DRAM refresh"] = "its time counts, its energy does not"
    else:
        left_out["DRAM background"] = "left out as the conventions say"
    if not overrides.leakage:
        left_out["leakage"] = "left out as the conventions say"
    if not overrides.encoder:
        left_out["encoder"] = "left out as the conventions say"
    return left_out


def constants(
    design: Design, activity: Activity, overrides: EnergyRules = PHYSICAL
) -> list[Constant]:
    """The numbers behind `energy` and `sim.area.area` of this activity; empty without a process."""
    process = _process(design)
    if isinstance(process, NotModelled):
        return []
    names = list(UNIT_COSTS[design.unit.kind].elements(design.unit))
    names += [e for e in (process.element(name).encoder for name in names) if e]
    if design.vector is not None:
        names.append(VECTOR_ELEMENT)
    ports = {(use.capacity_bytes, use.port_bits) for use in activity.srams}
    ports |= {(port.capacity_bytes, port.port_bits) for port in buffer_ports(design)}
    listed = process.provenance(names, sorted(ports))
    listed += UNIT_COSTS[design.unit.kind].constants(design.unit, process)
    dram = _dram(design, overrides)
    if not isinstance(dram, NotModelled):
        listed += _dram_constants(design, overrides, dram)
    if design.flash is not None:
        value, source = design.flash.read_pj_per_bit, f"design {design.name}, flash"
        listed.append(Constant("flash.read", value, "pJ/bit", None, None, source))
    if overrides.pe_picojoules is not None:
        value, source = overrides.pe_picojoules, "conventions, in the place of the process's figure"
        listed.append(Constant("rule.element", value, "pJ/cycle", None, None, source))
    if overrides.array_overhead != 1.0:
        value, source = overrides.array_overhead, "conventions"
        listed.append(Constant("rule.array_overhead", value, "", None, None, source))
    return listed


def _dram_constants(
    design: Design, overrides: EnergyRules, dram: tuple[float, float, float]
) -> list[Constant]:
    read, write, background = dram
    conventions = "conventions"
    moved = standing = conventions
    if overrides.dram_pj_per_bit is None or overrides.background:
        figures = load_memory(design.dram.technology).energy
        moved = figures.source if overrides.dram_pj_per_bit is None else conventions
        standing = (
            f"{design.dram.channels} channels of {dram_ranks(design)} ranks: "
            f"{figures.background_source}"
        )
    return [
        Constant("dram.read", read, "pJ/bit", None, None, moved),
        Constant("dram.write", write, "pJ/bit", None, None, moved),
        Constant("dram.background", 1e3 * background, "mW", None, None, standing),
    ]
