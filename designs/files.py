"""Design files: TOML in and out without loss, and the library of named designs."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit

from designs.errors import InputError
from designs.spec import Design
from designs.tables import WrongType, converter, parse_toml, read_text, structure
from designs.units import UNIT_SPECS, UnitSpec

__all__ = [
    "design_from_toml",
    "design_to_toml",
    "library_names",
    "load_design",
    "named_after_file",
]

_LIBRARY = Path(__file__).parent / "library"


def _structure_unit(value: Any, _: Any) -> UnitSpec:
    if not isinstance(value, dict):
        raise WrongType(value, "a table")
    kinds = ", ".join(UNIT_SPECS)
    if not isinstance(value.get("kind"), str) or value["kind"] not in UNIT_SPECS:
        raise InputError("design", "unit.kind", value.get("kind"), f"one of: {kinds}")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return _CONVERTER.structure(rest, UNIT_SPECS[value["kind"]])


_CONVERTER = converter()
_CONVERTER.register_structure_hook_func(lambda cls: cls is UnitSpec, _structure_unit)


def design_from_toml(text: str, where: str = "design") -> Design:
    """A design from TOML text.

    Parameters
    ----------
    text : str
        The TOML document.
    where : str
        What error messages call it, usually the file name.

    Raises
    ------
    InputError
        The text is no TOML, or a field is missing, unknown or out of range.
    """
    return structure(parse_toml(text, where), Design, where, _CONVERTER)


def design_to_toml(design: Design) -> str:
    """TOML text that ``design_from_toml`` reads back to an equal design."""
    table = _plain(dataclasses.asdict(design))
    table["unit"] = {"kind": design.unit.kind, **table["unit"]}
    return tomlkit.dumps(table)


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, and nothing where there is None: TOML has no null."""
    result: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result[key] = _plain(value)
        elif value is not None:
            result[key] = list(value) if isinstance(value, tuple) else value
    return result


def library_names() -> list[str]:
    """Names of the designs that ship with silicast, sorted."""
    return sorted(path.stem for path in _LIBRARY.glob("*.toml"))


def load_design(name_or_path: str | Path) -> Design:
    """A library design by name, or a design file by path.

    Raises
    ------
    InputError
        There is no such design, or its file is wrong.
    """
    text, names = str(name_or_path), library_names()
    allowed = f"a TOML file, or one of: {', '.join(names)}"
    if not text:
        raise InputError("design", "", text, allowed)
    path = _LIBRARY / f"{text}.toml" if text in names else Path(text)
    if "\0" in text:
        raise InputError("design", "", text, allowed)
    content = read_text(path, text, allowed)
    return design_from_toml(content, path.name if text in names else text)


@contextmanager
def named_after_file(given: Design | str | Path) -> Iterator[None]:
    """Let errors about a design name the file it came from, not the name written in it.

    Parameters
    ----------
    given : Design, str or Path
        What the caller named; errors about objects and library designs stay as they are.
    """
    try:
        yield
    except InputError as error:
        if isinstance(given, Design) or str(given) in library_names():
            raise
        try:
            name = load_design(given).name
        except InputError:  # the design itself is at fault: its file is named already
            raise error from None
        if error.where not in (name, "design"):
            raise
        raise InputError(given, error.field, error.found, error.allowed) from None
