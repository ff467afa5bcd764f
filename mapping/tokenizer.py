"""SentencePiece-style byte-pair tokenizer, built from the vocabulary in a GGUF file.

Text becomes characters (spaces as ``▁``); the adjacent pair whose joined piece has
the highest score is merged, the leftmost first among equals, until no pair is a piece;
a character outside the vocabulary becomes its UTF-8 bytes as ``<0xXX>`` tokens.
Algorithm: Kudo and Richardson, SentencePiece (EMNLP 2018), model type BPE.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from designs.errors import InputError

__all__ = ["SPACE", "Tokenizer", "TokenizerFields"]

SPACE = "\u2581"  # "▁", how SentencePiece spells a space

# token types of the GGUF specification (tokenizer.ggml.token_type)
_CONTROL = 3
_USER_DEFINED = 4
_BYTE = 6


@dataclass(frozen=True, eq=False)
class TokenizerFields:
    """The ``tokenizer.ggml.*`` fields of a GGUF file.

    Parameters
    ----------
    tokens : tuple of str
        Pieces by token id.
    scores : float32 array (vocab,)
        Merge priorities, higher first.
    types : int32 array (vocab,)
        1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    bos, eos, unknown : int or None
        Token ids in ``[0, vocab)``.
    add_bos, add_eos : bool
        Whether `Tokenizer.encode` adds them.
    add_space_prefix : bool
        Whether a space is put before the text.
    where : str
        The file, for error messages.

    Raises
    ------
    InputError
        Lengths differ, or an id is outside the vocabulary.
    """

    tokens: tuple[str, ...] = field(repr=False)
    scores: NDArray[numpy.float32] = field(repr=False)
    types: NDArray[numpy.int32] = field(repr=False)
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    add_bos: bool = True
    add_eos: bool = False
    add_space_prefix: bool = True
    where: str = "tokenizer"

    def __post_init__(self) -> None:
        count = len(self.tokens)
        if count == 0:
            raise InputError(self.where, "tokenizer.ggml.tokens", "no tokens", "at least one")
        for name, values in (("scores", self.scores), ("token_type", self.types)):
            if len(values) != count:
                raise InputError(
                    self.where,
                    f"tokenizer.ggml.{name}",
                    f"{len(values)} values",
                    f"{count} values, one a token",
                )
        for name in ("bos", "eos", "unknown"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < count:
                raise InputError(
                    self.where, f"tokenizer.ggml.{name}_token_id", value, f"0 to {count - 1}"
                )

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a generation: end of sequence and Gemma's ``<end_of_turn>``."""
        stops = {i for i, token in enumerate(self.tokens) if token == "<end_of_turn>"}
        return frozenset(stops | ({self.eos} if self.eos is not None else set()))


