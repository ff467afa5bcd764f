"""A whole model on an accelerator: every operator of a prompt and of the decode passes after it.

Linear layers of a unit with RTL are compiled and their programs simulated; attention, and linear
layers of arrays that are simulated only, are products in closed form; the rest runs on the vector
engine. Operators follow one another without overlap. Equal operators are computed once, whatever
layer, phase or model they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Protocol

import networkx

from designs.errors import InputError
from designs.memory_timing import sequential_bytes_per_second
from designs.spec import Design
from designs.units import ArraySpec
from mapping.formats import WeightFormat
from mapping.graph import build_graph
from mapping.model import ModelSpec
from mapping.workload import Phase, Work, decode_phase, phase_work, prefill_phase
from sim.activity import total
from sim.area import NOT_MODELLED as AREA_NOT_MODELLED
from sim.area import area
from sim.conventions import PHYSICAL, Conventions
from sim.cost.base import weight_beats
from sim.cost.program import GemmCost, simulate_gemm
from sim.energy import constants
from sim.energy import not_modelled as energy_not_modelled
from sim.footprint import footprint
from sim.machine_constants import machine_constants
from sim.phases import Setting, check_format, check_groups, phase_results, with_requantisation
from sim.resources import Fit, check_device
from sim.results import ModelResult, OperatorResult, PhaseResult, Roof
from sim.units import NotModelled

__all__ = [
    "MOST_ROWS",
    "GemmCost",
    "GraphModel",
    "ModelResult",
    "OperatorResult",
    "PhaseResult",
    "not_modelled",
    "simulate_gemm",
    "simulate_model",
]

MOST_ROWS = 1 << 20
"""Most rows of a product that is simulated, tokens times batch."""

_MOST_TOKENS = 1 << 24

_ALWAYS = {
    "sampling": "the next token is chosen on the host",
    "biases": "added where sums are scaled, at no further cost",
    "overlap between operators": "an operator starts when the one before it has ended",
    "host time": "starting programs and handing over tokens are not counted",
}
_WITH_VECTORS = {
    "quantising activations": "the operator before a product rounds its results to what the unit "
    "reads, at no further cost",
    "vectors of norms": "their bytes are not read",
}
_ON_HOST = {
    "embedding lookup": "run on the host",
    "attention": "scores, softmax and values run on the host: the design has no [vector] table; "
    "cycles do not depend on the context length",
    "norms, RoPE, activation functions, element-wise operators": "run on the host: the design "
    "has no [vector] table",
    "KV cache": "kept by the host, its traffic is not counted",
    "quantising activations and scaling sums": "run on the host",
}


class GraphModel(Protocol):
    """A model that is an operator graph and nothing more, as an ONNX file gives it."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def graph(self) -> networkx.DiGraph:
        """Operators, as `mapping.graph.build_graph` makes them."""

    @property
    def max_context(self) -> int | None:
        """Positions it was made for, where known."""


def not_modelled(design: Design, rules: Conventions) -> dict[str, str]:
    """What cycles and traffic of a design leave out, and why; part of every report."""
    design = rules.seen(design)
    result: dict[str, str] = {}
    if not rules.vector_operators:
        why = f"cost nothing under {rules.name}"
        result["norms, softmax, RoPE, element-wise operators, embedding, cache append"] = why
    elif design.vector is None:
        result |= _ON_HOST
    else:
        result |= _WITH_VECTORS
        if not design.unit.simulated_only:
            result["sums of attention"] = (
                "scores and values leave the unit as FP16, scaled on the way; only linear layers "
                "take a pass to requantise"
            )
    unit, cache = design.unit, design.formats.kv_cache_bits
    if unit.simulated_only and cache > max(unit.weight_bits):
        result["multiplying the cache"] = (
            f"cached values of {cache} bits take {unit.beats(cache)} cycles a step like a code, "
            f"although the elements are known to take up to {max(unit.weight_bits)} bits"
        )
    if isinstance(unit, ArraySpec) and unit.bit_serial and unit.bits_per_beat == 1:
        result["tables"] = (
            "an array that reads bit planes is given its sums of activations at no cost; making "
            "them took 2.6 % of a prompt in LUT Tensor Core (Table 4, fused)"
        )
    result |= _ALWAYS
    return result


