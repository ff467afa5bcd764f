"""Progress on a terminal's standard error; nothing elsewhere."""

import sys
from types import TracebackType
from typing import Any

from silicast.progress import Progress

__all__ = ["TerminalProgress"]

_SHORTEST_TITLE = 14
_BAR = 41
_FIGURES = 26  # spinner, steps of the stage, elapsed time, and the spaces between them


class TerminalProgress(Progress):
    """A status line or a bar of the current stage, and below it the text as it grows.

    Use as a context manager; everything is wiped at the end. When standard error is no
    terminal, nothing is shown.
    """

    def __init__(self) -> None:
        self._live: Any = None
        self._bar: Any = None
        self._task: Any = None
        self._room = 0

    def __enter__(self) -> "TerminalProgress":
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            console = Console(stderr=True)
            # what is left of the line for the title: figures and time are never cut
            self._room = max(_SHORTEST_TITLE, console.width - _FIGURES)
            bar = [BarColumn()] if self._room >= _BAR + _SHORTEST_TITLE else []
            self._room -= _BAR * len(bar)
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                *bar,
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            self._live = Live(self._bar, console=console, transient=True, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def stage(self, title: str, steps: int | None = None) -> None:
        """Show another stage instead of the last one."""
        if self._bar is None:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        shown = title if len(title) <= self._room else f"{title[: self._room - 1]}…"
        self._task = self._bar.add_task(shown, total=steps)

    def advance(self) -> None:
        """Move the bar on by one step."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def text(self, text: str) -> None:
        """Show the text generated so far below the bar."""
        if self._live is None:
            return
        from rich.console import Group
        from rich.text import Text

        self._live.update(Group(self._bar, Text(text)))
