"""Where silicast keeps what is slow to make again: simulator builds and assembled checkpoints."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cache_directory", "cache_root", "locked"]


def cache_root() -> Path:
    """``$SILICAST_CACHE``, or ``~/.cache/silicast``; it need not be there."""
    chosen = os.environ.get("SILICAST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "silicast"


def cache_directory(part: str) -> Path:
    """``part`` inside the cache root; made when it is not there."""
    path = cache_root() / part
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock named after ``path`` against other processes."""
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
