"""What a kind of matrix unit costs: energy of a cycle, area, FPGA resources."""

from dataclasses import dataclass
from typing import Protocol

from designs.process import Process
from designs.spec import Design
from designs.units import UnitSpec

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
        Register bits.
    """

    multipliers: tuple[tuple[int, int, int], ...]
    lut: int
    ff: int


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

    def includes_leakage(self, spec: UnitSpec, process: Process) -> bool:
        """Whether the energy of a working cycle holds its leakage."""

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        """What energy and area leave out of the unit."""

    def logic(self, design: Design) -> Logic | NotModelled:
        """FPGA logic of one unit."""
