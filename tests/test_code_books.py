"""Floating code books, special values, and words of two bits a code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.code_books import (
    LARGEST_SPECIAL,
    decode_special,
    decode_values,
    encode_special,
    encode_values,
    magnitudes,
)
from mapping.digits import pack_digits, unpack_digits

BOOKS = [("float", 3), ("float", 4), ("flint", 4)]


def _e2m1(index: int) -> int:
    """Halves of an E2M1 magnitude: 2 bits of exponent with bias 1, one bit of mantissa."""
    exponent, mantissa = index >> 1, index & 1
    value = (1 + mantissa / 2) * 2 ** (exponent - 1) if exponent else mantissa / 2
    return int(2 * value)


def test_magnitudes_are_those_of_the_formats():
    assert magnitudes("float", 4) == tuple(_e2m1(index) for index in range(8))
    assert magnitudes("float", 3) == tuple(_e2m1(2 * index) for index in range(4))
    # ANT's flint4 in its own units, which are halves of ours
    assert magnitudes("flint", 4) == (0, 1, 2, 3, 4, 6, 8, 16)


@pytest.mark.parametrize(("code_type", "bits"), BOOKS)
def test_magnitudes_are_two_terms_of_one_sign(code_type, bits):
    """2^(1..4) or nothing, and 2^(0..3) or nothing: what a bit-serial element adds."""
    terms = {0, *(2**e for e in range(1, 5))}, {0, *(2**e for e in range(4))}
    sums = {first + second for first in terms[0] for second in terms[1]}
    assert set(magnitudes(code_type, bits)) <= sums


@pytest.mark.parametrize(
    ("code_type", "bits"), [("float", 5), ("flint", 3), ("twos_complement", 4), ("bipolar", 1)]
)
def test_other_code_books_are_refused(code_type, bits):
    with pytest.raises(InputError) as error:
        magnitudes(code_type, bits)
    assert f"found '{code_type} of {bits} bits'; allowed: float of 3 bits" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("code_type", "bits"), BOOKS)
def test_every_code_is_found_again(code_type, bits):
    codes = np.arange(1 << bits, dtype=np.uint8)
    minus_zero = 1 << (bits - 1)
    specials = [value for value in range(-24, 25) if value not in _values(code_type, bits)]
    for special in specials:
        values = decode_values(codes, code_type, bits, special)
        assert values.dtype == np.int8
        expected = [*magnitudes(code_type, bits), *(-v for v in magnitudes(code_type, bits))]
        expected[minus_zero] = special
        assert values.tolist() == expected
        assert np.array_equal(encode_values(values, code_type, bits), codes)
    plain = decode_values(codes, code_type, bits)
    assert plain[minus_zero] == 0
    assert encode_values(plain, code_type, bits)[minus_zero] == 0  # 0 has the code 0


def _values(code_type: str, bits: int) -> set[int]:
    return {sign * value for value in magnitudes(code_type, bits) for sign in (-1, 1)}


def test_a_special_value_of_each_group_is_broadcast():
    codes = np.full((2, 3, 5), 8, np.uint8)
    special = np.array([[10, -10, 16], [-16, 0, 7]], np.int8)[:, :, None]
    values = decode_values(codes, "float", 4, special)
    assert np.array_equal(values, np.broadcast_to(special, codes.shape))


def test_values_may_be_any_view_of_memory():
    values = np.array([[12, -3, 5, 0], [1, 2, -8, 6]], np.int8)
    assert encode_values(values.T, "float", 4).tolist() == [[7, 1], [11, 2], [8, 14], [0, 5]]


def test_special_values_are_sums_of_two_terms():
    found = set()
    for code in range(256):
        first, second = code & 15, code >> 4
        total = 0
        if first & 1:
            total += (-1) ** (first >> 3) * 2 ** ((first >> 1 & 3) + 1)
        if second & 1:
            total += (-1) ** (second >> 3) * 2 ** (second >> 1 & 3)
        assert decode_special(code) == total
        found.add(total)
    # the ones the module names
    sizes = {*range(11), 12, *range(14, 19), 20, LARGEST_SPECIAL}
    assert found == {sign * size for size in sizes for sign in (-1, 1)}
    for value in range(-30, 31):
        if value in found:
            code = encode_special(value)
            assert decode_special(code) == value
            terms = (code & 1) + (code >> 4 & 1)
            fewest = 0 if value == 0 else 1 if abs(value).bit_count() == 1 else 2
            assert terms == fewest
        else:
            with pytest.raises(InputError) as error:
                encode_special(value)
            assert f"found '{value / 2:g}'; allowed: +- one of 0, 0.5, 1, " in str(error.value)
            assert "\n" not in str(error.value)


def _slow_words(codes: np.ndarray, bits: int) -> list[list[list[int]]]:
    """Words as lists of pairs, from the definition."""
    rows = []
    for row in codes.tolist():
        words = []
        for first in range(0, len(row), 2 if bits % 2 else 1):
            low = [[c >> 2 * w & 3 for c in row[first]] for w in range(bits // 2)]
            words += low
            if bits % 2:
                top = bits - 1
                pair = zip(row[first], row[first + 1], strict=True)
                words.append([(a >> top & 1) | (b >> top & 1) << 1 for a, b in pair])
                words += [[c >> 2 * w & 3 for c in row[first + 1]] for w in range(bits // 2)]
        rows.append(words)
    return rows


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(2, 8),
    rows=st.integers(1, 3),
    steps=st.integers(1, 5),
    lanes=st.sampled_from([4, 8, 12, 32]),
)
def test_words_hold_two_bits_of_every_code_of_a_step(seed, bits, rows, steps, lanes):
    steps += steps % 2 * (bits % 2)
    codes = np.random.default_rng(seed).integers(0, 256, (rows, steps, lanes), np.uint8)
    packed = pack_digits(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.shape == (rows, steps * bits * lanes // 8)  # true widths: nothing is padded
    mask = (1 << bits) - 1
    assert np.array_equal(unpack_digits(packed, bits, lanes), codes & mask)
    assert np.array_equal(pack_digits(codes & mask, bits), packed)
    pairs = np.unpackbits(packed, axis=1, bitorder="little").reshape(rows, -1, lanes, 2)
    found = pairs[..., 0] | pairs[..., 1] << np.uint8(1)
    assert found.tolist() == _slow_words(codes & mask, bits)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_code_of_every_width_is_packed(bits):
    lanes = 4
    codes = (np.arange(1 << max(bits, 3)) % (1 << bits)).astype(np.uint8).reshape(1, -1, lanes)
    assert np.array_equal(unpack_digits(pack_digits(codes, bits), bits, lanes), codes)


def test_an_odd_number_of_steps_of_odd_width_has_no_words():
    with pytest.raises(ValueError, match="reshape"):
        pack_digits(np.zeros((1, 3, 4), np.uint8), 3)