class Tokenizer:
    """Encoder and decoder of one vocabulary.

    Parameters
    ----------
    fields : TokenizerFields
        The vocabulary.

    Raises
    ------
    InputError
        A byte token is missing, so that some text could not be encoded.
    """

    def __init__(self, fields: TokenizerFields) -> None:
        self.fields = fields
        self._ids = {token: index for index, token in enumerate(fields.tokens)}
        self._scores: list[float] = fields.scores.tolist()
        self._control = frozenset(numpy.flatnonzero(fields.types == _CONTROL).tolist())
        self._bytes = {
            index: int(fields.tokens[index][3:-1], 16)
            for index in numpy.flatnonzero(fields.types == _BYTE).tolist()
            if _is_byte_token(fields.tokens[index])
        }
        self._byte_ids = {value: index for index, value in self._bytes.items()}
        missing = next((value for value in range(256) if value not in self._byte_ids), None)
        if missing is not None and fields.unknown is None:
            raise InputError(
                fields.where,
                f"tokenizer.ggml.tokens <0x{missing:02X}>",
                None,
                "256 byte tokens, or an unknown token",
            )
        # whole-text tokens by first character, longest first: leftmost-longest matching
        whole: dict[str, list[tuple[str, int]]] = {}
        special = (fields.types == _CONTROL) | (fields.types == _USER_DEFINED)
        for index in numpy.flatnonzero(special).tolist():
            piece = fields.tokens[index].replace(SPACE, " ")
            if piece:
                whole.setdefault(piece[0], []).append((piece, index))
        for pieces in whole.values():
            pieces.sort(key=lambda entry: -len(entry[0]))
        self._whole = whole

    def encode(self, text: str, add_bos: bool | None = None) -> list[int]:
        """Turn text into token ids.

        Parameters
        ----------
        text : str
            Any Unicode text; names of control tokens (``<start_of_turn>``) stand for them.
        add_bos : bool, optional
            Put the begin-of-sequence token first; by default what the vocabulary says.

        Returns
        -------
        list of int

        Raises
        ------
        InputError
            The text holds a lone surrogate, which has no UTF-8 form.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                "text", f"character {error.start}", text[error.start], "Unicode text"
            ) from None
        if self.fields.add_space_prefix and text:
            text = " " + text
        ids: list[int] = []
        if (self.fields.add_bos if add_bos is None else add_bos) and self.fields.bos is not None:
            ids.append(self.fields.bos)
        for part in self._split(text):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids.extend(self._merge(part.replace(" ", SPACE)))
        if self.fields.add_eos and self.fields.eos is not None:
            ids.append(self.fields.eos)
        return ids

    def decode(self, ids: Iterable[int], special: bool = False) -> str:
        """Turn token ids into text.

        Parameters
        ----------
        ids : iterable of int
            Token ids in ``[0, vocab)``.
        special : bool
            Write control tokens by name; by default they are left out.

        Returns
        -------
        str
            A byte sequence that is not UTF-8 (cut in the middle) shows as U+FFFD.

        Raises
        ------
        InputError
            An id is outside the vocabulary.
        """
        out = bytearray()
        for index in ids:
            if not 0 <= index < len(self.fields.tokens):
                raise InputError("token ids", "", int(index), f"0 to {len(self.fields.tokens) - 1}")
            if index in self._bytes:
                out.append(self._bytes[index])
            elif special or index not in self._control:
                out += self.fields.tokens[index].replace(SPACE, " ").encode("utf-8")
        text = out.decode("utf-8", errors="replace")
        if self.fields.add_space_prefix and text.startswith(" "):
            text = text[1:]
        return text

    def _split(self, text: str) -> Iterator[str | int]:
        """Cut out the tokens that are matched as a whole; yields ids and the text between."""
        begin = position = 0
        while position < len(text):
            for piece, index in self._whole.get(text[position], ()):
                if text.startswith(piece, position):
                    if begin < position:
                        yield text[begin:position]
                    yield index
                    position += len(piece)
                    begin = position
                    break
            else:
                position += 1
        if begin < len(text):
            yield text[begin:]

    def _merge(self, text: str) -> list[int]:
        """Byte-pair merges of one stretch of text: a linked list and a heap, O(n log n)."""
        pieces: list[str] = list(text)
        count = len(pieces)
        after = list(range(1, count + 1))
        before = list(range(-1, count - 1))
        heap: list[tuple[float, int, int, str]] = []

        def propose(left: int, right: int) -> None:
            joined = pieces[left] + pieces[right]
            index = self._ids.get(joined)
            if index is not None:
                heapq.heappush(heap, (-self._scores[index], left, right, joined))

        for left in range(count - 1):
            propose(left, left + 1)
        while heap:
            _, left, right, joined = heapq.heappop(heap)
            # a proposal is stale when either side was merged since it was made
            if not pieces[left] or not pieces[right] or pieces[left] + pieces[right] != joined:
                continue
            pieces[left], pieces[right] = joined, ""
            follower = after[right]
            after[left] = follower
            if follower < count:
                before[follower] = left
                propose(left, follower)
            if before[left] >= 0:
                propose(before[left], left)
        return self._ids_of([piece for piece in pieces if piece])

    def _ids_of(self, pieces: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            index = self._ids.get(piece)
            if index is not None:
                ids.append(index)
                continue
            for value in piece.encode("utf-8"):
                byte_id = self._byte_ids.get(value, self.fields.unknown)
                assert byte_id is not None  # the constructor made sure
                ids.append(byte_id)
        return ids


def _is_byte_token(token: str) -> bool:
    digits = "0123456789abcdefABCDEF"
    return (
        len(token) == 6
        and token.startswith("<0x")
        and token[5] == ">"
        and token[3] in digits
        and token[4] in digits
    )
