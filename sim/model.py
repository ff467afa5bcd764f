"""What a whole model costs on an accelerator: the timeline of every distinct linear operator.

Equal shapes are compiled and simulated once, whichever layer, phase or model they belong to.
Where weights lie in memory does not change cycles: every region starts at a multiple of the
longest burst. Only linear layers run on the accelerator; `NOT_MODELLED` says what that leaves out.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import ceil

from designs.errors import InputError
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.graph import build_graph, rows, shared_shapes
from mapping.model import ModelSpec
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from sim.attribution import attribute_cycles
from sim.timeline import simulate_program

__all__ = [
    "MOST_ROWS",
    "NOT_MODELLED",
    "GemmCost",
    "ModelResult",
    "OperatorResult",
    "PhaseResult",
    "simulate_gemm",
    "simulate_model",
]

MOST_ROWS = 1 << 16
"""Most rows of a product that is simulated, tokens times batch."""

_MOST_TOKENS = 1 << 24

NOT_MODELLED = {
    "embedding lookup": "run on the host",
    "attention scores": "run on the host",
    "softmax": "run on the host",
    "norms": "run on the host",
    "RoPE": "run on the host",
    "activation functions": "run on the host",
    "gate x up multiply": "run on the host",
    "residual adds": "run on the host",
    "biases": "added on the host (OPT, Phi)",
    "sampling": "the next token is chosen on the host",
    "KV cache": "kept by the host, its traffic is not counted; linear layers, and so all cycles "
    "here, do not depend on the context length",
    "host time": "starting programs, quantising activations and scaling sums are not counted",
    "energy": "not modelled; energy_joules is null",
}
"""What a result leaves out, and why; part of every report, so that nothing is silently zero."""


@dataclass(frozen=True)
class GemmCost:
    """Timeline figures of one matrix product.

    Attributes
    ----------
    cycles : int
        From start to done, as the hardware counts.
    compute_cycles : int
        Cycles in which the unit is fed.
    memory_cycles : int
        Cycles the memory bus is occupied, rounded up.
    dram_bytes : int
        Bytes read and written: weights, scales, activations, sums and instructions, with the
        padding to tiles and memory lines.
    reasons : mapping of str to int
        Cycles by reason (`sim.attribution.REASONS`); they sum to ``cycles``.
    """

    cycles: int
    compute_cycles: int
    memory_cycles: int
    dram_bytes: int
    reasons: Mapping[str, int]

    @property
    def bound(self) -> str:
        """``compute`` or ``memory``, whichever is busy for longer."""
        return "compute" if self.compute_cycles >= self.memory_cycles else "memory"


@lru_cache(maxsize=4096)
def simulate_gemm(design: Design, shape: GemmShape, fmt: WeightFormat) -> GemmCost:
    """Compile a product and simulate its timeline; equal arguments are simulated once.

    Raises
    ------
    InputError
        The design cannot run the product.
    """
    timeline = simulate_program(design, compile_gemm(design, shape, fmt))
    lines = timeline.read_lines + timeline.write_lines
    return GemmCost(
        cycles=timeline.cycles,
        compute_cycles=timeline.compute_cycles,
        memory_cycles=ceil(lines * design.dram_beat_cycles),
        dram_bytes=lines * design.line_bytes,
        reasons=attribute_cycles(timeline),
    )


@dataclass(frozen=True)
class OperatorResult:
    """Linear layers of one kind and shape in one phase; they all cost the same.

    Attributes
    ----------
    name : str
        ``layers.*.q`` and so on, or ``lm_head``.
    phase : str
        ``prefill`` or ``decode``.
    kind : str
        ``q``, ``k``, ... ``lm_head``.
    m, n, k : int
        Tokens, output features and reduction elements of one execution.
    layers : int
        Layers that share the shape.
    count : int
        Executions in the whole phase: ``layers`` times the passes of the phase.
    cycles, compute_cycles, memory_cycles, dram_bytes : int
        Of one execution; see `GemmCost`.
    total_cycles : int
        ``count * cycles``; these sum to the cycles of the phase.
    bound : str
        ``compute`` or ``memory``, whichever is busy for longer.
    lane_occupancy : float
        Multiply-accumulates of the model over what all lanes of the unit could do in
        ``compute_cycles``: fewer tokens than token lanes, and sizes that are no multiple of a
        tile, leave lanes idle.
    reasons : mapping of str to int
        Cycles of one execution by reason; they sum to ``cycles``. ``compute`` counts every cycle
        the unit is fed, also those in which memory is busy too.
    """

    name: str
    phase: str
    kind: str
    m: int
    n: int
    k: int
    layers: int
    count: int
    cycles: int
    compute_cycles: int
    memory_cycles: int
    dram_bytes: int
    total_cycles: int
    bound: str
    lane_occupancy: float
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class PhaseResult:
    """One phase; all zero, with rates of None, when it has no tokens.

    Attributes
    ----------
    tokens : int
        Tokens computed, of all sequences: ``batch * prefill`` or ``batch * decode``. The
        ``lm_head`` of the prefill gives the first new token; ``decode`` counts the passes after
        it, each of which computes one token and gives the next.
    cycles : int
        Cycles of all linear layers, one after the other.
    seconds : float
        ``cycles`` at the design's clock.
    tokens_per_second : float or None
        ``tokens / seconds``.
    dram_bytes : int
        Bytes read and written.
    energy_joules : None
        Not modelled.
    utilization : float or None
        Multiply-accumulates of the model over what the unit could do in ``cycles``.
    """

    tokens: int
    cycles: int
    seconds: float
    tokens_per_second: float | None
    dram_bytes: int
    energy_joules: float | None
    utilization: float | None


@dataclass(frozen=True)
class ModelResult:
    """A model simulated on a design.

    Attributes
    ----------
    model, design, weights : str
        Names of the model, the design and the weight format.
    batch : int
        Sequences computed together.
    context : int or None
        Tokens before the first decoded one, when the caller named them.
    phases : mapping of str to PhaseResult
        ``prefill`` and ``decode``.
    operators : tuple of OperatorResult
        In execution order, prefill first.
    weight_bytes : int
        Bytes of all weights and scales in the design's memory, padding included.
    fits_memory : bool
        Whether these are at most the design's ``dram.capacity_bytes``.
    not_modelled : mapping of str to str
        What the figures leave out.
    warnings : tuple of str
        What is computed as asked, but probably not meant.
    """

    model: str
    design: str
    weights: str
    batch: int
    context: int | None
    phases: Mapping[str, PhaseResult]
    operators: tuple[OperatorResult, ...]
    weight_bytes: int
    fits_memory: bool
    not_modelled: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        fields = asdict(self)
        lists = {name: list(fields[name]) for name in ("operators", "warnings")}
        return fields | lists


def simulate_model(
    spec: ModelSpec,
    design: Design,
    fmt: WeightFormat,
    prefill: int = 0,
    decode: int = 0,
    context: int | None = None,
    batch: int = 1,
    step: Callable[[], None] | None = None,
) -> ModelResult:
    """Simulate a prompt and the decode passes after it.

    The ``lm_head`` of the prefill already gives the first new token. Each decode pass takes the
    token before it and gives the next one, so a prefill and ``decode`` passes give
    ``decode + 1`` tokens, of which the last is not computed on.

    Parameters
    ----------
    spec : ModelSpec
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
        Tokens before the first decoded one, only without a prefill; linear layers do not depend
        on it.
    batch : int
        Sequences computed together.
    step : callable, optional
        Called after each distinct operator of each phase.

    Returns
    -------
    ModelResult

    Raises
    ------
    InputError
        An argument is out of range, or the design cannot run a layer.
    """
    _check(prefill, decode, context, batch)
    shapes = shared_shapes(build_graph(spec))
    passes = {"prefill": (batch * prefill, min(prefill, 1)), "decode": (batch, decode)}
    operators, phases = [], {}
    for phase, (tokens, count) in passes.items():
        found = []
        for shared in shapes if count else ():
            first = shared.operators[0]
            m = rows(first, tokens, batch)
            try:
                cost = simulate_gemm(design, GemmShape(m, shared.n, shared.k), fmt)
            except InputError as error:
                if error.where != fmt.name:  # a group that does not divide K
                    raise
                field = f"{first.name}: {error.field}"
                allowed = f"a multiple of {fmt.group}, the group of {fmt.name}"
                raise InputError(f"model {spec.name}", field, error.found, allowed) from None
            if step is not None:
                step()
            executions = shared.count * count
            useful = m * shared.n * shared.k * design.unit.beats(fmt.bits)
            found.append(
                OperatorResult(
                    name=first.name if first.layer is None else f"layers.*.{shared.kind}",
                    phase=phase,
                    kind=shared.kind,
                    m=m,
                    n=shared.n,
                    k=shared.k,
                    layers=shared.count,
                    count=executions,
                    cycles=cost.cycles,
                    compute_cycles=cost.compute_cycles,
                    memory_cycles=cost.memory_cycles,
                    dram_bytes=cost.dram_bytes,
                    total_cycles=executions * cost.cycles,
                    bound=cost.bound,
                    lane_occupancy=useful / (cost.compute_cycles * design.unit.macs),
                    reasons=cost.reasons,
                )
            )
        phases[phase] = _phase(design, fmt, tokens * count, found)
        operators += found
    weight_bytes = sum(
        shared.count * _weight_bytes(design, GemmShape(1, shared.n, shared.k), fmt)
        for shared in shapes
    )
    return ModelResult(
        model=spec.name,
        design=design.name,
        weights=fmt.name,
        batch=batch,
        context=context,
        phases=phases,
        operators=tuple(operators),
        weight_bytes=weight_bytes,
        fits_memory=weight_bytes <= design.dram.capacity_bytes,
        not_modelled=NOT_MODELLED,
        warnings=_warnings(spec, prefill, decode, context),
    )


def _warnings(spec: ModelSpec, prefill: int, decode: int, context: int | None) -> tuple[str, ...]:
    before = prefill if context is None else context
    if before + decode <= spec.max_context:
        return ()
    what = "the prompt" if context is None else "context"
    return (
        f"{before} tokens of {what} and {decode} decoded ones are more than the "
        f"{spec.max_context} positions of {spec.name}",
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


@lru_cache(maxsize=4096)
def _weight_bytes(design: Design, shape: GemmShape, fmt: WeightFormat) -> int:
    lines = compile_gemm(design, shape, fmt).lines
    return (lines.weights + lines.scales) * design.line_bytes


def _phase(
    design: Design, fmt: WeightFormat, tokens: int, operators: list[OperatorResult]
) -> PhaseResult:
    cycles = sum(o.total_cycles for o in operators)
    seconds = cycles / design.clock.frequency_hz
    useful = sum(o.count * o.m * o.n * o.k for o in operators)
    peak = cycles * design.unit.macs / design.unit.beats(fmt.bits) if cycles else 0.0
    return PhaseResult(
        tokens=tokens,
        cycles=cycles,
        seconds=seconds,
        tokens_per_second=tokens / seconds if cycles else None,
        dram_bytes=sum(o.count * o.dram_bytes for o in operators),
        energy_joules=None,
        utilization=useful / peak if cycles else None,
    )
