"""The commands around the simulator: simulate, conventions, memory and fidelity."""

import sys
from typing import Annotated

import typer

from designs.errors import InputError
from silicast.command_options import DesignName, Json, Listed, Model, integer, options
from silicast.commands import app
from silicast.output import check_json_target, write_json
from silicast.terminal import TerminalProgress

__all__ = ["conventions", "simulate"]

_PREFILL, _DECODE = 256, 20


@app.command()
def simulate(
    model: Model,
    design: DesignName,
    prefill: Annotated[
        str | None,
        typer.Option(metavar="P", help=f"Tokens of the prompt; {_PREFILL}, or 0 with --context."),
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help=(
                "Decode passes after the prefill, whose lm_head already gives the first new "
                f"token; {_DECODE}, or 1 with --context."
            ),
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(metavar="C", help="Tokens before the first decoded one, with --prefill 0."),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="B", help="Sequences computed together.")] = "1",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="Weight format, see `silicast formats`; the design's own."
        ),
    ] = None,
    activations: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="int8 or fp16, as the design has them."),
    ] = None,
    kv_cache: Annotated[
        str | None,
        typer.Option("--kv-cache", metavar="FORMAT", help="int4, int8 or fp16; the design's own."),
    ] = None,
    all_logits: Annotated[
        bool,
        typer.Option("--all-logits", help="Prefill: logits of every token, not of the last."),
    ] = False,
    conventions: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Count as a publication did: a name of `silicast conventions`."
        ),
    ] = None,
    json: Json = None,
    trace: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a timeline for Perfetto.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the report as one page.")
    ] = None,
) -> None:
    """Simulate a model on a design: cycles, traffic, energy, and the reason of every cycle."""
    for option, target in (("--json", json), ("--trace", trace), ("--html", html)):
        check_json_target(target, option)
        if target == "-" and option != "--json":
            raise InputError(option, "", target, "a file that can be written")
    from silicast.simulation import simulate as simulate_on

    if prefill is None:
        prefill = "0" if context is not None else str(_PREFILL)
    if decode is None:
        decode = "1" if context is not None else str(_DECODE)
    arguments = (
        integer("--prefill", prefill, 0),
        integer("--decode", decode, 0),
        integer("--context", context, 1) if context is not None else None,
        integer("--batch", batch, 1),
    )
    names = {name: f"--{name}" for name in ("prefill", "decode", "context", "batch")}
    names |= {"activations": "--activations", "kv_cache": "--kv-cache"}
    with TerminalProgress() as progress, options(**names):
        result = simulate_on(
            model,
            design,
            *arguments,
            weights=weights,
            progress=progress,
            activations=activations,
            kv_cache=kv_cache,
            conventions=conventions,
            all_logits=all_logits,
            trace=trace,
            html=html,
        )
    for warning in result.warnings:
        print(f"silicast: warning: {warning}", file=sys.stderr)
    write_json(json, result.to_dict())
    if json != "-":
        from silicast.report import print_simulation

        print_simulation(result)


@app.command()
def conventions(as_json: Listed = False) -> None:
    """List the publications whose way of counting `simulate --conventions` knows."""
    from silicast.listing import conventions as list_all

    rows = list_all()
    if as_json:
        write_json("-", rows)
        return
    from silicast.report import print_rows

    columns = {"name": "name", "switches": "switches", "description": "whose counting"}
    print_rows("conventions", rows, columns)
