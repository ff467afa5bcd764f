"""Tables and figures for people: aligned, with prefixes, and never cut."""

import sys
from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from silicast.figures import prefixed, words

__all__ = ["make_table", "part", "scaled", "show", "standard_output", "words"]

_WIDEST = 10_000
_NARROWEST_PROSE = 24


def scaled(value: float | None, unit: str = "") -> str:
    """A figure with an SI prefix, e.g. ``1.62 G``."""
    if value is None:
        return "-"
    figure, prefix = ("0", "") if value == 0 else prefixed(value)
    return f"{figure} {prefix.replace('µ', 'u')}{unit}".strip()


def part(value: float | None) -> str:
    """A part of 1, e.g. ``97.3%``; what is not 0 never looks like 0, nor what is not 1 like 1."""
    if value is None:
        return "-"
    if 0 < value < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= value < 1 else f"{value:.1%}"


def standard_output() -> Console:
    """Standard output; a fixed width when it is no terminal."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(width=160, highlight=False)


def make_table(title: str, columns: Iterable[str], text_columns: int = 1) -> Table:
    """An empty table; the first columns are text, the others figures."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.header_style = "bold"
    for index, column in enumerate(columns):
        text = index < text_columns
        # on a terminal a header takes a line a word, so that the column is as narrow as its figures
        header = column.replace(" ", "\n") if sys.stdout.isatty() and not text else column
        table.add_column(header, justify="left" if text else "right", no_wrap=True)
    return table


def _drop(table: Table, header: str) -> None:
    """Take a column out of a table."""
    table.columns = [c for c in table.columns if str(c.header).replace("\n", " ") != header]
    for index, column in enumerate(table.columns):
        column._index = index


def show(
    console: Console, table: Table, prose: int | None = None, spare: Iterable[str] = ()
) -> list[str]:
    """A table of which no figure is ever cut.

    A terminal that is still too narrow wraps the lines itself.

    Parameters
    ----------
    console : Console
        As `standard_output` gives it.
    table : Table
        Printed, and changed to fit.
    prose : int, optional
        The column that is wrapped to fit.
    spare : iterable of str
        Headers of columns a narrow terminal does without, the first ones first.

    Returns
    -------
    list of str
        Headers of those that were left out.
    """
    wide = console.options.update(width=_WIDEST)
    width = Measurement.get(console, wide, table).maximum
    dropped: list[str] = []
    for header in spare:
        if width <= console.width or not sys.stdout.isatty():
            break
        _drop(table, header)
        dropped.append(header)
        width = Measurement.get(console, wide, table).maximum
    if prose is not None and width > console.width:
        column = table.columns[prose]
        longest = max(cell_len(str(cell)) for cell in column.cells)
        column.no_wrap = False
        column.width = max(_NARROWEST_PROSE, longest - (width - console.width))
        width = Measurement.get(console, wide, table).maximum
    out = Console(width=max(width, console.width), highlight=False)
    if table.title:  # rich would wrap it to the width of the table
        out.print(table.title)
        table.title = None
    out.print(table)
    return dropped
