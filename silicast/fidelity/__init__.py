"""Published figures beside silicast's: rows, waterfalls and the page made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from silicast.fidelity import bitmod, fpga
from silicast.fidelity.bitmod_speed import Speedup, speedups
from silicast.fidelity.document import render
from silicast.fidelity.fpga import Absent
from silicast.fidelity.gates import GatedRow
from silicast.fidelity.lut import LutComparison, compare_lut
from silicast.fidelity.lut_gpu import gpu_rows
from silicast.fidelity.rows import GRADES, Row
from silicast.fidelity.waterfall import Waterfall, waterfall, waterfalls

__all__ = [
    "DOCUMENT",
    "Absent",
    "Fidelity",
    "GatedRow",
    "LutComparison",
    "Row",
    "Speedup",
    "Waterfall",
    "fidelity",
    "waterfall",
]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"
"""Where the page lies in the repository."""


@dataclass(frozen=True)
class Fidelity:
    """Everything that is compared.

    Attributes
    ----------
    rows : tuple of Row
        One published figure each.
    waterfalls : tuple of Waterfall
        From a publication's counting to the physical defaults, switch by switch.
    absent : tuple of Absent
        Published figures that are not compared, and why.
    lut : LutComparison
        Papers on look-up hardware: rows with gates, and what is only listed.
    speeds : tuple of Speedup
        BitMoD's speed over that of others, model by model, with gates.
    """

    rows: tuple[Row, ...]
    waterfalls: tuple[Waterfall, ...]
    absent: tuple[Absent, ...]
    lut: LutComparison
    speeds: tuple[Speedup, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "grades": dict(GRADES),
            "rows": [row.to_dict() for row in self.rows],
            "waterfalls": [item.to_dict() for item in self.waterfalls],
            "absent": [asdict(item) for item in self.absent],
            "lut": self.lut.to_dict(),
            "speeds": [speed.to_dict() for speed in self.speeds],
        }

    def render(self) -> str:
        """The page as Markdown."""
        return render(self.rows, self.waterfalls, self.absent, self.lut, self.speeds)


def fidelity() -> Fidelity:
    """Run every comparison; a few seconds."""
    rows = (*bitmod.rows(), *bitmod.claim_rows(), *fpga.rows(), *gpu_rows())
    return Fidelity(rows, waterfalls(), fpga.absent(), compare_lut(), speedups())
