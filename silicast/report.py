"""Results as tables for people; only here are numbers rounded and given prefixes."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from silicast.execution import RunResult
from silicast.simulation_report import print_simulation
from silicast.tables import make_table, scaled, show, standard_output, words
from silicast.verification import VerifyResult
from sim.attribution import REASONS

__all__ = ["print_paragraphs", "print_rows", "print_run", "print_simulation", "print_verification"]


def print_rows(title: str, rows: list[dict], columns: Mapping[str, str]) -> None:
    """A list of things, one a line.

    Parameters
    ----------
    title : str
        Above the table.
    rows : list of dict
        As the functions of `silicast.listing` return them.
    columns : mapping of str to str
        Keys of the rows, and what they are called.
    """
    table = make_table(title, columns.values())
    for column, key in zip(table.columns, columns, strict=True):
        if all(isinstance(row[key], str | list) for row in rows):
            column.justify, column.header = "left", columns[key]
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in columns))
    last = rows[0][list(columns)[-1]] if rows else None
    prose = len(columns) - 1 if isinstance(last, str | list) else None
    show(standard_output(), table, prose)


def print_paragraphs(rows: list[dict], name: str, text: str, items: str) -> None:
    """Things with a description and a list of names, a paragraph each.

    Parameters
    ----------
    rows : list of dict
        As the functions of `silicast.listing` return them.
    name, text, items : str
        Keys of the three.
    """
    console = standard_output()
    for row in rows:
        console.print(Text(f"{row[name]}: {row[text]}"))
        console.print(Text(f"  {items}: {', '.join(row[items])}", style="dim"))


def _cell(value: Any) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float) and value < 1:
        return Text(f"{value:.4f}" if value else "0")
    if isinstance(value, float) or (isinstance(value, int) and value >= 1_000_000):
        return Text(scaled(value))
    if isinstance(value, list):
        return Text(", ".join(map(str, value)) or "-")
    return Text("-" if value is None else str(value))


def print_verification(result: VerifyResult) -> None:
    """Verdict, sums and cycles of one product."""
    console = standard_output()
    verdict = "passed" if result.passed else "FAILED"
    style = "bold green" if result.passed else "bold red"
    described = f"{result.gemm} {result.weights} x {result.activations}"
    console.print(Text(f"{verdict}: {described} on {result.design}", style))
    table = make_table("", ("what", "simulated", "RTL", "difference", "allowed"))
    difference = result.cycles_simulated - result.cycles_rtl
    table.add_row(
        "cycles",
        f"{result.cycles_simulated:,}",
        f"{result.cycles_rtl:,}",
        f"{difference:+,}" if difference else "0",
        f"{result.cycle_limit:,}",
    )
    show(console, table)
    outputs = f"{result.mismatched_outputs:,} of {result.outputs:,} sums of the RTL differ from the"
    golden = f"{result.golden_mismatches:,} of the golden model's from the arithmetic contract"
    console.print(Text(f"{outputs} golden model's, {golden}"))
    if result.relative_error:
        text = (
            f"{result.relative_error:.2e} relative error against the exact product, RMS of tokens"
        )
        console.print(Text(text))
    for reason, cycles in result.reasons.items():
        if cycles:
            text = f"{cycles:12,} cycles {words(reason)}: {REASONS[reason]}"
            console.print(Text(text, style="dim"))


def print_run(result: RunResult) -> None:
    """Text, operators and headline of a model that ran."""
    console = standard_output()
    console.print(Text(result.prompt, style="dim") + Text(result.text, style="bold"))
    console.print()
    columns = ("operator", "phase", "M", "N", "K", "count", "simulated", "RTL", "difference")
    title = f"{result.model} on {result.design}, {result.backend}: cycles of one execution"
    table = make_table(title, (*columns, "mismatches"), 2)
    for o in result.operators:
        found = ("-", "-", "-")
        if o.cycles_rtl is not None:
            difference = o.cycles_simulated - o.cycles_rtl
            shown = f"{difference:+,}" if difference else "0"
            found = (f"{o.cycles_rtl:,}", shown, f"{o.mismatched_outputs:,}")
        sizes = (str(o.m), str(o.n), str(o.k), str(o.count))
        table.add_row(o.name, o.phase, *sizes, f"{o.cycles_simulated:,}", *found)
    show(console, table)
    console.print()
    if result.backend == "rtl":
        verdict = "passed" if result.passed else "FAILED"
        style = "bold green" if result.passed else "bold red"
        counts = f"{result.mismatched_outputs:,} of {result.outputs:,} outputs differ"
        console.print(Text(f"{verdict}: {counts} between RTL and golden model", style))
    tokens = f"{len(result.token_ids)} tokens after {len(result.prompt_token_ids)} of the prompt"
    rtl = "" if result.cycles_rtl is None else f", {result.cycles_rtl:,} on the RTL"
    console.print(Text(f"{tokens}; {result.cycles_simulated:,} cycles simulated{rtl}"))
    speeds = [f"{result.wall_seconds:.1f} s"]
    if result.rtl_cycles_per_second is not None:
        speeds.append(f"RTL simulated at {scaled(result.rtl_cycles_per_second)} cycles/s")
    if result.decode_tokens_per_second is not None:
        rate = f"{result.decode_tokens_per_second:.4g} tokens/s"
        speeds.append(f"linear layers alone decode {rate} at the design's clock")
    console.print(Text("; ".join(speeds)))
