"""The text a perplexity is measured on: the one that comes with silicast, or the user's own."""

import hashlib
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from designs.errors import InputError
from mapping.tokenizer import Tokenizer

__all__ = ["EvaluationText", "Window", "cut_windows", "load_text"]

_SHIPPED = "tom-sawyer.txt"
_TITLE = "Mark Twain, The Adventures of Tom Sawyer (1876), chapters XIII to XVI"
_SOURCE = (
    "Project Gutenberg's edition, produced by David Widger, as Mark.Twain-Tom.Sawyer.txt in the "
    "test data of the Go module github.com/klauspost/compress; lines of a paragraph joined"
)
_LICENCE = "public domain"
_CHARACTERS_PER_TOKEN = 64  # more than any token of a Gemma vocabulary has; bounds a long file


@dataclass(frozen=True)
class EvaluationText:
    """A text and where it is from.

    Attributes
    ----------
    title, source, licence : str
        What it is; a user's own file has its name, ``file`` and ``the user's``.
    size_bytes : int
        Of its UTF-8 form.
    sha256 : str
        Of its UTF-8 form.
    content : str
        The text itself.
    """

    title: str
    source: str
    licence: str
    size_bytes: int
    sha256: str
    content: str

    def facts(self) -> dict:
        """All but the content."""
        found = asdict(self)
        del found["content"]
        return found


@dataclass(frozen=True)
class Window:
    """Tokens that are read together.

    Attributes
    ----------
    inputs : tuple of int
        What the model reads.
    targets : tuple of int
        The token that follows each of them.
    """

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def load_text(path: str | Path | None = None) -> EvaluationText:
    """Read a text.

    Parameters
    ----------
    path : str or Path, optional
        A UTF-8 file; by default the text that comes with silicast.

    Raises
    ------
    InputError
        The file cannot be read, is no UTF-8 text, or is empty.
    """
    if path is None:
        data = resources.files("silicast").joinpath("texts", _SHIPPED).read_bytes()
        names = _TITLE, _SOURCE, _LICENCE
    else:
        try:
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            found = f"{path} ({getattr(error, 'strerror', None) or error})"
            raise InputError("quantize", "text", found, "a UTF-8 text file") from None
        names = Path(path).name, "file", "the user's"
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"{path}: byte 0x{data[error.start]:02X} at {error.start}"
        raise InputError("quantize", "text", found, "a UTF-8 text file") from None
    if "\0" in content:
        found = f"{path}: a zero byte at {data.index(0)}"
        raise InputError("quantize", "text", found, "a UTF-8 text file")
    if not content.strip():
        raise InputError("quantize", "text", f"{path}: no text", "a UTF-8 text file")
    return EvaluationText(*names, len(data), hashlib.sha256(data).hexdigest(), content)


def cut_windows(
    text: EvaluationText, tokenizer: Tokenizer, tokens: int, window: int
) -> list[Window]:
    """Cut the first tokens of a text into windows that a model reads one by one.

    Every window begins with the begin-of-sequence token, so that its first token of text is
    predicted too; without such a token it begins with the last token of the one before.

    Parameters
    ----------
    text : EvaluationText
    tokenizer : Tokenizer
        Of the model.
    tokens : int
        Most tokens that are predicted.
    window : int
        Positions of a window, at least 2.

    Returns
    -------
    list of Window
        Each predicts ``window - 1`` tokens, the last one the rest.

    Raises
    ------
    InputError
        The text has fewer than two tokens.
    """
    fields = tokenizer.fields
    ids = tokenizer.encode(text.content[: _CHARACTERS_PER_TOKEN * tokens], add_bos=False)
    if fields.add_eos and fields.eos is not None:
        ids.pop()
    if len(ids) < 2:
        allowed = "a text of at least two tokens"
        raise InputError("quantize", "text", f"{text.title}: {len(ids)} tokens", allowed)
    ids = ids[: tokens + (fields.bos is None)]
    found = []
    for first in range(int(fields.bos is None), len(ids), window - 1):
        targets = ids[first : first + window - 1]
        before = ids[first - 1] if fields.bos is None else fields.bos
        found.append(Window((before, *targets[:-1]), tuple(targets)))
    return found
