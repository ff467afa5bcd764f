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
    def tree_stages(self) -> int:
        """Register stages of the adder tree: one for every two levels, at least one."""
        levels = (self.lanes_k - 1).bit_length()
        return max(1, (levels + 1) // 2)

    @property
    def latency(self) -> int:
        """Operands, products, adder tree, group sum, scaled sum, accumulator: 5 + tree_stages."""
        return 5 + self.tree_stages

    def beats(self, weight_bits: float) -> int:
        """One beat a step at every width: the multipliers are INT8 x INT8."""
        self._check_width(weight_bits)
        return 1
