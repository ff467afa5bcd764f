"""Figures of a process file: processing elements, leakage and links, and how reports show them."""

import dataclasses
from dataclasses import dataclass
from math import isfinite

from designs.errors import InputError
from designs.scaling import NODES, RULE, area_factor, energy_factor

__all__ = ["Constant", "Element", "Link", "LogicLeakage", "carried", "node", "number"]


def number(name: str, value: float, low: float, high: float) -> None:
    """Raise an InputError about a field of a process file unless the value is in range."""
    if not isfinite(value) or not low <= value <= high:
        raise InputError("process", name, value, f"a number from {low:g} to {high:g}")


def node(name: str, nanometres: float, volts: float) -> None:
    """The same for a node and a supply, inside the scaling rule."""
    number(f"{name}nanometres", nanometres, NODES[0], NODES[-1])
    number(f"{name}volts", volts, 0.5, 1.2)


def _sourced(name: str, source: str) -> None:
    if not source:
        raise InputError("process", name, source, "where the figures come from")


def carried(nanometres: float, volts: float, energy: float, area: float) -> str:
    """How a figure came from another node, for reports."""
    return f"{nanometres:g} nm, {volts:g} V: energy x {energy:.4g}, area x {area:.4g} ({RULE})"


@dataclass(frozen=True)
class Constant:
    """One number behind a result, for reports.

    Attributes
    ----------
    name : str
        Dotted, e.g. ``element.fp16-mac.energy``.
    value : float
    unit : str
    nanometres, volts : float or None
        Node and supply the value holds at; None where it belongs to none.
    source : str
        Where the number comes from.
    scaled : str
        Empty, or how it was carried over from the source.
    """

    name: str
    value: float
    unit: str
    nanometres: float | None
    volts: float | None
    source: str
    scaled: str = ""


@dataclass(frozen=True)
class Element:
    """A processing element, an operator or a register bit.

    Parameters
    ----------
    name, description : str
        What `Process.element` is asked for; what one of it does in one cycle.
    nanometres, volts : float
        Node and supply of the figures.
    picojoules : float
        One cycle in which it works.
    square_micrometres : float
        Cell area.
    source : str
        Where the two figures come from.
    includes_leakage : bool
        The energy is a synthesis report's total power over its clock, so it holds the leakage of
        the cycle; otherwise it is switching energy alone.
    encoder : str
        Name of the element that recodes operands for it, one each; empty without.
    scaled_from : str
        Empty, or the node the figures were carried over from.
    """

    name: str
    description: str
    nanometres: float
    volts: float
    picojoules: float
    square_micrometres: float
    source: str
    includes_leakage: bool = False
    encoder: str = ""
    scaled_from: str = ""

    def __post_init__(self) -> None:
        where = f"elements.{self.name}."
        node(where, self.nanometres, self.volts)
        number(f"{where}picojoules", self.picojoules, 1e-6, 1e6)
        number(f"{where}square_micrometres", self.square_micrometres, 1e-6, 1e9)
        _sourced(f"{where}source", self.source)

    def at(self, nanometres: float, volts: float) -> "Element":
        """The element carried over to another node and supply; itself when they are equal."""
        if (nanometres, volts) == (self.nanometres, self.volts):
            return self
        energy = energy_factor(self.nanometres, self.volts, nanometres, volts)
        area = area_factor(self.nanometres, nanometres)
        return dataclasses.replace(
            self,
            nanometres=nanometres,
            volts=volts,
            picojoules=self.picojoules * energy,
            square_micrometres=self.square_micrometres * area,
            scaled_from=carried(self.nanometres, self.volts, energy, area),
        )


@dataclass(frozen=True)
class LogicLeakage:
    """Leakage of powered logic, clocked or not.

    Parameters
    ----------
    milliwatts_per_square_millimetre : float
        Of cell area.
    nanometres : float
        Node of the figure; it is used as it is at the node of the file.
    source : str
        Where it comes from.
    """

    milliwatts_per_square_millimetre: float
    nanometres: float
    source: str

    def __post_init__(self) -> None:
        name = "leakage.milliwatts_per_square_millimetre"
        number(name, self.milliwatts_per_square_millimetre, 1e-6, 1e4)
        number("leakage.nanometres", self.nanometres, NODES[0], NODES[-1])
        _sourced("leakage.source", self.source)


@dataclass(frozen=True)
class Link:
    """What a bit costs between two cores.

    Parameters
    ----------
    picojoules_per_bit : float
        Sender, wires and receiver.
    nanometres : float
        Node of the figure; links are not scaled with logic.
    source : str
        Where it comes from.
    """

    picojoules_per_bit: float
    nanometres: float
    source: str

    def __post_init__(self) -> None:
        number("link.picojoules_per_bit", self.picojoules_per_bit, 1e-6, 1e6)
        number("link.nanometres", self.nanometres, NODES[0], NODES[-1])
        _sourced("link.source", self.source)
