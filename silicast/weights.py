"""The memory image of a model: quantised and packed once, then mapped from a file.

An image is what a design's memory holds before the first token, followed by the float32 channel
scales of all layers. It is named after everything that goes into it, so it is never stale.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import designs
import mapping
from designs.cache import (
    cache_directory,
    cache_failures,
    intact,
    keep_newest,
    locked,
    publish,
)
from designs.memory_timing import memory_timing
from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.frontends.gguf_file import GgufModel
from mapping.model import ModelSpec
from mapping.model_program import ModelProgram
from mapping.quantise import quantise
from silicast.building import distinct_programs, memory_map
from silicast.progress import Progress

__all__ = ["MOST_ROWS", "PreparedModel", "prepare"]

MOST_ROWS = 64
"""Tokens of a pass; longer prompts are cut, which changes no result."""

_LEAST_PROGRAM_BYTES = 1 << 20
_KEPT_IMAGES = 4


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A model's memory map and the file that holds its image.

    Attributes
    ----------
    program : ModelProgram
        Where everything lies, and the program of every product.
    path : Path
        The image.
    lines : int
        Memory lines of the image.
    channel_scale : mapping of str to float32 (N,)
        Channel scales by layer.
    """

    program: ModelProgram
    path: Path
    lines: int
    channel_scale: Mapping[str, NDArray[np.float32]]

    def memory(self) -> NDArray[np.uint8]:
        """A memory of its own, uint8 (lines, line_bytes); writes never reach the file."""
        shape = self.lines, self.program.design.line_bytes
        return np.memmap(self.path, np.uint8, mode="c", shape=shape)


def prepare(
    checkpoint: GgufModel, design: Design, fmt: WeightFormat, progress: Progress
) -> PreparedModel:
    """Quantise and pack all linear layers of a checkpoint, or find the image made before.

    Parameters
    ----------
    checkpoint : GgufModel
        The float weights.
    design : Design
        The accelerator the image is packed for.
    fmt : WeightFormat
        Number format of all linear layers.
    progress : Progress
        Told of each layer.

    Returns
    -------
    PreparedModel

    Raises
    ------
    InputError
        The design cannot run or hold the model, or the cache cannot be written.
    """
    spec = checkpoint.spec
    shapes = spec.linear_layers()
    program = memory_map(spec, design, fmt, MOST_ROWS)
    lines = program.memory_lines(_program_bytes(spec, program))
    progress.stage(f"preparing {spec.name} as {fmt.name}", len(shapes))
    name = f"{_plain(spec.name)}-{_plain(design.name)}-{fmt.name}"
    directory = cache_directory("weights")
    path = directory / f"{name}-{_key(checkpoint, program, lines)}.image"
    with cache_failures():
        if not intact(path):
            with locked(path):
                if not intact(path):
                    _write(path, checkpoint, program, lines, progress)
            keep_newest(directory, ".image", _KEPT_IMAGES)
        scales = np.fromfile(path, np.float32, offset=lines * design.line_bytes)
    ends = np.cumsum([shape.n for shape in shapes])[:-1]
    parts = np.split(scales, ends)
    channel_scale = {shape.name: part for shape, part in zip(shapes, parts, strict=True)}
    return PreparedModel(program, path, lines, channel_scale)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:64]


def _program_bytes(spec: ModelSpec, memory: ModelProgram) -> int:
    """Room for the longest program of any number of rows: twice that of one or all rows."""
    longest = max(
        len(program.binary)
        for rows in (1, MOST_ROWS)
        for program in distinct_programs(spec, memory, rows).values()
    )
    return max(_LEAST_PROGRAM_BYTES, 2 * longest)


def _key(checkpoint: GgufModel, program: ModelProgram, lines: int) -> str:
    """Digest of the checkpoint, the design, the format and the code that packs."""
    digest = hashlib.sha256()
    with open(checkpoint.path, "rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    for package in (designs, mapping):  # quantising, packing, and the widths they follow from
        for module in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(module.read_bytes())
    banks = memory_timing(program.design).period_lines  # of the technology file: moves regions
    formats = f"{program.fmt} {program.design.activations}"
    text = f"{program.design.digest} {formats} {program.max_tokens} {lines} {banks}"
    digest.update(text.encode())
    return digest.hexdigest()[:24]


def _write(
    path: Path, checkpoint: GgufModel, program: ModelProgram, lines: int, progress: Progress
) -> None:
    """Make the image under a temporary name, and rename it when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    line_bytes = program.design.line_bytes
    try:
        with open(temporary, "wb") as file:
            file.truncate(lines * line_bytes)
        memory = np.memmap(temporary, np.uint8, mode="r+", shape=(lines, line_bytes))
        scales = []
        for name in program.layers:
            weights = quantise(checkpoint.weight(name), program.fmt)
            program.write_weights(memory, name, weights)
            scales.append(weights.channel_scale)
            progress.advance()
        memory.flush()
        del memory
        with open(temporary, "ab") as file:
            file.write(np.concatenate(scales).astype("<f4").tobytes())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
