"""Quantised tables: entries and sums against slow loops, and the error they cause."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.contract import contract_sums
from mapping.formats import parse_format
from mapping.half_precision import align, to_half
from mapping.quantise import QuantisedWeights, exact_sums, quantise, quantise_activations
from mapping.table_values import table_entries, table_sums


def _slow_tables(row: list[int], block: int, table_bits: int) -> tuple[list, list]:
    """Entries and shifts of one token in Python integers, by the definition."""
    row = row + [0] * (-len(row) % block)
    tables, shifts = [], []
    for first in range(0, len(row), block):
        step = []
        for k in range(first, first + block, 4):
            a0, a1, a2, a3 = row[k : k + 4]
            table = []
            for index in range(8):
                entry = a3 + (a2 if index & 4 else -a2)
                entry += (a1 if index & 2 else -a1) + (a0 if index & 1 else -a0)
                table.append(entry)
            step.append(table)
        shift = 0
        if table_bits:
            largest = max(abs(entry) for table in step for entry in table)
            shift = max(0, largest.bit_length() - 7)
            for table in step:
                for index, entry in enumerate(table):
                    low, rest = divmod(abs(entry), 1 << shift)
                    double = 2 * rest - (1 << shift)
                    low += int(double > 0 or (double == 0 and low % 2 == 1))
                    table[index] = min(low, 127) * (1 if entry >= 0 else -1)
        tables += step
        shifts.append(shift)
    return tables, shifts


def _aligned(rng: np.random.Generator, half: bool, m: int, k: int, block: int) -> np.ndarray:
    if not half:
        found = rng.integers(-128, 128, (m, k)).astype(np.int64)
        found[0] = -128
        found[-1] //= 64  # small values: no shift
        return found
    values = rng.integers(0, 1 << 16, (m, k)).astype(np.uint16).view(np.float16)
    values = np.where(np.isfinite(values), values, np.float16(65504))
    values[-1] = to_half(rng.standard_normal((1, k)))[0]
    return align(values, block)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    half=st.booleans(),
    k=st.integers(1, 40),
    block=st.sampled_from([4, 8, 16]),
    table_bits=st.sampled_from([0, 8]),
)
def test_entries_are_the_definition(seed, half, k, block, table_bits):
    aligned = _aligned(np.random.default_rng(seed), half, 3, k, block)
    entries, shift = table_entries(aligned, block, table_bits)
    steps = -(-k // block)
    assert entries.shape == (3, steps * block // 4, 8)
    assert shift.shape == (3, steps)
    for m, row in enumerate(aligned.tolist()):
        tables, shifts = _slow_tables(row, block, table_bits)
        assert entries[m].tolist() == tables
        assert shift[m].tolist() == shifts


def test_entries_of_the_largest_activations():
    entries, shift = table_entries(np.full((1, 4), -128), 4, 8)
    assert shift.tolist() == [[3]]
    assert entries[0, 0].tolist() == [32, 0, 0, -32, 0, -32, -32, -64]
    entries, shift = table_entries(np.full((1, 4), 127), 4, 8)
    # 508 / 4 is 127, the largest entry; 254 / 4 = 63.5 is a tie and goes to 64
    assert shift.tolist() == [[2]]
    assert entries[0, 0].tolist() == [-64, 0, 0, 64, 0, 64, 64, 127]
    entries, shift = table_entries(np.array([[255, 0, 0, 0]]), 4, 8)
    assert shift.tolist() == [[1]]
    assert entries[0, 0].max() == 127  # 127.5 would round to 128


def _random(rng: np.random.Generator, name: str, k: int) -> QuantisedWeights:
    fmt = parse_format(name)
    codes = rng.choice(np.array(fmt.code_values, np.int8), (4, k * fmt.planes))
    codes[0], codes[1] = fmt.code_values[0], fmt.code_values[-1]
    scales = None
    if fmt.scaled:
        scales = rng.integers(1, 256, (4, fmt.groups(k) * fmt.planes)).astype(np.uint8)
    return QuantisedWeights(fmt, codes, scales, None, np.ones(4, np.float32))


def _slow_sums(aligned: np.ndarray, weights: QuantisedWeights, block: int, half: bool) -> list:
    """Lookup by lookup: the bits of a code, an entry or its negative, planes, A, the scale."""
    fmt = weights.fmt
    groups = fmt.groups(weights.k)
    span = weights.k // groups
    codes = weights.codes.reshape(weights.n, groups, fmt.planes, span).tolist()
    low = (1 << fmt.bits) - 1 if fmt.bipolar else 1 << (fmt.bits - 1)
    found = []
    for row in aligned.tolist():
        sums = [0] * weights.n
        for n, group in np.ndindex(weights.n, groups):
            tables, shifts = _slow_tables(row[group * span : (group + 1) * span], block, 8)
            for plane in range(fmt.planes):
                own = [(c + low) // (2 if fmt.bipolar else 1) for c in codes[n][group][plane]]
                own += [0] * (4 * len(tables) - span)
                total = 0
                for g, table in enumerate(tables):
                    four, weight = own[4 * g : 4 * g + 4], 1 << shifts[4 * g // block]
                    for i in range(fmt.bits):
                        bits = [u >> i & 1 for u in four]
                        index = bits[0] + 2 * bits[1] + 4 * bits[2]
                        entry = table[index] if bits[3] else -table[7 - index]
                        total += (entry << i) * weight
                    if not fmt.bipolar:
                        total -= table[7] * weight
                if not fmt.bipolar:
                    assert total % 2 == 0  # exact whatever the rounding of the entries
                    total >>= 1
                if weights.scales is not None:
                    total *= int(weights.scales[n, group * fmt.planes + plane])
                    total = (total + 128) >> 8 if half else total
                sums[n] += total
        found.append(sums)
    return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    half=st.booleans(),
    name=st.sampled_from(
        [
            *("int1", "int2", "int3_g16", "int4_g16", "int8", "int8_g16", "ternary_g16"),
            *("bipolar2", "bipolar4_g16", "bcq2_g16", "bcq3_asym_g16"),
        ]
    ),
    block=st.sampled_from([4, 8, 16]),
    tail=st.integers(0, 7),
)
def test_sums_are_the_slow_loop(seed, half, name, block, tail):
    rng = np.random.default_rng(seed)
    k = 32 if "_g" in name else 24 + tail
    weights = _random(rng, name, k)
    aligned = _aligned(rng, half, 3, k, block)
    found = table_sums(aligned, weights, block, 8, half)
    assert found.tolist() == _slow_sums(aligned, weights, block, half)


@pytest.mark.parametrize("name", ["int1_g32", "int4", "int8_g32", "bipolar3_g32", "bcq3_g32"])
def test_exact_entries_are_the_contract(name):
    rng = np.random.default_rng(2)
    weights = _random(rng, name, 96)
    integers = rng.integers(-128, 128, (3, 96)).astype(np.int8)
    found = table_sums(integers.astype(np.int64), weights, 16, 0)
    assert np.array_equal(found, exact_sums(integers, weights))
    halves = to_half(rng.standard_normal((3, 96)))
    found = table_sums(align(halves, 16), weights, 16, 0, half=True)
    assert np.array_equal(found, contract_sums(halves, weights, 16))


def test_sums_do_not_depend_on_how_k_is_cut():
    rng = np.random.default_rng(3)
    weights = _random(rng, "int4", 64)
    aligned = rng.integers(-40, 41, (3, 64))
    parts = 0
    for first in range(0, 64, 8):
        codes = weights.codes[:, first : first + 8]
        part = QuantisedWeights(weights.fmt, codes, None, None, weights.channel_scale)
        parts = parts + table_sums(aligned[:, first : first + 8], part, 8)
    assert np.array_equal(parts, table_sums(aligned, weights, 8))


def test_what_is_refused():
    weights = quantise(np.ones((2, 24), np.float32), parse_format("int4_g12"))
    values = np.ones((1, 24), np.int64)
    with pytest.raises(InputError, match="groups that are a multiple of the step, 8"):
        table_sums(values, weights, 8)
    with pytest.raises(InputError, match="block: found 6; allowed: a multiple of 4"):
        table_entries(values, 6, 8)
    with pytest.raises(InputError, match=r"table_bits: found 4; allowed: 0 \(exact entries\) or 8"):
        contract_sums(values.astype(np.int8), weights, 4, 4)
    with pytest.raises(InputError, match="K: found 20"):
        table_sums(values[:, :20], weights, 4)


@pytest.mark.parametrize(
    ("half", "block", "expected"),  # the table in the module's documentation
    [
        (False, 16, {"int1": 9.1e-3, "int2": 1.2e-2, "int4": 1.1e-2}),
        (False, 64, {"int1": 1.1e-2, "int2": 1.4e-2, "int4": 1.4e-2}),
        (True, 16, {"int1": 8.1e-3, "int2": 1.1e-2, "int4": 9.8e-3}),
        (True, 64, {"int1": 9.3e-3, "int2": 1.3e-2, "int4": 1.2e-2}),
    ],
)
def test_the_error_of_quantised_tables_is_the_documented_one(half, block, expected):
    rng = np.random.default_rng(0)
    real = rng.standard_normal((16, 4096)).astype(np.float32)
    activations = to_half(real) if half else quantise_activations(real)[0]
    matrix = rng.standard_normal((64, 4096))
    for name, figure in expected.items():
        weights = quantise(matrix, parse_format(f"{name}_g128"))
        exact = contract_sums(activations, weights, block).astype(np.float64)
        found = contract_sums(activations, weights, block, 8)
        error = np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())
        assert error == pytest.approx(figure, rel=0.06)
