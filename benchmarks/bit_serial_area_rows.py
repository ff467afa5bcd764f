"""What is compared in docs/bit-serial-area.md: cells, units, and their areas at equal rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from designs.units import BitSerialSpec, DenseSpec, UnitSpec
from hwgen.cells.bitmod_element import (
    BitmodDequantiser,
    BitmodElement,
    BitmodExponents,
    BitmodGroupSum,
    BitmodProducts,
)
from hwgen.cells.dense_dot import DenseDot
from hwgen.cells.float_arithmetic import FP16
from hwgen.cells.float_cells import FloatDot, FloatIntegerDot
from hwgen.cells.registered import Registered
from hwgen.cells.serial_parts import SerialGroupSum, SerialLanes
from hwgen.units.bit_serial_column import BitSerialColumn
from hwgen.units.dequantiser import Dequantiser
from hwgen.units.half_align import HalfAlign
from hwgen.units.term_generator import TermGenerator

__all__ = [
    "CELLS",
    "RATES",
    "TILE",
    "UNITS_COMPARED",
    "Cell",
    "Element",
    "Study",
    "elements",
    "unit_label",
]

TILE = 8
"""Rows and columns of elements that share a term generator, or aligned activations: the tile of
8 x 8 (HPCA'25, section IV)."""

RATES = {"INT8": 1.0, "INT6": 4 / 3, "FP4, FP3": 2.0}
"""Products a cycle of an element of four lanes: 4 / 3 / 2 cycles for its four products."""

_MOST_K = 32768
_LANES = 4
_ALL = (3, 4, 5, 6, 8)
_INTEGER = BitSerialSpec(TILE, TILE, _LANES, _ALL, _MOST_K, ("int8",))
_BOTH = BitSerialSpec(TILE, TILE, _LANES, _ALL, _MOST_K, ("int8", "fp16"))
_BOOTH = BitSerialSpec(TILE, TILE, _LANES, (6, 8), _MOST_K, ("int8",))


def _parts(name: str, spec: BitSerialSpec) -> dict[str, Callable[[], Any]]:
    """The element of a spec whole and in parts; the column is a tile's, of `TILE` elements."""
    return {
        f"column of {TILE} elements, {name}": lambda: BitSerialColumn(spec, TILE),
        f"element, {name}": lambda: BitSerialColumn(spec, 1),
        f"lanes and adder tree, {name}": lambda: SerialLanes(spec),
        f"shift and group sum, {name}": lambda: SerialGroupSum(spec),
        f"dequantiser and total, {name}": lambda: Dequantiser(
            1,
            spec.group_sum_bits,
            spec.accumulator_bits,
            spec.scale_bits_per_beat,
            half=spec.has_half,
        ),
    }


def _paper(name: str, rounded: bool) -> dict[str, Callable[[], Any]]:
    """The element of the paper whole and in its four stages."""
    return {
        f"paper's element, {name}": lambda: BitmodElement(_LANES, rounded=rounded),
        f"paper's products, {name}": lambda: BitmodProducts(_LANES, rounded=rounded),
        f"paper's group sum, {name}": lambda: BitmodGroupSum(17, rounded=rounded),
    }


CELLS: dict[str, Callable[[], Any]] = {
    "term generator, all codes": lambda: TermGenerator(_LANES),
    "term generator, integers of even width": lambda: TermGenerator(
        _LANES, odd=False, floating=False
    ),
    **_parts("INT8, all codes", _INTEGER),
    **_parts("INT8, 6- and 8-bit codes", _BOOTH),
    **_parts("INT8 and FP16, all codes", _BOTH),
    "alignment of a token": lambda: HalfAlign(_LANES, int8=True),
    **_paper("rounded", True),
    **_paper("cut off", False),
    "paper's exponent match": lambda: BitmodExponents(_LANES),
    "paper's dequantiser": BitmodDequantiser,
    "dense INT8 multiply-accumulate": lambda: DenseDot(1, 8, 8, 32),
    "dense INT8 multiply-accumulate, 4 products": lambda: DenseDot(4, 8, 8, 32),
    "FP16 x INT8": lambda: FloatIntegerDot(FP16, 1, 8),
    "FP16 x INT8, registered operands": lambda: Registered(FloatIntegerDot(FP16, 1, 8)),
    "FP16 x FP16": lambda: FloatDot(FP16, 1),
    "FP16 x FP16, registered operands": lambda: Registered(FloatDot(FP16, 1)),
}
"""Every cell, by its label."""

UNITS_COMPARED: tuple[UnitSpec, ...] = (
    DenseSpec(2, 4, 4, (8,), _MOST_K),
    DenseSpec(2, 4, 4, (4, 8), _MOST_K),
    BitSerialSpec(2, 4, 4, (6, 8), _MOST_K, ("int8",)),
    BitSerialSpec(2, 4, 4, _ALL, _MOST_K, ("int8",)),
    BitSerialSpec(2, 4, 4, _ALL, _MOST_K, ("int8", "fp16")),
)
"""Whole units: with control, operand registers, scaling and totals."""


def unit_label(spec: UnitSpec) -> str:
    """A unit in one line."""
    bits = "/".join(str(width) for width in spec.weight_bits)
    formats = "+".join(spec.activation_formats)
    return f"{spec.kind} M{spec.lanes_m} N{spec.lanes_n} K{spec.lanes_k}, {bits} bits, {formats}"


@dataclass(frozen=True)
class Cell:
    """What one circuit takes.

    Attributes
    ----------
    lut, ff, dsp : int
        AMD UltraScale+ (``xcup``).
    gates, gate_ff, transistors : int
        CMOS gates (``generic``): all cells, flip-flops among them, and transistors.
    um2, sequential_um2 : float or None
        Cell area of a Liberty file, and its flip-flops.
    """

    lut: int
    ff: int
    dsp: int
    gates: int
    gate_ff: int
    transistors: int
    um2: float | None
    sequential_um2: float | None

    @property
    def logic_um2(self) -> float | None:
        """Cell area without flip-flops."""
        if self.um2 is None or self.sequential_um2 is None:
            return None
        return self.um2 - self.sequential_um2


@dataclass(frozen=True)
class Study:
    """Everything the page shows.

    Attributes
    ----------
    tool : str
        Synthesis tool.
    library : str
        Name of the Liberty file's library; empty without one.
    errors : dict of str to float
        `benchmarks.bitmod_arithmetic.group_errors`.
    cells : dict of str to Cell
        Cells and units by label.
    """

    tool: str
    library: str
    errors: Mapping[str, float]
    cells: Mapping[str, Cell]

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Study":
        """The study that `dataclasses.asdict` made plain."""
        cells = {label: Cell(**cell) for label, cell in found["cells"].items()}
        return cls(found["tool"], found["library"], found["errors"], cells)


@dataclass(frozen=True)
class Element:
    """An element with its share of what several elements have in common.

    Attributes
    ----------
    label : str
    parts : tuple of (str, float)
        Labels of cells, and how much of each.
    serial : bool
        Its products a cycle are those of `RATES`.
    products : float
        Otherwise: products a cycle, whatever the weights are.
    """

    label: str
    parts: tuple[tuple[str, float], ...]
    serial: bool = False
    products: float = 1.0

    def amount(self, study: Study, of: str) -> float:
        """LUTs, flip-flops, transistors or um2 (``lut``, ``ff``, ``transistors``, ``um2``, ...)."""
        return sum(share * float(getattr(study.cells[name], of)) for name, share in self.parts)

    def rate(self, weights: str) -> float:
        """Products a cycle with weights of `RATES`."""
        return RATES[weights] if self.serial else self.products


def elements() -> tuple[Element, ...]:
    """Elements compared at equal rate."""
    share = 1 / TILE
    terms, booth = "term generator, all codes", "term generator, integers of even width"
    column = f"column of {TILE} elements, "
    return (
        Element(
            "bit-serial, INT8, 6- and 8-bit codes",
            ((column + "INT8, 6- and 8-bit codes", share), (booth, share)),
            True,
        ),
        Element(
            "bit-serial, INT8, all codes",
            ((column + "INT8, all codes", share), (terms, share)),
            True,
        ),
        Element(
            "bit-serial, INT8 and FP16, all codes",
            (
                (column + "INT8 and FP16, all codes", share),
                (terms, share),
                ("alignment of a token", share),
            ),
            True,
        ),
        Element(
            "as the paper draws it, rounded, FP16",
            (("paper's element, rounded", 1.0), (terms, share)),
            True,
        ),
        Element(
            "as the paper draws it, cut off, FP16",
            (("paper's element, cut off", 1.0), (terms, share)),
            True,
        ),
        Element("dense INT8, one product, no scaling", (("dense INT8 multiply-accumulate", 1.0),)),
        Element(
            "dense INT8, four products, no scaling",
            (("dense INT8 multiply-accumulate, 4 products", 1.0),),
            products=4.0,
        ),
        Element("FP16 x INT8", (("FP16 x INT8, registered operands", 1.0),)),
        Element("FP16 x FP16", (("FP16 x FP16, registered operands", 1.0),)),
    )
