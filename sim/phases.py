"""One phase on a design: the cost of every operator, summed over layers and passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from designs.errors import InputError
from designs.spec import Design
from mapping.formats import WeightFormat, storage_bits
from mapping.tiling import GemmShape
from mapping.workload import Phase, Work
from sim.activity import Activity, total
from sim.attribution import REASONS
from sim.conventions import Conventions
from sim.cost.attention import attention_cost, kv_stored
from sim.cost.base import Cost, weight_beats
from sim.cost.product import linear_cost
from sim.cost.program import program_cost
from sim.cost.shard import exchanged, shard, with_flash
from sim.cost.vector import vector_cost
from sim.energy import EnergyRules, energy
from sim.footprint import Footprint, stored_weight_bytes
from sim.results import OperatorResult, PhaseResult
from sim.units import NotModelled

__all__ = ["Setting", "check_format", "check_groups", "phase_results", "with_requantisation"]


@dataclass(frozen=True)
class Setting:
    """What all operators of a simulation share.

    Parameters
    ----------
    design, fmt, rules
        The accelerator, the weight format and the way of counting.
    memory : Footprint
        What lies in which memory.
    """

    design: Design
    fmt: WeightFormat
    rules: Conventions
    memory: Footprint

    @property
    def energy_rules(self) -> EnergyRules:
        """The conventions as far as energy is concerned."""
        rules = self.rules
        return EnergyRules(
            pe_picojoules=rules.element_picojoules(
                self.design.name, getattr(self.design.unit, "pe", "")
            ),
            array_overhead=rules.array_overhead,
            leakage=rules.leakage,
            background=rules.background,
            encoder=rules.encoder,
            dram_pj_per_bit=rules.dram_pj_per_bit or None,
        )


def check_groups(fmt: WeightFormat, works: list[Work], model: str) -> None:
    """Check that the scale groups of a format divide every reduction of a model.

    Raises
    ------
    InputError
        They do not; the message names the model and the layer.
    """
    for work in works:
        if work.engine == "matrix" and work.context is None and work.k % (fmt.group or 1):
            allowed = f"a multiple of {fmt.group}, the group of {fmt.name}"
            raise InputError(f"model {model}", f"{work.name}: K", work.k, allowed)


def check_format(design: Design, fmt: WeightFormat) -> None:
    """Check that a simulated-only unit decodes a format, and one with RTL multiplies the cache.

    Units with RTL check the format when compiling.

    Raises
    ------
    InputError
        It does not.
    """
    unit, cache = design.unit, design.formats.kv_cache_bits
    families = getattr(unit, "families", None)
    if families is None:
        if design.vector is not None and cache not in unit.weight_bits:
            allowed = (
                f"{cache} among them: attention multiplies by the cache's values, or no [vector]"
            )
            raise InputError(design.name, "unit.weight_bits", list(unit.weight_bits), allowed)
        return
    if fmt.family not in families or fmt.bits not in unit.weight_bits:
        widths = ", ".join(map(str, unit.weight_bits))
        allowed = f"a format of {' or '.join(families)} with codes of {widths} bits"
        raise InputError(design.name, "weights", fmt.name, allowed)


def with_requantisation(design: Design, works: list[Work]) -> list[Work]:
    """Add what turns a unit's integer sums into activations, behind every product with sums."""
    if design.unit.simulated_only or design.vector is None:
        return works
    result = []
    for work in works:
        result.append(work)
        if work.engine == "matrix" and work.context is None:
            assert work.macs is not None
            name, rows = f"{work.name}_requantise", int(work.macs[0]) // (work.n * work.k)
            result.append(Work(name, "requantise", "vector", work.layers, rows, work.n))
    return result


def _cost(setting: Setting, phase: Phase, work: Work) -> Cost:
    """One execution on one core."""
    design, fmt, rules = setting.design, setting.fmt, setting.rules
    if work.engine != "matrix":
        return vector_cost(design, rules, work)
    if work.context is not None:
        return attention_cost(design, rules, phase, work, fmt)
    if design.unit.simulated_only:
        return linear_cost(design, rules, phase, work, fmt)
    return program_cost(design, GemmShape(work.m, work.n, work.k), fmt, work.products)


