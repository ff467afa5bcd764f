"""Models and designs by name, path or object; and the simulation of one on the other."""

from dataclasses import replace
from pathlib import Path

from designs.errors import InputError
from designs.files import load_design, named_after_file
from designs.spec import Design
from designs.units import UNIT_SPECS
from designs.units.base import ACTIVATION_BYTES
from mapping.formats import WeightFormat, parse_format
from mapping.matmul_free import matmul_free
from mapping.model import ModelSpec
from mapping.models import ResolvedModel, resolve_model
from silicast.progress import Progress
from sim.conventions import PHYSICAL, Conventions, load_conventions
from sim.model import GraphModel, ModelResult, simulate_model

__all__ = [
    "as_design",
    "as_format",
    "as_graph_model",
    "as_rtl_design",
    "as_spec",
    "load_model",
    "simulate",
]

_WIDTHS = {"int4": 4, "int8": 8, "fp16": 16}


def load_model(name_or_path: str | Path) -> ResolvedModel:
    """A built-in model by name, a Hugging Face ``config.json`` or a ``.gguf`` file by path.

    Raises
    ------
    InputError
        There is no such model, or its file is refused.
    """
    return resolve_model(name_or_path)


def as_design(design: Design | str | Path) -> Design:
    """A design, loaded when it is a library name or a path."""
    return design if isinstance(design, Design) else load_design(design)


def as_rtl_design(design: Design | str | Path) -> Design:
    """A design whose hardware can be generated.

    Raises
    ------
    InputError
        Its unit or its number of cores is simulated only.
    """
    found = as_design(design)
    if found.unit.simulated_only:
        kinds = ", ".join(kind for kind, spec in UNIT_SPECS.items() if not spec.simulated_only)
        allowed = f"a unit with RTL ({kinds}); this design is simulated only"
        raise InputError(found.name, "unit.kind", found.unit.kind, allowed)
    if found.cores.count > 1:
        allowed = "1; several cores are simulated only"
        raise InputError(found.name, "cores.count", found.cores.count, allowed)
    return found


def as_format(weights: WeightFormat | str) -> WeightFormat:
    """A weight format, parsed when it is a name."""
    return weights if isinstance(weights, WeightFormat) else parse_format(weights)


def _design_format(design: Design) -> WeightFormat:
    """The weight format a design names itself."""
    try:
        return parse_format(design.formats.weights)
    except InputError as error:
        raise InputError(design.name, "formats.weights", error.found, error.allowed) from None


def as_spec(model: ModelSpec | ResolvedModel | str | Path) -> ModelSpec:
    """The structure of a model, resolved when it is a name or a path."""
    if isinstance(model, ModelSpec):
        return model
    return model.spec if isinstance(model, ResolvedModel) else resolve_model(model).spec


def as_graph_model(
    model: ModelSpec | GraphModel | ResolvedModel | str | Path,
) -> ModelSpec | GraphModel:
    """What can be simulated: a model's structure, or an operator graph (ONNX, MatMul-free)."""
    if isinstance(model, str | Path):
        if Path(model).suffix.lower() == ".onnx":
            from mapping.frontends.onnx_file import read_onnx

            return read_onnx(model)
        if str(model).startswith("matmulfree-"):
            return matmul_free(str(model))
        return resolve_model(model).spec
    return model.spec if isinstance(model, ResolvedModel) else model


def as_conventions(conventions: Conventions | str | None) -> Conventions:
    """Switches, loaded when they are a name or a path; the physical ones by default."""
    if conventions is None:
        return PHYSICAL
    return conventions if isinstance(conventions, Conventions) else load_conventions(conventions)


def with_activations(design: Design, activations: str | None) -> Design:
    """The design with activations of a format its unit multiplies; its own by default.

    Raises
    ------
    InputError
        The unit has no such activations.
    """
    if activations is None or activations == design.activations:
        return design
    own = (design.activations,) if design.unit.simulated_only else design.unit.activation_formats
    if activations not in own:
        allowed = f"{' or '.join(own)}, the activations of {design.name}"
        raise InputError("simulate", "activations", activations, allowed)
    formats = replace(design.formats, activation_bits=8 * ACTIVATION_BYTES[activations])
    return replace(design, formats=formats)


def _with_formats(design: Design, activations: str | None, kv_cache: str | None) -> Design:
    """The design with other activations, or another KV cache."""
    design = with_activations(design, activations)
    if kv_cache is None:
        return design
    if kv_cache not in _WIDTHS:
        raise InputError("simulate", "kv_cache", kv_cache, ", ".join(_WIDTHS))
    formats = replace(design.formats, kv_cache_bits=_WIDTHS[kv_cache])
    return replace(design, formats=formats)


def simulate(
    model: ModelSpec | GraphModel | ResolvedModel | str | Path,
    design: Design | str | Path,
    prefill: int = 0,
    decode: int = 0,
    context: int | None = None,
    batch: int = 1,
    weights: WeightFormat | str | None = None,
    progress: Progress | None = None,
    *,
    activations: str | None = None,
    kv_cache: str | None = None,
    conventions: Conventions | str | None = None,
    all_logits: bool = False,
    trace: str | Path | None = None,
    html: str | Path | None = None,
    command: str | None = None,
) -> ModelResult:
    """Cycles, traffic, energy and reasons of a model on a design.

    Parameters
    ----------
    model : ModelSpec, GraphModel, ResolvedModel, str or Path
        The model, its name or its file.
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    prefill, decode, context, batch : int
        As `sim.model.simulate_model`: the prefill's ``lm_head`` gives the first new token, and
        ``decode`` counts the decode passes after it.
    weights : WeightFormat or str, optional
        Number format of all linear layers; by default the design's ``formats.weights``.
    progress : Progress, optional
        Told of each distinct operator.
    activations : str, optional
        ``int8`` or ``fp16``, one the unit multiplies; by default the design's
        ``formats.activation_bits``.
    kv_cache : str, optional
        ``int4``, ``int8`` or ``fp16``; by default the design's ``formats.kv_cache_bits``.
    conventions : Conventions or str, optional
        Count as a publication did.
    all_logits : bool
        The prefill computes the logits of every token.
    trace, html : str or Path, optional
        Files to write a Perfetto timeline and a report to.
    command : str, optional
        What the report says to run to repeat it.

    Returns
    -------
    ModelResult

    Raises
    ------
    InputError
        An argument is wrong, or the design cannot run the model.
    """
    subject, accelerator = as_graph_model(model), as_design(design)
    rules = as_conventions(conventions)
    if all_logits:
        rules = replace(rules, lm_head_rows="all")
    accelerator = rules.seen(accelerator)
    progress = progress or Progress()
    with named_after_file(design):
        accelerator = _with_formats(accelerator, activations, kv_cache)
        fmt = _design_format(accelerator) if weights is None else as_format(weights)
        progress.stage(f"simulating {subject.name} on {accelerator.name}")
        result = simulate_model(
            subject, accelerator, fmt, prefill, decode, context, batch, progress.advance, rules
        )
    if trace is not None:
        from sim.trace import write_trace

        progress.stage("writing the trace")
        write_trace(result, accelerator, fmt, trace)
    if html is not None:
        from silicast.html_report import write_html

        progress.stage("writing the report")
        write_html(result, html, command)
    return result
