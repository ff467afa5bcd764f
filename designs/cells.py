"""What parts of units cost in cells: figures measured by synthesising small circuits.

A file of designs/technology/cells belongs to one synthesis target. For every kind of part
(`sim.units.parts.KINDS`) it gives a straight line, resource = per_bit * bits + each, drawn through
circuits of a few widths. ``python -m benchmarks.unit_area`` measures and writes the files.
"""

from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path

from designs.errors import InputError
from designs.tables import named_file, parse_toml, structure

__all__ = ["LIBRARY", "CellFigure", "Cells", "cell_names", "load_cells"]

LIBRARY = Path(__file__).parent / "technology" / "cells"
"""Where the files lie."""

RESOURCES = ("lut", "ff", "carry4", "um2")
"""What a figure can count: look-up tables, flip-flops, carry cells of four bits, cell area."""


@dataclass(frozen=True)
class CellFigure:
    """What one kind of part takes of one resource.

    Parameters
    ----------
    kind : str
        Kind of part.
    resource : str
        ``lut``, ``ff``, ``carry4`` or ``um2``.
    per_bit, each : float
        The line; ``each`` may be negative.
    circuits : tuple of int
        Bits of the circuits it was measured on.
    worst : float
        Largest distance of a circuit from the line, as a part of its cost.
    """

    kind: str
    resource: str
    per_bit: float
    each: float
    circuits: tuple[int, ...]
    worst: float

    def __post_init__(self) -> None:
        if self.resource not in RESOURCES:
            raise InputError("cells", "resource", self.resource, ", ".join(RESOURCES))
        for name in ("per_bit", "each", "worst"):
            if not isfinite(getattr(self, name)):
                raise InputError("cells", name, getattr(self, name), "a finite number")
        if not self.per_bit >= 0:
            raise InputError("cells", "per_bit", self.per_bit, "a number of at least 0")
        if not self.circuits:
            raise InputError("cells", "circuits", [], "bits of the circuits measured")

    def of(self, bits: int) -> float:
        """Cost of one part of so many bits; 0 bits are no part."""
        return max(0.0, self.per_bit * bits + self.each) if bits else 0.0


@dataclass(frozen=True)
class Cells:
    """A synthesis target's figures.

    Parameters
    ----------
    description : str
        What the target is.
    library : str
        Name of the cell library, or of the device family.
    tool : str
        Name and version of the synthesis tool.
    source : str
        How the figures were made.
    figures : tuple of CellFigure
    """

    description: str
    library: str
    tool: str
    source: str
    figures: tuple[CellFigure, ...]

    def __post_init__(self) -> None:
        for name in ("library", "tool", "source"):
            if not getattr(self, name):
                raise InputError("cells", name, getattr(self, name), "where the figures come from")
        keys = [(figure.kind, figure.resource) for figure in self.figures]
        twice = sorted(key for key in set(keys) if keys.count(key) > 1)
        if twice:
            raise InputError("cells", "figures", " ".join(twice[0]), "every kind and resource once")

    def figure(self, kind: str, resource: str) -> CellFigure:
        """The figure of a kind of part.

        Raises
        ------
        InputError
            The file has none.
        """
        for figure in self.figures:
            if (figure.kind, figure.resource) == (kind, resource):
                return figure
        known = ", ".join(f.kind for f in self.figures if f.resource == resource) or "none"
        allowed = f"a kind whose {resource} was measured for {self.library}: {known}"
        raise InputError("cells", "kind", kind, allowed)


def cell_names() -> list[str]:
    """Names of the targets that ship with silicast, sorted."""
    return sorted(path.stem for path in LIBRARY.glob("*.toml"))


@cache
def load_cells(name: str) -> Cells:
    """Figures of a target by name.

    Raises
    ------
    InputError
        There is no such target, or its file is wrong.
    """
    content, where = named_file(LIBRARY, name, "cells", user_files=False)
    return structure(parse_toml(content, where), Cells, where)
