"""Rows that need the area of synthesised cells: `measured/lut_area.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from math import inf
from pathlib import Path

from designs.errors import InputError
from designs.tables import read_text, structure
from silicast.fidelity.gates import NO_GATE, Gate, GatedRow, between, equal, within
from silicast.fidelity.lut_inputs import inputs

__all__ = ["MEASURED", "AreaStudy", "area_rows", "load_area_study"]

MEASURED = Path(__file__).parent / "measured" / "lut_area.json"
"""Where the figures of `python -m benchmarks.lut_area` are kept."""

_NAME = "LUT Tensor Core"
_PLANES = (1, 2, 4)
"""Planes of the cells that are compared by K; the gate is on one plane."""

_WIDTHS = (16, 24, 32)
_GATED_WIDTH = 16
_PRODUCT = 512
_TABLE2 = ("reinterpreted", "negation_free", "tables_outside")


class _Areas:
    """Checks that every float of a record is an area."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, float) and not 0 < value < 1e12:
                where = type(self).__name__.lower()
                raise InputError(MEASURED.name, f"{where}.{field.name}", value, "an area in um2")


@dataclass(frozen=True)
class Chain(_Areas):
    """Area of an M2 N64 K4 array for two-bit weights after each step of Table 2, um2."""

    accumulator_bits: int
    conventional: float
    reinterpreted: float
    negation_free: float
    tables_outside: float


@dataclass(frozen=True)
class TableK(_Areas):
    """Area of one cell that looks up the sum of ``k`` activations, its table not charged, um2."""

    activations: str
    planes: int
    k: int
    area: float


@dataclass(frozen=True)
class Width(_Areas):
    """Areas of equal rate at one weight width, um2."""

    bits: int
    multiply: float
    add: float
    full_table: float
    lookup: float


@dataclass(frozen=True)
class TileShape(_Areas):
    """Area of an array of a shape for two-bit weights, um2."""

    lanes_m: int
    lanes_n: int
    lanes_k: int
    area: float


@dataclass(frozen=True)
class OneBit(_Areas):
    """Arrays of equal rate: INT8 multiply-accumulate and one-bit lookup, um2."""

    dense_int8: float
    lookup_w1a8: float


@dataclass(frozen=True)
class Dot4(_Areas):
    """Dot products of four FP16 activations, one-bit weights (multiply: FP16), um2."""

    multiply: float
    add: float
    lookup: float


@dataclass(frozen=True)
class TableRegisters(_Areas):
    """Registers of 16 entries, of 8, and of 8 with what decodes the index and sign, um2."""

    full: float
    half: float
    half_with_decoder: float


