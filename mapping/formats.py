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
- ``minifloat``: floating codes: FP4 (E2M1) and FP3, ``mxfp4`` and ``mxfp3`` (groups of 32 with
  power-of-two scales; OCP Microscaling Formats 1.0), ``nvfp4`` (groups of 16 with E4M3 scales;
  arXiv 2509.25149, appendix B).
- ``flint``: four bits of ANT (MICRO'22), whose largest magnitude is 8 instead of 6.
- ``bitmod``: FP4 and FP3 in which the code of -0 is a special value, chosen per group (BitMoD,
  HPCA'25, arXiv 2411.11745, section III). ``er`` and ``ea`` have only those inside the range of the
  other codes (extra resolution), or outside (extra asymmetry).
- ``ant``: with a group, int4 or flint4 by group: made and measured, run by no unit.
- ``fp``, ``ant`` and ``olive`` with a mean width: simulated only.
"""

import re
from dataclasses import dataclass
from math import ceil

from designs.errors import InputError
from mapping.code_books import encode_special, magnitudes

__all__ = ["WeightFormat", "list_formats", "parse_format", "storage_bits"]

_GROUP = r"(?:_g([1-9][0-9]{0,8}))?"
_INT = re.compile(rf"int([2-8])(_asym)?{_GROUP}")
_BIPOLAR = re.compile(rf"(?:int(1)|bipolar([2-7])){_GROUP}")
_TERNARY = re.compile(rf"ternary{_GROUP}")
_BCQ = re.compile(r"bcq([1-4])(_asym)?_g([1-9][0-9]{0,8})")
_FLOAT = re.compile(rf"(fp[34]|flint4){_GROUP}")
_BITMOD = re.compile(
    rf"(?:bitmod_fp([34])|fp([34])_(e[ra])){_GROUP}(?:_sv([0-9.]{{1,4}})_([0-9.]{{1,4}}))?"
)
_BLOCK_SCALED = {
    "mxfp4": (4, 32, "exponent"),
    "mxfp3": (3, 32, "exponent"),
    "nvfp4": (4, 16, "e4m3"),
}
_ANT = re.compile(r"ant4_g([1-9][0-9]{0,8})")
_MIXED = re.compile(r"(ant|olive)([2-8](?:\.[0-9]{1,4})?)")
_ALLOWED = (
    "int8 ... int1, ternary, bipolar7 ... bipolar2, fp4, fp3, flint4, with a group of up to "
    "999999999 as int4_gG, int8 ... int2_asym[_gG], bcq4 ... 1[_asym]_gG, "
    "bitmod_fp4|3_gG[_svA_B], fp4|3_er|ea_gG, mxfp4, mxfp3, nvfp4, ant4_gG; "
    "simulated only: fp16, ant5.25, olive4"
)
_SCALE_BITS = 8
_EXECUTABLE = ("int", "bipolar", "ternary", "bcq", "minifloat", "flint", "bitmod")
_CHANNEL_SCALE_BITS = {"ant": 16, "olive": 16, "fp": 0}  # simulated only; all others have float32
_CODE_TYPES = {"bipolar": "bipolar", "bcq": "bipolar", "flint": "flint"} | dict.fromkeys(
    ("minifloat", "bitmod"), "float"
)
_BITMOD_GROUP = 128
_SPECIAL_VALUE_BITS = 2  # one of four special values a group (HPCA'25, section III)
_RESOLUTION = {4: 5.0, 3: 3.0}  # inside the range of the other codes (HPCA'25, table IV)
_ASYMMETRY = {4: 8.0, 3: 6.0}  # outside


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
        ``int``, ``bipolar``, ``ternary``, ``bcq``, ``minifloat``, ``flint``, ``bitmod``: quantised
        by `mapping.quantise` and run by units with RTL. ``ant`` with a group is quantised only.
        Simulated only, by the width of their codes and what is stored beside them: ``fp`` (FP16),
        ``ant`` and ``olive`` (a mix of 4- and 8-bit output features of ANT, MICRO'22, and OliVe,
        ISCA'23, by its mean width).
    mixed_bits : float or None
        Mean width of a stored code where widths are mixed; None: all codes have ``bits``.
    metadata_bits : int
        Further bits a group stores beside its scale: the special value's number of BitMoD, the
        choice between int4 and flint4 of ANT.
    planes : int
        Codes a weight has, each with a group scale of its own: planes of binary-coded weights, the
        plane of the offset included. 1 for all other formats.
    special_values : tuple of int
        Values, in halves, one of which each group has in the place of -0; at most four.
    scale_kind : str
        What group scales may be: ``integer``: 1 to 255; ``exponent``: powers of two; ``e4m3``: four
        significant bits, as those of an FP8 E4M3 number are.
    """

    name: str
    bits: int
    group: int | None
    asymmetric: bool
    family: str = "int"
    mixed_bits: float | None = None
    metadata_bits: int = 0
    planes: int = 1
    special_values: tuple[int, ...] = ()
    scale_kind: str = "integer"

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
    def code_type(self) -> str:
        """What its codes are to the hardware: one of `designs.units.base.CODE_TYPES`."""
        return _CODE_TYPES.get(self.family, "twos_complement")

    @property
    def floating(self) -> bool:
        """Whether codes are a sign and a magnitude out of a code book (`mapping.code_books`)."""
        return self.code_type in ("float", "flint")

    @property
    def executable(self) -> bool:
        """Whether units with RTL can run it: codes and scales that they know."""
        return self.family in _EXECUTABLE

    @property
    def quantisable(self) -> bool:
        """Whether `mapping.quantise` makes it."""
        return self.executable or (self.family == "ant" and self.group is not None)

    @property
    def offset(self) -> bool:
        """Whether the last plane of a binary-coded format is the offset, all bits equal."""
        return self.family == "bcq" and "_asym" in self.name

    @property
    def lowest(self) -> int:
        """Smallest code the quantiser produces."""
        if self.asymmetric:
            return -128 if self.bits == 8 else 0
        return -self.highest

    @property
    def highest(self) -> int:
        """Largest code the quantiser produces, special values left out."""
        if self.floating:
            return magnitudes(self.code_type, self.bits)[-1]
        if self.bipolar or (self.asymmetric and self.bits < 8):
            return (1 << self.bits) - 1
        return (1 << (self.bits - 1)) - 1

    @property
    def code_values(self) -> tuple[int, ...]:
        """Every value a code can have, ascending, the most negative two's complement one too.

        Floating codes: in halves, without special values.
        """
        if self.bipolar:
            return tuple(range(self.lowest, self.highest + 1, 2))
        if self.floating:
            positive = magnitudes(self.code_type, self.bits)
            return (*(-value for value in positive[:0:-1]), *positive)
        if self.family == "ternary":
            return (-1, 0, 1)
        low = self.lowest if self.asymmetric else -(1 << (self.bits - 1))
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
        ``int8``, ``int4``, ``int4_g128``, ``int4_asym_g128``, ...; widths 2 to 8, any group >= 1.
        ``int1`` and ``bipolar2`` to ``bipolar7`` (odd codes), ``ternary``, ``fp4``, ``fp3``,
        ``flint4``, all with ``_gG`` or without; ``bcq1_gG`` to ``bcq4_gG``, also ``bcq3_asym_gG``.
        ``bitmod_fp4``, ``bitmod_fp3``, ``fp4_er``, ``fp4_ea``, ... have groups of 128 unless named,
        and other special values as ``bitmod_fp3_g128_sv5_6``: +-5 and +-6.

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
        return WeightFormat(name, int(match[1]), _size(match[3]), match[2] is not None)
    if match := _BIPOLAR.fullmatch(name):
        return WeightFormat(name, int(match[1] or match[2]), _size(match[3]), False, "bipolar")
    if match := _TERNARY.fullmatch(name):
        return WeightFormat(name, 2, _size(match[1]), False, "ternary")
    if match := _BCQ.fullmatch(name):
        planes = int(match[1]) + (match[2] is not None)
        return WeightFormat(name, 1, _size(match[3]), False, "bcq", planes=planes)
    if match := _FLOAT.fullmatch(name):
        family = "flint" if match[1] == "flint4" else "minifloat"
        return WeightFormat(name, int(match[1][-1]), _size(match[2]), False, family)
    if name in _BLOCK_SCALED:
        bits, group, kind = _BLOCK_SCALED[name]
        return WeightFormat(name, bits, group, False, "minifloat", scale_kind=kind)
    if match := _BITMOD.fullmatch(name):
        return _with_special_values(name, match)
    if match := _ANT.fullmatch(name):
        return WeightFormat(name, 4, _size(match[1]), False, "ant", metadata_bits=1)
    return _simulated(name)


def _size(digits: str | None) -> int | None:
    return int(digits) if digits else None


def _with_special_values(name: str, match: re.Match[str]) -> WeightFormat:
    """BitMoD's formats; a name without a group is completed."""
    bits, kind = int(match[1] or match[2]), match[3]
    group = _size(match[4]) or _BITMOD_GROUP
    pairs = {"er": (_RESOLUTION[bits],), "ea": (_ASYMMETRY[bits],)}
    sizes = pairs.get(kind, (_RESOLUTION[bits], _ASYMMETRY[bits]))
    full = f"fp{bits}_{kind}_g{group}" if kind else f"bitmod_fp{bits}_g{group}"
    if match[5]:
        try:
            sizes = float(match[5]), float(match[6])
        except ValueError:
            raise InputError("weight format", "", name, _ALLOWED) from None
        known = [size / 2 for size in magnitudes("float", bits)]
        wrong = any(size * 2 % 1 or size in known for size in sizes)
        if kind or wrong or sizes[0] == sizes[1]:
            allowed = f"bitmod_fp{bits}_gG_svA_B with two different values +-A, +-B, multiples of "
            allowed += f"0.5 that FP{bits} has not"
            raise InputError("weight format", "", name, allowed)
        if sizes != (_RESOLUTION[bits], _ASYMMETRY[bits]):
            full += f"_sv{sizes[0]:g}_{sizes[1]:g}"
    values = tuple(int(sign * 2 * size) for size in sizes for sign in (1, -1))
    for value in values:
        try:
            encode_special(value)
        except InputError as error:
            raise InputError("weight format", "", name, f"special values {error.allowed}") from None
    return WeightFormat(
        full, bits, group, False, "bitmod", None, _SPECIAL_VALUE_BITS, special_values=values
    )


def _simulated(name: str) -> WeightFormat:
    """Formats that only the simulator knows."""
    if name == "fp16":
        return WeightFormat("fp16", 16, None, False, "fp")
    if mixed := _MIXED.fullmatch(name):
        mean = float(mixed[2])
        if mean <= 8:
            return WeightFormat(mixed[0], ceil(mean), None, False, mixed[1], mean)
    raise InputError("weight format", "", name, _ALLOWED)


def list_formats() -> tuple[WeightFormat, ...]:
    """The formats worth listing: every width with the whole K, and the usual groups."""
    names = [f"int{bits}" for bits in range(8, 0, -1)] + ["ternary"]
    names += [f"int{bits}_g{group}" for bits in (8, 4, 3, 2, 1) for group in (32, 64, 128)]
    names += [f"int{bits}_asym_g128" for bits in (4, 3, 2)]
    names += ["ternary_g64", "ternary_g128", "bipolar4", "bipolar4_g128", "bipolar2_g128"]
    names += [f"bcq{planes}_g128" for planes in (4, 3, 2)] + ["bcq3_asym_g128"]
    names += [f"int{bits}_g128" for bits in (6, 5)] + [f"int{bits}_asym_g128" for bits in (8, 6, 5)]
    names += ["bitmod_fp4_g128", "bitmod_fp3_g128", "fp4_g128", "fp3_g128", "flint4_g128"]
    names += [f"fp{bits}_{kind}_g128" for bits in (4, 3) for kind in ("er", "ea")]
    names += ["mxfp4", "mxfp3", "nvfp4", "ant4_g128", "fp16", "ant5", "olive4"]
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
    channel = 32 if fmt.quantisable else _CHANNEL_SCALE_BITS[fmt.family]
    return n * (codes + groups * per_group + channel)
