"""Design files: loss-free round trip, derived figures, and errors that name the field."""

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import design_from_toml, design_to_toml, library_names, load_design
from designs.spec import Design
from designs.units import UNIT_SPECS, DenseSpec

TINY = load_design("dense-int8-tiny")


def test_library_lists_both_designs() -> None:
    assert {"dense-int8", "dense-int8-tiny"} <= set(library_names())


@pytest.mark.parametrize("name", library_names())
def test_library_round_trip(name: str) -> None:
    design = load_design(name)
    assert design.name == name
    again = design_from_toml(design_to_toml(design))
    assert again == design
    assert again.digest == design.digest


powers = st.sampled_from


@given(
    lanes=st.tuples(powers([1, 2, 4]), powers([4, 8, 16]), powers([4, 8, 16])),
    bits=powers([(4,), (8,), (4, 8)]),
    frequency=st.integers(1_000_000, 2_000_000_000),
    latency=st.floats(0.1, 1000.0),
    description=st.text(max_size=40).filter(str.isprintable),
)
def test_round_trip_without_loss(lanes, bits, frequency, latency, description) -> None:
    design = Design(
        name="random",
        description=description,
        clock=dataclasses.replace(TINY.clock, frequency_hz=frequency),
        unit=DenseSpec(*lanes, weight_bits=bits, max_k=4096),
        buffers=dataclasses.replace(TINY.buffers, output_bytes=1 << 20, partial_bytes=1 << 20),
        dram=dataclasses.replace(
            TINY.dram, bandwidth_bytes_per_second=frequency * 4, latency_ns=latency
        ),
    )
    assert design_from_toml(design_to_toml(design)) == design


def test_big_design_is_1024_macs_elongated_in_n_and_k() -> None:
    unit = load_design("dense-int8").unit
    assert unit.macs == 1024
    assert unit.lanes_n > unit.lanes_m < unit.lanes_k


def test_derived_memory_timing() -> None:
    design = load_design("dense-int8")
    assert design.line_bytes == 256
    assert design.dram_latency_cycles == 22  # 73.3 ns at 300 MHz is 21.99 cycles
    assert design.dram_beat_cycles == 1
    slow = dataclasses.replace(
        TINY, dram=dataclasses.replace(TINY.dram, bandwidth_bytes_per_second=700_000_000)
    )
    assert slow.dram_beat_cycles == Fraction(16, 7)


@pytest.mark.parametrize(
    ("old", "new", "field", "allowed"),
    [
        ("lanes_m = 2", "lanes_q = 2", "unit.lanes_q", "lanes_m"),
        ("lanes_m = 2", "lanes_m = 3", "unit.lanes_m", "power of two"),
        ("lanes_m = 2", 'lanes_m = "2"', "unit.lanes_m", "an integer"),
        ("lanes_m = 2", "lanes_m = true", "unit.lanes_m", "an integer"),
        ('kind = "dense"', 'kind = "magic"', "unit.kind", ", ".join(UNIT_SPECS)),
        ('kind = "dense"', "", "unit.kind", "one of"),
        ("[4, 8]", "[5]", "unit.weight_bits", "[4, 8]"),
        ("[4, 8]", "[]", "unit.weight_bits", "[4, 8]"),
        ("weight_bytes = 16384", "weight_bytes = 0", "buffers.weight_bytes", "power of two"),
        ("weight_bytes = 16384", "weight_bytes = 64", "buffers.weight_bytes", "one tile fits"),
        ("channels = 1", "channels = 3", "dram.channels", "power of two"),
        ("latency_ns = 200.0", "latency_ns = 0.0", "dram.latency_ns", "above 0"),
        ("latency_ns = 200.0", "", "dram.latency_ns", "required"),
        ("1600000000", "1600000001", "dram.bandwidth_bytes_per_second", "at most"),
        ("max_burst_beats = 64", "max_burst_beats = 512", "dram.max_burst_beats", "to 256"),
        ("max_burst_beats = 64", "max_burst_beats = 8", "dram.max_burst_beats", "at least 16"),
        ("queue_depth = 8", "queue_depth = 1", "control.queue_depth", "from 2"),
        ('name = "dense-int8-tiny"', 'name = "a b"', "name", "letters"),
        ('name = "dense-int8-tiny"', 'name = "日本"', "name", "ASCII"),
        ('technology = "ideal"', 'technology = "a\\nb"', "dram.technology", "one line"),
        ("[clock]", "[clocks]", "clocks", "clock"),
    ],
)
def test_wrong_field_is_named(old: str, new: str, field: str, allowed: str) -> None:
    text = design_to_toml(TINY)
    assert old in text
    with pytest.raises(InputError) as caught:
        design_from_toml(text.replace(old, new), "my.toml")
    message = str(caught.value)
    assert message.startswith(f"my.toml: {field}: ")
    assert allowed in message
    assert "\n" not in message


def test_no_toml_and_no_file() -> None:
    with pytest.raises(InputError, match="TOML document"):
        design_from_toml("[unit", "my.toml")
    with pytest.raises(InputError, match="dense-int8-tiny"):
        load_design("no-such-design")


def test_widths_hold_the_extremes() -> None:
    """Corner operands at the longest reduction reach the derived widths and stay inside."""
    unit = TINY.unit
    dot = 128 * 128 * unit.lanes_k
    assert dot < 1 << (unit.dot_bits - 1) <= 2 * dot
    total = 128 * 128 * 255 * unit.max_k
    assert total < 1 << (unit.accumulator_bits - 1) <= 2 * total
    assert unit.result_bytes == 8
    assert DenseSpec(2, 8, 8, weight_bits=(4,), max_k=8192).result_bytes == 4


def test_a_design_too_large_to_build_is_refused() -> None:
    with pytest.raises(InputError, match="lanes_k of at most 65536"):
        DenseSpec(64, 64, 64, weight_bits=(8,), max_k=4096)
    with pytest.raises(InputError, match="whole bytes"):
        DenseSpec(1, 1, 1, weight_bits=(4, 8), max_k=4096)
    with pytest.raises(InputError, match=r"factor of 1024"):
        dataclasses.replace(
            TINY,
            unit=DenseSpec(1, 1, 1, weight_bits=(8,), max_k=4096),
            dram=dataclasses.replace(TINY.dram, channels=64, data_bytes=32),
        )
