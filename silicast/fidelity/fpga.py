"""Accelerators on FPGAs: published rates and times beside simulated-only designs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from designs.errors import InputError
from designs.tables import parse_toml, structure
from silicast.fidelity.rows import GRADES, Row, run
from sim.conventions import PHYSICAL, Conventions
from sim.results import PhaseResult

__all__ = ["ROOFLINE", "Absent", "absent", "rows"]

_FILE = Path(__file__).parent / "published" / "fpga.toml"

ROOFLINE = Conventions(
    name="roofline",
    description="each matrix product takes the longer of compute and memory at its peak",
    vector_operators=False,
    overlap="perfect",
    memory="peak",
    buffer_share="whole",
    channel_scale=False,
)
"""What remains when nothing but products and peak bandwidth costs time: the least there can be."""

_UNITS = {"milliseconds": "ms", "tokens_per_second": "tokens/s"}


@dataclass(frozen=True)
class Absent:
    """Published figures that are not compared.

    Attributes
    ----------
    rows, why : str
        Which, and what is missing.
    """

    rows: str
    why: str


@dataclass(frozen=True)
class _Published:
    publication: str
    place: str
    workload: str
    model: str
    design: str
    weights: str
    context: int
    decode: int
    quantity: str
    low: float
    high: float
    grade: str
    assumption: str
    reason: str
    host_milliseconds: float = 0.0

    def __post_init__(self) -> None:
        if self.quantity not in _UNITS:
            raise InputError(_FILE.name, "quantity", self.quantity, " or ".join(_UNITS))
        if self.grade not in GRADES:
            raise InputError(_FILE.name, "grade", self.grade, ", ".join(GRADES))
        if not 0 < self.low <= self.high:
            raise InputError(_FILE.name, "low", self.low, "above 0, at most high")

    def ours(self, rules: Conventions) -> float:
        """Time of a step, or tokens a second."""
        result: PhaseResult = run(
            self.model, self.design, self.weights, 0, self.decode, self.context, rules
        ).phases["decode"]
        step = result.seconds / result.passes + self.host_milliseconds * 1e-3
        return step * 1e3 if self.quantity == "milliseconds" else 1 / step


@dataclass(frozen=True)
class _Table:
    rows: tuple[_Published, ...]
    absent: tuple[Absent, ...]


@cache
def _table() -> _Table:
    table = parse_toml(_FILE.read_text(encoding="utf-8"), _FILE.name)
    return structure(table, _Table, _FILE.name)


def absent() -> tuple[Absent, ...]:
    """What is known of and not compared, and why."""
    return _table().absent


def rows() -> list[Row]:
    """Every figure of the file."""
    return [
        Row(
            section="fpga",
            publication=row.publication,
            place=row.place,
            workload=row.workload,
            design=row.design,
            weights=row.weights,
            quantity="time" if row.quantity == "milliseconds" else "rate",
            unit=_UNITS[row.quantity],
            low=row.low,
            high=row.high,
            counted=row.ours(ROOFLINE),
            conventions=ROOFLINE.name,
            physical=row.ours(PHYSICAL),
            grade=row.grade,
            reason=row.reason,
            assumption=row.assumption,
        )
        for row in _table().rows
    ]
