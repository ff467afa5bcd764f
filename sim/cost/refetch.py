"""How often operands cross the memory bus, given what the buffers hold."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from designs.spec import Design
from sim.conventions import Conventions
from sim.cost.base import Cycles
from sim.memory.sram import usable_bytes

__all__ = ["Order", "buffer_bytes", "orders", "refetch"]

_PARTIAL = 4
"""Bytes of a partial sum in FP32."""

_POWER = 16
"""Fewest tokens of a block of partial sums."""


def buffer_bytes(design: Design, rules: Conventions, capacity_bytes: int) -> int:
    """Bytes of a buffer that one operand may take; half of it when the other half is filled."""
    doubled = design.sram.double_buffered and rules.buffer_share == "half"
    return usable_bytes(capacity_bytes, doubled)


def refetch(
    design: Design,
    rules: Conventions,
    weights: Cycles,
    inputs: Cycles,
    tiles: tuple[Cycles, Cycles],
) -> tuple[Cycles, Cycles]:
    """How often weights and inputs are read: the cheapest one of three loop orders.

    Where both exceed their share of a buffer, either one stays in bufferfuls while the other one
    passes by once for each (the rule of BitMoD-HPCA-25 at commit e445a5f). An output-stationary
    array can do with less, which matters where not even a row fits: both stream past for every
    tile.

    Parameters
    ----------
    weights, inputs : int64
        Bytes of one product.
    tiles : two int64
        Tiles of the array along M and along N.
    """
    weight_fulls = -(-weights // buffer_bytes(design, rules, design.buffers.weight_bytes))
    input_fulls = -(-inputs // buffer_bytes(design, rules, design.buffers.activation_bytes))
    both = (weight_fulls > 1) & (input_fulls > 1)
    by_weight = input_fulls * weights + inputs < weight_fulls * inputs + weights
    once = np.ones_like(weights)
    weight_times = np.where(both & by_weight, input_fulls, once)
    input_times = np.where(both & ~by_weight, weight_fulls, once)
    if rules.buffers_hold == "operator":
        return weight_times, input_times
    streamed = (
        tiles[0] * weights + tiles[1] * inputs < weight_times * weights + input_times * inputs
    )
    return np.where(streamed, tiles[0], weight_times), np.where(streamed, tiles[1], input_times)


@dataclass(frozen=True)
class Order:
    """One way to walk over a product.

    Attributes
    ----------
    weight_times, input_times : int
        How often weights and inputs are read.
    tiles : int
        Tiles of the array along M and N; more where a bufferful leaves lanes without work.
    """

    weight_times: int
    input_times: int
    tiles: int


def orders(
    design: Design,
    rules: Conventions,
    sizes: tuple[int, int],
    row_bytes: tuple[int, int],
    shape: tuple[int, int],
) -> list[Order]:
    """The ways to walk over one linear layer, in bufferfuls of whole rows.

    As `refetch`, and blocks of FP32 partial sums where they have a buffer: both operands stream
    past it in pieces of K, weights once for every row of blocks, inputs once for every column.

    Parameters
    ----------
    sizes : two int
        M and N.
    row_bytes : two int
        Bytes of an output feature's weights, and of a token.
    shape : two int
        Columns (tokens) and rows (features) of the array.
    """
    (m, n), (columns, rows) = sizes, shape
    along = ceil(m / columns), ceil(n / rows)
    features = buffer_bytes(design, rules, design.buffers.weight_bytes) // row_bytes[0]
    tokens = buffer_bytes(design, rules, design.buffers.activation_bytes) // row_bytes[1]
    if n <= features or m <= tokens:
        return [Order(1, 1, along[0] * along[1])]
    found = [Order(*along, along[0] * along[1])]
    for size in _bufferfuls(m, tokens, columns):
        found.append(Order(ceil(m / size), 1, _tiles(m, size, columns) * along[1]))
    for size in _bufferfuls(n, features, rows):
        found.append(Order(1, ceil(n / size), along[0] * _tiles(n, size, rows)))
    block = _POWER
    while block < 2 * m:
        high = min(block, m)
        wide = min(design.buffers.partial_bytes // (_PARTIAL * high), n)
        if wide < min(rows, n):
            break
        tiles = _tiles(m, high, columns) * _tiles(n, wide, rows)
        found.append(Order(ceil(m / high), ceil(n / wide), tiles))
        block *= 2
    return found


def _bufferfuls(size: int, most: int, lanes: int) -> set[int]:
    """Sizes worth trying: as large as they can be, equal ones, and both in whole tiles."""
    if not most:
        return set()
    equal = ceil(size / ceil(size / most))
    whole = {most // lanes * lanes, ceil(equal / lanes) * lanes}
    return {most, equal} | {one for one in whole if 0 < one <= most}


def _tiles(size: int, piece: int, lanes: int) -> int:
    """Tiles along a side that is cut into pieces first."""
    return size // piece * ceil(piece / lanes) + ceil(size % piece / lanes)