@dataclass(frozen=True)
class AreaStudy:
    """Areas of cells synthesised from the generated Verilog; ratios are computed here.

    Attributes
    ----------
    command, library, yosys : str
        How it was measured.
    chain : tuple of Chain
        One for accumulators of 16, 24 and 32 bits.
    table_k : tuple of TableK
        INT8 and FP16, at least K of 3 to 5 (FP16: to 6).
    weight_bits : tuple of Width
        1 to 7 bits at least, ascending.
    shapes : tuple of TileShape
        All with the same product, the paper's among them.
    one_bit, dot4_fp16, table_registers
        See their classes.
    """

    command: str
    library: str
    yosys: str
    chain: tuple[Chain, ...]
    table_k: tuple[TableK, ...]
    weight_bits: tuple[Width, ...]
    shapes: tuple[TileShape, ...]
    one_bit: OneBit
    dot4_fp16: Dot4
    table_registers: TableRegisters

    def __post_init__(self) -> None:
        def check(field: str, holds: bool, found: object, allowed: str) -> None:
            if not holds:
                raise InputError(MEASURED.name, field, found, allowed)

        widths = tuple(item.accumulator_bits for item in self.chain)
        check("chain", widths == _WIDTHS, list(widths), f"accumulators of {list(_WIDTHS)} bits")
        for name, least in (("int8", {3, 4, 5}), ("fp16", {3, 4, 5, 6})):
            for planes in _PLANES:
                found = {item.k for item in self._cells(name, planes)}
                allowed = f"K of {sorted(least)} with {name} and {planes} planes"
                check("table_k", least <= found, sorted(found), allowed)
        bits = [item.bits for item in self.weight_bits]
        enough = bits == list(range(1, len(bits) + 1)) and len(bits) >= 7
        check("weight_bits", enough, bits, "1 to 7 or more, ascending")
        for item in self.shapes:
            shape = (item.lanes_m, item.lanes_n, item.lanes_k)
            product = item.lanes_m * item.lanes_n * item.lanes_k
            check("shapes", product == _PRODUCT, shape, f"a product of {_PRODUCT}")
        shapes = [(item.lanes_m, item.lanes_n, item.lanes_k) for item in self.shapes]
        paper = inputs().lut_tensor_core.shape
        check("shapes", paper in shapes and len(set(shapes)) > 1, shapes, f"{paper} and others")

    def _cells(self, activations: str, planes: int) -> list[TableK]:
        kind = activations, planes
        return [item for item in self.table_k if (item.activations, item.planes) == kind]

    def densest_k(self, activations: str, planes: int) -> int:
        """The activations of a table with the least area an activation."""
        cells = self._cells(activations, planes)
        return min(cells, key=lambda item: item.area / item.k).k

    def widest(self, kind: str) -> int:
        """The last width up to which a kind of array is smaller than multiplying; 0: none."""
        widest = 0
        for item in self.weight_bits:
            if getattr(item, kind) >= item.multiply:
                break
            widest = item.bits
        return widest

    def excess(self, shape: tuple[int, ...]) -> float:
        """Area of a shape over the smallest one's."""
        areas = {(i.lanes_m, i.lanes_n, i.lanes_k): i.area for i in self.shapes}
        return areas[shape] / min(areas.values())  # type: ignore[index]


def load_area_study(path: Path = MEASURED) -> AreaStudy:
    """Read a file of the area benchmark.

    Raises
    ------
    InputError
        There is no such file, it is no JSON, or a field is missing, unknown or out of range.
    """
    text = read_text(path, path.name, "a file of `python -m benchmarks.lut_area`")
    try:
        table = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(path.name, "", str(error), "a JSON document") from None
    if not isinstance(table, dict):
        raise InputError(path.name, "", type(table).__name__, "a JSON object")
    return structure(table, AreaStudy, path.name)


@cache
def _measured() -> AreaStudy | None:
    return load_area_study() if MEASURED.exists() else None


def measured() -> AreaStudy | None:
    """The study of this installation; None where none was made."""
    return _measured()


def area_rows(study: AreaStudy | None) -> list[GatedRow]:
    """L3, L5 to L9, L13 and F2; without a study, what would be compared."""
    return [*_chain(study), *_optima(study), *_ratios(study)]


def _row(
    row: str,
    quantity: str,
    published: float | tuple[float, ...],
    ours: float | None,
    gate: Gate,
    note: str = "",
    grade: str = "A",
    publication: str = _NAME,
    unit: str = "",
) -> GatedRow:
    low, high = published if isinstance(published, tuple) else (published, published)
    return GatedRow(
        row, publication, quantity, unit, low, high, ours, gate, grade, "synthesis", note
    )


def _chain(study: AreaStudy | None) -> list[GatedRow]:
    rows = []
    for width in _WIDTHS:
        for step, field in zip(inputs().table2[1:], _TABLE2, strict=True):
            ours = None
            if study is not None:
                areas = next(item for item in study.chain if item.accumulator_bits == width)
                ours = areas.conventional / getattr(areas, field)
            gated = width == _GATED_WIDTH
            note = ""
            if gated and field == _TABLE2[0]:
                note = "16 bits follow from the area of a published cell; the width is not stated."
            what = f"Table 2, density {step.step}, {width}-bit accumulator"
            gate = within(step.density, 10) if gated else NO_GATE
            rows.append(_row("L3", what, step.density, ours, gate, note))
    return rows


