"""Figures as people read them: three digits, a prefix, and always a unit."""

from math import floor, isfinite, log10

__all__ = [
    "ABSENT",
    "TIMES",
    "count",
    "exact",
    "percent",
    "plain",
    "prefixed",
    "quantity",
    "ratio",
    "seconds",
    "significant",
    "words",
]

ABSENT = "\u2013"
"""What stands where there is no figure."""

TIMES = "\u00d7"
"""The multiplication sign."""

_SPACE = "\u202f"
_PREFIXES = (
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
    (1e-15, "f"),
)


def significant(value: float, digits: int) -> str:
    """Plain decimals with so many significant digits; those before the point all stay."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")  # 99.96 becomes 100, not 100.0
    decimals = max(0, digits - 1 - floor(log10(abs(rounded))))
    return f"{round(value, decimals):,.{decimals}f}"


def prefixed(value: float, digits: int = 3) -> tuple[str, str]:
    """A figure other than 0 and its SI prefix: ``("1.62", "G")``; exponents beyond the prefixes."""
    size = abs(float(f"{value:.{digits - 1}e}"))  # 999.9 becomes 1.00 k, not 1000
    for scale, prefix in _PREFIXES:
        if size >= scale * (1 - 1e-12):
            return significant(value / scale, digits), prefix
    return f"{value:.{digits - 1}e}", ""


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """A figure with an SI prefix, e.g. ``1.62 GB``; `ABSENT` without one.

    Parameters
    ----------
    value : float or None
        In ``unit``, e.g. bytes for ``B``.
    unit : str
        Behind the prefix.
    digits : int
        Significant ones.
    """
    if value is None or not isfinite(value):
        return ABSENT
    figure, prefix = ("0", "") if value == 0 else prefixed(value, digits)
    return f"{figure}{_SPACE}{prefix}{unit}"


def plain(value: float | None, unit: str) -> str:
    """A figure of a unit that takes no prefix, e.g. ``1,540 tokens/s``."""
    if value is None or not isfinite(value):
        return ABSENT
    return f"{significant(value, 3)}{_SPACE}{unit}"


def seconds(value: float | None) -> str:
    """A time: prefixes below a second only, e.g. ``44.2 ms`` or ``5,400 s``."""
    return plain(value, "s") if value is not None and value >= 1 else quantity(value, "s")


def percent(share: float | None) -> str:
    """A share of 1, e.g. ``97.3 %``; what is not 0 never looks like 0, nor like 100."""
    if share is None or not isfinite(share):
        return ABSENT
    if 0 < share < 0.0005:
        text = "<0.1"
    elif 0.9995 <= share < 1:
        text = ">99.9"
    else:
        text = f"{100 * share:.1f}"
    return f"{text}{_SPACE}%"


def ratio(value: float | None) -> str:
    """A factor, e.g. 1.04 and the multiplication sign."""
    if value is None or not isfinite(value):
        return ABSENT
    return f"{significant(value, 3)}{_SPACE}{TIMES}"


def count(value: float | None) -> str:
    """A whole number with separators; a mean that is not whole keeps one decimal."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def exact(value: object) -> str:
    """A constant as it stands, up to 9 digits."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def words(key: str) -> str:
    """A key as people write it."""
    return {"fill_drain": "fill/drain"}.get(key, key.replace("_", " "))
