"""Units whose activations are INT8, or FP16 aligned to integers, or either."""

from collections.abc import Iterable

from designs.errors import InputError
from designs.units.base import GUARD_BITS, UnitSpec, signed_bits

__all__ = ["ALIGNED_HALF", "LARGEST_HALF", "HalfUnitSpec"]

_LARGEST_EXPONENT = 30
_LARGEST_SUM_BITS = 63  # besides the sign

ALIGNED_HALF = 2047 << GUARD_BITS
"""Largest magnitude of an aligned FP16: a significand of 11 bits, and guard bits."""

LARGEST_HALF = 2047 << (_LARGEST_EXPONENT - 1)
"""65504, the largest FP16, in units of 2^-24."""


class HalfUnitSpec(UnitSpec):
    """What follows from ``activations``, a field of the unit: ``int8``, ``fp16`` or both."""

    activations: tuple[str, ...]

    @property
    def activation_formats(self) -> tuple[str, ...]:
        return self.activations

    @property
    def has_half(self) -> bool:
        """FP16 activations can be aligned."""
        return "fp16" in self.activations

    @property
    def aligned_bits(self) -> int:
        """Width of an activation as an integer.

        INT8 has 8. An aligned FP16 has a significand of 11 bits, three guard bits and a sign:
        magnitudes of at most 2047 * 8.
        """
        return signed_bits(ALIGNED_HALF) if self.has_half else 8

    @property
    def half_base(self) -> int:
        """Largest exponent of a step: FP16 sums count up to 2^26 units of 2^-24.

        The largest FP16 exponent is 30, of which 1 is the unit's and three are guard bits.
        """
        return _LARGEST_EXPONENT - 1 - GUARD_BITS if self.has_half else 0

    def _check_max_k(self, largest: int) -> None:
        """Refuse reductions whose FP16 sums, of products up to ``largest``, exceed 64 bits."""
        most = ((1 << _LARGEST_SUM_BITS) - 1) // largest
        if self.has_half and self.max_k > most:
            allowed = f"at most {1 << most.bit_length() - 1} with fp16"
            raise InputError("design", "unit.max_k", self.max_k, allowed)

    @staticmethod
    def _prove(stages: Iterable[tuple[str, int, int, int]]) -> None:
        """Raise when a value range (name, low, high, bits) does not fit its register."""
        for stage, low, high, bits in stages:
            if not -(1 << (bits - 1)) <= low <= high < 1 << (bits - 1):
                raise AssertionError(f"{stage} from {low} to {high} overflows {bits} bits")
