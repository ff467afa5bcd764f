"""BitMoD (HPCA 2025): rows of its simulator, of the paper's notebooks, and its claimed averages."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

from designs.files import load_design
from designs.process import load_process
from designs.tables import parse_toml, structure
from silicast.fidelity.rows import Row, run
from sim.conventions import PHYSICAL, Conventions, load_conventions
from sim.units import UNIT_COSTS

__all__ = [
    "CONVENTIONS",
    "DECODE_STEPS",
    "PUBLICATION",
    "PublishedRow",
    "claim_rows",
    "notebook_rows",
    "rows",
    "simulator_rows",
]

_FOLDER = Path(__file__).parent / "published"
_PROMPT = 256

CONVENTIONS = "bitmod-hpca25"
"""How the publication counts."""

DECODE_STEPS = 20
"""Decode steps of the generative task, all at context 256 (num_token_generate in the notebooks)."""

PUBLICATION = "BitMoD (HPCA'25)"

_DESIGNS = {
    "FP16": "fp16-28nm",
    "ANT": "ant-28nm",
    "OliVe": "olive-28nm",
    "BitMoD": "bitmod-28nm",
}
_MODELS = {"OPT-1.3B": "opt-1.3b", "Phi-2": "phi-2", "Llama-2-7B": "llama2-7b"}
_BITMOD_FORMATS = {
    6.0625: "int6_g128",
    4.0625: "bitmod_fp4_g128",
    3.0625: "bitmod_fp3_g128",
}

_PHYSICAL = {
    "prefill": "Physical: half of each buffer is being filled, so more is read again; norms and "
    "softmax cost time; one position's logits; leakage and DRAM standby cost energy. See the "
    "waterfalls.",
    "decode": "Physical: refresh and row changes of DDR4 cost about 5 % of the time, leakage and "
    "DRAM standby most of the further energy. See the waterfalls.",
}
_PROGRAMS = {
    "prefill": "On `bitmod-28nm` physical is what its programs take on the generated hardware: the "
    "whole K of a block of tokens stays in a buffer of 2 MiB, so that less is read again than by "
    "the other arrays, but sums go to DRAM in eight bytes and come back to be made FP16. The exact "
    "sums, up to {bits} bits wide, take {times:.1f} times the energy of the published elements.",
    "decode": "On `bitmod-28nm` physical is what its programs take on the generated hardware: one "
    "token has one of 32 rows of elements, as it has one of 16 in the publication's second shape, "
    "which the hardware does not have. FP3 weights arrive faster than they are multiplied so. "
    "Energy as for the prompt, and the larger buffers leak all the time.",
}


@cache
def _programs() -> dict[str, str]:
    """Reasons of `_PROGRAMS` with the figures of the design as it stands."""
    design = load_design(_DESIGNS["BitMoD"])
    process = load_process(design.silicon.process or "")
    units = design.unit, design.as_published().unit
    own, published = (sum(UNIT_COSTS[u.kind].cycle_picojoules(u, process, None)) for u in units)
    bits = design.unit.accumulator_bits
    return {
        phase: text.format(bits=bits, times=own / published) for phase, text in _PROGRAMS.items()
    }


_EXACT = "The same counting: nothing is left."
_OLD_RULES = {
    "prefill": "The paper's version gives every head the rows of all heads as inputs of attention: "
    "5 to 14 times the DRAM cycles of attention at the later commit. BitMoD's attention takes the "
    "beats of the weights there, not of an 8-bit cache.",
    "decode": "The paper's version reads one token's worth of keys for all heads: 7 to 14 times "
    "fewer DRAM cycles of attention than at the later commit.",
}
_PROMPT_CLAIM = (
    "Physical: with half a buffer to compute from, prompts become memory bound; the wider the "
    "weights, the more that costs. BitMoD's programs keep the whole K of a block on "
    "chip, in a larger buffer."
)


@dataclass(frozen=True)
class PublishedRow:
    """One line of the figures that BitMoD's authors published.

    Attributes
    ----------
    source : str
        ``simulator`` or ``notebook``.
    accelerator, configuration, published_model, phase : str
        As published; ``prefill`` or ``decode``.
    weight_bits : float
        Mean stored width, the scale's share included where there is one.
    cycles : int
        At 1 GHz.
    joules : float
        Of the pass.
    """

    source: str
    accelerator: str
    configuration: str
    published_model: str
    phase: str
    weight_bits: float
    cycles: int
    joules: float

    @property
    def label(self) -> str:
        """Short name."""
        what = f"{self.accelerator}-{self.configuration}"
        return f"{what}-{self.published_model}-{self.phase}"

    @property
    def model(self) -> str:
        """Built-in model."""
        return _MODELS[self.published_model]

    @property
    def design(self) -> str:
        """Library design."""
        return _DESIGNS[self.accelerator]

    @property
    def weights(self) -> str:
        """Weight format of the same width."""
        if self.accelerator == "FP16":
            return "fp16"
        if self.accelerator == "BitMoD":
            return _BITMOD_FORMATS[self.weight_bits]
        return f"{self.accelerator.lower()}{self.weight_bits:g}"

    @property
    def prefill(self) -> bool:
        """Whether it is the prompt of 256 tokens; else one decode step after it."""
        return self.phase == "prefill"

    def figures(self, rules: Conventions, steps: int = 1) -> tuple[int, float]:
        """Cycles and joules of silicast: of the prompt, or of so many decode steps after it."""
        lengths = (_PROMPT, 0, None) if self.prefill else (0, steps, _PROMPT)
        result = run(self.model, self.design, self.weights, *lengths, rules).phases[self.phase]
        assert result.energy_joules is not None
        return result.cycles, result.energy_joules


@cache
def _published() -> tuple[PublishedRow, ...]:
    text = (_FOLDER / "bitmod_rows.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(
        PublishedRow(
            line["source"],
            line["accelerator"],
            line["configuration"],
            line["model"],
            line["phase"],
            float(line["weight_bits"]),
            int(line["cycles"]),
            float(line["microjoules"]) * 1e-6,
        )
        for line in csv.DictReader(lines)
    )


def simulator_rows() -> tuple[PublishedRow, ...]:
    """Output of the simulator at commit e445a5f."""
    return tuple(row for row in _published() if row.source == "simulator")


def notebook_rows() -> tuple[PublishedRow, ...]:
    """Figures of the paper's notebooks, made with commit 58d7bdb."""
    return tuple(row for row in _published() if row.source == "notebook")


