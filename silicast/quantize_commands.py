"""The command that quantises a real model and measures what that costs."""

from typing import Annotated

import typer

from designs.errors import InputError
from silicast.command_options import Json, choose, integer
from silicast.commands import app
from silicast.output import check_files, write_json
from silicast.terminal import TerminalProgress

__all__ = ["quantize"]

_ARGUMENTS = ("formats", "activations", "tokens", "text")
_DEFAULT = (
    "int8_g128,int6_g128,int4_g128,int4_asym_g128,fp4_g128,flint4_g128,ant4_g128,mxfp4,nvfp4,"
    "bitmod_fp4_g128,int3_g128,int3_asym_g128,fp3_g128,bitmod_fp3_g128"
)


@app.command(short_help="Quantise a real model: error and perplexity by format.")
def quantize(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Built-in name of a model with weights, or .gguf file.",
            show_default=False,
        ),
    ],
    formats: Annotated[
        str, typer.Option(metavar="F,F,...", help="Weight formats, see `silicast formats`.")
    ] = _DEFAULT,
    activations: Annotated[str, typer.Option(metavar="FORMAT", help="fp16 or int8.")] = "fp16",
    text: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="UTF-8 text; default: chapters of Tom Sawyer."),
    ] = None,
    tokens: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Most tokens that are predicted; 2044 take half a minute to two a format.",
        ),
    ] = "2044",
    no_perplexity: Annotated[
        bool, typer.Option("--no-perplexity", help="Errors of weights and outputs only.")
    ] = False,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a plot, .svg or .html.")
    ] = None,
    json: Json = None,
) -> None:
    """Quantise all linear layers of a real model: weight error, output error, perplexity.

    Every linear layer gives the sums of the hardware, bit for bit. Results are kept in the cache:
    an interrupted measurement resumes.
    """
    from silicast.quantize_plot import check_plot_type, write_plot

    choose("--activations", activations, "fp16", "int8")
    count = integer("--tokens", tokens, 2)
    check_plot_type(plot)
    check_files(json=json, plot=plot)
    from silicast.quantization import quantize as quantize_model

    names = formats.split(",")
    with TerminalProgress() as progress:
        try:
            result = quantize_model(
                model,
                names,
                activations=activations,
                text=text,
                tokens=count,
                perplexity=not no_perplexity,
                progress=progress,
            )
        except InputError as error:
            if error.where == "weight format":
                raise InputError("--formats", "", error.found, error.allowed) from None
            if error.where != "quantize" or error.field not in _ARGUMENTS:
                raise
            raise InputError(f"--{error.field}", "", error.found, error.allowed) from None
    if plot is not None:
        write_plot(plot, result)
    write_json(json, result.to_dict())
    if json != "-":
        from silicast.quantize_report import print_quantization

        print_quantization(result)
