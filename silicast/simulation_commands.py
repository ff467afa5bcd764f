"""The commands around the simulator: simulate, conventions, memory and fidelity."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from designs.errors import InputError
from silicast.command_options import (
    Activations,
    DesignName,
    Json,
    Listed,
    Model,
    choose,
    integer,
    options,
)
from silicast.commands import app, finish
from silicast.output import check_files, check_json_target, write_json, write_text
from silicast.terminal import TerminalProgress

__all__ = ["conventions", "fidelity", "memory", "resources", "simulate"]

_PREFILL, _DECODE = 256, 20


@app.command(short_help="Simulate a model on a design: cycles, energy, reasons.")
def simulate(
    model: Model,
    design: DesignName,
    prefill: Annotated[
        str | None,
        typer.Option(
            metavar="P", help=f"Tokens of the prompt; default {_PREFILL}, or 0 with --context."
        ),
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help=(
                "Decode passes after the prefill, whose lm_head already gives the first new "
                f"token; default {_DECODE}, or 1 with --context."
            ),
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Tokens already in the cache before the first decode pass; without a prefill.",
        ),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="B", help="Sequences computed together.")] = "1",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Weight format, see `silicast formats`; default: the design's own.",
        ),
    ] = None,
    activations: Activations = None,
    kv_cache: Annotated[
        str | None,
        typer.Option(
            "--kv-cache", metavar="FORMAT", help="int4, int8 or fp16; default: the design's own."
        ),
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
    check_files(json=json, trace=trace, html=html)
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
    names |= {"--conventions": "--conventions"}
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
            command=shlex.join(["silicast", *sys.argv[1:]]),
        )
    for warning in result.warnings:
        print(f"silicast: warning: {warning}", file=sys.stderr)
    write_json(json, result.to_dict())
    if json != "-":
        from silicast.report import print_simulation

        print_simulation(result)


@app.command(short_help="List publications whose counting can be reproduced.")
def conventions(as_json: Listed = False) -> None:
    """List the publications whose way of counting `simulate --conventions` knows."""
    from silicast.listing import conventions as list_all

    rows = list_all()
    if as_json:
        write_json("-", rows)
        return
    from silicast.report import print_paragraphs

    print_paragraphs(rows, "name", "description", "switches")


def _fraction(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(option, "", text, "a number from 0 to 1")
    return value


@app.command(short_help="Run access patterns on one DRAM channel.")
def memory(
    technology: Annotated[
        str,
        typer.Argument(
            metavar="TECHNOLOGY",
            help="Built-in name (ddr4-2400, hbm2, ...) or TOML file.",
            show_default=False,
        ),
    ],
    pattern: Annotated[
        str | None,
        typer.Option(metavar="P", help="sequential, strided or random; default all three."),
    ] = None,
    stride: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Distance of strided requests; default 4096."),
    ] = None,
    requests: Annotated[str, typer.Option(metavar="N", help="Requests a pattern.")] = "100000",
    request_bytes: Annotated[
        str | None,
        typer.Option(
            "--request-bytes", metavar="BYTES", help="Size of a request; default one burst."
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="Address mapping, e.g. row-bank-column-bankgroup or DRAMsim3's rochrababgco.",
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue-depth", metavar="N", help="Requests the controller holds; default the file's."
        ),
    ] = None,
    ranks: Annotated[
        str | None, typer.Option(metavar="N", help="Ranks on the channel; default the file's.")
    ] = None,
    writes: Annotated[
        str, typer.Option(metavar="F", help="Part of the requests that write, 0 to 1.")
    ] = "0",
    json: Json = None,
) -> None:
    """Run access patterns on one DRAM channel, command by command: what of the peak is left."""
    if pattern is not None:
        choose("--pattern", pattern, "sequential", "strided", "random")
    if stride is not None and pattern not in (None, "strided"):
        raise InputError("--stride", "", stride, "with --pattern strided only")
    check_json_target(json)
    from silicast.memory_patterns import memory_efficiency

    names = {
        "dram.technology": "TECHNOLOGY",
        "stride_bytes": "--stride",
        "requests": "--requests",
        "request_bytes": "--request-bytes",
        "address_mapping": "--mapping",
        "queue_depth": "--queue-depth",
        "ranks": "--ranks",
        "write_fraction": "--writes",
    }
    fields: dict[str, Any] = {
        "requests": integer("--requests", requests, 1),
        "request_bytes": None
        if request_bytes is None
        else integer("--request-bytes", request_bytes, 1),
        "address_mapping": mapping,
        "queue_depth": None if queue is None else integer("--queue-depth", queue, 1),
        "ranks": None if ranks is None else integer("--ranks", ranks, 1),
        "write_fraction": _fraction("--writes", writes),
    }
    step = 4096 if stride is None else integer("--stride", stride, 1)
    rows = []
    with TerminalProgress() as progress, options(**names):
        for one in (pattern,) if pattern else ("sequential", "strided", "random"):
            progress.stage(f"{technology}: {one}")
            width = step if one == "strided" else None
            rows.append(memory_efficiency(technology, one, stride_bytes=width, **fields))
    write_json(json, rows)
    if json != "-":
        from silicast.report import print_rows

        columns = {
            "pattern": "pattern",
            "stride_bytes": "stride, B",
            "request_bytes": "request, B",
            "efficiency": "of the peak",
            "bandwidth_bytes_per_second": "B/s",
            "row_hit_rate": "row hits",
            "ranks": "ranks",
            "refreshes": "refreshes",
            "average_latency_ns": "ns a request",
        }
        shown = [row | {"stride_bytes": row["stride_bytes"] or None} for row in rows]
        print_rows(f"one channel of {technology}", shown, columns)


@app.command(short_help="Show silicon area, or whether a design fits FPGAs.")
def resources(
    design: DesignName,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="One FPGA; default all that are known.")
    ] = None,
    json: Json = None,
) -> None:
    """Silicon area of a design, or whether it fits FPGAs: resources used and free."""
    check_json_target(json)
    from designs.files import named_after_file
    from silicast.silicon import print_resources
    from silicast.silicon import resources as resources_of

    names = {} if device is None else {"silicon.device": "--device"}
    with named_after_file(design), options(**names):
        found = resources_of(design, device)
    write_json(json, found)
    if json != "-":
        print_resources(found)
    # one device is a question with an answer; a list of devices is not
    finish(len(found["devices"]) > 1 or all(one["fits"] for one in found["devices"]))


@app.command(short_help="Write published figures beside ours, with reasons.")
def fidelity(
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="The page; docs/fidelity.md where there is a docs folder, else fidelity.md.",
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Write the page of published figures beside ours, with errors and reasons."""
    if output is None and json != "-":
        output = "docs/fidelity.md" if Path("docs").is_dir() else "fidelity.md"
    check_json_target(output, "--output")
    check_json_target(json)
    if output is not None and output == json == "-":
        raise InputError("--output", "", output, "a file when --json is -")
    from silicast.fidelity import fidelity as compare

    with TerminalProgress() as progress:
        progress.stage("comparing with published figures")
        found = compare()
    write_json(json, found.to_dict())
    if output is not None:
        write_text(output, found.render(), "--output")
        if "-" not in (json, output):
            print(output)