def _compared(section: str, row: PublishedRow, place: str, grade: str, reason: str) -> list[Row]:
    counted = row.figures(load_conventions(CONVENTIONS))
    physical = row.figures(PHYSICAL)
    published = (float(row.cycles), row.joules)
    task = "prompt of 256" if row.prefill else "decode step at 256"
    return [
        Row(
            section=section,
            publication=PUBLICATION,
            place=place,
            workload=f"{row.published_model}, {task}",
            design=row.design,
            weights=row.weights,
            quantity=quantity,
            unit=unit,
            low=published[index],
            high=published[index],
            counted=counted[index],
            conventions=CONVENTIONS,
            physical=physical[index],
            grade=grade,
            reason=reason,
        )
        for index, (quantity, unit) in enumerate((("time", "cycles"), ("energy", "J")))
    ]


def rows() -> list[Row]:
    """Cycles and energy of every row of the simulator and of the notebooks."""
    found: list[Row] = []
    for row in simulator_rows():
        physical = _programs() if row.accelerator == "BitMoD" else _PHYSICAL
        reason = f"{_EXACT} {physical[row.phase]}"
        found += _compared("bitmod-simulator", row, "simulator, commit e445a5f", "A", reason)
    for row in notebook_rows():
        reason = _OLD_RULES[row.phase]
        place = "notebook of Figure 7 or 8, commit 58d7bdb"
        found += _compared("bitmod-notebook", row, place, "C", reason)
    return found