def _compulsory(setting: Setting, work: Work, passes: int) -> int:
    """Bytes of all executions that no buffer can save; see `OperatorResult`."""
    design = setting.design
    if work.engine == "matrix" and work.context is None:
        each = -(-storage_bits(setting.fmt, work.n, work.k) // 8) * work.products
        if setting.rules.group_bits or not setting.rules.channel_scale:
            each = int(work.n * work.k * setting.fmt.mean_bits / 8) * work.products
        return each * work.layers * passes
    if work.context is not None and work.engine == "matrix":
        width = work.k if work.kind == "attention_scores" else work.n
        row = int(kv_stored(design, setting.rules).row_bytes(width))
        if work.context.tokens == 1:
            return int((work.context.widest() * row).sum()) * work.products * work.layers
        everything = int(work.context.past[0]) + work.context.tokens
        return everything * row * work.products * work.layers
    if work.kind == "kv_append":
        values = work.m * work.n * work.products
        return values * design.formats.kv_cache_bits // 8 * work.layers * passes
    return 0


def phase_results(
    setting: Setting, phase: Phase, works: list[Work], step: Callable[[], None] | None = None
) -> tuple[list[OperatorResult], PhaseResult, Activity]:
    """Operators of a phase, their sum, and what they did together.

    Parameters
    ----------
    works : list of Work
        As `mapping.workload.phase_work` makes them.
    step : callable, optional
        Called after each operator.

    Raises
    ------
    InputError
        The design cannot run an operator.
    """
    design = setting.design
    found: list[OperatorResult] = []
    activities: list[Activity] = []
    for work in works:
        part, used = shard(work, design.cores.count)
        cost = _cost(setting, phase, part)
        weight_bytes = 0
        if work.engine == "matrix" and work.context is None and setting.memory.missing:
            each = stored_weight_bytes(design, setting.fmt, part.n, part.k)
            weight_bytes = each * part.products
        cost = exchanged(design, work, part, used, cost)
        cost = with_flash(design, setting.rules, cost, weight_bytes, setting.memory.missing, used)
        operator, activity = _operator(setting, phase, work, cost, used)
        found.append(operator)
        activities.append(activity)
        if step is not None:
            step()
    everything = total(activities)
    return found, _phase(setting, phase, found, everything), everything


def _beats(setting: Setting, cached: bool) -> int:
    """Beats of a step with weights, or with cached keys and values."""
    unit = setting.design.unit
    if cached:
        return unit.beats(setting.design.formats.kv_cache_bits)
    return weight_beats(unit, setting.fmt)


def _has_rtl(setting: Setting) -> bool:
    """Whether generated hardware runs the linear layers: one core, all weights in DRAM."""
    design = setting.design
    return not design.unit.simulated_only and design.cores.count == 1 and setting.memory.fits


def _operator(
    setting: Setting, phase: Phase, work: Work, cost: Cost, used: int
) -> tuple[OperatorResult, Activity]:
    design = setting.design
    count = work.layers * phase.passes

    def executions(entries: int) -> int:
        """Executions that an entry stands for: passes that cost the same are one entry."""
        return work.layers * (1 if entries == phase.passes else phase.passes)

    times = executions(len(cost.cycles))

    def summed(values: np.ndarray) -> int:
        return int(values.sum()) * times

    cycles = summed(cost.cycles)
    read, written = summed(cost.read_bytes) * used, summed(cost.write_bytes) * used
    reasons = {reason: summed(cost.reasons[reason]) for reason in REASONS}
    compute, memory = summed(cost.compute_cycles), summed(cost.memory_cycles)
    macs = 0 if work.macs is None else int(work.macs.sum()) * executions(len(work.macs))
    activity = cost.activity.summed().times(times * used)
    activity = replace(activity, macs=float(macs))
    seconds = cycles / design.clock.frequency_hz
    counted = energy(design, activity, seconds, setting.energy_rules)
    joules = None if isinstance(counted, NotModelled) else counted
    beats = _beats(setting, work.context is not None) if work.engine == "matrix" else 1
    lanes = compute * design.unit.macs * design.cores.count / beats
    linear = work.engine == "matrix" and work.context is None
    context = None
    if work.context is not None:
        seen = work.context.widest()
        context = int(seen[0]), int(seen[-1])

    def each(value: int) -> float:
        return value // count if value % count == 0 else value / count

    operator = OperatorResult(
        name=work.name,
        phase=phase.name,
        kind=work.kind,
        engine=work.engine,
        m=work.m,
        n=work.n,
        k=work.k,
        products=work.products,
        layers=work.layers,
        count=count,
        cycles=each(cycles),
        compute_cycles=each(compute),
        memory_cycles=each(memory),
        dram_bytes=each(read + written),
        total_cycles=cycles,
        total_dram_bytes=read + written,
        bound="compute" if compute >= memory else "memory",
        lane_occupancy=macs / lanes if work.engine == "matrix" and lanes else None,
        reasons={reason: each(value) for reason, value in reasons.items()},
        total_reasons=reasons,
        macs=macs,
        compulsory_bytes=_compulsory(setting, work, phase.passes),
        read_bytes=read,
        write_bytes=written,
        energy=joules,
        energy_joules=None if joules is None else sum(joules.values()),
        simulated_only=not linear or not _has_rtl(setting),
        context=context,
    )
    return operator, activity


def _phase(
    setting: Setting, phase: Phase, found: list[OperatorResult], activity: Activity
) -> PhaseResult:
    design = setting.design
    cycles = sum(o.total_cycles for o in found)
    seconds = cycles / design.clock.frequency_hz
    tokens = phase.rows * phase.passes if found else 0
    lanes = design.unit.macs * design.cores.count
    needed = sum(o.macs * _beats(setting, o.context is not None) for o in found if o.macs)
    nothing = energy(design, Activity(), 0.0, setting.energy_rules)
    parts = None if isinstance(nothing, NotModelled) else nothing
    if parts is not None:
        for operator in found:
            for part, joules in (operator.energy or {}).items():
                parts[part] += joules
    return PhaseResult(
        tokens=tokens,
        passes=phase.passes if found else 0,
        cycles=cycles,
        seconds=seconds,
        tokens_per_second=tokens / seconds if cycles else None,
        dram_bytes=sum(o.total_dram_bytes for o in found),
        energy_joules=None if parts is None else sum(parts.values()),
        utilization=needed / (cycles * lanes) if cycles else None,
        reasons={reason: sum(o.total_reasons[reason] for o in found) for reason in REASONS},
        energy=parts,
        traffic=_traffic(activity, found),
        simulated_only_cycles=sum(o.total_cycles for o in found if o.simulated_only),
    )


def _traffic(activity: Activity, found: list[OperatorResult]) -> dict[str, int]:
    levels = {
        "dram_read": sum(o.read_bytes for o in found),
        "dram_write": sum(o.write_bytes for o in found),
        "flash_read": round(activity.flash_read_bytes),  # type: ignore[arg-type]
        "link": round(activity.link_bytes),  # type: ignore[arg-type]
    }
    for use in activity.srams:
        for way, accesses in (("read", use.reads), ("write", use.writes)):
            key = f"{use.buffer}_{way}"
            levels[key] = levels.get(key, 0) + round(float(accesses) * use.port_bits / 8)
    return levels
