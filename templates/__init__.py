"""Jinja2 templates of everything silicast writes that is not a table or an array."""

from pathlib import Path

import jinja2

__all__ = ["render", "template_path"]

_ROOT = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_ROOT),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def template_path(name: str) -> Path:
    """Path of a file that is copied as it is."""
    return _ROOT / name


def render(name: str, **values: object) -> str:
    """Text of a template; a value it names and does not get raises jinja2.UndefinedError."""
    return _ENVIRONMENT.get_template(name).render(**values)
