"""What every unit's spec tells the compiler, the simulator and the RTL generator."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from designs.checks import power_of_two, subset
from designs.errors import InputError

__all__ = [
    "ACTIVATION_BYTES",
    "CODE_TYPES",
    "CODE_WIDTHS",
    "GUARD_BITS",
    "IDENTIFIED_GROUPS",
    "SPECIAL_VALUES",
    "UnitSpec",
    "signed_bits",
]

ACTIVATION_BYTES = {"int8": 1, "fp16": 2}
"""Bytes of one activation by format."""

CODE_TYPES = ("twos_complement", "bipolar", "float", "flint")
"""What stored codes may mean; the position is the number in instructions and in `StepControl`.

``bipolar``: odd values around 0. ``float``: sign and magnitude out of 0, 1, 2, 3, 4, 6, 8, 12 (E2M1
doubled, 4 bits) or 0, 2, 4, 8 (3 bits). ``flint``: 16 in the place of 12 (ANT, MICRO'22). In the
last two the code of -0 is the special value of its group (BitMoD, HPCA'25, section III), or 0.
"""

CODE_WIDTHS = {"bipolar": tuple(range(1, 8)), "float": (3, 4), "flint": (4,)}
"""Widths of codes that have not all of them."""

SPECIAL_VALUES = 4
"""Special values a group chooses one of: two bits a group (BitMoD, HPCA'25, section III)."""

IDENTIFIED_GROUPS = 4
"""Groups whose special values' numbers fill one word of scales: bytes of four times two bits."""

GUARD_BITS = 3
"""Bits kept below the last one of a step's largest FP16 value (BitMoD, HPCA'25, section IV-B)."""

_MOST_MACS = 1 << 16


def signed_bits(bound: int) -> int:
    """Width of the two's-complement word that holds every value in [-bound, bound].

    Examples
    --------
    >>> signed_bits(127), signed_bits(128)
    (8, 9)
    """
    return int(bound).bit_length() + 1


@dataclass(frozen=True)
class UnitSpec:
    """Geometry of a matrix unit: what it multiplies in one step.

    A *step* is one tile of ``lanes_m`` tokens x ``lanes_n`` output features x
    ``lanes_k`` reduction elements.

    Parameters
    ----------
    lanes_m, lanes_n, lanes_k : int
        Tokens, output features and reduction elements of one step; powers of two.
    weight_bits : tuple of int
        Widths of the packed weight codes the unit unpacks.
    max_k : int
        Longest reduction the accumulators are sized for; a power of two.

    Attributes
    ----------
    weight_word_bits : int
        Bits of every code that one word of the weight buffer holds: 8 where a word is a step of
        8-bit codes (narrower codes fill a part of it), 1 where it is one bit plane of a step, 2
        where it is two of them (`mapping.digits`).
    weight_types : tuple of str
        What stored codes may mean, out of `CODE_TYPES`.
    least_group_beats : int
        Fewest cycles between the ends of two scale groups, or passes: shorter ones are refused.

    Raises
    ------
    InputError
        A value is outside its range; the message names the field.
    """

    kind: ClassVar[str]
    allowed_weight_bits: ClassVar[tuple[int, ...]]
    simulated_only: ClassVar[bool] = False
    weight_word_bits: ClassVar[int] = 8
    weight_types: ClassVar[tuple[str, ...]] = ("twos_complement",)
    scale_bits: ClassVar[int] = 8

    lanes_m: int
    lanes_n: int
    lanes_k: int
    weight_bits: tuple[int, ...]
    max_k: int

    def __post_init__(self) -> None:
        for name in ("lanes_m", "lanes_n", "lanes_k"):
            power_of_two(f"unit.{name}", getattr(self, name), 1, 1024)
        power_of_two("unit.max_k", self.max_k, self.lanes_k, 1 << 20)
        subset("unit.weight_bits", self.weight_bits, self.allowed_weight_bits)
        if self.macs > _MOST_MACS:
            allowed = f"lanes_m * lanes_n * lanes_k of at most {_MOST_MACS}"
            raise InputError("design", "unit.lanes_k", self.lanes_k, allowed)
        if self.lanes_n * self.lanes_k * min(self.weight_bits) % 8:
            allowed = "lanes_n * lanes_k codes that fill whole bytes"
            raise InputError("design", "unit.weight_bits", list(self.weight_bits), allowed)
        self._prove_no_overflow()

    def _prove_no_overflow(self) -> None:
        """Follow the value ranges stage by stage; each must fit its register.

        INT8 x INT8 products lie in [-128 * 127, 128 * 128]. A group is at most ``max_k`` long, so
        is the sum of all groups; scales are at most 255.
        """
        low, high = -128 * 127, 128 * 128
        stages = (
            ("dot", self.lanes_k, self.dot_bits),
            ("group_sum", self.max_k, self.group_sum_bits),
            ("accumulator", 255 * self.max_k, self.accumulator_bits),
            ("result", 255 * self.max_k, 8 * self.result_bytes),
        )
        narrow = max(self.weight_bits) < 8
        for stage, terms, bits in stages:
            if narrow and stage in ("accumulator", "result"):
                low, high = (
                    -(1 << (max(self.weight_bits) - 1)) * 127,
                    1 << (max(self.weight_bits) + 6),
                )
            if not -(1 << (bits - 1)) <= terms * low <= terms * high < 1 << (bits - 1):
                raise AssertionError(f"{stage} of {terms} terms overflows {bits} bits")

    # Timing ----------------------------------------------------------------------------------

    @property
    def latency(self) -> int:
        """Cycles from accepting the last beat of a pass to its sums on the output stream."""
        raise NotImplementedError

    @property
    def table_latency(self) -> int:
        """The part of ``latency`` that builds tables of activations; 0 without tables."""
        return 0

    def beats(self, weight_bits: float) -> int:
        """Cycles one step occupies the unit (its initiation interval) for a code width."""
        raise NotImplementedError

    def _check_width(self, weight_bits: float) -> None:
        """Raise ValueError when the unit does not take codes of this width."""
        if weight_bits not in self.weight_bits:
            raise ValueError(f"weight_bits must be one of {self.weight_bits}, not {weight_bits!r}")

    # Geometry --------------------------------------------------------------------------------

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return self.lanes_m * self.lanes_n * self.lanes_k

    @property
    def activation_formats(self) -> tuple[str, ...]:
        """Activations the unit multiplies: ``int8``, ``fp16``."""
        return ("int8",)

    def activation_step_bytes(self, activations: str) -> int:
        """Bytes of activations one step reads: lanes_m x lanes_k of a format.

        Raises
        ------
        ValueError
            The unit has no such activations.
        """
        if activations not in self.activation_formats:
            raise ValueError(f"activations must be one of {self.activation_formats}")
        return self.lanes_m * self.lanes_k * ACTIVATION_BYTES[activations]

    @property
    def activation_word_bytes(self) -> int:
        """Bytes of one word of the activation buffer: a step of the widest activations."""
        return max(self.activation_step_bytes(name) for name in self.activation_formats)

    @property
    def weight_word_bytes(self) -> int:
        """Bytes of one word of the weight buffer; see ``weight_word_bits``."""
        return self.lanes_n * self.lanes_k * self.weight_word_bits // 8

    def step_words(self, weight_bits: int) -> Fraction:
        """Words of the weight buffer a step takes: a whole number, or a half of one word."""
        return Fraction(weight_bits, self.weight_word_bits)

    @property
    def scale_word_bytes(self) -> int:
        """Bytes of group scales one group of a tile reads: lanes_n unsigned 8-bit integers."""
        return self.lanes_n

    @staticmethod
    def scale_words(groups: int, special: bool) -> int:
        """Words of scales of so many groups of a tile.

        With special values a word goes before the scales of every four groups: the numbers of their
        special values, two bits each, byte n those of feature n.
        """
        return groups + -(-groups // IDENTIFIED_GROUPS) * special

    def weight_step_bytes(self, weight_bits: int) -> int:
        """Packed bytes of the weight codes of one step."""
        return self.lanes_n * self.lanes_k * weight_bits // 8

    @property
    def least_group_beats(self) -> int:
        return 1

    @property
    def has_special_values(self) -> bool:
        """Whether codes can be floating ones: their widths are among the unit's."""
        widths = CODE_WIDTHS["float"]
        return "float" in self.weight_types and any(bits in widths for bits in self.weight_bits)

    def step_grain(self, weight_bits: int) -> int:
        """Steps that fill whole words together and may not be parted; 1 where words are shared."""
        pairs = self.weight_word_bits == 2 and weight_bits % 2
        return 2 if pairs else 1

    def least_steps(self, weight_bits: int) -> int:
        """Fewest steps of a scale group or a pass."""
        grain = self.step_grain(weight_bits)
        steps = -(-self.least_group_beats // self.beats(weight_bits))
        return -(-steps // grain) * grain

    # Widths (no overflow is possible by construction) ----------------------------------------

    @property
    def dot_bits(self) -> int:
        """Width of the sum of one step's ``lanes_k`` products: bound 128 * 128 * lanes_k."""
        return signed_bits(128 * 128 * self.lanes_k)

    @property
    def group_sum_bits(self) -> int:
        """Width of a group's sum; a group may span the whole of ``max_k``."""
        return signed_bits(128 * 128 * self.max_k)

    @property
    def accumulator_bits(self) -> int:
        """Width of sum_g s8[g] * group_sum[g]: bound 2^(bits-1) * 128 * 255 * max_k."""
        widest = max(self.weight_bits)
        return signed_bits((1 << (widest - 1)) * 128 * 255 * self.max_k)

    @property
    def result_bytes(self) -> int:
        """Bytes of one accumulator sum in memory: 4 when it fits 32 bits, else 8."""
        return 4 if self.accumulator_bits <= 32 else 8
