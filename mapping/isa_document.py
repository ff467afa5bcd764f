"""docs/isa.md, generated from mapping/isa.py: ``python -m mapping.isa_document`` writes it."""

from pathlib import Path

import templates
from mapping.isa import FORMS, HEADER, INSTRUCTION_BITS, MOST_TOKENS, Form

__all__ = ["DOCUMENT", "render", "write"]

_ROOT = Path(__file__).resolve().parents[1]

DOCUMENT = _ROOT / "docs" / "isa.md"
"""Where the document lies in the repository."""


def _rows(form: Form | None) -> list[dict[str, object]]:
    """Table rows of the header (None) or of an opcode's operands, with their bit range."""
    rows: list[dict[str, object]] = []
    low = 0 if form is None else sum(field.bits for field in HEADER)
    for field in HEADER if form is None else form.fields:
        high = low + field.bits - 1
        bits = str(low) if high == low else f"{high}..{low}"
        rows.append({"name": field.name, "bits": bits, "width": field.bits, "doc": field.doc})
        low = high + 1
    return rows


def render() -> str:
    """The document as Markdown text."""
    forms = [
        {
            "name": opcode.name,
            "code": opcode.value,
            "engine": form.engine,
            "doc": form.doc,
            "rows": _rows(form),
            "used": sum(field.bits for field in HEADER + form.fields),
        }
        for opcode, form in FORMS.items()
    ]
    return templates.render(
        "isa.md.jinja", bits=INSTRUCTION_BITS, header=_rows(None), forms=forms, tokens=MOST_TOKENS
    )


def write(path: Path = DOCUMENT) -> Path:
    """Write the document, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".md.new")
    temporary.write_text(render(), encoding="utf-8")
    return temporary.replace(path)


if __name__ == "__main__":
    print(write())
