"""Weight formats: what a stored weight is, told by a name such as ``int4_g128``.

A format is a code width, a scale group along K and, for asymmetric formats, a zero point per
group. Scales have two levels: an unsigned 8-bit integer per group and one float32 per output
feature; a format whose group is the whole of K needs only the second one. Families:

- ``int``: two's complement codes, or unsigned ones around a zero point (asymmetric).
- ``bipolar``: odd codes, the sum of planes of -1 and +1 (bipolar-INT, Ma et al., ASP-DAC'25, arXiv
  2409.17870; the reinterpreted weights of LUT Tensor Core, ISCA'25, arXiv 2408.06003, section 3).
  With one bit, -1 and +1, it is called ``int1``.
- ``ternary``: -1, 0 and 1 in two bits (BitNet b1.58, arXiv 2402.17764).
- ``bcq``: binary-coded weights, planes of -1 and +1 with a scale each (Xu et al., ICLR'18, arXiv
  1802.00150). ``asym`` adds the offset of FIGLUT (HPCA'25, arXiv 2503.06862) as one more plane
  whose bits are all equal: its scale is the offset's magnitude.
- ``fp``, ``ant``, ``olive``, ``bitmod``: simulated only.
"""

import re
from dataclasses import dataclass
from math import ceil

from designs.errors import InputError

__all__ = ["WeightFormat", "list_formats", "parse_format", "storage_bits"]

_GROUP = r"(?:_g([1-9][0-9]{0,8}))?"
_INT = re.compile(rf"int([2-8])(_asym)?{_GROUP}")
_BIPOLAR = re.compile(rf"(?:int(1)|bipolar([2-7])){_GROUP}")
_TERNARY = re.compile(rf"ternary{_GROUP}")
_BCQ = re.compile(r"bcq([1-4])(_asym)?_g([1-9][0-9]{0,8})")
_MIXED = re.compile(r"(ant|olive)([2-8](?:\.[0-9]{1,4})?)")
_BITMOD = re.compile(rf"bitmod_fp([34]){_GROUP}")
_ALLOWED = (
    "int8 ... int1, ternary, bipolar7 ... bipolar2, with a scale group of up to 999999999 elements "
    "as int4_gG, int7_asym ... int2_asym[_gG], bcq4[_asym]_gG ... bcq1[_asym]_gG; simulated only: "
    "fp16, ant5.25, olive4, bitmod_fp4_gG, bitmod_fp3_gG"
)
_SCALE_BITS = 8
_EXECUTABLE = ("int", "bipolar", "ternary", "bcq")
_CHANNEL_SCALE_BITS = {"bitmod": 32, "ant": 16, "olive": 16, "fp": 0} | dict.fromkeys(
    _EXECUTABLE, 32
)
_BITMOD_GROUP = 128
_SPECIAL_VALUE_BITS = 2  # one of four special values a group (HPCA'25, section III)


@dataclass(frozen=True)
class WeightFormat:
    """Small integer codes with group scales.

    Parameters
    ----------
    name : str
        Canonical name, e.g. ``int4_asym_g128``.
    bits : int
        Width of a stored code, 1 to 8 (16: FP16).
    group : int or None
        Reduction elements that share a scale; None is the whole of K.
    asymmetric : bool
        Codes are 0 .. 2^bits - 1 around a zero point, else they are signed around 0.
    family : str
        ``int``, ``bipolar``, ``ternary``, ``bcq``: quantised by `mapping.quantise` and run by units
        with RTL. Simulated only, by the width of their codes and what is stored beside them: ``fp``
        (FP16), ``ant`` and ``olive`` (a mix of 4- and 8-bit output features of ANT, MICRO'22, and
        OliVe, ISCA'23, by its mean width), ``bitmod`` (HPCA'25).
    mixed_bits : float or None
        Mean width of a stored code where widths are mixed; None: all codes have ``bits``.
    metadata_bits : int
        Further bits a group stores beside its scale: the special value's number of BitMoD.
    planes : int
        Codes a weight has, each with a group scale of its own: planes of binary-coded weights, the
        plane of the offset included. 1 for all other formats.
    """

    name: str
    bits: int
    group: int | None
    asymmetric: bool
    family: str = "int"
    mixed_bits: float | None = None
    metadata_bits: int = 0
    planes: int = 1

    @property
    def mean_bits(self) -> float:
        """Mean width of a stored weight: its code, or the codes of all its planes."""
        return float(self.bits * self.planes) if self.mixed_bits is None else self.mixed_bits

    @property
    def scaled(self) -> bool:
        """Whether groups have a stored 8-bit scale (whole-K formats have none)."""
        return self.group is not None

    @property
    def bipolar(self) -> bool:
        """Whether codes are odd, every bit of them -1 or +1: the hardware's weight type."""
        return self.family in ("bipolar", "bcq")

    @property
    def executable(self) -> bool:
        """Whether units with RTL can run it: codes that `mapping.quantise` makes."""
        return self.family in _EXECUTABLE

    @property
    def offset(self) -> bool:
        """Whether the last plane of a binary-coded format is the offset, all bits equal."""
        return self.family == "bcq" and "_asym" in self.name

    @property
    def lowest(self) -> int:
        """Smallest code the quantiser produces."""
        return 0 if self.asymmetric else -self.highest

    @property
    def highest(self) -> int:
        """Largest code the quantiser produces."""
        if self.asymmetric or self.bipolar:
            return (1 << self.bits) - 1
        return (1 << (self.bits - 1)) - 1

    @property
    def code_values(self) -> tuple[int, ...]:
        """Every code the format can store, ascending, the most negative two's complement too."""
        if self.bipolar:
            return tuple(range(self.lowest, self.highest + 1, 2))
        if self.family == "ternary":
            return (-1, 0, 1)
        low = 0 if self.asymmetric else -(1 << (self.bits - 1))
        return tuple(range(low, low + (1 << self.bits)))

    def groups(self, k: int) -> int:
        """Scale groups of a reduction of ``k`` elements.

        Raises
        ------
        InputError
            ``k`` is not divisible by the group.
        """
        if self.group is None:
            return 1
        if k % self.group:
            raise InputError(self.name, "K", k, f"a multiple of the group, {self.group}")
        return k // self.group


