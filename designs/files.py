"""Design files: TOML in and out without loss, and the library of named designs."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import cattrs
import tomlkit
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from designs.errors import InputError
from designs.spec import Design
from designs.units import UNIT_SPECS, UnitSpec

__all__ = ["design_from_toml", "design_to_toml", "library_names", "load_design"]

_LIBRARY = Path(__file__).parent / "library"


class _WrongType(ValueError):
    """A TOML value of the wrong type, with what is allowed."""

    def __init__(self, found: object, allowed: str):
        super().__init__(allowed)
        self.found = found
        self.allowed = allowed


def _strict(kind: type, allowed: str):
    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, kind):
            raise _WrongType(value, allowed)
        return value

    return structure


def _structure_float(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongType(value, "a number")
    return float(value)


def _structure_unit(value: Any, _: Any) -> UnitSpec:
    if not isinstance(value, dict):
        raise _WrongType(value, "a table")
    kinds = ", ".join(UNIT_SPECS)
    if value.get("kind") not in UNIT_SPECS:
        raise InputError("design", "unit.kind", value.get("kind"), f"one of: {kinds}")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return _CONVERTER.structure(rest, UNIT_SPECS[value["kind"]])


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook(int, _strict(int, "an integer"))
_CONVERTER.register_structure_hook(str, _strict(str, "a string"))
_CONVERTER.register_structure_hook(float, _structure_float)
_CONVERTER.register_structure_hook_func(lambda cls: cls is UnitSpec, _structure_unit)


def _first_error(error: BaseException, path: str, where: str) -> InputError:
    """The first problem of a cattrs error tree as one line with the dotted field name."""
    if isinstance(error, InputError):
        return InputError(where, error.field, error.found, error.allowed)
    if isinstance(error, _WrongType):
        return InputError(where, path, error.found, error.allowed)
    if isinstance(error, ForbiddenExtraKeysError):
        extra = sorted(error.extra_fields)[0]
        fields = ", ".join(f.name for f in dataclasses.fields(error.cl))
        return InputError(where, f"{path}.{extra}".strip("."), extra, f"the fields {fields}")
    if isinstance(error, KeyError):
        return InputError(where, path, None, "a value; the field is required")
    if isinstance(error, ClassValidationError | IterableValidationError):
        unknown = [e for e in error.exceptions if isinstance(e, ForbiddenExtraKeysError)]
        child = (unknown or error.exceptions)[0]
        name = ""
        for note in getattr(child, "__notes__", []):
            name = str(getattr(note, "name", getattr(note, "index", "")))
        return _first_error(child, f"{path}.{name}".strip("."), where)
    return InputError(where, path, str(error), "a value of the documented type")


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
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, "", str(error), "a TOML document") from None
    try:
        return _CONVERTER.structure(table, Design)
    except InputError as error:
        raise _first_error(error, "", where) from None
    except (ClassValidationError, IterableValidationError) as error:
        raise _first_error(error, "", where) from None


def design_to_toml(design: Design) -> str:
    """TOML text that ``design_from_toml`` reads back to an equal design."""
    table = dataclasses.asdict(design)
    table["unit"] = {"kind": design.unit.kind, **table["unit"]}
    table["unit"]["weight_bits"] = list(design.unit.weight_bits)
    return tomlkit.dumps(table)


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
    text = str(name_or_path)
    path = _LIBRARY / f"{text}.toml" if text in library_names() else Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        allowed = f"a TOML file, or one of: {', '.join(library_names())}"
        raise InputError(text, "", "no readable design file", allowed) from None
    return design_from_toml(content, path.name if text in library_names() else text)
