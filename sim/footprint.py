"""What a model needs of a design's memory, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from designs.errors import InputError
from designs.spec import Design
from mapping.formats import WeightFormat, storage_bits
from mapping.program import weight_lines
from mapping.tiling import GemmShape
from mapping.workload import Work
from sim.cost.attention import KV_SCALE_BITS
from sim.cost.vector import BETWEEN_BYTES

__all__ = ["Footprint", "footprint", "stored_weight_bytes"]


@dataclass(frozen=True)
class Footprint:
    """Bytes in external memory.

    Attributes
    ----------
    weight_bytes, table_bytes : int
        Linear layers with scales and padding, a tied ``lm_head`` included; FP16 embedding tables
        looked up on the accelerator, a copy for each core.
    kv_cache_bytes : int
        Keys and values of every sequence at the end of the last phase.
    activation_bytes : int
        The most that one operator reads and writes of activations, and the residual beside it.
    capacity_bytes : int
        DRAM of all cores; their parts of weights and cache are taken as equal.
    missing : float
        Part of the weights that is left to flash; 0 when everything fits DRAM.
    """

    weight_bytes: int
    table_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    capacity_bytes: int
    missing: float

    @property
    def fits(self) -> bool:
        """Whether DRAM holds everything."""
        return not self.missing


def stored_weight_bytes(design: Design, fmt: WeightFormat, n: int, k: int) -> int:
    """Bytes of one weight matrix as it lies in the design's memory.

    Raises
    ------
    InputError
        The design cannot run such a layer.
    """
    if design.unit.simulated_only:
        return -(-storage_bits(fmt, n, k) // 8)
    return weight_lines(design, GemmShape(1, n, k), fmt) * design.line_bytes


def _cache_bytes(design: Design, works: list[Work], end: int) -> int:
    """Cached keys and values when every sequence has ``end`` positions."""
    bits = design.formats.kv_cache_bits
    total = 0
    for work in works:
        if work.kind == "attention_scores":
            assert work.context is not None
            window = work.context.window
            kept = end if window is None else min(end, window)
            row = -(-work.k * bits // 8) + (KV_SCALE_BITS // 8 if bits < 16 else 0)
            total += 2 * row * kept * work.products * work.layers
    return total


def _activation_bytes(design: Design, works: list[Work]) -> int:
    """Activations that lie in DRAM at once; those of attention scores are streamed or on chip."""
    most = 0
    for work in works:
        rows = work.m * work.products
        if work.kind in ("attention_scores", "softmax", "softcap", "attention_values"):
            width = 0 if work.kind != "attention_values" else 2 * work.n
            moved = width * BETWEEN_BYTES
        elif work.engine == "matrix":
            sums = BETWEEN_BYTES if design.unit.simulated_only else design.unit.result_bytes
            moved = work.k * design.formats.activation_bits // 8 + work.n * sums
        else:
            moved = work.n * (work.operands + 1) * BETWEEN_BYTES
        most = max(most, rows * moved)
    residual = max((w.m * w.n for w in works if w.kind == "add"), default=0)
    return most + residual * BETWEEN_BYTES


def footprint(
    design: Design,
    fmt: WeightFormat,
    phases: list[list[Work]],
    end: int,
    model: str,
    tables: int,
    limited: bool = True,
) -> Footprint:
    """Memory of a model.

    Not counted: vectors of norms and biases.

    Parameters
    ----------
    phases : list of list of Work
        The operators of each phase.
    end : int
        Positions of every sequence at the end.
    tables : int
        Elements of the embedding tables that are looked up on the accelerator.
    limited : bool
        Whether the capacity counts.

    Raises
    ------
    InputError
        It does not fit, by how much, and there is no flash for the rest of the weights.
    """
    works = phases[-1]
    weights = sum(
        stored_weight_bytes(design, fmt, work.n, work.k) * work.layers * work.stored
        for work in works
        if work.engine == "matrix" and work.context is None
    )
    cache = _cache_bytes(design, works, end)
    cores = design.cores.count
    table = tables * BETWEEN_BYTES * cores
    # Every core has the activations of all; the unit of a design without vector engine has them
    # from the host, operator by operator.
    activations = max(_activation_bytes(design, phase) for phase in phases) * cores
    capacity = design.dram.capacity_bytes * cores
    needed = weights + table + cache + activations
    short = needed - capacity
    missing = 0.0
    if limited and short > 0:
        parts = f"weights {weights}, embedding tables {table}, KV cache {cache}"
        parts += f", activations {activations}"
        allowed = (
            f"at most {capacity} bytes: {model} is {short} bytes ({ceil(short / 2**20)} MiB) too "
            f"large ({parts}); narrower weights, a smaller batch or context"
        )
        allowed += ", or a [flash] table" if design.flash is None else "; flash holds weights only"
        if design.flash is None or short > weights:
            found = f"{needed} bytes needed"
            raise InputError(design.name, "dram.capacity_bytes", found, allowed)
        if short > design.flash.capacity_bytes:
            allowed = f"at least {short}, the weights that DRAM does not hold"
            raise InputError(
                design.name, "flash.capacity_bytes", design.flash.capacity_bytes, allowed
            )
        missing = short / weights
    return Footprint(weights, table, cache, activations, capacity, missing)
