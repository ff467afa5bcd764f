"""Areas of the LUT Tensor Core comparison, measured on the generated Verilog of each cell.

Cells are synthesised one by one and arrays are composed of them, as the paper's own study is:
``M*N * cell + N * select + M * table`` for an array of M tokens, N output features and K
activations a cycle. Weights of W bits need W cycles, so an array of equal rate is W of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.cells.dense_dot import DenseDot
from hwgen.cells.float_arithmetic import FP16
from hwgen.cells.float_cells import (
    FloatDot,
    FloatFullLookup,
    FloatFullTable,
    FloatHalfLookup,
    FloatSerialDot,
)
from hwgen.cells.lookup import FullLookup, HalfLookup
from hwgen.cells.plane_select import IndexDecoder, PlaneSelect
from hwgen.cells.serial_dot import SerialDot
from hwgen.cells.tables import FullTable, HalfTable, TableRegisters
from hwgen.synth import SynthesisReport, synthesise_component
from hwgen.units.lut_row import LutRow
from hwgen.units.lut_table import LutTable

__all__ = ["PRODUCT", "Areas", "Array", "Grouped", "OptimumK", "TileShapeAreas"]

PRODUCT = 512
"""M*N*K of every array: an A100 tensor core's INT8 shape is M8 N4 K16 (paper, section 4.1)."""

_M, _N, _K = 2, 64, 4  # the paper's shape, figure 12
_A = 8  # INT8 activations
_ENTRY = 10  # sums of four of them


@dataclass(frozen=True)
class Array:
    """Area of an array with its tables charged in three ways, um2.

    Attributes
    ----------
    bare : float
        Tables come from outside and are held there.
    registers : float
        With the registers that hold them.
    generator : float
        With registers and the adders that compute them.
    """

    bare: float
    registers: float
    generator: float


@dataclass(frozen=True)
class OptimumK:
    """A lookup cell of K activations, um2, and the table of one, if it had its own."""

    activations: str
    weight_bits: int
    k: int
    cell: float
    registers: float


@dataclass(frozen=True)
class TileShapeAreas:
    """An array of a shape."""

    lanes_m: int
    lanes_n: int
    lanes_k: int
    array: Array


@dataclass(frozen=True)
class Grouped:
    """Sixteen activations of INT8 and one-bit weights in one cycle, um2.

    ``tables`` is the share of one output feature in the tables' registers, N = 16.
    """

    label: str
    cells: float
    tables: float


