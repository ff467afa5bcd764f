"""A published array of processing elements: simulated only, without RTL."""

from dataclasses import dataclass, fields
from math import ceil, floor
from typing import ClassVar

from designs.checks import integer, power_of_two, subset, text
from designs.errors import InputError
from designs.units.base import UnitSpec

__all__ = ["ArraySpec", "PublishedArray"]

_FAMILIES = ("int", "bipolar", "ternary", "minifloat", "flint", "bitmod", "fp", "ant", "olive")
_MOST_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class ArraySpec(UnitSpec):
    """``lanes_n`` rows x ``lanes_m`` columns of elements, each a dot product of ``lanes_k``.

    Output stationary: a row holds an output feature, a column a token. The same elements may be
    wired as a second shape for few tokens (BitMoD's simulator, repository BitMoD-HPCA-25 at commit
    e445a5f, runs 32 x 32 elements as 64 x 16 in decode), and they may be equal parts that take
    tiles and products of their own (the SMs of a GPU).

    Parameters
    ----------
    lanes_m, lanes_n, lanes_k : int
        Columns (tokens), rows (output features), dot length of an element; 1 to 4096.
    weight_bits : tuple of int
        Code widths the elements take, 1 to 16.
    max_k : int
        Longest reduction.
    pe : str
        The element's name in the process file, for energy and area.
    families : tuple of str
        Families of weight formats it decodes: int, bipolar, ternary, minifloat, flint, bitmod, fp,
        ant, olive.
    latency_cycles : int
        Cycles from the last operand to the finished sum: pipeline stages and hops over the array.
    decode_lanes_m, decode_lanes_n : int
        Columns and rows of the second shape; 0 without one.
    part_lanes_m, part_lanes_n : int
        Columns and rows of one of the equal parts, which divide ``lanes_m`` and ``lanes_n``; 0
        without parts.
    bit_serial : bool
        An element takes ``bits_per_beat`` bits of a weight a cycle, so that a dot product occupies
        it for as many cycles as the code has such pieces, rounded up.
    bits_per_beat : int
        1: bit planes (LUT Tensor Core, ISCA'25); 2: Booth digits or signed terms (BitMoD, HPCA'25).
    dsp_per_element : int
        DSP blocks of one element on an FPGA; 0 where none are known or used.

    Attributes
    ----------
    table : str
        The table of a design file it stands in; errors name it.
    """

    kind: ClassVar[str] = "array"
    simulated_only: ClassVar[bool] = True
    table: ClassVar[str] = "unit"

    pe: str
    latency_cycles: int
    families: tuple[str, ...] = ("int",)
    decode_lanes_m: int = 0
    decode_lanes_n: int = 0
    part_lanes_m: int = 0
    part_lanes_n: int = 0
    bit_serial: bool = False
    bits_per_beat: int = 2
    dsp_per_element: int = 0

    def __post_init__(self) -> None:
        for name in ("lanes_m", "lanes_n", "lanes_k"):
            integer(f"{self.table}.{name}", getattr(self, name), 1, 4096)
        for name in ("decode_lanes_m", "decode_lanes_n", "part_lanes_m", "part_lanes_n"):
            integer(f"{self.table}.{name}", getattr(self, name), 0, 4096)
        integer(f"{self.table}.max_k", self.max_k, 1, 1 << 24)
        integer(f"{self.table}.latency_cycles", self.latency_cycles, 1, 100_000)
        integer(f"{self.table}.bits_per_beat", self.bits_per_beat, 1, 2)
        integer(f"{self.table}.dsp_per_element", self.dsp_per_element, 0, 1024)
        text(f"{self.table}.pe", self.pe)
        subset(f"{self.table}.weight_bits", self.weight_bits, tuple(range(1, 17)))
        subset(f"{self.table}.families", self.families, _FAMILIES)
        if self.macs > _MOST_ELEMENTS:
            allowed = f"lanes_m * lanes_n * lanes_k of at most {_MOST_ELEMENTS}"
            raise InputError("design", f"{self.table}.lanes_k", self.lanes_k, allowed)
        second = self.decode_lanes_m or self.decode_lanes_n
        if second and self.decode_lanes_m * self.decode_lanes_n != self.pes:
            found = self.decode_lanes_m * self.decode_lanes_n
            allowed = f"decode_lanes_m * decode_lanes_n = {self.pes}, the elements there are"
            raise InputError("design", f"{self.table}.decode_lanes_m", found, allowed)
        for name, whole in (("part_lanes_m", self.lanes_m), ("part_lanes_n", self.lanes_n)):
            part = getattr(self, name)
            if (self.part_lanes_m or self.part_lanes_n) and (not part or whole % part):
                allowed = f"a divisor of {whole}, or 0 for both when there are no parts"
                raise InputError("design", f"{self.table}.{name}", part, allowed)

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.lanes_m * self.lanes_n

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(columns, rows) the elements can be wired as; the one for many tokens first."""
        second = ((self.decode_lanes_m, self.decode_lanes_n),) if self.decode_lanes_m else ()
        part = ((self.part_lanes_m, self.part_lanes_n),) if self.part_lanes_m else ()
        return ((self.lanes_m, self.lanes_n), *second, *part)

    def side_by_side(self, shape: tuple[int, int]) -> int:
        """Tiles of a shape that are computed at the same time: the parts, or one."""
        return self.pes // (shape[0] * shape[1])

    @property
    def latency(self) -> int:
        """``latency_cycles``."""
        return self.latency_cycles

    def beats(self, weight_bits: float) -> int:
        """Cycles of one dot product: 1, or the code's pieces of ``bits_per_beat`` when bit serial.

        Bit planes: one cycle a bit (LUT Tensor Core, ISCA'25, section 3.2). BitMoD: 2 for 3 and 4
        bits, 3 for 5 and 6, 4 for 8 (HPCA'25, section IV-A); a fraction of a bit, as a mix of two
        widths has on average, is dropped first, as its simulator does.
        """
        return max(1, ceil(floor(weight_bits) / self.bits_per_beat)) if self.bit_serial else 1

    def weight_port_bits(self, rows: int, weight_bits: float) -> int:
        """Width of the weight buffer's port: a code of whole nibbles for every row and lane.

        A plane is one bit for each of them. An element that takes two bits a cycle has at least two
        cycles for a dot product, so half is enough (so does BitMoD's simulator, BitMoD-HPCA-25 at
        commit e445a5f).
        """
        if self.bit_serial and self.bits_per_beat == 1:
            return self.lanes_k * rows
        bits = self.lanes_k * 4 * ceil(weight_bits / 4) * rows
        return bits // 2 if self.bit_serial else bits

    def activation_port_bits(self, columns: int, activation_bits: int) -> int:
        """Width of the activation buffer's port; see `weight_port_bits`."""
        bits = self.lanes_k * activation_bits * columns
        return bits // 2 if self.bit_serial and self.bits_per_beat == 2 else bits


@dataclass(frozen=True)
class PublishedArray(ArraySpec):
    """The array that a publication's model sees in a unit with RTL: the table ``[array]``.

    Conventions with ``products = "array"`` simulate it in the place of the unit
    (`designs.spec.Design.as_published`). It has buffers for activations and weights, and no others.

    Parameters
    ----------
    activation_bytes, weight_bytes : int
        Sizes of its buffers, where they are not the design's; 0: those.
    """

    table: ClassVar[str] = "array"

    activation_bytes: int = 0
    weight_bytes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("activation_bytes", "weight_bytes"):
            if getattr(self, name) != 0:
                power_of_two(f"array.{name}", getattr(self, name), 16, 1 << 30)

    @property
    def unit(self) -> ArraySpec:
        """The array alone, as the unit of a design."""
        return ArraySpec(**{field.name: getattr(self, field.name) for field in fields(ArraySpec)})
