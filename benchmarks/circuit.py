"""A small circuit described by a function, and what a part of a unit counts of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Circuit", "Sample"]


class Circuit(wiring.Component):
    """A component of named inputs and one output ``y``, described by a function.

    Parameters
    ----------
    inputs : dict of str to int
        Widths.
    output : int
        Width of ``y``.
    body : callable
        Takes the component and its module.
    """

    def __init__(
        self, inputs: dict[str, int], output: int, body: Callable[[Any, Module], None]
    ) -> None:
        self._body = body
        super().__init__({**{name: In(bits) for name, bits in inputs.items()}, "y": Out(output)})

    def elaborate(self, platform):
        m = Module()
        self._body(self, m)
        return m


@dataclass(frozen=True, eq=False)
class Sample:
    """One circuit and what a part of its kind counts of it.

    Attributes
    ----------
    kind : str
        As `sim.units.parts.KINDS`.
    bits : int
        ``bits`` of the part.
    recipe : tuple
        Arguments of `Circuit`.
    length : int
        Words of a delay line.
    operands : tuple of (int, int)
        Signed widths of a multiplier.
    """

    kind: str
    bits: int
    recipe: tuple[dict[str, int], int, Callable[[Any, Module], None]]
    length: int = 1
    operands: tuple[int, int] = (0, 0)

    @property
    def circuit(self) -> Circuit:
        """The component, made anew."""
        return Circuit(*self.recipe)
