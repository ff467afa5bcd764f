"""Weight formats: what a stored weight is, told by a name such as ``int4_g128``.

A format is a code width, a scale group along K and, for asymmetric formats, a zero point per
group. Scales have two levels: an unsigned 8-bit integer per group and one float32 per output
feature; a format whose group is the whole of K needs only the second one.
"""

import re
from dataclasses import dataclass
from math import ceil

from designs.errors import InputError

__all__ = ["WeightFormat", "list_formats", "parse_format", "storage_bits"]

_NAME = re.compile(r"int([2-8])(_asym)?(?:_g([1-9][0-9]{0,8}))?")
_MIXED = re.compile(r"(ant|olive)([2-8](?:\.[0-9]{1,4})?)")
_BITMOD = re.compile(r"bitmod_fp([34])(?:_g([1-9][0-9]{0,8}))?")
_ALLOWED = (
    "int8 ... int2, with a scale group of 1 to 999999999 elements as int4_gG, and asymmetric codes "
    "of 2 to 7 bits as int4_asym or int4_asym_gG; simulated only: fp16, ant5, olive4 (mean widths "
    "of 2 to 8 bits such as ant5.25), bitmod_fp4_gG, bitmod_fp3_gG"
)
_SCALE_BITS = 8
_CHANNEL_SCALE_BITS = {"int": 32, "bitmod": 32, "ant": 16, "olive": 16, "fp": 0}
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
        Width of a stored code, 2 to 8.
    group : int or None
        Reduction elements that share a scale; None is the whole of K.
    asymmetric : bool
        Codes are 0 .. 2^bits - 1 around a zero point, else they are signed around 0.
    family : str
        ``int``: quantised by `mapping.quantise` and run by units with RTL. Simulated only, by the
        width of their codes and what is stored beside them: ``fp`` (FP16), ``ant`` and ``olive``
        (a mix of 4- and 8-bit output features of ANT, MICRO'22, and OliVe, ISCA'23, by its mean
        width), ``bitmod`` (HPCA'25).
    mixed_bits : float or None
        Mean width of a stored code where widths are mixed; None: all codes have ``bits``.
    metadata_bits : int
        Further bits a group stores beside its scale: the special value's number of BitMoD.
    """

    name: str
    bits: int
    group: int | None
    asymmetric: bool
    family: str = "int"
    mixed_bits: float | None = None
    metadata_bits: int = 0

    @property
    def mean_bits(self) -> float:
        """Mean width of a stored code."""
        return float(self.bits) if self.mixed_bits is None else self.mixed_bits

    @property
    def scaled(self) -> bool:
        """Whether groups have a stored 8-bit scale (whole-K formats have none)."""
        return self.group is not None

    @property
    def lowest(self) -> int:
        """Smallest code the quantiser produces."""
        return 0 if self.asymmetric else -((1 << (self.bits - 1)) - 1)

    @property
    def highest(self) -> int:
        """Largest code the quantiser produces."""
        return (1 << self.bits) - 1 if self.asymmetric else (1 << (self.bits - 1)) - 1

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
        codes 2 to 7, because a code must fit 8 bits signed), any group >= 1.

    Raises
    ------
    InputError
        The name is unknown.

    Examples
    --------
    >>> parse_format("int4_g128")
    WeightFormat(name='int4_g128', bits=4, group=128, asymmetric=False)
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return _simulated(name)
    bits = int(match[1])
    asymmetric = match[2] is not None
    if asymmetric and bits == 8:
        raise InputError("weight format", "", name, _ALLOWED)
    return WeightFormat(name, bits, int(match[3]) if match[3] else None, asymmetric)


def _simulated(name: object) -> WeightFormat:
    """Formats that only the simulator knows."""
    if name == "fp16":
        return WeightFormat("fp16", 16, None, False, "fp")
    mixed = _MIXED.fullmatch(name) if isinstance(name, str) else None
    if mixed is not None:
        mean = float(mixed[2])
        if mean <= 8:
            return WeightFormat(mixed[0], ceil(mean), None, False, mixed[1], mean)
    bitmod = _BITMOD.fullmatch(name) if isinstance(name, str) else None
    if bitmod is not None:
        bits, group = int(bitmod[1]), int(bitmod[2] or _BITMOD_GROUP)
        full = f"bitmod_fp{bits}_g{group}"
        return WeightFormat(full, bits, group, False, "bitmod", None, _SPECIAL_VALUE_BITS)
    raise InputError("weight format", "", name, _ALLOWED)


def list_formats() -> tuple[WeightFormat, ...]:
    """The formats worth listing: every width with the whole K, and the usual groups."""
    names = [f"int{bits}" for bits in range(8, 1, -1)]
    names += [f"int{bits}_g{group}" for bits in (8, 4, 3, 2) for group in (32, 64, 128)]
    names += [f"int{bits}_asym_g128" for bits in (4, 3, 2)]
    names += ["int6_g128", "fp16", "ant5", "olive4", "bitmod_fp4_g128", "bitmod_fp3_g128"]
    return tuple(parse_format(name) for name in names)


def storage_bits(fmt: WeightFormat, n: int, k: int) -> int:
    """Bits an (n, k) weight matrix occupies: codes, group scales and metadata, channel scales.

    Padding to tiles and memory lines is not counted; the compiled program has that figure. A
    fraction of a bit, of mixed widths, is rounded up a row.

    Raises
    ------
    InputError
        ``k`` is not divisible by the group.
    """
    groups = fmt.groups(k)
    per_group = _SCALE_BITS * fmt.scaled + fmt.bits * fmt.asymmetric + fmt.metadata_bits
    codes = ceil(k * fmt.mean_bits)
    return n * (codes + groups * per_group + _CHANNEL_SCALE_BITS[fmt.family])
