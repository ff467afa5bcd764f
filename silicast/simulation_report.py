"""A simulation as tables on a terminal: what matters first, operators after it."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from silicast.figures import significant
from silicast.html_headline import verdict
from silicast.html_sections import part_name
from silicast.left_out import left_out
from silicast.tables import make_table, part, scaled, show, standard_output, words
from sim.attribution import REASONS
from sim.results import ModelResult, OperatorResult, PhaseResult

__all__ = ["print_simulation"]

_SMALL = 0.005
"""Operators of the vector engine below this part of a phase share a line."""

_PHASES = (
    "the prefill's lm_head gives the first new token; decode counts the passes after it, each "
    "of which gives one more"
)
_COLUMNS = (
    '"compute": the unit is fed, also while memory is busy; "wait": the longest of the other '
    'reasons; "lanes used": of the unit while it computes; M tokens x N features x K reduction, '
    '"x" products of that size in one of "count" executions'
)
_SPARE = ("cycles of one", "x", "lanes used", "DRAM", "count", "compute", "M", "N", "K", "bound")
"""Columns of the operators that a narrow terminal does without, the first ones first."""


def print_simulation(result: ModelResult) -> None:
    """Phases with their limit, reasons, energy and area; operators; what is left out."""
    console = standard_output()
    _print_headline(console, result)
    _print_reasons(console, result)
    _print_silicon(console, result)
    _print_operators(console, result)
    console.print(Text("not in these figures:", style="dim"))
    for group, things in left_out(result).items():
        shown = "; ".join(f"{what} ({why})" for what, why in things.items())
        console.print(Text(f"  {group}: {shown}", style="dim"))


def _phases(result: ModelResult) -> dict[str, PhaseResult]:
    return {name: phase for name, phase in result.phases.items() if phase.tokens}


def _plain(text: str) -> str:
    """Without the narrow spaces that a page has between figure and unit."""
    return text.replace("\u202f%", "%").replace("\u202f", " ")


def _print_headline(console: Console, result: ModelResult) -> None:
    formats = f"weights {result.weights}, activations {result.activations}"
    title = f"{result.model} on {result.design}, {formats}, batch {result.batch}"
    if result.conventions is not None:
        title += f", counted as {result.conventions}"
    columns = ["phase", "tokens", "cycles", "seconds", "tokens/s", "DRAM", "energy", "J/token"]
    if all(phase.energy_joules is None for phase in result.phases.values()):
        columns = columns[:-2]
    table = make_table(title, (*columns, "utilized", "simulated only"))
    for name, phase in _phases(result).items():
        figures = {
            "phase": name,
            "tokens": f"{phase.tokens:,}",
            "cycles": f"{phase.cycles:,}",
            "seconds": f"{phase.seconds:.4g}",
            "tokens/s": f"{phase.tokens_per_second:.4g}",
            "DRAM": scaled(phase.dram_bytes, "B"),
            "energy": scaled(phase.energy_joules, "J"),
            "J/token": scaled((phase.energy_joules or 0) / phase.tokens, "J"),
        }
        only = phase.simulated_only_cycles / phase.cycles
        cells = [figures[column] for column in columns]
        table.add_row(*cells, part(phase.utilization), part(only))
    show(console, table, spare=("DRAM", "J/token"))
    for name in _phases(result):
        console.print(Text(f"{name}: {_plain(verdict(result, name))}"))
    if any(o.kind == "lm_head" for o in result.operators):
        console.print(Text(_PHASES, style="dim"))
    if not result.fits_memory:
        text = "the weights do not fit DRAM: a part is read from flash in every pass"
        console.print(Text(text, style="yellow"))
    console.print()


def _print_reasons(console: Console, result: ModelResult) -> None:
    """Every cycle of a phase by its reason."""
    table = make_table("cycles by reason", ("phase", *map(words, REASONS)))
    for name, phase in _phases(result).items():
        table.add_row(name, *(part(phase.reasons[r] / phase.cycles) for r in REASONS))
    show(console, table)
    console.print()


def _print_silicon(console: Console, result: ModelResult) -> None:
    """Energy by part, area, resources, and what lies in memory."""
    phases = {name: phase for name, phase in _phases(result).items() if phase.energy}
    if phases:
        table = make_table("energy by part", ("part", *(h for n in phases for h in (n, "share"))))
        energies = [phase.energy or {} for phase in phases.values()]
        for name in energies[0]:
            if any(energy[name] for energy in energies):
                shares = (
                    text
                    for energy in energies
                    for text in (scaled(energy[name], "J"), _share(energy[name], energy))
                )
                table.add_row(part_name(name), *shares)
        show(console, table)
    scaled_figures = sum(bool(constant["scaled"]) for constant in result.provenance)
    if scaled_figures:
        text = f"{scaled_figures} of {len(result.provenance)} constants are carried over from "
        text += "another node or supply by a published rule; --json and --html name each"
        console.print(Text(text, style="dim"))
    if result.area_mm2:
        total = sum(result.area_mm2.values())
        largest = sorted(result.area_mm2.items(), key=lambda item: -item[1])
        shown = ", ".join(
            f"{part_name(n)} {significant(a, 3)}" for n, a in largest if a >= 0.001 * total
        )
        console.print(Text(f"area {significant(total, 3)} mm2: {shown}"))
    if result.resources:
        used, free = result.resources["used"], result.resources["free"]
        shown = ", ".join(
            f"{n.upper()} {used[n]:,.0f} of {free[n]:,.0f}" for n in used if n in free
        )
        missing = ", ".join(n.upper() for n in free if n not in used)
        missing = f"; not modelled: {missing}" if missing else ""
        console.print(Text(f"FPGA resources, of those free: {shown}{missing}"))
    sizes = (result.weight_bytes, result.kv_cache_bytes, result.memory_bytes)
    weights, cache, capacity = (scaled(size, "B") for size in sizes)
    bits = f"{result.kv_cache_bits} bits a value"
    console.print(Text(f"DRAM: weights {weights}, KV cache {cache} ({bits}), of {capacity}"))
    console.print()


def _share(joules: float, energy: Mapping[str, float]) -> str:
    return part(joules / (sum(energy.values()) or 1))


def _print_operators(console: Console, result: ModelResult) -> None:
    """A table a phase; small operators of the vector engine are one line."""
    dropped: list[str] = []
    for name, phase in _phases(result).items():
        title = f"{name} operators (* simulated only: no RTL runs it yet)"
        sizes = ("M", "N", "K", "x", "count")
        columns = ("operator", "bound", *sizes, "cycles of one", "cycles", "share", "compute")
        table = make_table(title, (*columns, "wait", "lanes used", "DRAM"), 2)
        operators = [o for o in result.operators if o.phase == name]
        names = [o.name for o in operators]
        small = [
            o for o in operators if o.engine != "matrix" and o.total_cycles < _SMALL * phase.cycles
        ]
        for o in operators:
            if o not in small:
                shown = f"{o.name}{'*' if o.simulated_only else ''}"
                if names.count(o.name) > 1:  # equal but for their context, e.g. sliding windows
                    shown += f" {o.layers} layers"
                table.add_row(shown, *_cells(o, phase.cycles))
        if small:
            table.add_row(*_together(small, phase.cycles))
        dropped = show(console, table, spare=_SPARE)
        console.print()
    console.print(Text(_COLUMNS, style="dim"))
    if dropped:
        text = f"left out at this width, but in --json and --html: {', '.join(dropped)}"
        console.print(Text(text, style="dim"))
    console.print()


def _cells(o: OperatorResult, cycles: int) -> tuple[str, ...]:
    """What stands behind the operator's name."""
    return (
        o.bound,
        *(f"{size:,}" for size in (o.m, o.n, o.k, o.products, o.count)),
        f"{o.cycles:,}" if isinstance(o.cycles, int) else f"{o.cycles:,.1f}",
        f"{o.total_cycles:,}",
        part(o.total_cycles / cycles),
        *_reasons(o.total_reasons),
        part(o.lane_occupancy),
        scaled(o.total_dram_bytes, "B"),
    )


def _together(small: list[OperatorResult], cycles: int) -> tuple[str, ...]:
    """One row for many operators."""
    total = sum(o.total_cycles for o in small)
    moved = sum(o.total_dram_bytes for o in small)
    mark = "*" if any(o.simulated_only for o in small) else ""
    reasons = _reasons({r: sum(o.total_reasons[r] for o in small) for r in REASONS})
    title = f"{len(small)} vector operators{mark}"
    figures = (f"{total:,}", part(total / cycles), *reasons, "-", scaled(moved, "B"))
    return (title, *("",) * 7, *figures)


def _reasons(reasons: Mapping[str, int]) -> tuple[str, str]:
    """The part of the cycles in which the unit is fed, and the longest wait."""
    total = sum(reasons.values()) or 1
    waits = {reason: cycles for reason, cycles in reasons.items() if reason != "compute"}
    longest = max(waits, key=lambda reason: waits[reason])
    wait = f"{words(longest)} {part(waits[longest] / total)}" if waits[longest] else "none"
    return part(reasons["compute"] / total), wait
