"""Weight formats: what a stored weight is, told by a name such as ``int4_g128``.

A format is a code width, a scale group along K and, for asymmetric formats, a zero point per
group. Scales have two levels: an unsigned 8-bit integer per group and one float32 per output
feature; a format whose group is the whole of K needs only the second one.
"""

import re
from dataclasses import dataclass

from designs.errors import InputError

__all__ = ["WeightFormat", "list_formats", "parse_format", "storage_bits"]

_NAME = re.compile(r"int([2-8])(_asym)?(?:_g([1-9][0-9]{0,8}))?")
_ALLOWED = (
    "int8 ... int2, with a scale group of 1 to 999999999 elements as int4_gG, and asymmetric codes "
    "of 2 to 7 bits as int4_asym or int4_asym_gG"
)
_SCALE_BITS = 8
_CHANNEL_SCALE_BITS = 32


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
    """

    name: str
    bits: int
    group: int | None
    asymmetric: bool

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
        raise InputError("weight format", "", name, _ALLOWED)
    bits = int(match[1])
    asymmetric = match[2] is not None
    if asymmetric and bits == 8:
        raise InputError("weight format", "", name, _ALLOWED)
    return WeightFormat(name, bits, int(match[3]) if match[3] else None, asymmetric)


def list_formats() -> tuple[WeightFormat, ...]:
    """The formats worth listing: every width with the whole K, and the usual groups."""
    names = [f"int{bits}" for bits in range(8, 1, -1)]
    names += [f"int{bits}_g{group}" for bits in (8, 4, 3, 2) for group in (32, 64, 128)]
    names += [f"int{bits}_asym_g128" for bits in (4, 3, 2)]
    return tuple(parse_format(name) for name in names)


def storage_bits(fmt: WeightFormat, n: int, k: int) -> int:
    """Bits an (n, k) weight matrix occupies: codes, group scales, zero points, channel scales.

    Padding to tiles and memory lines is not counted; the compiled program has that figure.

    Raises
    ------
    InputError
        ``k`` is not divisible by the group.
    """
    groups = fmt.groups(k)
    per_group = _SCALE_BITS * fmt.scaled + fmt.bits * fmt.asymmetric
    return n * (k * fmt.bits + groups * per_group + _CHANNEL_SCALE_BITS)
