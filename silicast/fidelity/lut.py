"""Papers on look-up hardware: rows with gates, and what is only listed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from silicast.fidelity.gates import METHODS, GatedRow
from silicast.fidelity.lut_area import area_rows, measured
from silicast.fidelity.lut_exact import exact_rows
from silicast.fidelity.lut_gpu import issue_rows
from silicast.fidelity.lut_inputs import Listed, inputs
from silicast.fidelity.lut_rows import paper_rows, unit_rows

__all__ = ["LutComparison", "compare_lut"]


@dataclass(frozen=True)
class LutComparison:
    """What is compared with papers on look-up hardware; times are in `lut_gpu.gpu_rows`.

    Attributes
    ----------
    gated : tuple of GatedRow
        In the order of their ids.
    listed : tuple of Listed
        Published figures that have none of ours, and why.
    study : str
        How the areas were measured; empty when they were not.
    """

    gated: tuple[GatedRow, ...]
    listed: tuple[Listed, ...]
    study: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "methods": dict(METHODS),
            "rows": [row.to_dict() for row in self.gated],
            "listed": [asdict(item) for item in self.listed],
            "area_study": self.study,
        }


def _order(row: GatedRow) -> tuple[int, int]:
    """Papers in the order L, T, F, U, P, X, B; ids by their number."""
    return "LTFUPXB".index(row.row[0]), int(row.row[1:])


def compare_lut() -> LutComparison:
    """Every row; about a second."""
    study = measured()
    rows = [*exact_rows(), *unit_rows(), *paper_rows(), *area_rows(study), *issue_rows()]
    how = "" if study is None else f"{study.library}, Yosys {study.yosys}: `{study.command}`"
    return LutComparison(tuple(sorted(rows, key=_order)), inputs().listed, how)
