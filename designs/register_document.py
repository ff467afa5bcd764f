"""docs/registers.md from the register map: ``python -m designs.register_document`` writes it."""

import dataclasses
from pathlib import Path

import templates
from designs.registers import REGISTERS, register_offset

__all__ = ["DOCUMENT", "render"]

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "registers.md"
"""Where the document lies in the repository."""


def render() -> str:
    """The document as Markdown text."""
    rows = [{"offset": register_offset(r.name), **dataclasses.asdict(r)} for r in REGISTERS]
    return templates.render("registers.md.jinja", registers=rows)


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
