"""Programs on disk: binary, listing and layout."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from designs.errors import InputError
from designs.spec import INSTRUCTION_BYTES
from mapping.instruction import listing
from mapping.model_program import ModelProgram
from mapping.program import GemmProgram

__all__ = ["write_program"]


def write_program(
    directory: str | Path,
    programs: Mapping[str, GemmProgram],
    memory_map: ModelProgram | None = None,
) -> list[Path]:
    """Write ``program.bin``, ``program.lst`` and ``layout.json``.

    Each file is written under a temporary name and renamed, so none is ever half-written.
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
        text.append(listing(program.instructions))
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
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            temporary = folder / f".{name}.{os.getpid()}"
            try:
                temporary.write_bytes(content)
                temporary.replace(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(folder / name)
    except OSError as error:
        allowed = "a directory that can be written"
        raise InputError(folder, "", error.strerror or str(error), allowed) from None
    return written
