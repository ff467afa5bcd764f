"""Liberty files: which cells there are, and which of them are flip-flops."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from designs.errors import InputError

__all__ = ["Library", "read_liberty"]

_WHERE = "--liberty"
_ALLOWED = "a Liberty file of standard cells (.lib or .lib.gz)"
_GZIP = b"\x1f\x8b"
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_LIBRARY = re.compile(r'\blibrary\s*\(\s*"?([^"()\s]+)"?\s*\)\s*\{')
_CELL = re.compile(r'\bcell\s*\(\s*"?([^"()\s]+)"?\s*\)\s*\{')
_AREA = re.compile(r"\barea\s*:\s*\"?([0-9.eE+-]+)")
_FLIP_FLOP = re.compile(r"\bff(?:_bank)?\s*\(")
_LATCH = re.compile(r"\blatch(?:_bank)?\s*\(")
_IDENTITY = re.compile(r'\bfunction\s*:\s*"\s*\(?\s*[A-Za-z]\w*\s*\)?\s*"')


@dataclass(frozen=True)
class Library:
    """A standard cell library.

    Attributes
    ----------
    name : str
        As the file calls it.
    text : str
        The file, uncompressed.
    digest : str
        SHA-256 of the uncompressed file: a .gz of the same text is the same library.
    areas : mapping of str to float
        Area of every cell, in the file's unit: square micrometres in every library known here.
    flip_flops : frozenset of str
        Cells with an ``ff`` group.
    """

    name: str
    text: str
    digest: str
    areas: Mapping[str, float]
    flip_flops: frozenset[str]


def read_liberty(path: str | Path) -> Library:
    """Read a Liberty file, plain or compressed with gzip.

    Only what counting cells needs is read here; Yosys and ABC parse the rest.

    Raises
    ------
    InputError
        There is no such file, or it is no Liberty file with logic cells and a flip-flop.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise InputError(_WHERE, str(path), error.strerror or "unreadable", _ALLOWED) from None
    except ValueError:  # a zero byte in the name
        raise InputError(_WHERE, "", str(path), _ALLOWED) from None
    return _read(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: str, modified: int, size: int) -> Library:
    """The library in a file; one that was not changed is not read again."""
    try:
        content = Path(path).read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(_WHERE, path, "a damaged gzip file", _ALLOWED) from None
    except OSError as error:
        raise InputError(_WHERE, path, error.strerror or "unreadable", _ALLOWED) from None
    text = content.decode("utf-8", errors="replace")
    plain = _COMMENT.sub(" ", text)
    library = _LIBRARY.search(plain)
    if library is None:
        raise InputError(_WHERE, path, "a file without a library group", _ALLOWED)
    areas: dict[str, float] = {}
    flip_flops, buffers = set(), False
    cells = list(_CELL.finditer(plain))
    ends = [cell.start() for cell in cells[1:]] + [len(plain)]
    for cell, end in zip(cells, ends, strict=False):  # without cells there is one end too many
        name, body = cell[1], plain[cell.end() : end]
        area = _AREA.search(body)
        if area is not None:
            areas[name] = float(area[1])
        if _FLIP_FLOP.search(body):
            flip_flops.add(name)
        elif not _LATCH.search(body):
            buffers = buffers or _IDENTITY.search(body) is not None
    missing = (
        (not areas, "no cell with an area"),
        (not any(areas.get(name, 0) > 0 for name in flip_flops), "no flip-flop with an area"),
        (not buffers, "no buffer, without which ABC cannot map"),
    )
    for lacks, found in missing:
        if lacks:
            allowed = f"{_ALLOWED} with gates, a buffer and a flip-flop"
            raise InputError(_WHERE, path, found, allowed)
    digest = hashlib.sha256(content).hexdigest()
    return Library(library[1], text, digest, areas, frozenset(flip_flops))
