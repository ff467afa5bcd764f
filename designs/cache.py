"""Where silicast keeps what is slow to make again: Verilog, simulator builds, packed weights.

Every file is put in place under its final name only when it is whole, with its size and SHA-256
beside it, so that a damaged file is made again instead of used. The cache may be deleted at any
time.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from designs.errors import InputError

__all__ = [
    "cache_directory",
    "cache_failures",
    "cache_root",
    "intact",
    "keep_newest",
    "locked",
    "publish",
]

_VARIABLE = "SILICAST_CACHE"
_HASHED_BYTES = 64 << 20
"""Larger files are checked by their size alone: hashing packed weights would cost a second."""


def cache_root() -> Path:
    """``$SILICAST_CACHE``, or ``~/.cache/silicast``; it need not be there."""
    chosen = os.environ.get(_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "silicast"


@contextlib.contextmanager
def cache_failures() -> Iterator[None]:
    """Turn an OSError of the cache folder into one line that names it.

    Raises
    ------
    InputError
        The cache cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        found = f"{cache_root()} ({error.strerror or error})"
        allowed = "a folder that can be written, with room for builds and weights"
        raise InputError(_VARIABLE, "", found, allowed) from None


def cache_directory(part: str) -> Path:
    """``part`` inside the cache root; made when it is not there.

    Raises
    ------
    InputError
        It cannot be made.
    """
    path = cache_root() / part
    with cache_failures():
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock named after ``path`` against other processes."""
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _seal(path: Path) -> Path:
    return path.with_name(path.name + ".seal")


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return f"{size}"
    with open(path, "rb") as file:
        return f"{size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def publish(temporary: Path, path: Path) -> None:
    """Move a finished file to its place in the cache, with its fingerprint beside it."""
    fingerprint = _fingerprint(temporary)
    _seal(path).unlink(missing_ok=True)
    os.replace(temporary, path)
    _seal(path).write_text(fingerprint, encoding="utf-8")


def intact(path: Path) -> bool:
    """Whether a published file is there and whole."""
    try:
        return _seal(path).read_text(encoding="utf-8") == _fingerprint(path)
    except (OSError, UnicodeDecodeError):
        return False


def keep_newest(folder: Path, suffix: str, count: int) -> None:
    """Forget all but the ``count`` newest published files that end with ``suffix``.

    A process that still uses an older one keeps it: an open or mapped file outlives its name.
    """
    files = []
    for path in folder.glob(f"*{suffix}"):
        with contextlib.suppress(OSError):
            files.append((path.stat().st_mtime, path))
    for _, path in sorted(files)[:-count]:
        for old in (_seal(path), path, path.with_name(path.name + ".lock")):
            old.unlink(missing_ok=True)
