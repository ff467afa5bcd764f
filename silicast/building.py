"""What is written to a directory: the program of a model, and the RTL of a design."""

from pathlib import Path

from designs.errors import InputError
from designs.files import named_after_file
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.graph import build_graph, shared_shapes
from mapping.model import ModelSpec
from mapping.model_program import ModelProgram
from mapping.models import ResolvedModel
from mapping.program import GemmProgram
from mapping.program_files import write_program
from silicast.errors import FailedCheck
from silicast.simulation import as_format, as_rtl_design, as_spec, with_activations
from sim.resources import check_device

__all__ = ["MOST_TOKENS", "compile_model", "distinct_programs", "generate", "memory_map"]

MOST_TOKENS = 4096
"""Most tokens of a pass that is compiled."""


def memory_map(spec: ModelSpec, design: Design, fmt: WeightFormat, tokens: int) -> ModelProgram:
    """Where a model lies in the design's memory, for passes of up to ``tokens`` rows.

    Raises
    ------
    InputError
        ``tokens`` is out of range, or the design cannot run or hold the model.
    """
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= MOST_TOKENS:
        raise InputError("compile", "tokens", tokens, f"an integer from 1 to {MOST_TOKENS}")
    if spec.experts:
        allowed = "0: programs of routed experts are not compiled yet, only simulated"
        raise InputError(f"model {spec.name}", "experts", spec.experts, allowed)
    layers = [(shape.name, shape.n, shape.k) for shape in spec.linear_layers()]
    return ModelProgram(design, fmt, layers, tokens)


def distinct_programs(
    spec: ModelSpec, program: ModelProgram, tokens: int
) -> dict[str, GemmProgram]:
    """One program for every distinct linear operator, in the memory map of the whole model.

    Layers of equal kind and shape differ only in the lines their weights lie at; the first one
    stands for all. ``lm_head`` computes one row, the last position.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    program : ModelProgram
        The model's memory map.
    tokens : int
        Rows of a pass, 1 to ``program.max_tokens``.

    Returns
    -------
    dict of str to GemmProgram
        By the name of the layer, in execution order.

    Raises
    ------
    InputError
        ``tokens`` is out of range.
    """
    return {
        shared.operators[0].name: program.operator(
            shared.operators[0].name, 1 if shared.kind == "lm_head" else tokens
        )
        for shared in shared_shapes(build_graph(spec))
    }


def compile_model(
    model: ModelSpec | ResolvedModel | str | Path,
    design: Design | str | Path,
    directory: str | Path,
    weights: WeightFormat | str = "int8",
    tokens: int = 1,
    *,
    activations: str | None = None,
) -> list[Path]:
    """Write ``program.bin``, ``program.lst`` and ``layout.json`` of a model.

    Parameters
    ----------
    model, design, weights
        As `silicast.simulate`.
    directory : str or Path
        Made when missing; files of these names are replaced.
    tokens : int
        Rows of a pass: 1 for decoding, the prompt's tokens for prefill.
    activations : str, optional
        ``int8`` or ``fp16``, one the unit multiplies; by default the design's own.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        An argument is wrong, the design cannot run or hold the model, or the directory cannot be
        written.
    """
    spec = as_spec(model)
    with named_after_file(design):
        accelerator = with_activations(as_rtl_design(design), activations)
        program = memory_map(spec, accelerator, as_format(weights), tokens)
        return write_program(directory, distinct_programs(spec, program, tokens), program)


def generate(design: Design | str | Path, directory: str | Path) -> dict:
    """Write the Verilog project of a design.

    Parameters
    ----------
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    directory : str or Path
        Missing, empty, or made by an earlier call, which is then replaced.

    Returns
    -------
    dict
        The manifest, as it is written to the directory.

    Raises
    ------
    InputError
        The design is wrong or does not fit the device it names, or the directory holds other
        files or cannot be written.
    FailedCheck
        The Verilog read back is not that of the manifest.
    """
    from hwgen import project  # amaranth: only generation needs it

    try:
        with named_after_file(design):
            accelerator = as_rtl_design(design)
            check_device(accelerator)
            return dict(project.generate(accelerator, Path(directory)))
    except RuntimeError as error:
        raise FailedCheck(str(error)) from error
