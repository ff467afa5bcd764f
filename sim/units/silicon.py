"""Energy and area of units that are counted part by part."""

from math import ceil

from designs.cells import load_cells
from designs.process import Constant, Process
from designs.spec import Design
from designs.units import UnitSpec
from sim.units.base import Logic
from sim.units.estimate import fpga_logic
from sim.units.parts import MULTIPLIERS, REGISTERS, Part, added_bits

__all__ = ["PartCosts"]

_ADD = "int32-add"
_ADD_BITS = 32
_REGISTER = "register-bit"
_MULTIPLY = "int8-multiply"
_RATIOS = "sky130hd"
"""Cells in which all kinds of parts were measured the same way."""


class PartCosts:
    """Adders and register bits of the process's own elements, the rest by its size beside an adder.

    Process files have adders, multipliers and registers, but no multiplexer, XOR or shifter. Those
    take as many adder bits as they do in the cells of SkyWater's 130 nm (`designs.cells`). Every
    register is clocked, and every adder whose operands change switches, in every working cycle,
    whatever part of the lanes the product uses: the RTL has no gating by lane.

    Attributes
    ----------
    multiplies : bool
        Some parts are multipliers.
    """

    multiplies = False

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        """Everything the unit is made of."""
        raise NotImplementedError

    def registers(self, spec: UnitSpec) -> int:
        """Register bits of the unit."""
        raise NotImplementedError

    def element_count(self, spec: UnitSpec) -> int:
        """How many of a process's own elements of this kind the unit would be."""
        raise NotImplementedError

    def elements(self, spec: UnitSpec) -> tuple[str, ...]:
        return (_ADD, _REGISTER, *([_MULTIPLY] * self.multiplies))

    def cycle_picojoules(
        self, spec: UnitSpec, process: Process, element_picojoules: float | None
    ) -> tuple[float, float]:
        """Adders and registers; or as many elements as the unit would be, with a given energy."""
        if element_picojoules is not None:
            return self.element_count(spec) * element_picojoules, 0.0
        added = added_bits(self.parts(spec), ("cycle", "step"))
        bit = process.element(_ADD).picojoules / _ADD_BITS
        clocked = self.registers(spec) * process.element(_REGISTER).picojoules
        return added * bit + clocked, 0.0

    def area(self, spec: UnitSpec, process: Process) -> tuple[float, float]:
        cells = load_cells(_RATIOS)
        adder = cells.figure("adder", "um2").of(_ADD_BITS)
        add = process.element(_ADD).square_micrometres
        total = self.registers(spec) * process.element(_REGISTER).square_micrometres
        for part in self.parts(spec):
            if part.kind in MULTIPLIERS:
                # A scale of 8 bits and a group sum: as many 8 x 8 products as the sum has bytes.
                products = ceil(max(part.operands) / 8)
                total += part.count * products * process.element(_MULTIPLY).square_micrometres
            elif part.kind not in REGISTERS:
                total += part.count * cells.figure(part.kind, "um2").of(part.bits) / adder * add
        return total, 0.0

    def constants(self, spec: UnitSpec, process: Process) -> list[Constant]:
        """The ratios of `area`: one of a kind of part, at the width it has in this unit."""
        cells = load_cells(_RATIOS)
        adder = cells.figure("adder", "um2").of(_ADD_BITS)
        source = f"{cells.source}: {cells.library}, {cells.tool}"
        bits: dict[str, list[int]] = {}
        for part in self.parts(spec):
            if part.kind not in REGISTERS | MULTIPLIERS and part.all_bits:
                bits.setdefault(part.kind, []).append(part.bits)
        return [
            Constant(
                f"part.{kind}.area",
                cells.figure(kind, "um2").of(max(widths)) / max(widths) / (adder / _ADD_BITS),
                "adder bits a bit",
                None,
                None,
                source,
                f"ratio to a bit of {_ADD}, measured at 130 nm, used at every node",
            )
            for kind, widths in bits.items()
        ]

    def includes_leakage(self, spec: UnitSpec, process: Process) -> bool:
        return process.element(_ADD).includes_leakage

    def logic(self, design: Design) -> Logic:
        return fpga_logic(self.parts(design.unit))