def simulate_model(
    model: ModelSpec | GraphModel,
    design: Design,
    fmt: WeightFormat,
    prefill: int = 0,
    decode: int = 0,
    context: int | None = None,
    batch: int = 1,
    step: Callable[[], None] | None = None,
    rules: Conventions = PHYSICAL,
) -> ModelResult:
    """Simulate a prompt and the decode passes after it.

    The ``lm_head`` of the prefill already gives the first new token. Each decode pass takes the
    token before it and gives the next one, so a prefill and ``decode`` passes give
    ``decode + 1`` tokens, of which the last is not computed on. The context grows by one position
    a pass; every pass is counted, none is interpolated.

    Parameters
    ----------
    model : ModelSpec or GraphModel
        The model.
    design : Design
        The accelerator.
    fmt : WeightFormat
        Number format of all linear layers.
    prefill : int
        Tokens of each prompt, computed in one pass of ``batch * prefill`` rows; ``lm_head``
        computes the last position of each sequence only.
    decode : int
        Decode passes, each of one token of every sequence: ``batch`` rows.
    context : int, optional
        Tokens before the first decoded one, only without a prefill; 0 when left out.
    batch : int
        Sequences computed together.
    step : callable, optional
        Called after each distinct operator of each phase.
    rules : Conventions
        How to count; see `sim.conventions`.

    Returns
    -------
    ModelResult

    Raises
    ------
    InputError
        An argument is out of range, the design cannot run a layer, or the model does not fit its
        memory.
    """
    _check(prefill, decode, context, batch)
    design = rules.seen(design)
    check_format(design, fmt)
    fit = check_device(design)
    graph = _graph(model) if isinstance(model, ModelSpec) else model.graph
    start = prefill if context is None else context
    phases = {phase.name: phase for phase in _phases(prefill, decode, start, batch, rules)}
    works = {name: _works(graph, design, phase, rules) for name, phase in phases.items()}
    last = list(works.values())[-1]
    check_groups(fmt, last, model.name)
    tables = _table_elements(model, last)
    memory = footprint(
        design,
        fmt,
        list(works.values()),
        start + decode,
        model.name,
        tables,
        rules.memory_limit,
    )
    setting = Setting(design, fmt, rules, memory)
    energy_rules = setting.energy_rules
    results: dict[str, PhaseResult] = {}
    operators: list[OperatorResult] = []
    activities = []
    for name in ("prefill", "decode"):
        phase = phases.get(name, Phase(name, batch, 0, 0, 0))
        found, results[name], activity = phase_results(setting, phase, works.get(name, []), step)
        operators += found
        activities.append(activity)
    silicon = area(design)
    return ModelResult(
        model=model.name,
        design=design.name,
        weights=fmt.name,
        activations=design.activations,
        kv_cache_bits=design.formats.kv_cache_bits,
        conventions=None if rules.name == PHYSICAL.name else rules.name,
        batch=batch,
        prefill=prefill,
        decode=decode,
        context=context,
        phases=results,
        operators=tuple(operators),
        weight_bytes=memory.weight_bytes,
        kv_cache_bytes=memory.kv_cache_bytes,
        memory_bytes=memory.capacity_bytes,
        fits_memory=memory.fits,
        area_mm2=None if isinstance(silicon, NotModelled) else silicon,
        resources=_resources(fit),
        roof=_roof(design, fmt),
        not_modelled=not_modelled(design, rules)
        | energy_not_modelled(design, energy_rules)
        | _silicon_not_modelled(silicon, fit),
        provenance=tuple(
            asdict(constant)
            for constant in (
                *machine_constants(design),
                *constants(design, total(activities), energy_rules),
            )
        ),
        warnings=_warnings(model, prefill, decode, context)
        + (() if fit is None else tuple(f"{fit.device}: {what}" for what in fit.problems)),
    )


