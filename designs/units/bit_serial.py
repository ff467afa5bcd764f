"""A unit that multiplies bit-serially: two bits of every weight code a cycle, any code book.

Source: Chen et al., "BitMoD" (HPCA'25, arXiv 2411.11745, section IV): radix-4 Booth digits of
integers and two signed powers of two of floating codes as one kind of term, four lanes an element,
bit-serial multiplication by the group's scale beside the dot product, tiles of 8 x 8 elements. The
README of the paper's repository states that a patent application covers the work.
"""

from dataclasses import dataclass
from typing import ClassVar

from designs.checks import power_of_two, subset
from designs.errors import InputError
from designs.units.base import signed_bits
from designs.units.half import ALIGNED_HALF, LARGEST_HALF, HalfUnitSpec
from designs.units.lut import tree_stages

__all__ = ["BitSerialSpec"]

_LARGEST_FLOAT = 24  # a special value of 16 + 8 halves; other codes reach 16


@dataclass(frozen=True)
class BitSerialSpec(HalfUnitSpec):
    """``lanes_m`` x ``lanes_n`` elements; each sums ``lanes_k`` activations times a term a cycle.

    A *term* is +-2^e or 0. An integer of b bits is ceil(b / 2) Booth digits, a term each; a
    floating code, or a special value, is two terms. So a step takes ceil(b / 2) cycles: 4, 3, 2, 2
    for INT8, INT6, FP4 and FP3. A word of weights is two bits of every code of a step.

    FP16 activations are aligned to the largest exponent of a token's step with three guard bits
    and are integers from there on; sums count 2^-24, or 2^-16 with group scales.

    Parameters
    ----------
    lanes_m, lanes_n, lanes_k, weight_bits, max_k
        As in `UnitSpec`; ``weight_bits`` out of 2 to 8. Three and four bits may be floating codes
        too. By default one tile of the paper: 8 x 8 elements of four lanes.
    activations : tuple of str
        Formats the unit takes: ``int8``, ``fp16``.
    tile_m, tile_n : int
        Tokens and output features of one tile; 0 is all of them. Operands move on to the next tile
        in a cycle of their own.
    scale_bits_per_beat : int
        Bits of a group's scale that are multiplied in a cycle: 1 as in the paper, 2 or 4. Groups
        must take ``8 / scale_bits_per_beat`` cycles at least.

    Raises
    ------
    InputError
        A value is outside its range; FP16 sums would not fit 64 bits (``unit.max_k``); or there are
        more hops between tiles than cycles of the shortest group (``unit.tile_m``).
    """

    kind: ClassVar[str] = "bit_serial"
    allowed_weight_bits: ClassVar[tuple[int, ...]] = tuple(range(2, 9))
    weight_word_bits: ClassVar[int] = 2
    weight_types: ClassVar[tuple[str, ...]] = ("twos_complement", "float", "flint")

    lanes_m: int = 8
    lanes_n: int = 8
    lanes_k: int = 4
    weight_bits: tuple[int, ...] = (3, 4, 5, 6, 8)
    max_k: int = 32768
    activations: tuple[str, ...] = ("int8",)
    tile_m: int = 0
    tile_n: int = 0
    scale_bits_per_beat: int = 1

    def __post_init__(self) -> None:
        subset("unit.activations", self.activations, ("int8", "fp16"))
        bits = self.scale_bits_per_beat
        if type(bits) is not int or bits not in (1, 2, 4):
            raise InputError("design", "unit.scale_bits_per_beat", bits, "1, 2 or 4")
        super().__post_init__()
        if self.lanes_n * self.lanes_k % 8:
            allowed = "lanes_n * lanes_k codes that fill whole bytes at every width"
            raise InputError("design", "unit.lanes_n", self.lanes_n, allowed)
        for name, lanes in (("tile_m", self.lanes_m), ("tile_n", self.lanes_n)):
            if getattr(self, name) != 0:
                power_of_two(f"unit.{name}", getattr(self, name), 1, lanes)
        if self.hops >= self.least_group_beats:
            allowed = f"tiles with at most {self.least_group_beats - 1} hops between first and last"
            name = "tile_m" if self.tiles_m >= self.tiles_n else "tile_n"
            found = getattr(self, name)
            raise InputError("design", f"unit.{name}", found, f"{allowed}, not {self.hops}")

    def _prove_no_overflow(self) -> None:
        """Follow the value ranges stage by stage; each must fit its register.

        Lanes and tree are followed in the integers that activations are aligned to, and in units
        of the smallest from there on. A negation's 1 travels beside its number, so that ``2^n``
        counts as ``2^n - 1``. Between the terms of a step a group's sum may leave its range by the
        terms to come; it is two's complement and exact again when the step is complete.
        """
        self._check_max_k(self._largest_activation * self._largest_code)
        aligned = ALIGNED_HALF if self.has_half else 128
        positive = aligned if self.has_half else 127
        term = aligned << self.most_exponent
        most_a = LARGEST_HALF if self.has_half else 128
        sums = self._largest_code * most_a * self.max_k
        scale = 1 if self.has_half else (1 << self.scale_bits) - 1
        stages = (
            ("activation", -aligned, positive, self.aligned_bits),
            ("term", -term, term - 1, self.term_bits),
            ("tree", -self.lanes_k * term, self.lanes_k * term - 1, self.tree_bits),
            ("group_sum", -sums, sums, self.group_sum_bits),
            ("rounding", 0, 1 << (self.scale_bits - 1), self.group_sum_bits),
            ("accumulator", -sums * scale, sums * scale, self.accumulator_bits),
            ("result", -sums * scale, sums * scale, 8 * self.result_bytes),
        )
        self._prove(stages)

    # Timing ----------------------------------------------------------------------------------

    @property
    def scale_beats(self) -> int:
        """Cycles that multiply a group's sum by its scale, beside the next group's dot product."""
        return self.scale_bits // self.scale_bits_per_beat

    @property
    def least_group_beats(self) -> int:
        """No group ends while the one before is being scaled."""
        return max(2, self.scale_beats)

    @property
    def tiles_m(self) -> int:
        """Rows of tiles."""
        return self.lanes_m // (self.tile_m or self.lanes_m)

    @property
    def tiles_n(self) -> int:
        """Columns of tiles."""
        return self.lanes_n // (self.tile_n or self.lanes_n)

    @property
    def hops(self) -> int:
        """Registers between the first tile and the last: the latter is so many cycles behind."""
        return self.tiles_m - 1 + self.tiles_n - 1

    @property
    def latency(self) -> int:
        """Cycles from the last beat to the sums: 7 + tree + scaling + hops.

        Word, second term, term, tree, shift, group sum, held sum, scaling, total.
        """
        return 7 + tree_stages(self.lanes_k) + self.scale_beats + self.hops

    def beats(self, weight_bits: float) -> int:
        """Cycles of a step: one for every two bits (HPCA'25, section IV-A).

        Raises
        ------
        ValueError
            The unit does not take codes of this width.
        """
        self._check_width(weight_bits)
        return -(-int(weight_bits) // 2)

    # Geometry --------------------------------------------------------------------------------

    @property
    def has_float(self) -> bool:
        """Floating codes can be decoded: there are codes of three or four bits."""
        return self.has_special_values

    # Widths (no overflow is possible by construction) ----------------------------------------

    @property
    def most_exponent(self) -> int:
        """Largest exponent of a lane's term: 1 of a Booth digit, 3 of a floating code."""
        return 3 if self.has_float else 1

    @property
    def term_bits(self) -> int:
        """Width of an activation times a lane's term."""
        return self.aligned_bits + self.most_exponent

    @property
    def tree_bits(self) -> int:
        """Width of the sum of an element's terms of one cycle."""
        return self.term_bits + (self.lanes_k - 1).bit_length()

    @property
    def most_base(self) -> int:
        """Largest exponent of a step: FP16 sums count up to 2^26 units of 2^-24."""
        return self.half_base

    @property
    def most_shift(self) -> int:
        """Largest shift of a sum of terms: the last digit's of the most exponent."""
        digits = -(-max(self.weight_bits) // 2)
        return self.most_base + 2 * (digits - 1)

    @property
    def _largest_activation(self) -> int:
        """INT8: 128. FP16: 65504 in units of 2^-24."""
        return LARGEST_HALF if self.has_half else 128

    @property
    def _largest_code(self) -> int:
        integer = 1 << (max(self.weight_bits) - 1)
        return max(integer, _LARGEST_FLOAT) if self.has_float else integer

    @property
    def dot_bits(self) -> int:
        """Width of the sum of one step's products."""
        return signed_bits(self._largest_code * self._largest_activation * self.lanes_k)

    @property
    def group_sum_bits(self) -> int:
        """Width of a group's sum; a group may span the whole of ``max_k``."""
        return signed_bits(self._largest_code * self._largest_activation * self.max_k)

    @property
    def accumulator_bits(self) -> int:
        """Width of the sum over groups: INT8 has scales of at most 255, FP16 of 255 / 256."""
        scale = 1 if self.has_half else 255
        return signed_bits(self._largest_code * self._largest_activation * scale * self.max_k)
