"""From a publication's counting to silicast's physical defaults, one switch at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from silicast.fidelity.rows import run
from sim.conventions import PHYSICAL, Conventions, load_conventions

__all__ = ["WHY", "Step", "Waterfall", "waterfall", "waterfalls"]

WHY = {
    "lm_head_rows": "only the last position of a prompt needs logits",
    "decode_context": "the new token attends to itself too: 257 positions, not 256",
    "causal": "a token attends to itself and to what is before it: half of all pairs",
    "sliding_windows": "windows bound what is seen: nothing changes for a model without",
    "vector_operators": "norms, softmax, RoPE, activations and adds take time and traffic",
    "scores_on_chip": "scores and probabilities stay in the activation buffer, no longer in DRAM",
    "mixed_sequences": "tokens of different sequences share tiles; there is one sequence here",
    "overlap": "first load, pipeline latency and last store of every operator are exposed",
    "memory": "refresh, rows, read latency and turnaround of DDR4-2400",
    "memory_limit": "the capacity of DRAM counts: nothing changes for a model that fits",
    "buffer_share": "half of a buffer is being filled: more is read again",
    "buffers_hold": "operands of one head or expert have to fit, not of all together",
    "array_shape": "each operator takes the better of the two shapes, not its phase's",
    "port_width": "a port is as wide as the code, without the scale's share of a bit",
    "group_bits": "what a group stores besides its codes, by the format: 8 bits and metadata",
    "channel_scale": "the scale of each output feature and of each cached vector is stored",
    "output_reads": "outputs are read from their buffer before they go to DRAM",
    "leakage": "memories and vector engine leak all the time, elements while they idle",
    "background": "DRAM standby, of the ranks that the capacity takes",
    "encoder": "the encoders in front of the bit-serial elements",
    "array_overhead": "the factor of 1.5 on elements, which the simulator does not explain",
    "dram_pj_per_bit": "the technology file has the same energy of a bit",
    "pe_picojoules": "elements as published with their design, not the simulator's constants",
    "products": "programs on the generated hardware with its buffers; an array without RTL stays",
}
"""What each switch stands for, in one line."""

_MODEL, _PROMPT = "llama2-7b", 256
_CASES = (
    ("fp16-28nm", "fp16", "fp16"),
    ("ant-28nm", "ant5", "ant5"),
    ("olive-28nm", "olive4", "olive4"),
    ("bitmod-28nm", "bitmod_fp4_g128", "bitmod_fp3_g128"),
)
"""Design, weights of its prefill, weights of its decode."""


@dataclass(frozen=True)
class Step:
    """One switch flipped.

    Attributes
    ----------
    switch, old, new : str
        The field of `sim.conventions.Conventions` and its two values.
    cycles : int
        Cycles more than before.
    joules : float
        Joules more than before.
    why : str
        One line.
    """

    switch: str
    old: str
    new: str
    cycles: int
    joules: float
    why: str


@dataclass(frozen=True)
class Waterfall:
    """All switches of one design in one phase.

    Attributes
    ----------
    design, weights, phase, conventions : str
        What is counted, and the way it starts from.
    start_cycles, end_cycles : int
        Under the conventions, and physical.
    start_joules, end_joules : float
        The same for energy.
    steps : tuple of Step
        In the order of the switches' definition.
    """

    design: str
    weights: str
    phase: str
    conventions: str
    start_cycles: int
    end_cycles: int
    start_joules: float
    end_joules: float
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"steps": [asdict(step) for step in self.steps]}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "the script's" if value else "the process file's"
    if value == 0:
        return "by its file"
    return f"{value:g}" if isinstance(value, float) else str(value)


def waterfall(
    model: str, design: str, weights: str, phase: str, prompt: int, conventions: str
) -> Waterfall:
    """Flip the switches of a publication to their physical values one by one.

    Parameters
    ----------
    model, design, weights : str
        What is simulated.
    phase : str
        ``prefill`` of ``prompt`` tokens, or ``decode`` of one token after them.
    prompt : int
        Tokens.
    conventions : str
        Where to start.

    Returns
    -------
    Waterfall
        A switch's share depends on those flipped before it; the sum does not.
    """
    rules = start = load_conventions(conventions)

    def figures(these: Conventions) -> tuple[int, float]:
        lengths = (prompt, 0, None) if phase == "prefill" else (0, 1, prompt)
        result = run(model, design, weights, *lengths, these).phases[phase]
        if result.energy_joules is None:
            raise ValueError(f"{design} has no energy figures")
        return result.cycles, result.energy_joules

    first = before = figures(rules)
    steps = []
    for switch in rules.changed():
        old, new = getattr(rules, switch), getattr(PHYSICAL, switch)
        rules = replace(rules, **{switch: new})
        after = figures(rules)
        cycles, joules = after[0] - before[0], after[1] - before[1]
        steps.append(Step(switch, _text(old), _text(new), cycles, joules, WHY[switch]))
        before = after
    return Waterfall(
        design, weights, phase, start.name, first[0], before[0], first[1], before[1], tuple(steps)
    )


def waterfalls() -> tuple[Waterfall, ...]:
    """Llama-2-7B on the four designs of BitMoD's comparison, prompt of 256 and decode after it."""
    missing = {f.name for f in fields(Conventions)} - {"name", "description"} - set(WHY)
    if missing:
        raise ValueError(f"switches without an explanation: {', '.join(sorted(missing))}")
    return tuple(
        waterfall(_MODEL, design, weights, phase, _PROMPT, "bitmod-hpca25")
        for design, *formats in _CASES
        for phase, weights in zip(("prefill", "decode"), formats, strict=True)
    )
