"""Bandwidth of one DRAM channel under a pattern of requests: the controller always busy."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from designs.errors import InputError
from designs.memory_technology import MemoryTechnology, load_memory
from sim.memory.dram.addresses import PATTERNS, decode, pattern_addresses
from sim.memory.dram.controller import serve

__all__ = ["PatternResult", "run_pattern"]

_MOST_REQUESTS = 10_000_000


@dataclass(frozen=True)
class PatternResult:
    """What a channel did with a pattern.

    Attributes
    ----------
    technology, pattern, address_mapping : str
        What ran.
    requests : int
        Requests, each of ``request_bytes``.
    request_bytes, stride_bytes : int
        Size of a request; distance between requests, 0 unless strided.
    write_fraction : float
        As asked for.
    queue_depth, ranks : int
        Column accesses waiting at the controller; ranks of the channel.
    bytes : int
        Bytes moved.
    seconds : float
        From the first request to the end of the last data.
    bandwidth_bytes_per_second, peak_bytes_per_second, efficiency : float
        Achieved, of the data bus, and their ratio.
    row_hit_rate : float
        Column accesses that found their row open after an earlier access, of all.
    activations, refreshes, turnarounds : int
        Row activations; all-bank refreshes; changes between reading and writing.
    average_latency_ns : float or None
        Of reads, from entering the queue to the end of the data; None without reads.
    energy_joules : float
        Access energy of the bytes moved and background energy of the time, of this channel.
    """

    technology: str
    pattern: str
    address_mapping: str
    requests: int
    request_bytes: int
    stride_bytes: int
    write_fraction: float
    queue_depth: int
    ranks: int
    bytes: int
    seconds: float
    bandwidth_bytes_per_second: float
    peak_bytes_per_second: float
    efficiency: float
    row_hit_rate: float
    activations: int
    refreshes: int
    turnarounds: int
    average_latency_ns: float | None
    energy_joules: float


def _whole(field: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError("memory", field, value, f"an integer from {low} to {high}")
    return value


def run_pattern(
    technology: MemoryTechnology | str,
    pattern: str,
    *,
    requests: int = 100_000,
    stride_bytes: int | None = None,
    request_bytes: int | None = None,
    write_fraction: float = 0.0,
    address_mapping: str | None = None,
    queue_depth: int | None = None,
    ranks: int | None = None,
    seed: int = 1,
) -> PatternResult:
    """Serve a pattern of requests as fast as one channel can.

    Parameters
    ----------
    technology : MemoryTechnology or str
        One of the built-in names, a TOML file, or the object.
    pattern : str
        ``sequential``, ``strided`` or ``random``.
    requests : int
        1 to 10 million column accesses altogether.
    stride_bytes : int, optional
        Distance of the beginnings of strided requests, a multiple of the access size; required
        for, and only allowed with, that pattern.
    request_bytes : int, optional
        Consecutive bytes of one request: the access size (one burst) times a power of two, at
        most the row; default one access.
    write_fraction : float
        Share of requests that write, 0 to 1, drawn at random.
    address_mapping : str, optional
        Replaces the technology's; DRAMsim3's spelling is understood too.
    queue_depth : int, optional
        Replaces the technology's, 1 to 1024.
    ranks : int, optional
        Replaces the technology's, a power of two from 1 to 8.
    seed : int
        Of random addresses and of which requests write.

    Raises
    ------
    InputError
        A value is out of range.
    """
    if isinstance(technology, str):
        technology = load_memory(technology)
    if address_mapping is not None:
        technology = dataclasses.replace(technology, address_mapping=address_mapping)
    if ranks is not None:
        technology = dataclasses.replace(technology, ranks=ranks)
    size = technology.access_bytes
    if pattern not in PATTERNS:
        raise InputError("memory", "pattern", pattern, f"one of: {', '.join(PATTERNS)}")
    block = size if request_bytes is None else request_bytes
    _whole("request_bytes", block, size, technology.row_bytes)
    if block & (block - 1):
        raise InputError("memory", "request_bytes", block, "a power of two")
    _whole("requests", requests, 1, _MOST_REQUESTS * size // block)
    if (pattern == "strided") is not (stride_bytes is not None):
        allowed = "a stride with the strided pattern, and only with it"
        raise InputError("memory", "stride_bytes", stride_bytes, allowed)
    stride = 0
    if stride_bytes is not None:
        stride = _whole("stride_bytes", stride_bytes, size, technology.capacity_bytes)
        if stride % size:
            raise InputError("memory", "stride_bytes", stride, f"a multiple of {size}")
    fraction = write_fraction
    number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not number or not 0 <= fraction <= 1:
        raise InputError("memory", "write_fraction", fraction, "0 to 1")
    if queue_depth is not None:
        _whole("queue_depth", queue_depth, 1, 1024)
    _whole("seed", seed, 0, 2**63 - 1)
    accesses = requests * block // size
    addresses = pattern_addresses(technology, pattern, accesses, stride, block, seed)
    banks, rows, _ = decode(technology, addresses)
    drawn = np.random.default_rng([seed, 1]).random(requests) < fraction
    writes = np.repeat(drawn, block // size)
    served = serve(technology, banks.tolist(), rows.tolist(), writes.tolist(), queue_depth)
    seconds = float(served.clocks * technology.clock_ns) * 1e-9
    moved, peak = accesses * size, float(technology.peak_bytes_per_second)
    reads = accesses - int(writes.sum())
    latency = float(served.read_latency * technology.clock_ns) / reads if reads else None
    energy = technology.energy
    read_bits, write_bits = 8 * size * reads, 8 * size * (accesses - reads)
    background = technology.ranks * energy.background_milliwatts * 1e-3
    access_pj = read_bits * energy.read_pj_per_bit + write_bits * energy.write_pj_per_bit
    return PatternResult(
        technology=technology.name,
        pattern=pattern,
        address_mapping=technology.address_mapping,
        requests=requests,
        request_bytes=block,
        stride_bytes=stride,
        write_fraction=float(fraction),
        queue_depth=queue_depth or technology.queue_depth,
        ranks=technology.ranks,
        bytes=moved,
        seconds=seconds,
        bandwidth_bytes_per_second=moved / seconds,
        peak_bytes_per_second=peak,
        efficiency=moved / seconds / peak,
        row_hit_rate=served.row_hits / accesses,
        activations=served.activations,
        refreshes=served.refreshes,
        turnarounds=served.turnarounds,
        average_latency_ns=latency,
        energy_joules=access_pj * 1e-12 + background * seconds,
    )
