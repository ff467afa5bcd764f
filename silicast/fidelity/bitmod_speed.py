"""BitMoD (HPCA 2025): speed of one accelerator over another, model by model, with a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from silicast.fidelity.bitmod import (
    CONVENTIONS,
    DECODE_STEPS,
    PUBLICATION,
    PublishedRow,
    notebook_rows,
    simulator_rows,
)
from silicast.fidelity.gates import Gate, within
from silicast.fidelity.rows import Row
from sim.conventions import PHYSICAL, Conventions, load_conventions

__all__ = ["GATE_PERCENT", "Speedup", "speedups"]

GATE_PERCENT = 5.0
"""How far a speed counted by the publication's rules may be from the published one."""

_PAIRS = (
    ("BitMoD", "lossless", "FP16", "fp16"),
    ("BitMoD", "lossy", "FP16", "fp16"),
    ("BitMoD", "lossy", "ANT", "lossy"),
    ("BitMoD", "lossy", "OliVe", "lossy"),
)
"""Accelerator and configuration, and those it is compared with (figure 7)."""

_TASKS = {"prompt of 256": 0, f"prompt of 256, then {DECODE_STEPS} tokens": DECODE_STEPS}
"""Decode steps at context 256 behind the prompt: discriminative and generative, in the paper."""

_SOURCES = {
    "simulator": (simulator_rows, "simulator, commit e445a5f", "A"),
    "notebook": (notebook_rows, "notebook of figure 7, commit 58d7bdb", "C"),
}

_EXACT = "The same counting: nothing is left."
_OLDER = (
    "The paper's version: attention of a prompt takes 56 to 346 million cycles more than at the "
    "later commit, which corrected it. A cost of its own that narrow weights do not shorten, it "
    "made BitMoD's advantage smaller, most in prompts; the notebooks were not made again."
)
"""Cycles: differences of the prompts of `notebook_rows` from ours, of the least and of the most."""


@dataclass(frozen=True)
class Speedup:
    """A speed relative to another accelerator's.

    Attributes
    ----------
    row : Row
        What is published, and ours counted both ways.
    gate : Gate
        What is accepted of ours, counted the publication's way.
    """

    row: Row
    gate: Gate

    @property
    def met(self) -> bool:
        """Whether the gate holds."""
        return self.gate.holds(self.row.counted)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.row.to_dict() | {"gate": self.gate.text, "met": self.met}


def _found(source: str, accelerator: str, configuration: str, model: str) -> list[PublishedRow]:
    """The prompt and the decode step of an accelerator on a model."""
    rows = [
        row
        for row in _SOURCES[source][0]()
        if (row.accelerator, row.configuration, row.published_model)
        == (accelerator, configuration, model)
    ]
    return sorted(rows, key=lambda row: not row.prefill)


def _published(rows: list[PublishedRow], steps: int) -> int:
    prompt, step = rows
    return prompt.cycles + steps * step.cycles


def _ours(rows: list[PublishedRow], steps: int, rules: Conventions) -> int:
    prompt, step = rows
    return prompt.figures(rules)[0] + (step.figures(rules, steps)[0] if steps else 0)


def _one(source: str, pair: tuple[str, str, str, str], model: str, task: str) -> Speedup:
    _, place, grade = _SOURCES[source]
    subject, other = _found(source, *pair[:2], model), _found(source, *pair[2:], model)
    steps = _TASKS[task]
    published = _published(other, steps) / _published(subject, steps)
    counted, physical = (
        _ours(other, steps, rules) / _ours(subject, steps, rules)
        for rules in (load_conventions(CONVENTIONS), PHYSICAL)
    )
    row = Row(
        section="bitmod-speed",
        publication=PUBLICATION,
        place=place,
        workload=f"{model}, {task}",
        design=f"{subject[0].design}, {other[0].design}",
        weights=f"{pair[0]} {pair[1]} over {pair[2]}",
        quantity="ratio",
        unit="x",
        low=published,
        high=published,
        counted=counted,
        conventions=CONVENTIONS,
        physical=physical,
        grade=grade,
        reason=_EXACT if source == "simulator" else _OLDER,
    )
    return Speedup(row, within(published, GATE_PERCENT))


def speedups() -> tuple[Speedup, ...]:
    """BitMoD against FP16, ANT and OliVe on three models: both tasks, both published versions."""
    models = list(dict.fromkeys(row.published_model for row in simulator_rows()))
    return tuple(
        _one(source, pair, model, task)
        for source in _SOURCES
        for pair in _PAIRS
        for task in _TASKS
        for model in models
    )
