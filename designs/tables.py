"""Typed TOML tables: text in, frozen dataclasses out, every mistake named by its field."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from designs.errors import InputError

__all__ = ["WrongType", "converter", "named_file", "parse_toml", "read_text", "structure"]

T = TypeVar("T")


class WrongType(ValueError):
    """A TOML value of the wrong type, with what is allowed."""

    def __init__(self, found: object, allowed: str):
        super().__init__(allowed)
        self.found = found
        self.allowed = allowed


def _strict(kind: type, allowed: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
            raise WrongType(value, allowed)
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType(value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise WrongType(value, "a number of at most 308 digits") from None


def _integers(value: Any, _: Any) -> tuple[int, ...]:
    if not (isinstance(value, list) and all(type(item) is int for item in value)):
        raise WrongType(value, "a list of integers")
    return tuple(value)


def _strings(value: Any, _: Any) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(type(item) is str for item in value)):
        raise WrongType(value, "a list of strings")
    return tuple(value)


def _is_optional(cls: Any) -> bool:
    return get_origin(cls) in (Union, UnionType) and type(None) in get_args(cls)


def converter() -> cattrs.Converter:
    """A strict converter: no field but those of the class, no type but that of the field.

    ``T | None`` fields may be left out of the file; TOML has no null.
    """
    made = cattrs.Converter(forbid_extra_keys=True)
    for kind, allowed in (
        (int, "an integer"),
        (str, "a string"),
        (bool, "true or false"),
    ):
        made.register_structure_hook(kind, _strict(kind, allowed))
    made.register_structure_hook(float, _float)
    made.register_structure_hook_func(lambda cls: cls == tuple[int, ...], _integers)
    made.register_structure_hook_func(lambda cls: cls == tuple[str, ...], _strings)
    made.register_structure_hook_func(
        _is_optional,
        lambda value, cls: made.structure(
            value, next(part for part in get_args(cls) if part is not type(None))
        ),
    )
    return made


@cache
def _plain() -> cattrs.Converter:
    return converter()


def _value(table: Any, path: str) -> Any:
    """What the document holds at a dotted path; None when there is nothing."""
    for name in path.split(".") if path else ():
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _first_error(error: BaseException, path: str, where: str, table: Any) -> InputError:
    """The first problem of a cattrs error tree as one line with the dotted field name."""
    if isinstance(error, InputError):
        return InputError(where, error.field, error.found, error.allowed)
    if isinstance(error, WrongType):
        return InputError(where, path, error.found, error.allowed)
    if isinstance(error, ForbiddenExtraKeysError):
        extra = sorted(error.extra_fields)[0]
        names = [f.name for f in dataclasses.fields(error.cl)]
        if hasattr(error.cl, "kind") and "kind" not in names:  # the key that chose the class
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


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """A TOML document as plain values.

    Raises
    ------
    InputError
        The text is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, "", str(error), "a TOML document") from None
    except RecursionError:
        raise InputError(
            where, "", "arrays or tables nested too deeply", "a TOML document"
        ) from None
    except ValueError:  # Python reads integers of at most 4300 digits
        found = "an integer of thousands of digits"
        raise InputError(where, "", found, "a TOML document with integers of 64 bits") from None


def structure(
    table: Mapping[str, Any], cls: type[T], where: str, using: cattrs.Converter | None = None
) -> T:
    """A dataclass from plain values.

    Parameters
    ----------
    table : mapping
        What `parse_toml` returned.
    cls : type
        A dataclass whose ``__post_init__`` raises `InputError` for values out of range.
    where : str
        What error messages call it, usually the file name.
    using : cattrs.Converter, optional
        One of `converter` with further hooks.

    Raises
    ------
    InputError
        A field is missing, unknown, of the wrong type or out of range.
    """
    try:
        return (using or _plain()).structure(table, cls)
    except (InputError, ClassValidationError, IterableValidationError) as error:
        raise _first_error(error, "", where, table) from None


def read_text(path: Path, where: str, allowed: str) -> str:
    """Text of a file.

    Raises
    ------
    InputError
        There is no such file, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(where, "", error.strerror or "unreadable", allowed) from None
    except UnicodeDecodeError:
        raise InputError(where, "", "bytes that are not UTF-8", allowed) from None
    except ValueError:  # a zero byte in the name
        raise InputError("file", "", where, allowed) from None


def named_file(folder: Path, name: str, what: str, user_files: bool = True) -> tuple[str, str]:
    """Text of ``folder/name.toml``, or of a TOML file the user names; and what to call it.

    Parameters
    ----------
    folder : Path
        Where the files that ship with silicast lie.
    name : str
        The stem of one of them or, with ``user_files``, a path.
    what : str
        What an error calls the name, e.g. ``dram.technology``.
    user_files : bool
        Whether a path is allowed.

    Raises
    ------
    InputError
        There is no such file.
    """
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if name in names:
        return (folder / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml"
    allowed = f"one of: {', '.join(names)}"
    if not user_files or not name.endswith(".toml"):
        raise InputError("design", what, name, allowed)
    return read_text(Path(name), name, f"{allowed}; or a TOML file"), name
