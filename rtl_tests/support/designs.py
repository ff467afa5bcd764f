"""Designs under test, by name; pytest and the simulator process both look them up here."""

import dataclasses
from functools import cache

from designs.files import load_design
from designs.parts import Formats
from designs.spec import Buffers, Design
from designs.units import BitSerialSpec, DenseSpec, LutSpec

__all__ = ["DESIGNS", "test_design"]

LUT_UNITS = {
    "lut_narrow": LutSpec(1, 8, 4, (1, 2), 256),
    "lut_half": LutSpec(2, 4, 16, (2, 4), 1024, ("fp16",)),
    "lut_quantised": LutSpec(2, 4, 16, (1, 2, 3, 4, 8), 256, ("int8", "fp16"), 8),
}
"""Lookup units in otherwise equal designs."""

BIT_SERIAL_UNITS = {
    "bit_serial": BitSerialSpec(
        2, 8, 4, tuple(range(2, 9)), 1024, ("int8", "fp16"), tile_m=1, tile_n=4
    ),
    "bit_serial_narrow": BitSerialSpec(1, 8, 8, (3, 4, 5, 8), 256, scale_bits_per_beat=4),
    "bit_serial_half": BitSerialSpec(4, 8, 4, (3, 4, 6), 256, ("fp16",), 2, 4),
    "bit_serial_tiles": BitSerialSpec(4, 4, 2, (3, 4), 256, ("int8", "fp16"), 1, 4, 2),
    "bit_serial_integers": BitSerialSpec(1, 4, 2, (2, 6, 7), 256),
}
"""Bit-serial units in otherwise equal designs."""

ELEMENTS = {
    "bit_serial_element": BitSerialSpec(
        8, 8, 1, tuple(range(2, 9)), 256, ("int8", "fp16"), scale_bits_per_beat=4
    ),
}
"""Units whose elements are tried exhaustively."""

_UNITS = LUT_UNITS | BIT_SERIAL_UNITS | ELEMENTS

DESIGNS = ("tiny", "narrow", "striped", "wide_line", "lut", *_UNITS)


@cache
def test_design(name: str) -> Design:
    """A design by its test name.

    - ``tiny``: dense-int8-tiny of the library.
    - ``narrow``: one token lane, INT8 only, an 8-byte line, sums of 4 bytes.
    - ``striped``: two 8-byte channels, four token lanes, weight words of four lines and buffers
      so small that reductions are cut into chunks.
    - ``wide_line``: a 64-byte line, longer than an instruction and than a row of sums.
    - ``lut``: lut-tiny of the library.
    - ``lut_narrow``: one token lane and one table, INT8 only, 1-bit and 2-bit weights.
    - ``lut_half``: four tables a lane, FP16 only.
    - ``lut_quantised``: tables of 8 bits, every weight type and both activation formats.
    - ``bit_serial``: two by two tiles, every weight type and both activation formats.
    - ``bit_serial_narrow``: one token lane, INT8 only, four bits of a scale a cycle.
    - ``bit_serial_half``: two by two tiles, FP16 only.
    - ``bit_serial_tiles``: four rows of tiles, as many as two bits of a scale a cycle allow.
    - ``bit_serial_element``: elements of one lane, every weight type and both activation formats.
    - ``bit_serial_integers``: widths without floating codes, INT8 only.
    """
    if name == "lut":
        return load_design("lut-tiny")
    if name in _UNITS:
        unit = _UNITS[name]
        formats = Formats(activation_bits=16 if unit.activations == ("fp16",) else 8)
        base = load_design("lut-tiny" if name in LUT_UNITS else "bitmod-tiny")
        return dataclasses.replace(base, name=name, unit=unit, formats=formats)
    tiny = load_design("dense-int8-tiny")
    if name == "tiny":
        return tiny
    small = dataclasses.replace(tiny.control, queue_depth=2, fetch_blocks=2, loads_in_flight=2)
    if name == "narrow":
        return dataclasses.replace(
            tiny,
            name="narrow",
            unit=DenseSpec(1, 4, 4, (8,), 256),
            dram=dataclasses.replace(
                tiny.dram, data_bytes=8, bandwidth_bytes_per_second=800_000_000, max_burst_beats=32
            ),
            control=small,
        )
    if name == "striped":
        return dataclasses.replace(
            tiny,
            name="striped",
            unit=DenseSpec(4, 4, 16, (4, 8), 512),
            buffers=Buffers(2048, 512, 128, 512, 1024),
            dram=dataclasses.replace(
                tiny.dram,
                channels=2,
                data_bytes=8,
                bandwidth_bytes_per_second=800_000_000,
                max_burst_beats=16,
                max_outstanding_reads=4,
            ),
            control=small,
        )
    if name == "wide_line":
        return dataclasses.replace(
            tiny,
            name="wide_line",
            unit=DenseSpec(2, 8, 8, (4, 8), 256),
            dram=dataclasses.replace(
                tiny.dram, data_bytes=64, bandwidth_bytes_per_second=6_400_000_000
            ),
        )
    raise KeyError(name)


test_design.__test__ = False  # type: ignore[attr-defined]  # a helper, not a pytest case