# Averages over six models --------------------------------------------------------------------


@dataclass(frozen=True)
class _Claim:
    what: str
    task: str
    subject: str
    over: str
    published: float
    place: str
    energy: bool = False
    commit: float | None = None


@dataclass(frozen=True)
class _Weights:
    fp16: tuple[str, ...]
    ant: tuple[str, ...]
    olive: tuple[str, ...]
    lossless: tuple[str, ...]


@dataclass(frozen=True)
class _Claims:
    models: tuple[str, ...]
    decode_steps: int
    prompt: int
    weights: _Weights
    claims: tuple[_Claim, ...]


@cache
def _claims() -> _Claims:
    where = "bitmod_claims.toml"
    return structure(
        parse_toml((_FOLDER / where).read_text(encoding="utf-8"), where), _Claims, where
    )


def _task(accelerator: str, index: int, task: str, rules: Conventions) -> tuple[float, float]:
    """Cycles and joules of a task on a model."""
    table = _claims()
    model = table.models[index]
    if accelerator == "lossy":
        design, prompt, decode = "bitmod-28nm", "bitmod_fp4_g128", "bitmod_fp3_g128"
    else:
        design = "bitmod-28nm" if accelerator == "lossless" else f"{accelerator}-28nm"
        prompt = decode = getattr(table.weights, accelerator)[index]
    first = run(model, design, prompt, table.prompt, 0, None, rules).phases["prefill"]
    assert first.energy_joules is not None
    cycles, joules = float(first.cycles), first.energy_joules
    if task == "generation":
        steps = table.decode_steps
        rest = run(model, design, decode, 0, steps, table.prompt, rules).phases["decode"]
        assert rest.energy_joules is not None
        cycles, joules = cycles + rest.cycles, joules + rest.energy_joules
    return cycles, joules


def _relative(accelerator: str, task: str, energy: bool, rules: Conventions) -> float:
    """Mean over the models of speed, or energy, relative to FP16."""
    ratios = []
    for index in range(len(_claims().models)):
        base, own = (_task(name, index, task, rules)[energy] for name in ("fp16", accelerator))
        ratios.append(own / base if energy else base / own)
    return mean(ratios)


def _ratio(claim: _Claim, rules: Conventions) -> float:
    names = (claim.over, claim.subject) if claim.energy else (claim.subject, claim.over)
    top, bottom = (_relative(name, claim.task, claim.energy, rules) for name in names)
    return top / bottom


def claim_rows() -> list[Row]:
    """The averages that the paper claims, and ours over the same six models."""
    found = []
    rules = load_conventions(CONVENTIONS)
    for claim in _claims().claims:
        if claim.commit is None:
            reason = "The figure comes from the paper's version, ours from the later commit."
        else:
            reason = (
                f"The figure comes from the paper's version; the later commit gives "
                f"{claim.commit:g}, as ours does."
            )
        if claim.task == "prompt":
            reason += " " + _PROMPT_CLAIM
        task = "prompt of 256" if claim.task == "prompt" else "prompt of 256, then 20 tokens"
        found.append(
            Row(
                section="bitmod-claims",
                publication=PUBLICATION,
                place=claim.place,
                workload=f"{claim.what}; {task}",
                design=", ".join(_designs_of(claim)),
                weights="as in the paper",
                quantity="ratio",
                unit="x",
                low=claim.published,
                high=claim.published,
                counted=_ratio(claim, rules),
                conventions=CONVENTIONS,
                physical=_ratio(claim, PHYSICAL),
                grade="A",
                reason=reason,
            )
        )
    return found


def _designs_of(claim: _Claim) -> tuple[str, str]:
    names = {"lossy": "bitmod-28nm", "lossless": "bitmod-28nm"}
    first, second = (names.get(name, f"{name}-28nm") for name in (claim.subject, claim.over))
    return first, second
