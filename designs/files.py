"""Design files: TOML in and out without loss, and the library of named designs."""

import dataclasses
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cattrs
import tomlkit
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from designs.errors import InputError
from designs.spec import Design
from designs.units import UNIT_SPECS, UnitSpec

__all__ = [
    "design_from_toml",
    "design_to_toml",
    "library_names",
    "load_design",
    "named_after_file",
]

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
    try:
        return float(value)
    except OverflowError:
        raise _WrongType(value, "a number of at most 308 digits") from None


def _structure_integers(value: Any, _: Any) -> tuple[int, ...]:
    right = isinstance(value, list) and all(type(item) is int for item in value)
    if not right:
        raise _WrongType(value, "a list of integers")
    return tuple(value)


def _structure_unit(value: Any, _: Any) -> UnitSpec:
    if not isinstance(value, dict):
        raise _WrongType(value, "a table")
    kinds = ", ".join(UNIT_SPECS)
    if not isinstance(value.get("kind"), str) or value["kind"] not in UNIT_SPECS:
        raise InputError("design", "unit.kind", value.get("kind"), f"one of: {kinds}")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return _CONVERTER.structure(rest, UNIT_SPECS[value["kind"]])


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook(int, _strict(int, "an integer"))
_CONVERTER.register_structure_hook(str, _strict(str, "a string"))
_CONVERTER.register_structure_hook(float, _structure_float)
_CONVERTER.register_structure_hook_func(lambda cls: cls is UnitSpec, _structure_unit)
_CONVERTER.register_structure_hook_func(lambda cls: cls == tuple[int, ...], _structure_integers)


def _value(table: Any, path: str) -> Any:
    """What the document holds at a dotted path; None when there is nothing."""
    for name in path.split(".") if path else ():
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _first_error(error: BaseException, path: str, where: str, table: Any) -> InputError:
    """The first problem of a cattrs error tree as one line with the dotted field name."""
    if isinstance(error, InputError):
        return InputError(where, error.field, error.found, error.allowed)
    if isinstance(error, _WrongType):
        return InputError(where, path, error.found, error.allowed)
    if isinstance(error, ForbiddenExtraKeysError):
        extra = sorted(error.extra_fields)[0]
        names = [f.name for f in dataclasses.fields(error.cl)]
        if issubclass(error.cl, UnitSpec):
            names.insert(0, "kind")
        owner = _value(table, path)
        found = owner.get(extra, extra) if isinstance(owner, dict) else extra
        field = f"{path}.{extra}".strip(".")
        return InputError(where, field, found, f"only the fields {', '.join(names)}")
    if isinstance(error, KeyError):
        return InputError(where, path, None, "a value; the field is required")
    if isinstance(error, ClassValidationError | IterableValidationError):
        unknown = [e for e in error.exceptions if isinstance(e, ForbiddenExtraKeysError)]
        child = (unknown or error.exceptions)[0]
        name = ""
        for note in getattr(child, "__notes__", []):
            name = str(getattr(note, "name", getattr(note, "index", "")))
        return _first_error(child, f"{path}.{name}".strip("."), where, table)
    found = _value(table, path)
    if not isinstance(found, dict):
        return InputError(where, path, found, "a table")
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
    except RecursionError:
        raise InputError(
            where, "", "arrays or tables nested too deeply", "a TOML document"
        ) from None
    except ValueError:  # Python reads integers of at most 4300 digits
        found = "an integer of thousands of digits"
        raise InputError(where, "", found, "a TOML document with integers of 64 bits") from None
    try:
        return _CONVERTER.structure(table, Design)
    except (InputError, ClassValidationError, IterableValidationError) as error:
        raise _first_error(error, "", where, table) from None


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
    text, names = str(name_or_path), library_names()
    allowed = f"a TOML file, or one of: {', '.join(names)}"
    if not text:
        raise InputError("design", "", text, allowed)
    path = _LIBRARY / f"{text}.toml" if text in names else Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(text, "", error.strerror or "unreadable", allowed) from None
    except UnicodeDecodeError:
        raise InputError(text, "", "bytes that are not UTF-8", allowed) from None
    except ValueError:  # a zero byte in the name
        raise InputError("design", "", text, allowed) from None
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
        if error.where != name:
            raise
        raise InputError(given, error.field, error.found, error.allowed) from None
