"""How much of its peak rate a memory technology reaches under an access pattern."""

import dataclasses
from typing import Any

from designs.memory_technology import MemoryTechnology
from sim.memory.dram.patterns import run_pattern

__all__ = ["memory_efficiency"]


def memory_efficiency(
    technology: str | MemoryTechnology,
    pattern: str = "sequential",
    *,
    requests: int = 100_000,
    stride_bytes: int | None = None,
    request_bytes: int | None = None,
    write_fraction: float = 0.0,
    address_mapping: str | None = None,
    queue_depth: int | None = None,
    ranks: int | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Simulate one channel command by command; the result is ready for JSON.

    Parameters
    ----------
    technology : str or MemoryTechnology
        A built-in name (`designs.memory_technology.memory_names`) or a TOML file.
    pattern : str
        ``sequential``, ``strided`` (with ``stride_bytes``) or ``random``.
    requests : int
        Requests served.
    stride_bytes : int, optional
        Distance between strided requests.
    request_bytes : int, optional
        Size of a request; default one burst.
    write_fraction : float
        Share of requests that write, 0 to 1.
    address_mapping : str, optional
        Replaces the technology's, e.g. ``row-bank-column-bankgroup`` or ``rochrababgco``.
    queue_depth, ranks : int, optional
        Replace the technology's.
    seed : int
        Of random addresses and writes.

    Returns
    -------
    dict
        The fields of `sim.memory.dram.patterns.PatternResult`.

    Raises
    ------
    InputError
        A value is out of range, or there is no such technology.
    """
    result = run_pattern(
        technology,
        pattern,
        requests=requests,
        stride_bytes=stride_bytes,
        request_bytes=request_bytes,
        write_fraction=write_fraction,
        address_mapping=address_mapping,
        queue_depth=queue_depth,
        ranks=ranks,
        seed=seed,
    )
    return dataclasses.asdict(result)
