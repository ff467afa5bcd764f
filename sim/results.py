"""What a simulation reports: operators, phases and the whole; plain values, ready for JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["ModelResult", "OperatorResult", "PhaseResult", "Roof"]


@dataclass(frozen=True)
class OperatorResult:
    """Operators of one kind and size in one phase: equal layers, and all passes of the phase.

    Attributes
    ----------
    name : str
        ``layers.*.q``, ``lm_head``, ...
    phase : str
        ``prefill`` or ``decode``.
    kind : str
        ``q``, ``k``, ... ``lm_head``, ``attention_scores``, ``softmax``, ``norm``, ...
    engine : str
        ``matrix``, ``vector`` or ``memory``: what it runs on.
    m, n, k : int
        Tokens, output features and reduction elements of one product (``k`` is 1 for operators of
        the vector engine). Where the context grows, the positions are those of the last pass.
    products : int
        Independent products of one execution: key-value heads of all sequences, or experts. The
        ``m`` rows of softmax, of softcap of scores and of ``kv_append`` are those of one of them.
    layers : int
        Layers that share the size.
    count : int
        Executions in the whole phase: ``layers`` times the passes of the phase.
    cycles, compute_cycles, memory_cycles, dram_bytes : int or float
        Of one execution; the mean where passes differ, because the context grows.
    total_cycles, total_dram_bytes : int
        Of all executions, exact; ``total_cycles`` sum to the cycles of the phase.
    bound : str
        ``compute`` or ``memory``, whichever is busy for longer.
    lane_occupancy : float or None
        Multiply-accumulates of the model over what all lanes could do in ``compute_cycles``; None
        for operators of other engines.
    reasons : mapping of str to int or float
        Cycles of one execution by reason; they sum to ``cycles``.
    total_reasons : mapping of str to int
        Of all executions; they sum to ``total_cycles``.
    macs : int
        Multiply-accumulates of all executions.
    compulsory_bytes : int
        Weights, cached keys and values, and new ones, of all executions, in their stored width:
        what has to cross the memory bus however large the buffers are.
    read_bytes, write_bytes : int
        The two parts of ``total_dram_bytes``.
    energy : mapping of str to float or None
        Joules of all executions by part; None where the design names no process.
    energy_joules : float or None
        Their sum.
    simulated_only : bool
        Whether the generated RTL cannot run it.
    context : tuple of int or None
        Positions seen in the first and in the last pass; None where there is no context.
    """

    name: str
    phase: str
    kind: str
    engine: str
    m: int
    n: int
    k: int
    products: int
    layers: int
    count: int
    cycles: float
    compute_cycles: float
    memory_cycles: float
    dram_bytes: float
    total_cycles: int
    total_dram_bytes: int
    bound: str
    lane_occupancy: float | None
    reasons: Mapping[str, float]
    total_reasons: Mapping[str, int]
    macs: int
    compulsory_bytes: int
    read_bytes: int
    write_bytes: int
    energy: Mapping[str, float] | None
    energy_joules: float | None
    simulated_only: bool
    context: tuple[int, int] | None = None


@dataclass(frozen=True)
class PhaseResult:
    """One phase; all zero, with rates of None, when it has no tokens.

    Attributes
    ----------
    tokens : int
        Tokens computed, of all sequences: ``batch * prefill`` or ``batch * decode``. The
        ``lm_head`` of the prefill gives the first new token; ``decode`` counts the passes after
        it, each of which computes one token and gives the next.
    passes : int
        1 for a prefill, the decode passes of one sequence for a decode.
    cycles : int
        Cycles of all operators, one after the other.
    seconds : float
        ``cycles`` at the design's clock.
    tokens_per_second : float or None
        ``tokens / seconds``.
    dram_bytes : int
        Bytes read and written.
    energy_joules : float or None
        Sum of ``energy``; None where the design names no process.
    utilization : float or None
        Multiply-accumulates of the model, each with the beats its weight or cached value takes,
        over what all lanes of all cores could do in ``cycles``; 0 to 1.
    reasons : mapping of str to int
        Cycles by reason (`sim.attribution.REASONS`); they sum to ``cycles``.
    energy : mapping of str to float or None
        Joules by part.
    traffic : mapping of str to int
        Bytes by level: ``dram_read``, ``dram_write``, ``flash_read``, ``link`` and
        ``BUFFER_read`` / ``BUFFER_write`` of the on-chip buffers.
    simulated_only_cycles : int
        The part of ``cycles`` that the generated RTL cannot run yet.
    """

    tokens: int
    passes: int
    cycles: int
    seconds: float
    tokens_per_second: float | None
    dram_bytes: int
    energy_joules: float | None
    utilization: float | None
    reasons: Mapping[str, int]
    energy: Mapping[str, float] | None
    traffic: Mapping[str, int]
    simulated_only_cycles: int


@dataclass(frozen=True)
class Roof:
    """The two roofs of a roofline.

    Attributes
    ----------
    macs_per_second : float
        All lanes of all cores busy, at the weight format.
    dram_bytes_per_second : float
        Peak of all channels of all cores.
    sustained_bytes_per_second : float
        What a long sequential read reaches, after refresh and row changes.
    """

    macs_per_second: float
    dram_bytes_per_second: float
    sustained_bytes_per_second: float


@dataclass(frozen=True)
class ModelResult:
    """A model simulated on a design.

    Attributes
    ----------
    model, design, weights, activations : str
        Names of the model, the design, the weight format and the activation format.
    kv_cache_bits : int
        Width of a cached key or value.
    conventions : str or None
        Name of the switches that reproduce a publication's counting; None: physical defaults.
    batch : int
        Sequences computed together.
    prefill, decode : int
        Tokens of a prompt, and decode passes.
    context : int or None
        Tokens before the first decoded one, when the caller named them.
    phases : mapping of str to PhaseResult
        ``prefill`` and ``decode``.
    operators : tuple of OperatorResult
        In execution order, prefill first.
    weight_bytes, kv_cache_bytes : int
        Stored weights and scales, padding included; cached keys and values at the end. Embedding
        tables and activations need memory, too (`sim.footprint`).
    memory_bytes : int
        Capacity of the design's DRAM, all cores.
    fits_memory : bool
        Whether everything fits; False only where a flash level holds the rest of the weights.
    area_mm2 : mapping of str to float or None
        Silicon area by part; None where the design names no process.
    resources : mapping of str to mapping or None
        FPGA resources: ``used``, ``available``, ``shell`` and ``free`` (available less shell) by
        resource; None without a device.
    roof : Roof
        For the roofline.
    not_modelled : mapping of str to str
        What the figures leave out, and why.
    provenance : tuple of mapping
        Constants behind the figures: ``name, value, unit, source, scaled``.
    warnings : tuple of str
        What is computed as asked, but probably not meant.
    """

    model: str
    design: str
    weights: str
    activations: str
    kv_cache_bits: int
    conventions: str | None
    batch: int
    prefill: int
    decode: int
    context: int | None
    phases: Mapping[str, PhaseResult]
    operators: tuple[OperatorResult, ...]
    weight_bytes: int
    kv_cache_bytes: int
    memory_bytes: int
    fits_memory: bool
    area_mm2: Mapping[str, float] | None
    resources: Mapping[str, Mapping[str, float]] | None
    roof: Roof
    not_modelled: Mapping[str, str]
    provenance: tuple[Mapping[str, object], ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        fields = asdict(self)
        lists = {name: list(fields[name]) for name in ("operators", "warnings", "provenance")}
        return fields | lists