def _optima(study: AreaStudy | None) -> list[GatedRow]:
    paper = inputs().lut_tensor_core
    rows = []
    note = (
        "The table is not charged: it is shared by many cells. The paper does not say how many "
        "planes its cells have: one is gated, two and four stand beside it."
    )
    for name, best in (("int8", paper.best_k_int8), ("fp16", paper.best_k_fp16)):
        for planes in _PLANES:
            ours = None if study is None else study.densest_k(name, planes)
            shown = f"{name.upper()}, {planes} plane{'s' * (planes > 1)}"
            what = f"Figure 11, activations of a table with the densest cell, {shown}"
            gate = equal(best) if planes == 1 else NO_GATE
            rows.append(_row("L5", what, best, ours, gate, note if planes == 1 else ""))
    for kind, published, gate, what in (
        ("add", paper.widest_add, equal(paper.widest_add), "adding bit by bit is"),
        (
            "full_table",
            paper.widest_full_table,
            between(paper.widest_full_table - 1, paper.widest_full_table + 1),
            "conventional tables are",
        ),
        (
            "lookup",
            paper.widest_lookup,
            equal(paper.widest_lookup),
            "half tables without negation are",
        ),
    ):
        ours = None if study is None else study.widest(kind)
        quantity = f"Figure 13, widest weights at which {what} smaller than multiplying"
        rows.append(_row("L6", quantity, published, ours, gate, unit="bit"))
    m, n, k = paper.shape
    excess = None if study is None else study.excess(paper.shape)
    what = f"area of M{m} N{n} K{k} over the smallest shape's, M * N * K = {_PRODUCT}"
    note = (
        "Area alone; the paper's choice is the least of area times power (class B). Tables are "
        "held in registers, their generators stand outside; with generators inside the array M1 "
        "N128 K4 is the smallest (docs/lut-area.md)."
    )
    rows.append(_row("L8", what, 1, excess, between(1, 1.01), note))
    return rows


def _ratios(study: AreaStudy | None) -> list[GatedRow]:
    paper, figlut = inputs().lut_tensor_core, inputs().figlut
    gain = mac_add = add_lookup = share = registers = None
    if study is not None:
        gain = study.one_bit.dense_int8 / study.one_bit.lookup_w1a8
        mac_add = study.dot4_fp16.multiply / study.dot4_fp16.add
        add_lookup = study.dot4_fp16.add / study.dot4_fp16.lookup
        share = 100 * study.dot4_fp16.lookup / study.dot4_fp16.multiply
        registers = study.table_registers.half_with_decoder / study.table_registers.full
    low, high = paper.one_bit_gain
    above = between(1, inf)
    whole = paper.dot4_lookup / paper.dot4_multiply
    total = None if mac_add is None or add_lookup is None else mac_add * add_lookup
    half = figlut.half_table + figlut.half_decoder
    return [
        _row(
            "L7",
            "Figure 14, INT8 multiply-accumulate over one-bit lookup: area at equal rate",
            (low, high),
            gain,
            between(low, high),
            "Accumulators of 32 bits in the dense array, as the GPU has, and of 16 in the "
            "lookup's: widths the paper does not state.",
        ),
        _row(
            "L9",
            "DP4, W1 A_FP16: density of adding bit by bit over multiplying",
            (1, inf),
            mac_add,
            above,
            "Order only: multiply, add, look up.",
        ),
        _row(
            "L9",
            "DP4, W1 A_FP16: density of looking up over adding bit by bit",
            (1, inf),
            add_lookup,
            above,
        ),
        _row(
            "L9",
            "DP4, W1 A_FP16: density of looking up over multiplying",
            whole,
            total,
            NO_GATE,
            "Contradicts the paper's own 14.3 % (7.0 times); see below.",
            "C",
        ),
        _row(
            "L13",
            "area of one array, W1 A_FP16, over FP16's",
            100 * paper.share_1x,
            share,
            NO_GATE,
            "The FP16 baseline's accumulator and its timing are not published.",
            "B",
            unit="%",
        ),
        _row(
            "F2",
            "half table with its decoder over the full table (published: power; ours: area)",
            half,
            registers,
            between(0.45, 0.55),
            "Flip-flops dominate both, so about half of each.",
            publication="FIGLUT",
        ),
    ]
