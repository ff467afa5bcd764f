"""What a kind of matrix unit costs: energy of a cycle, area, FPGA resources."""

from dataclasses import dataclass
from typing import Protocol

from designs.process import Constant, Process
from designs.spec import Design
from designs.units import UnitSpec
from sim.units.parts import Part

__all__ = ["Logic", "NotModelled", "UnitCosts"]


@dataclass(frozen=True)
class NotModelled:
    """In the place of figures: there are none, and why.

    Attributes
    ----------
    reason : str
        One line for a report.
    """

    reason: str


@dataclass(frozen=True)
class Logic:
    """FPGA logic of a unit, counted in the structure of its RTL.

    Attributes
    ----------
    multipliers : tuple of (int, int, int)
        Signed widths of both operands, and how many there are.
    lut : int
        Six-input look-up tables: an estimate.
    ff : int
        Flip-flops.
    delay_bits, delay_words : int
        Register bits beside ``ff`` that AMD devices hold in shift registers of up to 16 bits, and
        how many of those there are: a look-up table each, which ``lut`` has not.
    """

    multipliers: tuple[tuple[int, int, int], ...]
    lut: int
    ff: int
    delay_bits: int = 0
    delay_words: int = 0


class UnitCosts(Protocol):
    """One object a unit kind, registered in `sim.units.UNIT_COSTS`."""

    def elements(self, spec: UnitSpec) -> tuple[str, ...]:
        """Names of the process's elements that the unit is made of."""

    def cycle_picojoules(
        self, spec: UnitSpec, process: Process, element_picojoules: float | None
    ) -> tuple[float, float]:
        """Energy of one working cycle of the whole unit: elements, and their encoders.

        ``element_picojoules``, when given, stands in for the process's figure of an element.
        """

    def area(self, spec: UnitSpec, process: Process) -> tuple[float, float]:
        """Square micrometres of elements, and of their encoders."""

    def constants(self, spec: UnitSpec, process: Process) -> list[Constant]:
        """Numbers behind energy and area that are no element of the process."""

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        """Everything the unit is made of; empty where there is no RTL to count in."""

    def includes_leakage(self, spec: UnitSpec, process: Process) -> bool:
        """Whether the energy of a working cycle holds its leakage."""

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        """What energy and area leave out of the unit."""

    def logic(self, design: Design) -> Logic | NotModelled:
        """FPGA logic of one unit."""
