"""Programs on disk: binary, listing and layout."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from errno import EISDIR
from functools import partial
from pathlib import Path

from designs.errors import InputError
from designs.spec import INSTRUCTION_BYTES
from mapping.instruction import listing
from mapping.model_program import ModelProgram
from mapping.multiplication import tile_name
from mapping.program import GemmProgram

__all__ = ["write_program"]


def write_program(
    directory: str | Path,
    programs: Mapping[str, GemmProgram],
    memory_map: ModelProgram | None = None,
) -> list[Path]:
    """Write ``program.bin``, ``program.lst`` and ``layout.json``.

    All three are written under temporary names before the first is renamed, so none is ever
    half-written, and when one cannot be written the old ones stay.
    ``program.bin`` holds the programs one after the other, each in whole fetch blocks.

    Parameters
    ----------
    directory : str or Path
        Made when missing.
    programs : mapping of str to GemmProgram
        Programs by the name of their operator, in order.
    memory_map : ModelProgram, optional
        Goes into ``layout.json``. Layers of equal shape share a program: it becomes another
        layer's by moving the ``dram_line`` of its loads of weights and scales by the difference
        of the layers' ``weight_line`` and ``scale_line``.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        The directory cannot be written.
    """
    binary, text, layout, offset = [], [], [], 0
    for name, program in programs.items():
        shape = program.shape
        size = f"M={shape.m} N={shape.n} K={shape.k}"
        text.append(f"; {name}: {size} {program.fmt.name} at byte {offset}\n")
        unit = program.design.unit
        text.append(listing(program.instructions, partial(tile_name, unit)))
        binary.append(program.binary)
        layout.append(
            {
                "name": name,
                "offset_bytes": offset,
                "instruction_bytes": INSTRUCTION_BYTES,
                **program.describe(),
            }
        )
        offset += len(program.binary)
    description: dict[str, object] = {"programs": layout}
    if memory_map is not None:
        description["memory"] = memory_map.describe()
    contents = {
        "program.bin": b"".join(binary),
        "program.lst": "\n".join(text).encode(),
        "layout.json": (json.dumps(description, indent=2) + "\n").encode(),
    }
    folder = Path(directory)
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    files = {folder / f".{name}.{os.getpid()}": folder / name for name in contents}
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for target in files.values():
                if target.is_dir():
                    raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(target))
            for temporary, content in zip(files, contents.values(), strict=True):
                temporary.write_bytes(content)
            for temporary, target in files.items():
                temporary.replace(target)
        except BaseException:
            _tidy(files, missing)
            raise
    except OSError as error:
        place = error.filename or folder
        allowed = "a directory and files in it that can be written"
        raise InputError(place, "", error.strerror or str(error), allowed) from None
    return list(files.values())


def _tidy(temporaries: Iterable[Path], made: Iterable[Path]) -> None:
    """Remove what an attempt left: its temporary files, and folders it made that are empty."""
    with suppress(OSError):
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
