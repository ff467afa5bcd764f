"""Models and designs by name, path or object; and the simulation of one on the other."""

from pathlib import Path

from designs.files import load_design, named_after_file
from designs.spec import Design
from mapping.formats import WeightFormat, parse_format
from mapping.graph import build_graph, shared_shapes
from mapping.model import ModelSpec
from mapping.models import ResolvedModel, resolve_model
from silicast.progress import Progress
from sim.model import ModelResult, simulate_model

__all__ = ["as_design", "as_format", "as_spec", "load_model", "simulate"]


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


def as_format(weights: WeightFormat | str) -> WeightFormat:
    """A weight format, parsed when it is a name."""
    return weights if isinstance(weights, WeightFormat) else parse_format(weights)


def as_spec(model: ModelSpec | ResolvedModel | str | Path) -> ModelSpec:
    """The structure of a model, resolved when it is a name or a path."""
    if isinstance(model, ModelSpec):
        return model
    return model.spec if isinstance(model, ResolvedModel) else resolve_model(model).spec


def simulate(
    model: ModelSpec | ResolvedModel | str | Path,
    design: Design | str | Path,
    prefill: int = 0,
    decode: int = 0,
    context: int | None = None,
    batch: int = 1,
    weights: WeightFormat | str = "int8",
    progress: Progress | None = None,
) -> ModelResult:
    """Cycles, traffic and reasons of a model's linear layers on a design.

    Parameters
    ----------
    model : ModelSpec, ResolvedModel, str or Path
        The model, its name or its file.
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    prefill, decode, context, batch : int
        As `sim.model.simulate_model`: the prefill's ``lm_head`` gives the first new token, and
        ``decode`` counts the decode passes after it.
    weights : WeightFormat or str
        Number format of all linear layers.
    progress : Progress, optional
        Told of each distinct operator.

    Returns
    -------
    ModelResult

    Raises
    ------
    InputError
        An argument is wrong, or the design cannot run the model.
    """
    spec, accelerator, fmt = as_spec(model), as_design(design), as_format(weights)
    progress = progress or Progress()
    phases = bool(prefill) + bool(decode)
    steps = phases * len(shared_shapes(build_graph(spec)))
    progress.stage(f"simulating {spec.name} on {accelerator.name}: operators", steps)
    with named_after_file(design):
        return simulate_model(
            spec, accelerator, fmt, prefill, decode, context, batch, progress.advance
        )
