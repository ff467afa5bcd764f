"""From byte addresses to banks and rows, and the address streams of the three patterns."""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.memory_technology import MemoryTechnology, address_fields

__all__ = ["PATTERNS", "decode", "pattern_addresses"]

PATTERNS = ("sequential", "strided", "random")


def decode(
    technology: MemoryTechnology, addresses: NDArray[np.int64], mapping: str | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bank (rank, then bank group major), row and column (in accesses) of byte addresses.

    Parameters
    ----------
    technology : MemoryTechnology
        Widths of the fields.
    addresses : ndarray of int64
        Byte addresses; bits above the capacity are ignored.
    mapping : str, optional
        Replaces the technology's own: see `designs.memory_technology.address_fields`.
    """
    bits = {
        "rank": technology.ranks.bit_length() - 1,
        "row": technology.rows.bit_length() - 1,
        "bank": technology.banks_per_group.bit_length() - 1,
        "bankgroup": technology.bank_groups.bit_length() - 1,
        "column": technology.columns.bit_length() - 1,
    }
    rest = addresses // technology.access_bytes
    fields = {}
    for name in reversed(address_fields(mapping or technology.address_mapping)):
        fields[name] = rest & ((1 << bits[name]) - 1)
        rest = rest >> bits[name]
    group = fields["rank"] * technology.bank_groups + fields["bankgroup"]
    bank = group * technology.banks_per_group + fields["bank"]
    return bank, fields["row"], fields["column"]


def pattern_addresses(
    technology: MemoryTechnology,
    pattern: str,
    accesses: int,
    stride_bytes: int,
    block_bytes: int,
    seed: int,
) -> NDArray[np.int64]:
    """Byte addresses of column accesses, in order of arrival.

    Parameters
    ----------
    technology : MemoryTechnology
        Gives the access size and the capacity.
    pattern : str
        ``sequential``, ``strided`` or ``random``: where blocks begin.
    accesses : int
        Number of addresses.
    stride_bytes : int
        Distance of the beginnings of blocks; strided only. The walk wraps at the end of the memory.
    block_bytes : int
        Bytes read at each beginning, a multiple of the access size.
    seed : int
        Of the generator of random addresses, which are multiples of the block size.
    """
    size, capacity = technology.access_bytes, technology.capacity_bytes
    block = block_bytes // size
    index = np.arange(accesses, dtype=np.int64)
    if pattern == "sequential":
        return index * size % capacity
    blocks, inside = index // block, index % block * size
    if pattern == "strided":
        begin = blocks * stride_bytes % capacity
    elif pattern == "random":
        random = np.random.default_rng(seed)
        begin = random.integers(0, capacity // block_bytes, accesses // block + 1)[blocks]
        begin = begin * block_bytes
    else:
        raise InputError("memory", "pattern", pattern, f"one of: {', '.join(PATTERNS)}")
    return (begin + inside) % capacity
