"""Tables and figures for people: aligned, with prefixes, and never cut."""

import sys
from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

__all__ = ["make_table", "scaled", "show", "standard_output", "words"]

_WIDEST = 10_000
_NARROWEST_PROSE = 24
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float | None, unit: str = "") -> str:
    """A figure with an SI prefix, e.g. ``1.62 G``."""
    if value is None:
        return "-"
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def words(key: str) -> str:
    """A key as people write it."""
    return key.replace("_", " ")


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


def show(console: Console, table: Table, prose: int | None = None) -> None:
    """A table of which no figure is ever cut: only column ``prose`` is wrapped to fit.

    A terminal that is still too narrow wraps the lines itself.
    """
    wide = console.options.update(width=_WIDEST)
    width = Measurement.get(console, wide, table).maximum
    if prose is not None and width > console.width:
        column = table.columns[prose]
        longest = max(cell_len(str(cell)) for cell in column.cells)
        column.no_wrap = False
        column.width = max(_NARROWEST_PROSE, longest - (width - console.width))
        width = Measurement.get(console, wide, table).maximum
    Console(width=max(width, console.width), highlight=False).print(table)
