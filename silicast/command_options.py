"""What commands share: arguments with their help, and errors that name the option."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from designs.errors import InputError

__all__ = [
    "SIZE",
    "Activations",
    "DesignName",
    "Json",
    "Listed",
    "Model",
    "Output",
    "Weights",
    "choose",
    "integer",
    "options",
]

_DIGITS = 18
_INTEGER = re.compile(rf"[+-]?[0-9]{{1,{_DIGITS}}}", re.ASCII)
_FUNCTIONS = ("run", "simulate", "compile", "gemm", "memory", "design")
SIZE = re.compile(r"([0-9]{1,9})[xX]([0-9]{1,9})[xX]([0-9]{1,9})")
"""Sizes of a matrix product, e.g. 6x200x512."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Built-in name, Hugging Face config.json, .gguf or .onnx file.",
        show_default=False,
    ),
]
DesignName = Annotated[
    str,
    typer.Argument(metavar="DESIGN", help="Library name or TOML file.", show_default=False),
]
Weights = Annotated[
    str, typer.Option(metavar="FORMAT", help="Weight format, see `silicast formats`.")
]
Activations = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", help="int8 or fp16, as the unit has; default: the design's."),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is stdout."),
]
Listed = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="DIR", help="Folder.", show_default=False)
]


def choose(option: str, value: str, *allowed: str) -> None:
    """Refuse a value of an option that is none of those allowed."""
    if value not in allowed:
        raise InputError(option, "", value, ", ".join(allowed))


def integer(option: str, text: str, low: int) -> int:
    """An option's value; typer's own message would not say what was found."""
    if not _INTEGER.fullmatch(text) or int(text) < low:
        allowed = f"an integer >= {low} of at most {_DIGITS} digits"
        raise InputError(option, "", text, allowed)
    return int(text)


@contextmanager
def options(**names: str) -> Iterator[None]:
    """Let errors about an argument of a function name the option it came from.

    Parameters
    ----------
    **names : str
        The option of each argument, or of each field of a design that an option stands in for.
    """
    try:
        yield
    except InputError as error:
        if error.where == "weight format":
            raise InputError("--weights", error.where, error.found, error.allowed) from None
        option = names.get(error.field)
        if option is None or error.where not in _FUNCTIONS:
            raise
        detail = error.field if option == "--gemm" else ""
        raise InputError(option, detail, error.found, error.allowed) from None
