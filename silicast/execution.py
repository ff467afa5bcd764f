"""A real model generating text, its linear layers on the generated RTL."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from designs.errors import InputError
from designs.files import named_after_file
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.models import ResolvedModel, open_checkpoint, resolve_model
from mapping.tokenizer import Tokenizer
from silicast.linear import LinearLayers, OperatorRun
from silicast.progress import Progress
from silicast.simulation import as_format, as_rtl_design, with_activations
from silicast.weights import prepare
from sim.host.decoder import Gemma3Decoder

__all__ = ["BACKENDS", "RunResult", "run"]

BACKENDS = ("rtl", "golden")


@dataclass(frozen=True)
class RunResult:
    """What a model wrote, and whether the hardware did what was promised.

    Attributes
    ----------
    model, design, weights, activations, backend, prompt : str
        What was run.
    prompt_token_ids, token_ids : list of int
        The prompt and the generated tokens.
    text : str
        The generated tokens as text.
    outputs, mismatched_outputs : int
        Sums compared between RTL and golden model, and those that differ; none are compared by
        the golden backend.
    cycles_simulated : int
        Of all linear layers, by the timeline.
    cycles_rtl : int or None
        By the hardware's own counter; None without RTL.
    cycles_ok : bool
        Every execution of every operator is within 1 % or 2 cycles.
    passed : bool
        No mismatch, and the cycles agree.
    decode_tokens_per_second : float or None
        Of the linear layers at the design's clock, by the timeline; None when only the prompt
        was computed.
    rtl_cycles_per_second : float or None
        Speed of the RTL simulation.
    wall_seconds : float
        Of the whole call.
    operators : list of OperatorRun
        In execution order.
    """

    model: str
    design: str
    weights: str
    activations: str
    backend: str
    prompt: str
    prompt_token_ids: list[int]
    text: str
    token_ids: list[int]
    outputs: int
    mismatched_outputs: int
    cycles_simulated: int
    cycles_rtl: int | None
    cycles_ok: bool
    passed: bool
    decode_tokens_per_second: float | None
    rtl_cycles_per_second: float | None
    wall_seconds: float
    operators: list[OperatorRun]

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def run(
    model: ResolvedModel | str | Path,
    design: Design | str | Path,
    prompt: str,
    tokens: int,
    weights: WeightFormat | str = "int8",
    backend: str = "rtl",
    progress: Progress | None = None,
    *,
    activations: str | None = None,
) -> RunResult:
    """Generate text with every linear layer on the accelerator.

    The host computes embedding, norms, attention and activation functions in float32. With
    backend ``rtl`` every sum of every linear layer is compared with the golden model's.

    Parameters
    ----------
    model : ResolvedModel, str or Path
        A model with weights.
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    prompt : str
        Text to continue.
    tokens : int
        Most tokens to generate, at least 1; the model may end earlier.
    weights : WeightFormat or str
        Number format of all linear layers.
    backend : str
        ``rtl`` or ``golden``.
    progress : Progress, optional
        Told what is going on.
    activations : str, optional
        ``int8`` or ``fp16``, one the unit multiplies; by default the design's own.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        An argument is wrong, the model has no weights, or the design cannot run or hold it.
    FailedCheck
        The build failed, or the hardware did not finish.
    """
    begin = time.perf_counter()
    given = design
    design, fmt, progress = as_rtl_design(design), as_format(weights), progress or Progress()
    design = with_activations(design, activations)
    if backend not in BACKENDS:
        raise InputError("run", "backend", backend, ", ".join(BACKENDS))
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise InputError("run", "tokens", tokens, "an integer >= 1")
    if not isinstance(prompt, str):
        raise InputError("run", "prompt", prompt, "a string")
    resolved = model if isinstance(model, ResolvedModel) else resolve_model(model)
    progress.stage(f"opening {resolved.spec.name}")
    checkpoint = open_checkpoint(resolved)
    spec = checkpoint.spec
    tokenizer = Tokenizer(checkpoint.tokenizer_fields)
    prompt_ids = tokenizer.encode(prompt)
    if not prompt_ids:
        raise InputError("run", "prompt", prompt, "text of at least one token")
    if len(prompt_ids) + tokens - 1 > spec.max_context:
        positions = f"{spec.name} has {spec.max_context} positions"
        most = spec.max_context + 1 - len(prompt_ids)
        if most < 1:
            found = f"{len(prompt_ids)} tokens"
            raise InputError("run", "prompt", found, f"fewer tokens: {positions}")
        allowed = f"1 to {most}: the prompt has {len(prompt_ids)} tokens and {positions}"
        raise InputError("run", "tokens", tokens, allowed)

    with named_after_file(given):
        prepared = prepare(checkpoint, design, fmt, progress)
    shapes = {shape.name: shape for shape in spec.linear_layers()}
    written: list[int] = []

    def show(token: int) -> None:
        written.append(token)
        progress.text(tokenizer.decode(written))

    with LinearLayers(prepared, shapes, backend, progress) as linear:
        decoder = Gemma3Decoder(checkpoint, linear)
        progress.stage(f"linear layers on {backend}", tokens * len(shapes))
        token_ids = decoder.generate(prompt_ids, tokens, show)

    operators = list(linear.operators.values())
    decode = linear.pass_cycles[1:]
    cycles_rtl = sum(o.total_cycles_rtl or 0 for o in operators) if backend == "rtl" else None
    mismatched = sum(o.mismatched_outputs for o in operators)
    cycles_ok = all(o.cycles_ok for o in operators)
    return RunResult(
        model=spec.name,
        design=design.name,
        weights=fmt.name,
        activations=design.activations,
        backend=backend,
        prompt=prompt,
        prompt_token_ids=prompt_ids,
        text=tokenizer.decode(token_ids),
        token_ids=token_ids,
        outputs=sum(o.outputs for o in operators),
        mismatched_outputs=mismatched,
        cycles_simulated=sum(linear.pass_cycles),
        cycles_rtl=cycles_rtl,
        cycles_ok=cycles_ok,
        passed=cycles_ok and not mismatched,
        decode_tokens_per_second=(
            len(decode) * design.clock.frequency_hz / sum(decode) if decode else None
        ),
        rtl_cycles_per_second=cycles_rtl / linear.rtl_seconds if cycles_rtl else None,
        wall_seconds=time.perf_counter() - begin,
        operators=operators,
    )
