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
        Linear layers with scales and padding; FP16 embedding tables looked up on the accelerator.
    kv_cache_bytes : int
        Keys and values of every sequence at the end of the last phase.
    capacity_bytes : int
        DRAM of all cores.
    missing : float
        Part of the weights that is left to flash; 0 when everything fits DRAM.
    """

    weight_bytes: int
    table_bytes: int
    kv_cache_bytes: int
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


def footprint(
    design: Design, fmt: WeightFormat, works: list[Work], end: int, model: str, tables: int
) -> Footprint:
    """Memory of a model, in its last phase.

    Parameters
    ----------
    works : list of Work
        The operators of one phase.
    end : int
        Positions of every sequence at the end.
    tables : int
        Elements of the embedding tables that are looked up on the accelerator.

    Raises
    ------
    InputError
        It does not fit, by how much, and there is no flash for the rest of the weights.
    """
    weights = sum(
        stored_weight_bytes(design, fmt, work.n, work.k) * work.layers * work.stored
        for work in works
        if work.engine == "matrix" and work.context is None
    )
    cache = _cache_bytes(design, works, end)
    table = tables * BETWEEN_BYTES
    capacity = design.dram.capacity_bytes * design.cores.count
    short = weights + table + cache - capacity
    missing = 0.0
    if short > 0:
        parts = f"weights {weights}, embedding tables {table}, KV cache {cache}"
        allowed = (
            f"at most {capacity} bytes: {model} is {short} bytes ({ceil(short / 2**20)} MiB) too "
            f"large ({parts}); narrower weights, a smaller batch or context, or a [flash] table"
        )
        if design.flash is None or short > weights:
            found = weights + table + cache
            raise InputError(design.name, "dram.capacity_bytes", f"{found} bytes needed", allowed)
        if short > design.flash.capacity_bytes:
            allowed = f"at least {short}, the weights that DRAM does not hold"
            raise InputError(
                design.name, "flash.capacity_bytes", design.flash.capacity_bytes, allowed
            )
        missing = short / weights
    return Footprint(weights, table, cache, capacity, missing)
