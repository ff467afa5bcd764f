"""Where silicast keeps what is slow to make again: simulator builds and assembled checkpoints."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cache_directory", "locked"]


def cache_directory(part: str) -> Path:
    """``$SILICAST_CACHE/part``, or ``~/.cache/silicast/part``; made when it is not there."""
    root = os.environ.get("SILICAST_CACHE") or Path.home() / ".cache" / "silicast"
    path = Path(root) / part
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock named after ``path`` against other processes."""
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
