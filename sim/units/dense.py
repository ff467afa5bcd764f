"""Costs of the ``dense`` unit, counted from the structure of its RTL (hwgen/units/dense.py)."""

from math import ceil

from designs.process import Process
from designs.spec import Design
from designs.units import DenseSpec, UnitSpec
from sim.units.base import Logic

__all__ = ["DenseCosts", "row_registers", "unit_registers"]

_CONTROL_BITS = 3
"""What of the step control travels beside the data (hwgen/units/dense.py)."""

_PRODUCT_BITS = 16


def _tree(spec: DenseSpec) -> list[tuple[int, int, int]]:
    """(terms in, sums out, width of a sum) of each register stage of one adder tree."""
    stages, terms, bits = [], spec.lanes_k, _PRODUCT_BITS
    for _ in range(spec.tree_stages):
        sums = ceil(terms / 4)
        bits += (terms // sums - 1).bit_length()  # 1, 2 or 4 terms: 0, 1 or 2 bits more
        stages.append((terms, sums, bits))
        terms = sums
    return stages


def row_registers(spec: DenseSpec) -> int:
    """Register bits of one token's row: products and adder tree."""
    tree = sum(sums * bits for _, sums, bits in _tree(spec))
    return spec.lanes_n * (_PRODUCT_BITS * spec.lanes_k + tree)


def unit_registers(spec: DenseSpec) -> int:
    """Register bits of the whole unit: rows, operands, controls, scales and the last three stages.

    Equal to the widths of the registers in the generated netlist (tests/test_resources.py).
    """
    before_group = 2 + spec.tree_stages
    stages = before_group + 2
    beside = stages * (1 + _CONTROL_BITS) + (before_group + 1) * 8 * spec.scale_word_bytes
    operands = 8 * (spec.activation_word_bytes + spec.weight_word_bytes)
    sums = spec.lanes_m * (2 + spec.lanes_n * (spec.group_sum_bits + 2 * spec.accumulator_bits))
    return spec.lanes_m * row_registers(spec) + beside + operands + sums + 1


class DenseCosts:
    """INT8 multiply-accumulates of Horowitz's operators, plus the RTL's register bits.

    Every multiplier, adder and register of the array switches in every working cycle, whatever
    part of the lanes the product uses: the RTL has no gating by lane.
    """

    _MAC = "int8-mac"
    _REGISTER = "register-bit"
    _MULTIPLY = "int8-multiply"

    def elements(self, spec: UnitSpec) -> tuple[str, ...]:
        return (self._MAC, self._REGISTER, self._MULTIPLY)

    def cycle_picojoules(
        self, spec: UnitSpec, process: Process, element_picojoules: float | None
    ) -> tuple[float, float]:
        assert isinstance(spec, DenseSpec)
        if element_picojoules is not None:
            return spec.macs * element_picojoules, 0.0
        macs = spec.macs * process.element(self._MAC).picojoules
        return macs + unit_registers(spec) * process.element(self._REGISTER).picojoules, 0.0

    def area(self, spec: UnitSpec, process: Process) -> tuple[float, float]:
        assert isinstance(spec, DenseSpec)
        # A scale multiplier is taken as the 8 x 8 products it is made of.
        scalers = spec.lanes_m * spec.lanes_n * ceil(spec.group_sum_bits / 8)
        return (
            spec.macs * process.element(self._MAC).square_micrometres
            + unit_registers(spec) * process.element(self._REGISTER).square_micrometres
            + scalers * process.element(self._MULTIPLY).square_micrometres
        ), 0.0

    def includes_leakage(self, spec: UnitSpec, process: Process) -> bool:
        return process.element(self._MAC).includes_leakage

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        return {
            "group scaling": "the multiplier that scales a group's sum works once a group: its "
            "area counts, its energy does not; the 32-bit add of every multiply-accumulate is more "
            "than the adder tree needs",
        }

    def logic(self, design: Design) -> Logic:
        """One DSP multiplier a product: two packed INT8 products would need operands that share a
        weight on one port and a correction of the lower lane (AMD WP486), which the RTL does not
        write and synthesis does not find.
        """
        spec = design.unit
        assert isinstance(spec, DenseSpec)
        lanes = spec.lanes_m * spec.lanes_n
        products = (8, 8, spec.macs)
        scaling = (spec.group_sum_bits, 9, lanes)
        adders = 0
        for terms, sums, bits in _tree(spec):
            each = terms // sums
            # Two terms: one adder. Four terms: two of one bit less, and the last.
            adders += sums * {1: 0, 2: bits, 4: bits + 2 * (bits - 1)}[each]
        unpack = 8 * spec.weight_word_bytes if {4, 8} <= set(spec.weight_bits) else 0
        lut = (
            lanes * (adders + spec.group_sum_bits + spec.accumulator_bits)
            + unpack
            + 8 * lanes  # the scale, or 1
        )
        return Logic((products, scaling), lut, unit_registers(spec))
