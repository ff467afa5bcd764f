"""The cost of an operator, with one entry a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from designs.units import UnitSpec
from mapping.formats import WeightFormat
from sim.activity import Activity
from sim.attribution import REASONS

__all__ = ["Cost", "Cycles", "no_reasons", "split_stall", "weight_beats"]

Cycles = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cost:
    """One execution of an operator in each of P passes; P = 1 stands for equal passes.

    Attributes
    ----------
    cycles : int64 (P,)
        From its start to the start of the next operator.
    compute_cycles, memory_cycles : int64 (P,)
        Cycles its engine works, and cycles the memory bus is occupied.
    read_bytes, write_bytes : int64 (P,)
        Over the memory bus.
    reasons : mapping of str to int64 (P,)
        Cycles by reason; they sum to ``cycles``.
    activity : Activity
        Counts for energy, arrays of (P,) or scalars that hold for every pass.
    """

    cycles: Cycles
    compute_cycles: Cycles
    memory_cycles: Cycles
    read_bytes: Cycles
    write_bytes: Cycles
    reasons: Mapping[str, Cycles]
    activity: Activity

    def delayed(self, reason: str, cycles: Cycles | int) -> Cost:
        """The same operator, held up for further cycles."""
        reasons = dict(self.reasons)
        reasons[reason] = reasons[reason] + cycles
        return replace(self, cycles=self.cycles + cycles, reasons=reasons)


def weight_beats(unit: UnitSpec, fmt: WeightFormat) -> int:
    """Cycles ``lanes_k`` weights of a format occupy the unit: planes with own scales in turn."""
    if fmt.planes > 1:
        return fmt.planes * unit.beats(fmt.bits)
    return unit.beats(fmt.mean_bits)


def no_reasons(cycles: Cycles) -> dict[str, Cycles]:
    """Every reason with 0 cycles in each pass."""
    return {reason: np.zeros_like(cycles) for reason in REASONS}


def split_stall(stall: Cycles, weights: Cycles, activations: Cycles, stores: Cycles) -> dict:
    """Cycles in which only memory works, dealt to what it moves by its bytes; exact sums."""
    # floats do not overflow; what they round is put right by the last part
    moved = np.maximum(weights + activations + stores, 1).astype(float)
    by_weight = np.minimum(np.floor(stall * (weights / moved)).astype(np.int64), stall)
    by_activation = np.floor(stall * (activations / moved)).astype(np.int64)
    by_activation = np.minimum(by_activation, stall - by_weight)
    # nothing is put down to stores where there are none
    by_activation = np.where(stores > 0, by_activation, stall - by_weight)
    by_activation = np.where(activations > 0, by_activation, 0)
    by_weight = np.where((stores > 0) | (activations > 0), by_weight, stall)
    return {
        "weight_load": by_weight,
        "activation_load": by_activation,
        "store": stall - by_weight - by_activation,
    }
