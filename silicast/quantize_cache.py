"""Results of quantising, one file a format, so that an interrupted measurement resumes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import mapping
import silicast
import sim.host
from designs.cache import cache_directory, cache_failures, intact, keep_newest, publish

__all__ = ["ResultCache"]

_KEPT = 1000


class ResultCache:
    """Results of one checkpoint on one text.

    Parameters
    ----------
    checkpoint : Path
        The file of the weights.
    parts : object
        Everything else a result depends on, but for its own name; by its ``repr``. The code that
        computes is part of the key too.

    Raises
    ------
    InputError
        The cache cannot be read.
    """

    def __init__(self, checkpoint: Path, *parts: object) -> None:
        digest = hashlib.sha256(repr(parts).encode())
        with open(checkpoint, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        for module in _modules():
            digest.update(module.read_bytes())
        self._key = digest.hexdigest()[:24]
        self._directory = cache_directory("quantize")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}-{self._key}.json"

    def get(self, name: str) -> Any:
        """A result of plain values, or None."""
        path = self._path(name)
        with cache_failures():
            return json.loads(path.read_text(encoding="utf-8")) if intact(path) else None

    def put(self, name: str, result: Any) -> None:
        """Keep a result of plain values.

        Raises
        ------
        InputError
            The cache cannot be written.
        """
        path = self._path(name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with cache_failures():
            try:
                temporary.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
                publish(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            keep_newest(self._directory, ".json", _KEPT)


def _modules() -> list[Path]:
    """The code a result depends on."""
    folder = Path(str(silicast.__file__)).parent
    own = [folder / f"quantize_{name}.py" for name in ("errors", "perplexity", "text")]
    shared = (mapping, sim.host)
    found = [p for package in shared for p in Path(str(package.__file__)).parent.rglob("*.py")]
    return sorted([*found, *own, folder / "quantization.py"])
