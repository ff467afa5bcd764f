"""docs/design-file.md names every table and field there is, and every value a field may have."""

import dataclasses
from pathlib import Path

import pytest

from designs.fpga import device_names
from designs.memory_technology import memory_names
from designs.parts import Cores, Flash, Formats, Passes, Silicon, Sram, Vector
from designs.process import process_names
from designs.spec import Buffers, Clock, Control, Design, Dram
from designs.units import UNIT_SPECS
from designs.units.array import PublishedArray

PAGE = (Path(__file__).parent.parent / "docs" / "design-file.md").read_text(encoding="utf-8")
PARTS = (Buffers, Clock, Control, Cores, Dram, Flash, Formats, Passes, Silicon, Sram, Vector)
TABLES = (*PARTS, PublishedArray)


@pytest.mark.parametrize("cls", [*TABLES, *UNIT_SPECS.values()], ids=lambda cls: cls.__name__)
def test_every_field_is_listed(cls):
    for field in dataclasses.fields(cls):
        forms = (f"`{field.name}`", f".{field.name}`", f".{field.name}.")
        assert any(form in PAGE for form in forms), field.name


def test_every_table_is_listed():
    for field in dataclasses.fields(Design):
        forms = (f"`{field.name}`", f"`[{field.name}]`", f"`{field.name}.")
        assert any(form in PAGE for form in forms), field.name


def test_every_name_a_field_may_have_is_listed():
    for name in (*memory_names(), *device_names(), *process_names(), *UNIT_SPECS, "ideal"):
        assert f"`{name}`" in PAGE, name
