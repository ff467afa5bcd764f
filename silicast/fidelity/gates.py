"""A published figure that ours must reproduce within a gate, and whether it does."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from silicast.fidelity.rows import GRADES, difference

__all__ = ["METHODS", "NO_GATE", "Gate", "GatedRow", "between", "equal", "within"]

METHODS = {
    "arithmetic": "the published inputs, computed",
    "unit": "the generated unit and its golden model, run when the page is made",
    "synthesis": "areas of synthesised cells, measured by `python -m benchmarks.lut_area`",
    "simulation": "the simulator",
}
"""Where our figure comes from."""


@dataclass(frozen=True)
class Gate:
    """What is accepted.

    Attributes
    ----------
    text : str
        As the page says it; empty without a gate.
    low, high : float
        Bounds of our figure; both belong to what is accepted.
    """

    text: str
    low: float = -math.inf
    high: float = math.inf

    def __bool__(self) -> bool:
        return bool(self.text)

    def holds(self, ours: float) -> bool:
        """Whether a figure is accepted; rounding of a float is."""
        slack = 1e-9 * abs(ours)
        return self.low - slack <= ours <= self.high + slack


NO_GATE = Gate("")
"""Figures that are shown only."""


def within(published: float, percent: float) -> Gate:
    """At most ``percent`` from what is published."""
    margin = abs(published) * percent / 100
    return Gate(f"within {percent:g} %", published - margin, published + margin)


def equal(published: float) -> Gate:
    """The same figure."""
    return Gate("equal", published, published)


def between(low: float, high: float) -> Gate:
    """From ``low`` to ``high``; an end may be infinite."""
    if math.isinf(high):
        return Gate(f"{low:g} or more", low, high)
    if math.isinf(low):
        return Gate(f"at most {high:g}", low, high)
    return Gate(f"{low:g} to {high:g}", low, high)


@dataclass(frozen=True)
class GatedRow:
    """A published figure beside ours.

    Attributes
    ----------
    row : str
        Its id: ``L3``.
    publication, quantity, unit : str
        What is from where; ``unit`` is empty for ratios and counts.
    low, high : float
        What is published; equal for one value, ``high`` infinite for an order.
    ours : float or None
        None: not measured in this installation.
    gate : Gate
        What is accepted.
    grade : str
        A key of `silicast.fidelity.rows.GRADES`.
    method : str
        A key of `METHODS`.
    note : str
        What else is to be said; may be empty.
    """

    row: str
    publication: str
    quantity: str
    unit: str
    low: float
    high: float
    ours: float | None
    gate: Gate
    grade: str
    method: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.grade not in GRADES or self.method not in METHODS or self.low > self.high:
            raise ValueError(f"row {self.row}: grade, method or range is wrong")

    @property
    def met(self) -> bool | None:
        """Whether the gate holds; None without a gate or a figure."""
        if not self.gate or self.ours is None:
            return None
        return self.gate.holds(self.ours)

    @property
    def error(self) -> float | None:
        """Percent from the nearest end of what is published; None where that is 0."""
        if self.ours is None or self.low == 0:
            return None
        return difference(self.low, self.high, self.ours)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without infinities."""
        fields = asdict(self) | {"gate": self.gate.text}
        bounds = {"gate_low": self.gate.low, "gate_high": self.gate.high}
        finite = {name: value if math.isfinite(value) else None for name, value in bounds.items()}
        published = {"high": self.high if math.isfinite(self.high) else None}
        return fields | published | finite | {"error_percent": self.error, "met": self.met}
