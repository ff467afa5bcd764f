"""The baseline unit: an INT8 multiply-accumulate array, output stationary."""

from dataclasses import dataclass
from typing import ClassVar

from designs.units.base import UnitSpec

__all__ = ["DenseSpec"]


@dataclass(frozen=True)
class DenseSpec(UnitSpec):
    """``lanes_m x lanes_n`` dot products of ``lanes_k`` INT8 pairs a cycle.

    INT4 codes are sign-extended to INT8 before the multipliers, so a step takes one beat
    at either width and INT4 halves only the weight traffic.
    """

    kind: ClassVar[str] = "dense"
    allowed_weight_bits: ClassVar[tuple[int, ...]] = (4, 8)

    @property
    def latency(self) -> int:
        """4: products, adder tree, group sum, scaled accumulation (hwgen/units/dense.py)."""
        return 4

    def beats(self, weight_bits: int) -> int:
        """One beat a step at every width: the multipliers are INT8 x INT8."""
        if weight_bits not in self.weight_bits:
            raise ValueError(f"weight_bits must be one of {self.weight_bits}, not {weight_bits!r}")
        return 1