class Areas:
    """Synthesised cells of one library; equal cells are synthesised once.

    Parameters
    ----------
    liberty : Path
        Liberty file, plain or .gz.

    Attributes
    ----------
    reports : dict of str to SynthesisReport
        Every cell so far, by its label.
    """

    def __init__(self, liberty: Path) -> None:
        self.liberty = liberty
        self.reports: dict[str, SynthesisReport] = {}

    def of(self, label: str, kind: Callable[..., Any], *arguments: Any, **options: Any) -> float:
        """Cell area of a component of a kind, um2."""
        if label not in self.reports:
            component = kind(*arguments, **options)
            self.reports[label] = synthesise_component(
                component, "element", "liberty", self.liberty
            )
        area = self.reports[label].area_um2
        assert area is not None  # a liberty report has one
        return area

    # Integer cells ---------------------------------------------------------------------------

    def full(self, weight_bits: int, accumulator: int) -> float:
        """Conventional lookup of four INT8 activations."""
        label = f"full table lookup, K4, W{weight_bits}, {accumulator}-bit"
        return self.of(label, FullLookup, _K, _A, weight_bits, accumulator)

    def half(self, k: int, weight_bits: int, accumulator: int, inverter: bool = False) -> float:
        """Lookup in the half table, with or without the index inverter."""
        label = f"half table lookup{', index inverter' if inverter else ''}"
        label += f", K{k}, W{weight_bits}, {accumulator}-bit"
        sizes = (k, _A, weight_bits, accumulator)
        return self.of(label, HalfLookup, *sizes, index_inverter=inverter)

    def row(
        self, weight_bits: int, accumulator: int, groups: int = 1, entry: int = _ENTRY
    ) -> float:
        """One lane of the unit's lookup row."""
        label = f"lookup row of the unit, G{groups}, {entry}-bit entries"
        label += f", W{weight_bits}, {accumulator}-bit"
        sizes = (1, groups, entry, weight_bits - 1, accumulator)
        return self.of(label, LutRow, *sizes, pipelined=False)

    def serial(self, terms: int, weight_bits: int, accumulator: int) -> float:
        """Addition bit by bit."""
        label = f"bit-serial addition, K{terms}, W{weight_bits}, {accumulator}-bit"
        return self.of(label, SerialDot, terms, _A, weight_bits, accumulator)

    def dense(self, terms: int, accumulator: int) -> float:
        """INT8 multiply-accumulate."""
        label = f"multiply-accumulate, K{terms}, {accumulator}-bit"
        return self.of(label, DenseDot, terms, _A, 8, accumulator)

    def registers(self, entries: int, bits: int) -> float:
        """Registers of one table."""
        return self.of(f"table registers, {entries} x {bits} bit", TableRegisters, entries, bits)

    def half_table(self, k: int) -> float:
        """Generator and registers of the half table; the unit's own for four activations."""
        label = f"half table generator, K{k}"
        if k == _K:
            return self.of(label, LutTable, 1, _A)
        return self.of(label, HalfTable, k, _A)

    def full_table(self) -> float:
        """Generator and registers of the full table of four activations."""
        return self.of("full table generator, K4", FullTable, _K, _A)

    def select(self, k: int, weight_bits: int) -> float:
        """Plane multiplexer of one output feature; one plane needs none."""
        if weight_bits == 1:
            return 0.0
        return self.of(f"plane select, K{k}, W{weight_bits}", PlaneSelect, k, weight_bits)

    def decoder(self) -> float:
        """Index decoder of a half table of four activations."""
        return self.of("index decoder, K4", IndexDecoder, _K)

    # Floating-point cells --------------------------------------------------------------------

    def float_multiply(self) -> float:
        """Multiply-accumulate of four FP16 pairs."""
        return self.of("FP16 multiply-accumulate, K4", FloatDot, FP16, _K)

    def float_add(self, weight_bits: int) -> float:
        """Bit-serial addition of four FP16 activations."""
        label = f"FP16 bit-serial addition, K4, W{weight_bits}"
        return self.of(label, FloatSerialDot, FP16, _K, weight_bits)

    def float_full(self, weight_bits: int) -> float:
        """Conventional lookup of four FP16 activations."""
        label = f"FP16 full table lookup, K4, W{weight_bits}"
        return self.of(label, FloatFullLookup, FP16, _K, weight_bits)

    def float_full_table(self) -> float:
        """Generator and registers of the full table of four FP16 activations."""
        return self.of("FP16 full table generator, K4", FloatFullTable, FP16)

    def float_half(self, k: int, weight_bits: int) -> float:
        """Lookup in the half table of FP16 sums."""
        label = f"FP16 half table lookup, K{k}, W{weight_bits}"
        return self.of(label, FloatHalfLookup, FP16, k, weight_bits)

    # Arrays ----------------------------------------------------------------------------------

    def shape(self, m: int, n: int, k: int, weight_bits: int, accumulator: int) -> TileShapeAreas:
        """An array of half tables without negation; the unit's own cells for K = 4."""
        if k == _K:
            cell = self.row(weight_bits, accumulator)
        else:
            cell = self.half(k, weight_bits, accumulator)
        bits = _A + (k - 1).bit_length()
        bare = m * n * cell + n * self.select(k, weight_bits)
        registers = bare + m * self.registers(1 << (k - 1), bits)
        array = Array(bare, registers, bare + m * self.half_table(k))
        return TileShapeAreas(m, n, k, array)

    def unit_array(self, weight_bits: int, accumulator: int) -> Array:
        """The paper's shape, M2 N64 K4."""
        return self.shape(_M, _N, _K, weight_bits, accumulator).array

    def conventional(self, accumulator: int) -> float:
        """Full tables with their generators, two-bit weights, the paper's shape."""
        cells = _M * _N * self.full(2, accumulator)
        return cells + _N * self.select(_K, 2) + _M * self.full_table()

    def reinterpreted(self, accumulator: int) -> float:
        """Half tables with their generators and the index inverter in every cell."""
        cells = _M * _N * self.half(_K, 2, accumulator, inverter=True)
        return cells + _N * self.select(_K, 2) + _M * self.half_table(_K)

    def dense_array(self, accumulator: int) -> float:
        """An A100 tensor core's INT8 shape, M8 N4 K16."""
        return 8 * 4 * self.dense(16, accumulator)

    def shapes(self) -> Iterator[TileShapeAreas]:
        """All shapes of powers of two with K up to 8, W2A8, 16-bit accumulators."""
        for k in (1, 2, 4, 8):
            lanes = PRODUCT // k
            for m in (2**i for i in range(lanes.bit_length())):
                yield self.shape(m, lanes // m, k, 2, 16)

    def optima(self) -> Iterator[OptimumK]:
        """Cells of one lookup by K; INT8 with 16-bit accumulators."""
        for weight_bits in (1, 2, 4):
            for k in range(1, 9):
                bits = _A + (k - 1).bit_length()
                cell, table = self.half(k, weight_bits, 16), self.registers(1 << (k - 1), bits)
                yield OptimumK("int8", weight_bits, k, cell, table)
        for weight_bits in (1, 2, 4):
            for k in range(2, 8):
                table = self.registers(1 << (k - 1), FP16.bits)
                yield OptimumK("fp16", weight_bits, k, self.float_half(k, weight_bits), table)

    def grouped(self) -> Iterator[Grouped]:
        """One output feature of a 16-activation step with one-bit weights."""
        yield Grouped("added bit by bit", self.serial(16, 1, 16), 0.0)
        for entry, kind in ((_ENTRY, "exact"), (8, "8-bit")):
            tables = 4 * self.registers(8, entry) / 16
            for groups in (1, 2, 4):
                cells = 4 // groups * self.row(1, 16, groups, entry)
                yield Grouped(f"looked up, {kind} entries, K = 4 * {groups}", cells, tables)
