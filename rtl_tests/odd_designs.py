"""Small designs of uneven geometry; with the library they span the parameters of the RTL."""

from dataclasses import replace
from pathlib import Path

from designs.files import load_design
from designs.parts import Formats
from designs.spec import Design

__all__ = ["ODD_DESIGNS"]

_TINY = load_design("dense-int8-tiny")
_LUT = load_design("lut-tiny")
_BIT_SERIAL = load_design("bitmod-tiny")

SHORT_ROWS = str(Path(__file__).parent / "support" / "short-rows.toml")
"""A memory whose rows, refresh intervals and queue are so short that small products meet them."""


def _design(
    name: str,
    unit: dict,
    dram: dict,
    control: dict,
    buffers: dict,
    megahertz: int = 100,
    base: Design = _TINY,
) -> Design:
    return replace(
        base,
        name=name,
        clock=replace(base.clock, frequency_hz=megahertz * 1_000_000),
        unit=replace(base.unit, **unit),
        dram=replace(base.dram, **dram),
        control=replace(base.control, **control),
        buffers=replace(base.buffers, **buffers),
        formats=Formats(activation_bits=16 if unit.get("activations") == ("fp16",) else 8),
    )


ODD_DESIGNS = {
    design.name: design
    for design in (
        # Two channels, 16/7 clock cycles a beat, the shallowest queues that are allowed.
        _design(
            "two-channels",
            {"lanes_m": 1, "lanes_n": 4, "lanes_k": 4},
            {
                "channels": 2,
                "data_bytes": 8,
                "bandwidth_bytes_per_second": 350_000_000,
                "max_outstanding_reads": 2,
                "max_outstanding_writes": 1,
                "max_burst_beats": 32,
            },
            {"queue_depth": 2, "fetch_blocks": 2, "loads_in_flight": 2},
            {
                "activation_bytes": 8192,
                "weight_bytes": 4096,
                "scale_bytes": 512,
                "output_bytes": 512,
                "partial_bytes": 1024,
            },
        ),
        # A line wider than every word, 4-bit codes only, several instructions a line.
        _design(
            "wide-line",
            {"lanes_m": 4, "lanes_n": 4, "lanes_k": 16, "weight_bits": (4,)},
            {
                "channels": 4,
                "data_bytes": 32,
                "bandwidth_bytes_per_second": 3_200_000_000,
                "max_burst_beats": 128,
                "latency_ns": 37.0,
            },
            {"queue_depth": 4, "fetch_blocks": 2, "loads_in_flight": 4},
            {
                "activation_bytes": 32768,
                "weight_bytes": 32768,
                "scale_bytes": 4096,
                "output_bytes": 16384,
                "partial_bytes": 8192,
            },
        ),
        # 8-bit codes only, flat tiles, short bursts, a rate that divides nothing.
        _design(
            "flat-tile",
            {"lanes_m": 1, "lanes_n": 16, "lanes_k": 2, "weight_bits": (8,)},
            {"max_burst_beats": 16, "bandwidth_bytes_per_second": 1_234_567_891},
            {},
            {},
        ),
        # Beats of a quarter of a DRAM access; a refresh every 2340 cycles.
        _design(
            "ddr4",
            {},
            {
                "technology": "ddr4-2400",
                "bandwidth_bytes_per_second": 4_000_000_000,
                "latency_ns": 73.3,
            },
            {},
            {},
            megahertz=300,
        ),
        # Beats of two DRAM accesses, rows of 32 beats, half the clock's data rate.
        _design(
            "hbm2",
            {},
            {
                "technology": "hbm2",
                "data_bytes": 128,
                "bandwidth_bytes_per_second": 32_000_000_000,
                "latency_ns": 107.7,
                "max_burst_beats": 32,
            },
            {},
            {},
            megahertz=500,
        ),
        # A refresh every 625 cycles, two bank sets of 2 KB, timings of many cycles, single writes.
        _design(
            "short-rows",
            {"lanes_m": 1},
            {
                "technology": SHORT_ROWS,
                "channels": 2,
                "bandwidth_bytes_per_second": 7_000_000_000,
                "latency_ns": 33.3,
                "max_burst_beats": 32,
                "max_outstanding_writes": 1,
            },
            {},
            {},
            megahertz=625,
        ),
        # Quantised tables of both activation formats, four groups a lane, two channels of 8 bytes:
        # a plane is half a line, and buffers are so small that K is cut into chunks.
        _design(
            "lut-tables",
            {"lanes_n": 4, "lanes_k": 16, "weight_bits": (1, 3, 8), "table_bits": 8},
            {
                "channels": 2,
                "data_bytes": 8,
                "bandwidth_bytes_per_second": 350_000_000,
                "max_burst_beats": 32,
            },
            {"queue_depth": 2, "fetch_blocks": 2, "loads_in_flight": 2},
            {"weight_bytes": 2048, "scale_bytes": 512, "output_bytes": 1024},
            base=_LUT,
        ),
        # INT8 only, four token lanes, one table a lane, a line of 64 bytes against planes of 4.
        _design(
            "lut-flat",
            {
                "lanes_m": 4,
                "lanes_n": 8,
                "lanes_k": 4,
                "weight_bits": (2, 5, 7),
                "activations": ("int8",),
            },
            {"data_bytes": 64, "bandwidth_bytes_per_second": 6_400_000_000},
            {},
            {"output_bytes": 8192},
            base=_LUT,
        ),
        # DDR4 behind a long, thin tile: one token, 64 features.
        _design(
            "lut-long",
            {"lanes_m": 1, "lanes_n": 64, "lanes_k": 4, "weight_bits": (1, 2, 4, 6)},
            {
                "technology": "ddr4-2400",
                "bandwidth_bytes_per_second": 4_000_000_000,
                "latency_ns": 73.3,
            },
            {},
            {"output_bytes": 8192},
            megahertz=300,
            base=_LUT,
        ),
        # INT8 only, one token, eight lanes, four bits of a scale a cycle; a weight word is a line
        # of two channels, and buffers are so small that K is cut into chunks.
        _design(
            "serial-short",
            {
                "lanes_m": 1,
                "lanes_n": 8,
                "lanes_k": 8,
                "weight_bits": (3, 4, 5, 8),
                "activations": ("int8",),
                "tile_m": 0,
                "tile_n": 0,
                "scale_bits_per_beat": 4,
            },
            {
                "channels": 2,
                "data_bytes": 8,
                "bandwidth_bytes_per_second": 350_000_000,
                "max_burst_beats": 32,
            },
            {"queue_depth": 2, "fetch_blocks": 2, "loads_in_flight": 2},
            {"weight_bytes": 2048, "scale_bytes": 256, "output_bytes": 1024},
            base=_BIT_SERIAL,
        ),
        # Eight tiles of 2 x 2 elements: four hops; a line of 64 bytes against words of 16.
        _design(
            "serial-tiles",
            {
                "lanes_m": 4,
                "lanes_n": 8,
                "lanes_k": 8,
                "weight_bits": (2, 3, 6, 7),
                "tile_m": 2,
                "tile_n": 2,
                "scale_bits_per_beat": 1,
            },
            {"data_bytes": 64, "bandwidth_bytes_per_second": 6_400_000_000},
            {},
            {"output_bytes": 8192},
            base=_BIT_SERIAL,
        ),
        # DDR4, FP16 only, a long tile without narrow floats' neighbours: 4 and 6 bits.
        _design(
            "serial-long",
            {
                "lanes_m": 2,
                "lanes_n": 32,
                "lanes_k": 2,
                "weight_bits": (4, 6),
                "activations": ("fp16",),
                "tile_m": 0,
                "tile_n": 8,
                "scale_bits_per_beat": 2,
            },
            {
                "technology": "ddr4-2400",
                "bandwidth_bytes_per_second": 4_000_000_000,
                "latency_ns": 73.3,
            },
            {},
            {"output_bytes": 8192},
            megahertz=300,
            base=_BIT_SERIAL,
        ),
    )
}
