"""Bit planes: packing, its inverse, and sums by lookup."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.formats import WeightFormat, parse_format
from mapping.planes import lookup_sums, pack_planes, remap, to_bipolar, unmap, unpack_planes
from mapping.quantise import QuantisedWeights, exact_sums, quantise

WIDTHS = [(bits, False) for bits in range(1, 9)] + [(bits, True) for bits in range(1, 8)]


def _codes(rng: np.random.Generator, shape: tuple, bits: int, bipolar: bool) -> np.ndarray:
    unsigned = rng.integers(0, 1 << bits, shape)
    low = (1 << bits) - 1 if bipolar else 1 << (bits - 1)
    return ((2 * unsigned if bipolar else unsigned) - low).astype(np.int8)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from(WIDTHS),
    rows=st.integers(1, 3),
    steps=st.integers(1, 4),
    lanes=st.sampled_from([(2, 4), (1, 8), (6, 4), (5, 16), (64, 4), (16, 12)]),
)
def test_unpacking_is_the_inverse(seed, width, rows, steps, lanes):
    codes = _codes(np.random.default_rng(seed), (rows, steps, *lanes), *width)
    packed = pack_planes(codes, *width)
    assert packed.dtype == np.uint8
    assert packed.shape == (rows, steps * width[0] * lanes[0] * lanes[1] // 8)
    found = unpack_planes(packed, *width, *lanes)
    assert found.dtype == np.int8
    assert np.array_equal(found, codes)


@pytest.mark.parametrize(("bits", "bipolar"), WIDTHS)
def test_every_bit_is_where_the_definition_says(bits, bipolar):
    rng = np.random.default_rng(bits)
    codes = _codes(rng, (2, 3, 6, 8), bits, bipolar)
    packed = pack_planes(codes, bits, bipolar)
    word = 6 * 8 // 8
    for row, step, n, group in np.ndindex(2, 3, 6, 2):
        four = codes[row, step, n, 4 * group : 4 * group + 4].astype(int)
        unsigned = (four + (1 << bits) - 1) // 2 if bipolar else four + (1 << (bits - 1))
        for plane in range(bits):
            bit = (unsigned >> plane) & 1
            low = bit[:3] if bit[3] else 1 - bit[:3]
            for j, expected in enumerate([*low.tolist(), int(bit[3])]):
                index = n * 8 + 4 * group + j
                byte = packed[row, (step * bits + plane) * word + index // 8]
                assert byte >> (index % 8) & 1 == expected


def test_all_four_bit_patterns_are_remapped():
    nibbles = np.arange(16, dtype=np.uint8)
    expected = [7, 6, 5, 4, 3, 2, 1, 0, *range(8, 16)]
    assert remap(nibbles).tolist() == expected
    assert np.array_equal(unmap(remap(nibbles)), nibbles)


@pytest.mark.parametrize("bits", range(1, 9))
def test_planes_of_plus_and_minus_one_are_the_code(bits):
    codes = np.arange(-(1 << (bits - 1)), 1 << (bits - 1)).astype(np.int8)
    odd = to_bipolar(codes, bits)
    unsigned = codes.astype(int) + (1 << (bits - 1))
    planes = 2 * (unsigned[:, None] >> np.arange(bits) & 1) - 1
    assert np.array_equal(odd, planes @ (1 << np.arange(bits)))
    assert np.array_equal(odd, 2 * codes.astype(int) + 1)
    assert np.array_equal((odd - 1) // 2, codes)


def _random_weights(rng: np.random.Generator, n: int, k: int, fmt: WeightFormat):
    """Every code the format can store, every scale."""
    codes = rng.choice(np.array(fmt.code_values, np.int8), (n, k * fmt.planes))
    codes[0], codes[1] = fmt.code_values[0], fmt.code_values[-1]
    scales = None
    if fmt.scaled:
        scales = rng.integers(1, 256, (n, fmt.groups(k) * fmt.planes)).astype(np.uint8)
        scales[:2] = 255
    return QuantisedWeights(fmt, codes, scales, None, np.ones(n, np.float32))


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(
        [
            *("int1", "int2", "int3", "int4", "int8", "ternary"),
            *("bipolar2", "bipolar3", "bipolar4", "bipolar7"),
        ]
    ),
    group=st.sampled_from([None, 4, 8, 20]),
    n=st.integers(2, 9),
    k=st.integers(1, 6),
    m=st.integers(1, 5),
    tail=st.integers(0, 3),
)
def test_lookups_are_the_contract(seed, name, group, n, k, m, tail):
    rng = np.random.default_rng(seed)
    fmt = parse_format(name if group is None else f"{name}_g{group}")
    size = (group or 4) * k + (tail if group is None else 0)
    weights = _random_weights(rng, n, size, fmt)
    activations = rng.integers(-128, 128, (m, size)).astype(np.int8)
    activations[0] = rng.choice([-128, 127])
    assert np.array_equal(lookup_sums(activations, weights), exact_sums(activations, weights))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(["bcq1", "bcq2", "bcq3", "bcq4", "bcq1_asym", "bcq3_asym"]),
    group=st.sampled_from([4, 8, 20]),
    k=st.integers(1, 4),
)
def test_lookups_of_binary_codes_are_the_contract(seed, name, group, k):
    rng = np.random.default_rng(seed)
    weights = _random_weights(rng, 5, group * k, parse_format(f"{name}_g{group}"))
    activations = rng.integers(-128, 128, (3, group * k)).astype(np.int8)
    assert np.array_equal(lookup_sums(activations, weights), exact_sums(activations, weights))


def test_lookups_notice_a_wrong_bit():
    rng = np.random.default_rng(0)
    weights = _random_weights(rng, 4, 16, parse_format("int4"))
    activations = rng.integers(1, 128, (2, 16)).astype(np.int8)
    before = lookup_sums(activations, weights)
    weights.codes[2, 3] ^= 1
    assert (lookup_sums(activations, weights) != before).any(axis=0).tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_zero_points_and_odd_groups_are_refused():
    weights = quantise(np.ones((2, 12), np.float32), parse_format("int4_asym_g4"))
    with pytest.raises(InputError, match="no zero points"):
        lookup_sums(np.ones((1, 12), np.int8), weights)
    weights = quantise(np.ones((2, 12), np.float32), parse_format("int4_g6"))
    with pytest.raises(InputError, match="multiple of 4"):
        lookup_sums(np.ones((1, 12), np.int8), weights)


@pytest.mark.parametrize(
    ("shape", "bits", "bipolar", "why"),
    [
        ((1, 1, 4, 6), 4, False, "lanes_k: found 6; allowed: a multiple of 4"),
        ((1, 1, 3, 4), 4, False, "lanes_n: found 3; allowed: words of whole bytes"),
        ((1, 1, 2, 4), 8, True, "bits: found 8; allowed: 1 to 7 for odd codes"),
        ((1, 1, 2, 4), 0, False, "bits: found 0; allowed: 1 to 8"),
    ],
)
def test_steps_that_cannot_be_packed(shape, bits, bipolar, why):
    with pytest.raises(InputError, match=why):
        pack_planes(np.ones(shape, np.int8), bits, bipolar)


def test_bytes_must_be_whole_steps():
    with pytest.raises(InputError, match="bytes: found 5; allowed: whole steps of 4 bytes"):
        unpack_planes(np.zeros((1, 5), np.uint8), 4, False, 2, 4)


def test_padding_of_odd_codes_is_stored_as_minus_one():
    packed = pack_planes(np.zeros((1, 1, 2, 4), np.int8), 3, True)
    assert (unpack_planes(packed, 3, True, 2, 4) == -1).all()


def test_a_large_matrix_is_packed_quickly():
    codes = _codes(np.random.default_rng(0), (64, 1024, 64, 4), 4, False)
    begin = time.perf_counter()
    packed = pack_planes(codes, 4, False)
    assert time.perf_counter() - begin < 2  # 0.2 s on an idle core
    assert packed.nbytes * 2 == codes.nbytes
