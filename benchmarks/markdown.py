"""Markdown tables."""

from collections.abc import Sequence

__all__ = ["markdown_table"]


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], text: Sequence[int] = (0,)
) -> str:
    """A table; the columns numbered in ``text`` are aligned left, the others right."""
    rule = "|".join("---" if index in text else "---:" for index in range(len(columns)))
    lines = ["| " + " | ".join(columns) + " |", f"|{rule}|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
