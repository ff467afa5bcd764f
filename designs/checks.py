"""Range checks for design fields; each raises an InputError that names the field.

The file's name is not known here: ``designs.files`` puts it in front.
"""

from designs.errors import InputError

__all__ = ["integer", "power_of_two", "subset", "text"]

_HERE = "design"


def integer(field: str, value: object, low: int, high: int) -> int:
    """``value`` as an integer in [low, high], else InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(_HERE, field, value, f"an integer from {low} to {high}")
    return value


def power_of_two(field: str, value: object, low: int, high: int) -> int:
    """``value`` as a power of two in [low, high], else InputError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not low <= value <= high
        or value & (value - 1)
    ):
        raise InputError(_HERE, field, value, f"a power of two from {low} to {high}")
    return value


def subset(field: str, values: tuple, allowed: tuple) -> tuple:
    """``values`` as a non-empty tuple of distinct members of ``allowed``, else InputError."""
    wrong = [v for v in values if v not in allowed]
    if wrong or not values or len(set(values)) != len(values):
        raise InputError(_HERE, field, list(values), f"distinct values out of {list(allowed)}")
    return values


def text(field: str, value: object) -> str:
    """``value`` as one printable line of at most 200 characters, else InputError."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
        raise InputError(_HERE, field, value, "one line of at most 200 printable characters")
    return value
