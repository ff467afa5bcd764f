"""Generated documents are up to date, and links in hand-written ones lead somewhere."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from designs import register_document
from designs.registers import COUNTERS, REGISTERS, register_offset
from mapping import isa_document

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("module", [isa_document, register_document])
def test_generated_document_is_up_to_date(module) -> None:
    assert module.DOCUMENT.read_text(encoding="utf-8") == module.render(), "run: make docs"


def test_registers_do_not_overlap() -> None:
    spans = sorted((register_offset(r.name), r.bits // 8) for r in REGISTERS)
    for (offset, size), (following, _) in pairwise(spans):
        assert offset % size == 0
        assert offset + size <= following
    assert spans[-1][0] + spans[-1][1] <= 256
    assert all(c.bits == 64 for c in COUNTERS)


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), ids=lambda p: p.name
)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"
