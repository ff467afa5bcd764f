"""A synthesis run for people: counts, the estimate beside them, and what is not counted."""

from rich.text import Text

from silicast.synthesis import SynthResult
from silicast.tables import make_table, part, show, standard_output

__all__ = ["print_synthesis"]

_FPGA_ROWS = {
    "lut": "LUT",
    "ff": "FF",
    "dsp": "DSP",
    "bram": "BRAM",
    "uram": "URAM",
    "carry": "CARRY",
    "wide_mux": "wide multiplexers",
}

_WHAT = {
    "xcup": "DSP48E2 blocks, BRAM of 36 Kb, CARRY4 cells (two a CARRY8)",
    "ecp5": "DSP as 18 x 18 multipliers (two a slice), BRAM of 18 Kb, CARRY as CCU2C (two bits)",
}


def print_synthesis(result: SynthResult) -> None:
    """Table of counts, and of estimates where there are any."""
    out, report = standard_output(), result.report
    when = "from the cache" if report.cached else f"{report.seconds:.1f} s"
    target = report.library or report.target
    title = f"{result.name}, {result.part}, on {target}: {report.tool}, {when}"
    if report.target in _WHAT:
        _print_fpga(title, result)
        out.print(Text(_WHAT[report.target], style="dim"))
    else:
        _print_cells(title, result)
    if result.no_estimate:
        out.print(Text(f"no estimate beside it: {result.no_estimate}", style="dim"))
    for memory in report.macros:
        text = f"{memory.count} x RAM of {memory.depth} words of {memory.width} bits: not counted"
        out.print(Text(f"memory macro: {text}"))
    for memory in report.flop_memories:
        text = f"{memory.count} x {memory.depth} words of {memory.width} bits"
        out.print(Text(f"of flip-flops, counted: {text}", style="dim"))
    left = "; ".join(f"{what} ({why})" for what, why in report.not_counted.items())
    out.print(Text(f"not counted: {left}", style="dim"))


def _print_fpga(title: str, result: SynthResult) -> None:
    report, estimate = result.report, result.estimate
    columns = ("resource", "synthesis", *(("estimate", "off by") if estimate else ()))
    table = make_table(title, columns)
    for field, name in _FPGA_ROWS.items():
        found = getattr(report, field)
        if found is None:
            continue
        row = [name, f"{found:,g}" if isinstance(found, float) else f"{found:,}"]
        if estimate:
            row += _beside(estimate.get(field), found)
        table.add_row(*row)
        if field == "lut":
            sizes = {f"  LUT{size}": n for size, n in report.lut_by_size.items()}
            if report.lut_memory:
                carries = "" if report.target == "xcup" else ", carries"
                sizes[f"  memory, shift registers{carries}"] = report.lut_memory
            for size, count in sizes.items():
                table.add_row(size, f"{count:,}", *(("", "") if estimate else ()))
    show(standard_output(), table)


def _beside(estimate: float | None, found: float) -> tuple[str, str]:
    """An estimate, and how far it is from the synthesis as a part of it."""
    if estimate is None:
        return "-", "-"
    if estimate == found:
        return f"{estimate:,g}", "0"
    shown = f"{estimate:,.0f}" if estimate == int(estimate) else f"{estimate:,.1f}"
    if not found:
        return shown, f"{estimate:+,g}"
    sign = "+" if estimate > found else "-"
    return shown, f"{sign}{part(abs(estimate / found - 1))}"


def _print_cells(title: str, result: SynthResult) -> None:
    report, estimate = result.report, result.estimate
    table = make_table(title, ("what", "synthesis", *(("estimate", "off by") if estimate else ())))
    blank = ("", "") if estimate else ()
    table.add_row("cells", f"{report.cell_count:,}", *blank)
    table.add_row("flip-flops", f"{report.ff:,}", *blank)
    if report.transistors is not None:
        table.add_row("transistors (estimate)", f"{report.transistors:,}", *blank)
    if report.area_um2 is not None:
        assert report.sequential_um2 is not None
        assert report.combinational_um2 is not None
        beside = _beside(estimate["area_um2"], report.area_um2) if estimate else ()
        table.add_row("area, um2", f"{report.area_um2:,.1f}", *beside)
        table.add_row("  sequential", f"{report.sequential_um2:,.1f}", *blank)
        table.add_row("  combinational", f"{report.combinational_um2:,.1f}", *blank)
    show(standard_output(), table)
