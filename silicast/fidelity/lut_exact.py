"""Identities of look-up hardware, checked on random integers while the page is made."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from mapping.formats import parse_format
from mapping.planes import lookup_sums
from mapping.quantise import exact_sums, quantise
from silicast.fidelity.gates import GatedRow, between, equal, within
from silicast.fidelity.lut_inputs import inputs

__all__ = ["binary_product", "exact_rows", "ternary_code", "ternary_triple"]

_SEED = 20240815
_TOKENS, _FEATURES, _K = 16, 64, 256
_FORMATS = {1: "int1", 2: "int2", 3: "int3", 4: "int4"}
_BIPOLAR = ((1, 1), (2, 3), (3, 2), (4, 4), (7, 7))
"""Planes of weights and of activations; 7 is what fits INT8."""


def _random_weights(rng: np.random.Generator, name: str):
    values = rng.standard_normal((_FEATURES, _K)).astype(np.float32)
    return quantise(values, parse_format(name))


def _lookup_rows() -> list[GatedRow]:
    rng = np.random.default_rng(_SEED)
    rows = []
    for bits in inputs().lut_tensor_core.weight_bits:
        wrong = total = 0
        for name in (_FORMATS[bits], f"{_FORMATS[bits]}_g64"):
            weights = _random_weights(rng, name)
            activations = rng.integers(-128, 128, (_TOKENS, _K)).astype(np.int8)
            differ = lookup_sums(activations, weights) != exact_sums(activations, weights)
            wrong, total = wrong + int(differ.sum()), total + differ.size
        rows.append(
            GatedRow(
                "L1",
                "LUT Tensor Core",
                f"sums that differ, of {total:,}: planes of +-1, half tables, W{bits} A8",
                "",
                0,
                0,
                wrong,
                equal(0),
                "A",
                "unit",
                "Sums by looked-up stored bits against sums of products; the RTL is compared with "
                "the same sums by `silicast verify`."
                if bits == 1
                else "",
            )
        )
    return rows


def binary_product(
    weights: NDArray[np.int64], activations: NDArray[np.int64], bits: int, others: int
):
    """Products of odd integers by XOR and population count, plane by plane.

    ``Y = sum_ij 2^(i+j) (K - 2 popcount(w_i xor a_j))`` with bit 1 for +1 (bipolar-INT, Ma et al.,
    ASP-DAC'25, arXiv 2409.17870).

    Parameters
    ----------
    weights : int64 (N, K)
        Odd values of ``bits`` planes, in +-(2^bits - 1).
    activations : int64 (M, K)
        Odd values of ``others`` planes.
    bits, others : int
        Planes.

    Returns
    -------
    int64 (M, N)
    """
    k = weights.shape[1]
    left = (weights + (1 << bits) - 1) >> 1
    right = (activations + (1 << others) - 1) >> 1
    found = np.zeros((len(activations), len(weights)), np.int64)
    for i, j in product(range(bits), range(others)):
        differ = (left[None, :, :] >> i ^ right[:, None, :] >> j) & 1
        found += (k - 2 * differ.sum(axis=2)) << (i + j)
    return found


def _bipolar_rows() -> list[GatedRow]:
    rng = np.random.default_rng(_SEED + 1)
    rows = []
    for bits, others in _BIPOLAR:
        weights = _random_weights(rng, "int1" if bits == 1 else f"bipolar{bits}")
        raw = rng.integers(0, 1 << others, (_TOKENS, _K))
        activations = (2 * raw - (1 << others) + 1).astype(np.int8)
        recovered = binary_product(
            weights.codes.astype(np.int64), activations.astype(np.int64), bits, others
        )
        differ = lookup_sums(activations, weights) != recovered
        rows.append(
            GatedRow(
                "P1",
                "bipolar-INT",
                f"sums that differ, of {differ.size:,}: W{bits}, activations of {others} bit",
                "",
                0,
                0,
                int(differ.sum()),
                equal(0),
                "A",
                "unit",
                "Look-ups of the same data path against its XOR and population count."
                if bits == 1
                else "",
            )
        )
    return rows


# BitNet.cpp, TL2 -----------------------------------------------------------------------------


def _index(triple: tuple[int, ...]) -> int:
    return sum((value + 1) * 3**place for place, value in enumerate(triple))


_MIDDLE = _index((0, 0, 0))


def ternary_code(triple: tuple[int, ...]) -> tuple[int, int]:
    """Index of a half table and sign of three ternary weights (BitNet.cpp, TL2).

    The 27 triples are numbered in base 3; opposite ones lie as far above as below the zeros in the
    middle, so that an entry and a sign stand for two.

    Returns
    -------
    index, sign : int
        0 to 13; 1: the entry is negated.
    """
    distance = _index(triple) - _MIDDLE
    return abs(distance), int(distance < 0)


def ternary_triple(index: int, sign: int) -> tuple[int, ...]:
    """The weights of an index and a sign."""
    number = _MIDDLE + (-index if sign else index)
    return tuple(number // 3**place % 3 - 1 for place in range(3))


def _ternary_rows() -> list[GatedRow]:
    published = inputs().tl2
    triples = list(product((-1, 0, 1), repeat=published.weights))
    codes = [ternary_code(triple) for triple in triples]
    lost = sum(ternary_triple(*code) != triple for code, triple in zip(codes, triples, strict=True))
    entries = len({index for index, _ in codes})
    bits = ((entries - 1).bit_length() + 1) / published.weights
    name = "BitNet.cpp"
    return [
        GatedRow(
            "B1",
            name,
            "entries of a table over three ternary weights",
            "",
            published.entries,
            published.entries,
            entries,
            equal(published.entries),
            "A",
            "arithmetic",
            "Our unit reads two bits of a ternary weight; this is its own code, for comparison.",
        ),
        GatedRow(
            "B1",
            name,
            "bits a ternary weight, with an index and a sign",
            "bit",
            published.bits_per_weight,
            published.bits_per_weight,
            bits,
            within(published.bits_per_weight, 0.5),
            "A",
            "arithmetic",
        ),
        GatedRow(
            "B1",
            name,
            "triples of 27 that do not come back from the code",
            "",
            0,
            0,
            lost,
            between(-float("inf"), 0),
            "A",
            "arithmetic",
        ),
    ]


def exact_rows() -> list[GatedRow]:
    """L1, P1 and B1."""
    return [*_lookup_rows(), *_bipolar_rows(), *_ternary_rows()]
