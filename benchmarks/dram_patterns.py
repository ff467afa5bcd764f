"""The DRAM simulator beside a cycle-by-cycle reference, and its speed.

`REFERENCE` was measured with a reimplementation of DRAMsim3's controller; docs/memory.md tells how.
"""

import time

from benchmarks.markdown import markdown_table
from designs.memory_technology import load_memory, memory_names
from sim.memory.dram.patterns import run_pattern

__all__ = ["REFERENCE", "table"]

_REQUESTS = 100_000

# Share of the peak rate of 100,000 reads: technology, mapping, ranks, pattern, stride, share.
REFERENCE = [
    ("ddr4-2400", "rochrababgco", 1, "sequential", None, 0.7849),
    ("ddr4-2400", "rochrababgco", 1, "strided", 128, 0.9512),
    ("ddr4-2400", "rochrababgco", 1, "strided", 256, 0.9512),
    ("ddr4-2400", "rochrababgco", 1, "strided", 1024, 0.9478),
    ("ddr4-2400", "rochrababgco", 1, "strided", 4096, 0.8810),
    ("ddr4-2400", "rochrababgco", 1, "strided", 8192, 0.5493),
    ("ddr4-2400", "rochrababgco", 1, "strided", 32768, 0.2769),
    ("ddr4-2400", "rochrababgco", 1, "strided", 131072, 0.0693),
    ("ddr4-2400", "rochrababgco", 1, "random", None, 0.5815),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "sequential", None, 0.9511),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 128, 0.9439),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 256, 0.6338),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 1024, 0.6341),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 4096, 0.6329),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 8192, 0.6327),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 32768, 0.2769),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "strided", 131072, 0.0693),
    ("ddr4-2400", "row-bank-column-bankgroup", 1, "random", None, 0.5809),
    ("ddr4-2400", "rochrababgco", 2, "sequential", None, 0.7789),
    ("ddr4-2400", "rochrababgco", 2, "strided", 128, 0.9060),
    ("ddr4-2400", "rochrababgco", 2, "strided", 256, 0.9586),
    ("ddr4-2400", "rochrababgco", 2, "strided", 1024, 0.9766),
    ("ddr4-2400", "rochrababgco", 2, "strided", 4096, 0.9389),
    ("ddr4-2400", "rochrababgco", 2, "strided", 8192, 0.8601),
    ("ddr4-2400", "rochrababgco", 2, "strided", 32768, 0.5489),
    ("ddr4-2400", "rochrababgco", 2, "strided", 131072, 0.1387),
    ("ddr4-2400", "rochrababgco", 2, "random", None, 0.8749),
    ("ddr4-3200", "rochrababgco", 2, "sequential", None, 0.6642),
    ("ddr4-3200", "rochrababgco", 2, "strided", 128, 0.9275),
    ("ddr4-3200", "rochrababgco", 2, "strided", 256, 0.9881),
    ("ddr4-3200", "rochrababgco", 2, "strided", 1024, 0.9657),
    ("ddr4-3200", "rochrababgco", 2, "strided", 4096, 0.9261),
    ("ddr4-3200", "rochrababgco", 2, "strided", 8192, 0.7066),
    ("ddr4-3200", "rochrababgco", 2, "strided", 32768, 0.4103),
    ("ddr4-3200", "rochrababgco", 2, "strided", 131072, 0.1031),
    ("ddr4-3200", "rochrababgco", 2, "random", None, 0.8075),
    ("hbm2", "rorabgbachco", 1, "sequential", None, 0.9207),
    ("hbm2", "rorabgbachco", 1, "strided", 128, 0.9217),
    ("hbm2", "rorabgbachco", 1, "strided", 256, 0.9199),
    ("hbm2", "rorabgbachco", 1, "strided", 1024, 0.4905),
    ("hbm2", "rorabgbachco", 1, "strided", 4096, 0.2457),
    ("hbm2", "rorabgbachco", 1, "strided", 8192, 0.1544),
    ("hbm2", "rorabgbachco", 1, "strided", 32768, 0.0387),
    ("hbm2", "rorabgbachco", 1, "strided", 131072, 0.0387),
    ("hbm2", "rorabgbachco", 1, "random", None, 0.2454),
    ("hbm2", "row-bank-column-bankgroup", 1, "sequential", None, 0.9204),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 128, 0.9204),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 256, 0.9237),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 1024, 0.9088),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 4096, 0.3080),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 8192, 0.1540),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 32768, 0.0387),
    ("hbm2", "row-bank-column-bankgroup", 1, "strided", 131072, 0.0387),
    ("hbm2", "row-bank-column-bankgroup", 1, "random", None, 0.2454),
]


def _against_reference() -> str:
    rows = []
    for name, mapping, ranks, pattern, stride, expected in REFERENCE:
        start = time.perf_counter()
        result = run_pattern(
            name,
            pattern,
            requests=_REQUESTS,
            stride_bytes=stride,
            address_mapping=mapping,
            ranks=ranks,
        )
        seconds = time.perf_counter() - start
        label = pattern if stride is None else f"strided, {stride} B"
        row = (name, f"`{mapping}`", ranks, label, f"{expected:.4f}", f"{result.efficiency:.4f}")
        difference = f"{100 * (result.efficiency / expected - 1):+.2f} %"
        rows.append((*row, difference, f"{_REQUESTS / seconds:,.0f}"))
    columns = (
        "technology",
        "mapping",
        "ranks",
        "pattern",
        "reference",
        "silicast",
        "difference",
        "requests/s",
    )
    return markdown_table(columns, rows, (0, 1, 3))


def _technologies() -> str:
    rows = []
    for name in memory_names():
        technology = load_memory(name)
        conflict = technology.row_bytes * technology.banks
        peak = float(technology.peak_bytes_per_second) / 1e9
        shares = [
            run_pattern(technology, pattern, requests=_REQUESTS, **options).efficiency
            for pattern, options in (
                ("sequential", {}),
                ("sequential", {"write_fraction": 0.5}),
                ("random", {}),
                ("strided", {"stride_bytes": conflict}),
            )
        ]
        rows.append((name, f"{peak:g}", *(f"{share:.4f}" for share in shares)))
    columns = (
        "technology",
        "peak, GB/s",
        "sequential",
        "half writes",
        "random",
        "one bank",
    )
    return markdown_table(columns, rows)


def table() -> str:
    """Reads against the reference; every technology with its own mapping."""
    heading = f"## DRAM channels, {_REQUESTS:,} requests\n\n"
    return heading + _against_reference() + "\n" + _technologies()


if __name__ == "__main__":
    print(table())