def parse_format(name: str) -> WeightFormat:
    """The format of a name.

    Parameters
    ----------
    name : str
        ``int8``, ``int4``, ``int4_g128``, ``int4_asym_g128``, ...; widths 2 to 8 (asymmetric
        codes 2 to 7, because a code must fit 8 bits signed), any group >= 1. ``int1`` and
        ``bipolar2`` to ``bipolar7`` (odd codes), ``ternary``, all with ``_gG`` or without;
        ``bcq1_gG`` to ``bcq4_gG``, also ``bcq3_asym_gG``.

    Raises
    ------
    InputError
        The name is unknown.

    Examples
    --------
    >>> parse_format("int4_g128").bits
    4
    >>> parse_format("bcq3_asym_g128").planes
    4
    """
    if not isinstance(name, str):
        raise InputError("weight format", "", name, _ALLOWED)
    if match := _INT.fullmatch(name):
        bits, asymmetric = int(match[1]), match[2] is not None
        if asymmetric and bits == 8:
            raise InputError("weight format", "", name, _ALLOWED)
        return WeightFormat(name, bits, _size(match[3]), asymmetric)
    if match := _BIPOLAR.fullmatch(name):
        return WeightFormat(name, int(match[1] or match[2]), _size(match[3]), False, "bipolar")
    if match := _TERNARY.fullmatch(name):
        return WeightFormat(name, 2, _size(match[1]), False, "ternary")
    if match := _BCQ.fullmatch(name):
        planes = int(match[1]) + (match[2] is not None)
        return WeightFormat(name, 1, _size(match[3]), False, "bcq", planes=planes)
    return _simulated(name)


def _size(digits: str | None) -> int | None:
    return int(digits) if digits else None


def _simulated(name: str) -> WeightFormat:
    """Formats that only the simulator knows."""
    if name == "fp16":
        return WeightFormat("fp16", 16, None, False, "fp")
    if mixed := _MIXED.fullmatch(name):
        mean = float(mixed[2])
        if mean <= 8:
            return WeightFormat(mixed[0], ceil(mean), None, False, mixed[1], mean)
    if bitmod := _BITMOD.fullmatch(name):
        bits, group = int(bitmod[1]), _size(bitmod[2]) or _BITMOD_GROUP
        full = f"bitmod_fp{bits}_g{group}"
        return WeightFormat(full, bits, group, False, "bitmod", None, _SPECIAL_VALUE_BITS)
    raise InputError("weight format", "", name, _ALLOWED)


def list_formats() -> tuple[WeightFormat, ...]:
    """The formats worth listing: every width with the whole K, and the usual groups."""
    names = [f"int{bits}" for bits in range(8, 0, -1)] + ["ternary"]
    names += [f"int{bits}_g{group}" for bits in (8, 4, 3, 2, 1) for group in (32, 64, 128)]
    names += [f"int{bits}_asym_g128" for bits in (4, 3, 2)]
    names += ["ternary_g64", "ternary_g128", "bipolar4", "bipolar4_g128", "bipolar2_g128"]
    names += [f"bcq{planes}_g128" for planes in (4, 3, 2)] + ["bcq3_asym_g128"]
    names += ["int6_g128", "fp16", "ant5", "olive4", "bitmod_fp4_g128", "bitmod_fp3_g128"]
    return tuple(parse_format(name) for name in names)


def storage_bits(fmt: WeightFormat, n: int, k: int) -> int:
    """Bits an (n, k) weight matrix occupies: codes, group scales and metadata, channel scales.

    A weight of a format with planes has a code in every plane, a group a scale in every plane.
    Padding to tiles and memory lines is not counted; the compiled program has that figure. A
    fraction of a bit, of mixed widths, is rounded up a row.

    Raises
    ------
    InputError
        ``k`` is not divisible by the group.
    """
    groups = fmt.groups(k)
    scales = _SCALE_BITS * fmt.scaled * fmt.planes
    per_group = scales + fmt.bits * fmt.asymmetric + fmt.metadata_bits
    codes = ceil(k * fmt.mean_bits)
    return n * (codes + groups * per_group + _CHANNEL_SCALE_BITS[fmt.family])