@lru_cache(maxsize=64)
def _graph(spec: ModelSpec) -> networkx.DiGraph:
    return build_graph(spec)


def _phases(prefill: int, decode: int, start: int, batch: int, rules: Conventions) -> list[Phase]:
    result = []
    if prefill:
        result.append(prefill_phase(prefill, batch, rules.causal))
    if decode:
        growing = rules.decode_context == "growing"
        result.append(decode_phase(decode, batch, start, growing, growing))
    return [replace(phase, windows=rules.sliding_windows) for phase in result]


def _works(graph: networkx.DiGraph, design: Design, phase: Phase, rules: Conventions) -> list[Work]:
    works = phase_work(graph, phase, rules.lm_head_rows == "all")
    if not rules.vector_operators:
        return [work for work in works if work.engine == "matrix"]
    if design.vector is None:
        return [work for work in works if work.engine == "matrix" and work.context is None]
    return with_requantisation(design, works)


def _table_elements(model: ModelSpec | GraphModel, works: list[Work]) -> int:
    """Elements of embedding tables that the accelerator looks up."""
    if not isinstance(model, ModelSpec) or not any(w.kind == "embedding" for w in works):
        return 0
    return (model.vocab + model.learned_positions) * model.hidden


def _silicon_not_modelled(silicon: object, fit: Fit | None) -> dict[str, str]:
    missing = {"area": silicon.reason} if isinstance(silicon, NotModelled) else {}
    if fit is not None:
        estimated = ", ".join(fit.estimated)
        how = {f"synthesis: {estimated}": "estimated from the structure of the RTL"}
        return missing | dict(fit.not_modelled) | (how if estimated else {})
    if missing:
        return missing
    return {f"area: {what}": why for what, why in AREA_NOT_MODELLED.items()}


def _resources(fit: Fit | None) -> dict[str, dict[str, float]] | None:
    """Used, available, shell and free of every resource of the device; None without one."""
    if fit is None:
        return None
    names = ("used", "available", "shell", "free")
    return {name: dict(getattr(fit, name)) for name in names}


def _roof(design: Design, fmt: WeightFormat) -> Roof:
    cores, clock = design.cores.count, design.clock.frequency_hz
    return Roof(
        macs_per_second=cores * design.unit.macs * clock / weight_beats(design.unit, fmt),
        dram_bytes_per_second=float(
            cores * design.dram.channels * design.dram.bandwidth_bytes_per_second
        ),
        sustained_bytes_per_second=cores * sequential_bytes_per_second(design),
    )


def _warnings(
    model: ModelSpec | GraphModel, prefill: int, decode: int, context: int | None
) -> tuple[str, ...]:
    before = prefill if context is None else context
    if model.max_context is None or before + decode <= model.max_context:
        return ()
    what = "the prompt" if context is None else "context"
    return (
        f"{before} tokens of {what} and {decode} decoded ones are more than the "
        f"{model.max_context} positions of {model.name}",
    )


def _check(prefill: int, decode: int, context: int | None, batch: int) -> None:
    _integer("batch", batch, 1, MOST_ROWS)
    _integer("prefill", prefill, 0, MOST_ROWS)
    _integer("decode", decode, 0, _MOST_TOKENS)
    if not prefill and not decode:
        raise InputError("simulate", "decode", decode, "an integer >= 1 when prefill is 0")
    if batch * prefill > MOST_ROWS:
        raise InputError("simulate", "batch * prefill", batch * prefill, f"at most {MOST_ROWS}")
    if context is not None:
        _integer("context", context, 1, _MOST_TOKENS)
        if prefill:
            raise InputError("simulate", "context", context, "a context only when prefill is 0")
        if not decode:
            raise InputError("simulate", "decode", decode, "an integer >= 1 with a context")


def _integer(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError("simulate", field, value, f"an integer from {low} to {high}")
