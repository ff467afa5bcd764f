"""The commands: arguments in, a table or JSON out.

They import what they need when they run, so that ``silicast --help`` and the lists are quick.
"""

from typing import Annotated, Any

import typer

from designs.errors import InputError
from silicast.command_options import (
    SIZE,
    Activations,
    DesignName,
    Json,
    Listed,
    Model,
    Output,
    Weights,
    choose,
    integer,
    options,
)
from silicast.output import check_json_target, write_json
from silicast.terminal import TerminalProgress

__all__ = ["app", "finish", "usage_line"]

app = typer.Typer(
    name="silicast",
    help="Cast a language model into silicon: simulate an accelerator, generate it, prove it.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def finish(passed: bool) -> None:
    """Leave with exit status 1 after a check that failed."""
    if not passed:
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def _front(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import silicast

        print(f"silicast {silicast.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


@app.command()
def models(as_json: Listed = False) -> None:
    """List the built-in models."""
    from silicast.listing import models as list_all

    _list(
        as_json,
        "models",
        list_all(),
        {
            "name": "name",
            "layers": "layers",
            "hidden": "hidden",
            "ffn": "FFN",
            "heads": "heads",
            "kv_heads": "KV heads",
            "vocab": "vocabulary",
            "max_context": "context",
            "parameters": "parameters",
            "has_weights": "weights",
        },
    )


@app.command()
def designs(as_json: Listed = False) -> None:
    """List the designs of the library."""
    from silicast.listing import designs as list_all

    _list(
        as_json,
        "designs",
        list_all(),
        {
            "name": "name",
            "unit": "unit",
            "macs": "MACs",
            "weight_bits": "weight bits",
            "frequency_hz": "clock, Hz",
            "dram_bytes_per_second": "DRAM, B/s",
            "description": "what it is",
        },
    )


@app.command(short_help="List weight formats and the designs that take them.")
def formats(as_json: Listed = False) -> None:
    """List the usual weight formats; any width 1..8 and group is accepted where a design
    supports it, so are bipolar2..7, ternary, bcq1..4 (binary-coded), fp4, fp3 and flint4, and
    BitMoD's with special values of your own (bitmod_fp3_g128_sv5_6).
    """
    from silicast.listing import formats as list_all

    _list(
        as_json,
        "formats",
        list_all(),
        {
            "name": "name",
            "bits": "bits",
            "group": "group",
            "planes": "planes",
            "asymmetric": "asymmetric",
            "bits_per_weight": "bits a weight",
            "designs": "library designs that take it",
        },
    )


def _list(as_json: bool, title: str, rows: list[dict], columns: dict[str, str]) -> None:
    if as_json:
        write_json("-", rows)
        return
    from silicast.report import print_rows

    print_rows(title, rows, columns)


@app.command("compile", short_help="Write the program of a model's linear operators.")
def compile_(
    model: Model,
    design: DesignName,
    output: Output,
    weights: Weights = "int8",
    tokens: Annotated[str, typer.Option(metavar="M", help="Rows of a pass: 1 to decode.")] = "1",
    activations: Activations = None,
) -> None:
    """Write the program of every distinct linear operator: binary, listing and layout."""
    count = integer("--tokens", tokens, 1)
    from designs.files import named_after_file
    from silicast.building import compile_model

    names = {"tokens": "--tokens", "activations": "--activations"}
    with TerminalProgress() as progress, named_after_file(design), options(**names):
        progress.stage(f"compiling {model} for {design}")
        paths = compile_model(model, design, output, weights, count, activations=activations)
    for path in paths:
        print(path)


@app.command()
def generate(
    design: DesignName,
    output: Output,
    target: Annotated[str, typer.Option(help="What to generate: verilog.")] = "verilog",
) -> None:
    """Write the Verilog project of a design with its manifest."""
    choose("--target", target, "verilog")
    from designs.files import named_after_file
    from silicast.building import generate as generate_into

    with TerminalProgress() as progress, named_after_file(design):
        progress.stage(f"generating {design}")
        generate_into(design, output)
    print(output)


@app.command(short_help="Run a random product on the RTL: every sum, every cycle.")
def verify(
    design: DesignName,
    gemm: Annotated[
        str,
        typer.Option(
            metavar="MxNxK", help="Tokens, output features, reduction; 2^28 elements a matrix."
        ),
    ] = "6x200x512",
    weights: Weights = "int8",
    activations: Activations = None,
    seed: Annotated[str, typer.Option(metavar="S", help="Of the random values.")] = "0",
    backend: Annotated[str, typer.Option(help="What is verified: rtl.")] = "rtl",
    simulator: Annotated[str, typer.Option(help="RTL simulator: verilator.")] = "verilator",
    json: Json = None,
) -> None:
    """Run a random product on the generated RTL; compare every sum and the cycles."""
    choose("--backend", backend, "rtl")
    choose("--simulator", simulator, "verilator")
    match = SIZE.fullmatch(gemm)
    if match is None or not all(int(size) for size in match.groups()):
        allowed = "MxNxK with integers from 1 to 999999999, e.g. 6x200x512"
        raise InputError("--gemm", "", gemm, allowed)
    number = integer("--seed", seed, 0)
    check_json_target(json)
    from silicast.verification import verify as verify_on

    m, n, k = (int(size) for size in match.groups())
    gemm_fields = dict.fromkeys(("M x K", "N x K", "M x N"), "--gemm")
    with TerminalProgress() as progress, options(**gemm_fields, activations="--activations"):
        result = verify_on(design, m, n, k, weights, number, progress, activations=activations)
    write_json(json, result.to_dict())
    if json != "-":
        from silicast.report import print_verification

        print_verification(result)
    finish(result.passed)


@app.command(short_help="Generate text on the RTL, every sum checked.")
def run(
    model: Model,
    design: DesignName,
    prompt: Annotated[str, typer.Option(help="Text to continue.", show_default=False)],
    tokens: Annotated[
        str, typer.Option(metavar="N", help="Most tokens to generate.", show_default=False)
    ],
    weights: Weights = "int8",
    activations: Activations = None,
    backend: Annotated[str, typer.Option(help="rtl, checked by golden; or golden.")] = "rtl",
    json: Json = None,
) -> None:
    """Generate text with every linear layer on the accelerator, every sum checked."""
    choose("--backend", backend, "rtl", "golden")
    count = integer("--tokens", tokens, 1)
    check_json_target(json)
    from silicast.execution import run as run_on

    names = {"tokens": "--tokens", "prompt": "--prompt", "activations": "--activations"}
    with TerminalProgress() as progress, options(**names):
        result = run_on(
            model, design, prompt, count, weights, backend, progress, activations=activations
        )
    write_json(json, result.to_dict())
    if json != "-":
        from silicast.report import print_run

        print_run(result)
    finish(result.passed)


def usage_line(error: Any) -> str:
    """A wrong command line in one line, with what would have been accepted."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if message.startswith("No such command"):
        names = typer.main.get_command(app).list_commands(context)  # type: ignore[attr-defined]
        return f"{message}; allowed: {', '.join(names)}"
    if message.startswith("No such option") and context is not None:
        names = [name for parameter in context.command.params for name in parameter.opts]
        options = [name for name in names if name.startswith("-")]
        found = message.split(" Did you")[0].split(" (Possible")[0].rstrip(".")
        return f"{found}; allowed: {', '.join([*options, '--help'])}"
    return message if context is None else f"{message}; see {context.command_path} --help"
