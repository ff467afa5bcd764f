"""Costs of the ``dense`` unit, counted from the structure of its RTL (hwgen/units/dense.py)."""

from math import ceil

from designs.process import Constant, Process
from designs.spec import Design
from designs.units import DenseSpec, UnitSpec
from sim.units.base import Logic
from sim.units.estimate import fpga_logic
from sim.units.parts import Part, multiplier, register_bits, scaler, times

__all__ = ["DenseCosts", "structure", "unit_registers"]

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


def _control(spec: DenseSpec) -> Part:
    """Valid bits and controls beside the data, each up to the last stage that reads it."""
    before_group = 2 + spec.tree_stages  # operands, products, adder stages
    # Valid, group_last and pass_last reach the total, scaled the multiplication; rows share the
    # two flags that start new sums.
    bits = 3 * (before_group + 2) + before_group + 1
    return Part("control", "control-register", bits + 3)


def _row(spec: DenseSpec) -> list[Part]:
    """One token's products and adder trees: hwgen/units/dense.py, DenseRow."""
    parts = [
        multiplier("products", 8, max(spec.weight_bits), spec.lanes_k, "cycle"),
        Part("products", "register", _PRODUCT_BITS, spec.lanes_k),
    ]
    for terms, sums, bits in _tree(spec):
        each = terms // sums
        if each > 1:
            kind = "four-adder" if each == 4 else "adder"
            parts.append(Part("tree", kind, bits, sums))
        parts.append(Part("tree", "register", bits, sums))
    return times(parts, spec.lanes_n)


def structure(spec: DenseSpec) -> tuple[Part, ...]:
    """Everything the unit is made of."""
    scale_stages = 3 + spec.tree_stages
    group, total = spec.group_sum_bits, spec.accumulator_bits
    lane = [
        Part("group", "accumulator", group),
        Part("group", "register", group),
        Part("scale or 1", "selector-2", spec.scale_bits, 1, "group"),
        scaler("scale", group, spec.scale_bits),
        Part("scaled", "register", total),
        Part("total", "running-total", total, 1, "group"),
        Part("total", "register", total),
    ]
    # Enables of products and tree, three of groups, four streams and their transfer.
    gates = 1 + spec.tree_stages + 3 + 4 + 1
    parts = [
        _control(spec),
        Part("control", "gate", gates),
        Part("activations", "register", 8 * spec.activation_word_bytes),
        # Four bits of a code are unpacked to eight, of which five are equal and become one.
        Part("weights", "register", max(spec.weight_bits) * spec.lanes_n * spec.lanes_k),
        Part(
            "scales",
            "delay-line",
            8 * spec.scale_word_bytes * scale_stages,
            length=scale_stages,
        ),
        *times(_row(spec), spec.lanes_m),
        *times(lane, spec.lanes_m * spec.lanes_n),
    ]
    if {4, 8} <= set(spec.weight_bits):
        parts.append(Part("unpacking", "selector-2", 8 * spec.weight_word_bytes))
    return tuple(parts)


def unit_registers(spec: DenseSpec) -> int:
    """Register bits of the whole unit as generated.

    Equal to the widths of the registers in the netlist (tests/test_resources.py): controls are
    carried to the last stage there, read or not, every row has flags of its own, and weights of 4
    bits are extended to 8.
    """
    control = (4 + spec.tree_stages) * (1 + _CONTROL_BITS) + 1 + 2 * spec.lanes_m
    unread = control - _control(spec).all_bits
    equal = (8 - max(spec.weight_bits)) * spec.lanes_n * spec.lanes_k
    return register_bits(structure(spec)) + unread + equal


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

    def constants(self, spec: UnitSpec, process: Process) -> list[Constant]:
        return []

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        assert isinstance(spec, DenseSpec)
        return structure(spec)

    def logic(self, design: Design) -> Logic:
        """One DSP multiplier a product: two packed INT8 products would need operands that share a
        weight on one port and a correction of the lower lane (AMD WP486), which the RTL does not
        write and synthesis does not find.
        """
        return fpga_logic(self.parts(design.unit))
