"""Results on standard output, or in a file that is whole or not there."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from designs.errors import InputError

__all__ = ["check_files", "check_json_target", "write_json", "write_text"]

_FILE = "a file that can be written"
_ALLOWED = f"{_FILE}, or - for standard output"


def check_files(**targets: str | None) -> None:
    """Refuse files that cannot be written, or that two options name; none may be ``-``.

    Parameters
    ----------
    **targets : str or None
        The file of each option, without its dashes.

    Raises
    ------
    InputError
        As `check_json_target`, or two options name one file.
    """
    seen: dict[Path, str] = {}
    for name, target in targets.items():
        option = f"--{name}"
        if target is None:
            continue
        if target == "-" and name != "json":
            raise InputError(option, "", target, _FILE)
        check_json_target(target, option, _ALLOWED if name == "json" else _FILE)
        if target != "-":
            path = Path(target).resolve()
            if path in seen and (path.is_file() or not path.exists()):
                raise InputError(option, "", target, f"another file than {seen[path]} has")
            seen[path] = option


def check_json_target(target: str | None, option: str = "--json", allowed: str = _ALLOWED) -> None:
    """Refuse a target that cannot be written, before a long computation.

    Parameters
    ----------
    target : str or None
        A file, ``-`` for standard output, or nothing.
    option : str
        The option that named it.
    allowed : str
        What the error says is allowed.

    Raises
    ------
    InputError
        Its folder is not there or cannot be written, or it is a folder itself.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    try:
        right = bool(target) and not path.is_dir() and os.access(path.parent, os.W_OK)
    except (OSError, ValueError):
        right = False
    if not right:
        raise InputError(option, "", target, allowed)


def write_json(target: str | None, result: Any) -> None:
    """Write a result of plain values; nothing when there is no target.

    Parameters
    ----------
    target : str or None
        As `write_text`.
    result
        What ``json`` takes.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    if target is not None:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(target, text, "--json")


def write_text(target: str, text: str, option: str) -> None:
    """Write a text.

    Parameters
    ----------
    target : str
        ``-`` for standard output, else a file: written under a temporary name and renamed, but
        for devices and pipes, which are written to.
    text : str
        What to write.
    option : str
        The option that named the target, for errors.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    if target == "-":
        if sys.stdout is not None:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.flush()
        return
    path = Path(target).resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
            return
        try:
            temporary.write_bytes(text.encode())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        allowed = f"{_ALLOWED} ({error.strerror or error})"
        raise InputError(option, "", target, allowed) from None
