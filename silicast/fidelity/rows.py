"""One published figure beside silicast's, and how far apart they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from silicast.simulation import simulate
from sim.conventions import Conventions
from sim.results import ModelResult

__all__ = ["GRADES", "Row", "difference", "run"]

GRADES = {
    "A": "what is published is enough to predict the figure",
    "B": "one assumption had to be made, stated in the row and in the design file",
    "C": "inputs are missing: shown as context only",
}
"""How much a comparison is worth."""


@dataclass(frozen=True)
class Row:
    """A published figure.

    Attributes
    ----------
    section : str
        Part of the document it belongs to.
    publication, place : str
        What it is from, and where in there.
    workload, design, weights : str
        What ran on what: a library design and a weight format.
    quantity, unit : str
        What is compared, and in which unit.
    low, high : float
        The published range; equal for one value.
    counted : float
        Ours, counted the publication's way.
    conventions : str
        Name of that way.
    physical : float
        Ours with silicast's physical defaults.
    grade : str
        A key of `GRADES`.
    reason : str
        Why ours differs.
    assumption : str
        What had to be assumed; may be empty.
    """

    section: str
    publication: str
    place: str
    workload: str
    design: str
    weights: str
    quantity: str
    unit: str
    low: float
    high: float
    counted: float
    conventions: str
    physical: float
    grade: str
    reason: str
    assumption: str = ""

    @property
    def counted_error(self) -> float:
        """Percent between the publication and its own way of counting."""
        return difference(self.low, self.high, self.counted)

    @property
    def physical_error(self) -> float:
        """Percent between the publication and the physical defaults."""
        return difference(self.low, self.high, self.physical)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the errors with them."""
        errors = {
            "counted_error_percent": self.counted_error,
            "physical_error_percent": self.physical_error,
        }
        return asdict(self) | errors


def difference(low: float, high: float, ours: float) -> float:
    """Percent from the nearest end of a published range; 0 inside it."""
    nearest = min(max(ours, low), high)
    return 100 * (ours / nearest - 1)


@lru_cache(maxsize=1024)
def run(
    model: str,
    design: str,
    weights: str,
    prefill: int,
    decode: int,
    context: int | None,
    rules: Conventions,
) -> ModelResult:
    """A simulation, once for all rows that need it."""
    return simulate(model, design, prefill, decode, context, weights=weights, conventions=rules)
