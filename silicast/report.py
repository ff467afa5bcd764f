"""Results as tables for people; only here are numbers rounded and given prefixes."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from silicast.execution import RunResult
from silicast.tables import make_table, scaled, show, standard_output, words
from silicast.verification import VerifyResult
from sim.attribution import REASONS
from sim.model import ModelResult

__all__ = ["print_rows", "print_run", "print_simulation", "print_verification"]

_SMALL = 0.005  # operators of the vector engine below this part of a phase share a line
_PHASES = (
    "the prefill's lm_head gives the first new token; decode counts the passes after it, each "
    "of which gives one more"
)
_SHARES = (
    '"compute" is every cycle the unit is fed, also when memory is busy too, so an operator can '
    "be bound by memory and mostly compute; with one token a pass the lanes of the other tokens "
    'are idle ("lanes used")'
)


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


def _cell(value: Any) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float) or (isinstance(value, int) and value >= 1_000_000):
        return Text(scaled(value))
    if isinstance(value, list):
        return Text(", ".join(map(str, value)) or "-")
    return Text("-" if value is None else str(value))


def print_simulation(result: ModelResult) -> None:
    """Phases, operators, reasons, energy, and what is not modelled."""
    console = standard_output()
    formats = f"weights {result.weights}, activations {result.activations}"
    title = f"{result.model} on {result.design}, {formats}, batch {result.batch}"
    if result.conventions is not None:
        title += f", counted as {result.conventions}"
    columns = ("phase", "tokens", "cycles", "seconds", "tokens/s", "DRAM", "energy", "utilized")
    table = make_table(title, (*columns, "simulated only"))
    for name, phase in result.phases.items():
        if phase.tokens:
            table.add_row(
                name,
                str(phase.tokens),
                f"{phase.cycles:,}",
                f"{phase.seconds:.4g}",
                f"{phase.tokens_per_second:.4g}",
                scaled(phase.dram_bytes, "B"),
                scaled(phase.energy_joules, "J"),
                f"{phase.utilization:.1%}",
                f"{phase.simulated_only_cycles / phase.cycles:.1%}",
            )
    show(console, table)
    console.print(Text(_PHASES, style="dim"))
    console.print()
    _print_operators(console, result)
    for phase_name, phase in result.phases.items():
        if phase.energy:
            parts = sorted(phase.energy.items(), key=lambda part: -part[1])
            shown = ", ".join(f"{words(n)} {scaled(j, 'J')}" for n, j in parts if j)
            console.print(Text(f"energy of the {phase_name}: {shown}"))
    if result.area_mm2:
        shown = ", ".join(f"{words(n)} {a:.3g}" for n, a in result.area_mm2.items() if a)
        total = sum(result.area_mm2.values())
        console.print(Text(f"area {total:.3g} mm2: {shown}"))
    if result.resources:
        used, free = result.resources["used"], result.resources["free"]
        shown = ", ".join(f"{n} {used[n]:,.0f} of {free[n]:,.0f}" for n in used if n in free)
        console.print(Text(f"resources: {shown}"))
    sizes = (result.weight_bytes, result.kv_cache_bytes, result.memory_bytes)
    weights, cache, capacity = (scaled(size, "B") for size in sizes)
    console.print(Text(f"memory: weights {weights}, KV cache {cache}, of {capacity}"))
    for what, why in result.not_modelled.items():
        console.print(Text(f"not in these figures: {what} ({why})", style="dim"))
    if not result.fits_memory:
        text = "the weights do not fit DRAM: a part is read from flash in every pass"
        console.print(Text(text, style="yellow"))


def _print_operators(console: Console, result: ModelResult) -> None:
    """Operators with their reasons; small ones of the vector engine in one line."""
    sizes = ("M", "N", "K", "x", "count")
    columns = ("operator", "phase", "bound", *sizes, "cycles of one", "cycles", "lanes used")
    table = make_table("operators (* simulated only)", columns, 3)
    shares = make_table("cycles by reason", ("operator", "phase", *map(words, REASONS)), 2)
    for name, phase in result.phases.items():
        small = []
        for o in (o for o in result.operators if o.phase == name):
            if o.engine != "matrix" and o.total_cycles < _SMALL * phase.cycles:
                small.append(o)
                continue
            shown = f"{o.name}{'*' if o.simulated_only else ''}"
            figures = (str(o.m), str(o.n), str(o.k), str(o.products), str(o.count))
            one = f"{o.cycles:,}" if isinstance(o.cycles, int) else f"{o.cycles:,.1f}"
            lanes = "-" if o.lane_occupancy is None else f"{o.lane_occupancy:.1%}"
            table.add_row(shown, name, o.bound, *figures, one, f"{o.total_cycles:,}", lanes)
            _add_shares(shares, shown, name, o.total_reasons, o.total_cycles)
        if small:
            cycles = sum(o.total_cycles for o in small)
            shown, blank = f"{len(small)} others*", ("",) * 6
            table.add_row(shown, name, "", *blank, f"{cycles:,}", "-")
            together = {r: sum(o.total_reasons[r] for o in small) for r in REASONS}
            _add_shares(shares, shown, name, together, cycles)
    show(console, table)
    console.print()
    show(console, shares)
    console.print(Text(_SHARES, style="dim"))
    console.print()


def _add_shares(
    table: Table, name: str, phase: str, reasons: Mapping[str, int], cycles: int
) -> None:
    parts = (f"{reasons[reason] / max(cycles, 1):.1%}" for reason in REASONS)
    table.add_row(name, phase, *parts)


def print_verification(result: VerifyResult) -> None:
    """Verdict, sums and cycles of one product."""
    console = standard_output()
    verdict = "passed" if result.passed else "FAILED"
    style = "bold green" if result.passed else "bold red"
    console.print(Text(f"{verdict}: {result.gemm} {result.weights} on {result.design}", style))
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
    golden = f"{result.golden_mismatches:,} of the golden model's from the exact integer result"
    console.print(Text(f"{outputs} golden model's, {golden}"))
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
