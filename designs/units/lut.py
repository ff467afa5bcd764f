"""A unit that looks sums of activations up instead of multiplying: one weight bit plane a cycle.

Sources: Mo et al., "LUT Tensor Core" (ISCA'25, arXiv 2408.06003, sections 3 and 4) for half
tables over four activations, weights as planes of +-1, index bits inverted offline, and bit-serial
accumulation. That several groups of four share one accumulator is not theirs: with an accumulator
for each, adding the activations bit by bit is as small as looking the sums up.
"""

from dataclasses import dataclass
from typing import ClassVar

from designs.checks import power_of_two, subset
from designs.errors import InputError
from designs.units.base import signed_bits
from designs.units.half import ALIGNED_HALF, LARGEST_HALF, HalfUnitSpec

__all__ = ["TABLE_GROUP", "LutSpec", "tree_stages"]

TABLE_GROUP = 4
"""Activations of one table: for INT8, cells are densest at 4 (LUT Tensor Core, figure 11)."""


def tree_stages(terms: int) -> int:
    """Register stages of an adder tree over ``terms``: one for every two levels, at least one."""
    return max(1, ((terms - 1).bit_length() + 1) // 2)


@dataclass(frozen=True)
class LutSpec(HalfUnitSpec):
    """``lanes_m`` tokens x ``lanes_n`` lanes that each read ``lanes_k / 4`` tables a cycle.

    A weight of b bits is a sum of b planes of +-1 (``2 * u - (2^b - 1)``, u its unsigned code);
    a word of weights is one plane of a step, so a step takes as many cycles as codes have bits.
    Two's complement codes are half of (that sum - 1), *bipolar* codes are that sum.

    FP16 activations are aligned to the largest exponent of a token's step with three guard bits
    and are integers from there on; sums count 2^-24, or 2^-16 with group scales.

    Parameters
    ----------
    lanes_m, lanes_n, lanes_k, weight_bits, max_k
        As in `UnitSpec`; ``lanes_k`` is a multiple of 4, ``weight_bits`` out of 1 to 8. By default
        M2 N64 K4, the shape with the least area times power at 512 products (LUT Tensor Core,
        figure 12).
    activations : tuple of str
        Formats the unit takes: ``int8``, ``fp16``.
    table_bits : int
        0 for exact table entries; 8 rounds a token's tables of a step to 8 bits with one power of
        two for all (LUT Tensor Core, section 3, has a scale for each table).

    Raises
    ------
    InputError
        A value is outside its range; or FP16 sums would not fit 64 bits (``unit.max_k``).
    """

    kind: ClassVar[str] = "lut"
    allowed_weight_bits: ClassVar[tuple[int, ...]] = tuple(range(1, 9))
    weight_word_bits: ClassVar[int] = 1
    weight_types: ClassVar[tuple[str, ...]] = ("twos_complement", "bipolar")

    lanes_m: int = 2
    lanes_n: int = 64
    lanes_k: int = 4
    weight_bits: tuple[int, ...] = (1, 2, 3, 4, 8)
    max_k: int = 32768
    activations: tuple[str, ...] = ("int8",)
    table_bits: int = 0

    def __post_init__(self) -> None:
        power_of_two("unit.lanes_k", self.lanes_k, TABLE_GROUP, 1024)
        subset("unit.activations", self.activations, ("int8", "fp16"))
        if isinstance(self.table_bits, bool) or self.table_bits not in (0, 8):
            raise InputError("design", "unit.table_bits", self.table_bits, "0 (exact) or 8")
        super().__post_init__()
        if self.lanes_n * self.lanes_k % 8:
            allowed = "lanes_n * lanes_k bits of a plane that fill whole bytes"
            raise InputError("design", "unit.lanes_n", self.lanes_n, allowed)

    def _prove_no_overflow(self) -> None:
        """Follow the value ranges stage by stage; each must fit its register.

        Tree and accumulators are followed in the integers that activations are aligned to, and in
        units of the smallest from there on. A negation's 1 travels beside a tree sum, so that
        ``2^n`` counts as ``2^n - 1``. Quantised entries times their power of two stay below the
        largest exact one: 508 of 512, 65024 of 65504.
        """
        self._check_max_k(self._largest_activation * self._largest_code)
        widest = max(self.weight_bits)
        aligned = ALIGNED_HALF if self.has_half else 128
        entry = (1 << (self.table_bits - 1)) - 1 if self.table_bits else TABLE_GROUP * aligned
        positive = aligned if self.has_half else 127
        most_a = LARGEST_HALF if self.has_half else 128
        codes = self._largest_code * most_a * self.max_k
        scale = 1 if self.has_half else (1 << self.scale_bits) - 1
        planes = ((1 << widest) - 1) * most_a
        four = positive + (TABLE_GROUP - 1) * aligned
        stages = (
            ("activation", -aligned, positive, self.aligned_bits),
            ("entry", -TABLE_GROUP * aligned, four, self.sum_bits),
            ("tree", -self.groups * entry, self.groups * entry - 1, self.tree_bits),
            ("dot", -planes * self.lanes_k, planes * self.lanes_k, self.dot_bits),
            ("plane_sum", -planes * self.max_k, planes * self.max_k, self.plane_sum_bits),
            ("token_sum", -most_a * self.max_k, most_a * self.max_k, self.token_sum_bits),
            ("group_sum", -codes, codes, self.group_sum_bits),
            ("accumulator", -codes * scale, codes * scale, self.accumulator_bits),
            ("result", -codes * scale, codes * scale, 8 * self.result_bytes),
        )
        self._prove(stages)

    # Timing ----------------------------------------------------------------------------------

    @property
    def table_latency(self) -> int:
        """Cycles of ``latency`` that build tables: align FP16 (2), add up (1), quantise (1)."""
        return 2 * self.has_half + 1 + (self.table_bits > 0)

    @property
    def latency(self) -> int:
        """Operands, tables, tree, shift, plane sum, group, scaled, total: 6 + tables + tree."""
        return 6 + self.table_latency + tree_stages(self.groups)

    def beats(self, weight_bits: float) -> int:
        """Cycles of a step: one a plane.

        Raises
        ------
        ValueError
            The unit does not take codes of this width.
        """
        self._check_width(weight_bits)
        return int(weight_bits)

    # Geometry --------------------------------------------------------------------------------

    @property
    def groups(self) -> int:
        """Tables of one token's step; lookups of a lane in one cycle."""
        return self.lanes_k // TABLE_GROUP

    # Widths (no overflow is possible by construction) ----------------------------------------

    @property
    def sum_bits(self) -> int:
        """Width of an exact table entry, a sum of four: [-512, 511], or +-65504 with FP16."""
        return self.aligned_bits + 2

    @property
    def entry_bits(self) -> int:
        """Width of a table entry that is looked up."""
        return self.table_bits or self.sum_bits

    @property
    def tree_bits(self) -> int:
        """Width of the sum of a lane's lookups of one cycle."""
        return self.entry_bits + (self.groups - 1).bit_length()

    @property
    def most_base(self) -> int:
        """Largest exponent of a step: FP16 sums count up to 2^26 units of 2^-24.

        The largest FP16 exponent is 30, of which 1 is the unit's and three are guard bits. A
        quantised table adds the bits it cut off.
        """
        half = self.half_base
        return half + (self.sum_bits - (self.table_bits - 1) if self.table_bits else 0)

    @property
    def most_shift(self) -> int:
        """Largest shift of a looked-up sum: the highest plane of the most exponent."""
        return self.most_base + max(self.weight_bits) - 1

    @property
    def _largest_activation(self) -> int:
        """INT8: 128. FP16: 65504 * 2^24 units, below 2^40."""
        return 1 << 40 if self.has_half else 128

    @property
    def _largest_code(self) -> int:
        """Bipolar codes reach 2^b - 1; of 8 bits there is only two's complement."""
        widest = max(self.weight_bits)
        return 128 if widest == 8 else (1 << widest) - 1

    @property
    def dot_bits(self) -> int:
        """Width of the sum of one step's planes: bound (2^b - 1) * activation * lanes_k."""
        return signed_bits(self._plane_bound * self.lanes_k)

    @property
    def plane_sum_bits(self) -> int:
        """Width of a group's sum of planes, which two's complement codes halve."""
        return signed_bits(self._plane_bound * self.max_k)

    @property
    def _plane_bound(self) -> int:
        return ((1 << max(self.weight_bits)) - 1) * self._largest_activation

    @property
    def token_sum_bits(self) -> int:
        """Width of the sum of a group's activations."""
        return signed_bits(self._largest_activation * self.max_k)

    @property
    def group_sum_bits(self) -> int:
        """Width of a group's sum; a group may span the whole of ``max_k``."""
        return signed_bits(self._largest_code * self._largest_activation * self.max_k)

    @property
    def accumulator_bits(self) -> int:
        """Width of the sum over groups: INT8 has scales of at most 255, FP16 of 255 / 256."""
        scale = 1 if self.has_half else 255
        return signed_bits(self._largest_code * self._largest_activation * scale * self.max_k)
