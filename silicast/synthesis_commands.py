"""The command around synthesis: synth."""

from typing import Annotated

import typer

from designs.errors import InputError
from silicast.command_options import Json, choose
from silicast.commands import app
from silicast.output import check_json_target, write_json
from silicast.terminal import TerminalProgress

__all__ = ["synth"]


@app.command(short_help="Synthesise a design or a unit: LUTs, gates, cell area.")
def synth(
    what: Annotated[
        str,
        typer.Argument(
            metavar="DESIGN|UNIT",
            help="Library name, TOML file, or a unit: dense, dense:lanes_m=1,weight_bits=[8].",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=(
                "xcup (AMD UltraScale+), ecp5 (Lattice) or generic (CMOS gates); default xcup, "
                "none with --liberty."
            ),
        ),
    ] = None,
    liberty: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Map to the cells of a Liberty file, .lib or .lib.gz."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="accelerator (default of a design), unit, or a module of the accelerator.",
        ),
    ] = None,
    hierarchy: Annotated[
        bool,
        typer.Option("--hierarchy", help="Map every module by itself instead of the whole."),
    ] = False,
    dont_use: Annotated[
        list[str] | None,
        typer.Option(
            "--dont-use", metavar="CELL", help="Library cells to avoid, e.g. *__lpflow_*."
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Synthesise the generated Verilog with Yosys: FPGA resources, CMOS gates, or cell area."""
    if target is not None:
        choose("--target", target, "xcup", "ecp5", "generic")
    if dont_use and liberty is None:
        raise InputError("--dont-use", "", " ".join(dont_use), "with --liberty only")
    check_json_target(json)
    from silicast.synthesis import synthesise
    from silicast.synthesis_report import print_synthesis

    with TerminalProgress() as progress:
        result = synthesise(
            what,
            target,
            liberty,
            part,
            flatten=not hierarchy,
            dont_use=dont_use or (),
            progress=progress,
        )
    write_json(json, result.to_dict())
    if json != "-":
        print_synthesis(result)
