"""The ``[array]`` table: what a publication's model sees in a unit with RTL, and only that."""

import dataclasses
import json
from itertools import product

import pytest

from designs.errors import InputError
from designs.files import design_from_toml, design_to_toml, library_names, load_design
from designs.units import ArraySpec
from designs.units.array import PublishedArray
from silicast.simulation import simulate
from sim.attribution import REASONS
from sim.conventions import PHYSICAL, load_conventions

CONVENTIONS = "bitmod-hpca25"
BITMOD = load_design("bitmod-28nm")

# The accelerator of BitMoD's simulator as a design of its own, simulated only.
PLAIN = design_from_toml(
    """
name = "bitmod-28nm"
description = "1024 bit-serial elements, an array"

[clock]
frequency_hz = 1_000_000_000

[unit]
kind = "array"
lanes_m = 32
lanes_n = 32
lanes_k = 4
decode_lanes_m = 16
decode_lanes_n = 64
weight_bits = [3, 4, 5, 6, 8]
families = ["bitmod", "minifloat", "flint", "int"]
max_k = 1048576
pe = "bitmod-pe"
latency_cycles = 18
bit_serial = true

[buffers]
activation_bytes = 524288
weight_bytes = 524288
scale_bytes = 16
output_bytes = 16
partial_bytes = 16

[dram]
technology = "ddr4-2400"
channels = 2
data_bytes = 16
bandwidth_bytes_per_second = 16_000_000_000
latency_ns = 73.3
max_burst_beats = 256
max_outstanding_reads = 16
max_outstanding_writes = 16
capacity_bytes = 34_359_738_368

[vector]
lanes = 64
latency = 16

[formats]
activation_bits = 16
weights = "bitmod_fp4_g128"
kv_cache_bits = 8

[silicon]
process = "28nm"
"""
)


# The table in a file -------------------------------------------------------------------------


def test_the_published_design_is_the_plain_array() -> None:
    seen = BITMOD.as_published()
    assert seen == dataclasses.replace(PLAIN, description=BITMOD.description)
    assert type(seen.unit) is ArraySpec
    assert design_from_toml(design_to_toml(seen)) == seen
    assert seen.as_published() is seen


@pytest.mark.parametrize("name", [name for name in library_names() if name != BITMOD.name])
def test_other_designs_have_no_such_table(name: str) -> None:
    design = load_design(name)
    assert design.array is None
    assert design.as_published() is design
    assert load_conventions(CONVENTIONS).seen(design) is design


def test_the_table_changes_no_hardware() -> None:
    without = dataclasses.replace(BITMOD, array=None)
    assert without.digest == BITMOD.digest
    assert without != BITMOD
    again = design_from_toml(design_to_toml(BITMOD))
    assert again == BITMOD
    assert isinstance(again.array, PublishedArray)


def test_buffers_are_the_designs_unless_named() -> None:
    own = dataclasses.replace(BITMOD.array, activation_bytes=0)
    buffers = dataclasses.replace(BITMOD, array=own).as_published().buffers
    assert buffers.activation_bytes == BITMOD.buffers.activation_bytes
    assert buffers.weight_bytes == 524288


@pytest.mark.parametrize(
    ("old", "new", "field", "allowed"),
    [
        ("lanes_m = 32", "lanes_m = 0", "array.lanes_m", "from 1 to 4096"),
        ("lanes_m = 32", "lanes_q = 32", "array.lanes_q", "decode_lanes_m"),
        ("lanes_m = 32", "lanes_m = 64", "array.decode_lanes_m", "= 2048"),
        ("decode_lanes_m = 16", "decode_lanes_m = 8", "array.decode_lanes_m", "= 1024"),
        ('pe = "bitmod-pe"', "", "array.pe", "required"),
        ("bit_serial = true", "bit_serial = 1", "array.bit_serial", "true or false"),
        ("bits_per_beat = 2", "bits_per_beat = 3", "array.bits_per_beat", "1 to 2"),
        ('"flint"', '"magic"', "array.families", "minifloat"),
        ("weight_bytes = 524288", "weight_bytes = 500", "array.weight_bytes", "power of two"),
        ("weight_bytes = 524288", "weight_bytes = -1", "array.weight_bytes", "power of two"),
    ],
)
def test_wrong_fields_are_named(old: str, new: str, field: str, allowed: str) -> None:
    head, table = design_to_toml(BITMOD).split("[array]")
    assert old in table
    with pytest.raises(InputError) as caught:
        design_from_toml(f"{head}[array]{table.replace(old, new, 1)}", "my.toml")
    message = str(caught.value)
    assert message.startswith(f"my.toml: {field}: ")
    assert allowed in message
    assert "\n" not in message


def test_an_array_has_no_array() -> None:
    head, _, table = design_to_toml(BITMOD).partition("[array]")
    text = design_to_toml(PLAIN) + "\n[array]" + table
    with pytest.raises(InputError, match=r"^my\.toml: array: .*unit\.kind = 'array'") as caught:
        design_from_toml(text, "my.toml")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^my\.toml: array: found 3; allowed: a table"):
        design_from_toml("array = 3\n" + head, "my.toml")


# Counted as published ------------------------------------------------------------------------

WEIGHTS = ("bitmod_fp4_g128", "bitmod_fp3_g128", "int6_g128", "int8_g128", "mxfp4")


@pytest.mark.parametrize("model", ["opt-1.3b", "llama3-8b", "qwen1.5-moe-a2.7b", "gemma2-2b"])
def test_counted_as_published_it_is_the_plain_array(model: str) -> None:
    """Every figure of the result: cycles, reasons, energy, area, constants, what is left out."""
    cases = product(((1, 0, None), (777, 0, None), (0, 3, 256), (0, 2, 4096)), (1, 5))
    for number, (lengths, batch) in enumerate(cases):
        options = {"batch": batch, "weights": WEIGHTS[number % len(WEIGHTS)]}
        options |= {"conventions": CONVENTIONS, "kv_cache": ("int8", "int4")[number % 2]}
        counted = simulate(model, BITMOD, *lengths, **options)
        assert counted.to_dict() == simulate(model, PLAIN, *lengths, **options).to_dict()
        assert all(operator.simulated_only for operator in counted.operators)


def test_the_switch_alone_gives_the_physical_array() -> None:
    rules = dataclasses.replace(PHYSICAL, name="arrays", products="array")
    counted = simulate("opt-1.3b", BITMOD, 256, 2, conventions=rules)
    physical = simulate("opt-1.3b", PLAIN, 256, 2)
    assert dataclasses.replace(counted, conventions=None) == physical


def test_its_trace_is_that_of_the_array(tmp_path) -> None:
    files = [tmp_path / "counted.json", tmp_path / "plain.json"]
    for design, file in zip((BITMOD, PLAIN), files, strict=True):
        simulate("gpt2", design, 64, 1, conventions=CONVENTIONS, trace=file)
    counted, plain = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert counted == plain


def test_activations_are_those_of_the_array() -> None:
    with pytest.raises(InputError, match="fp16, the activations of bitmod-28nm"):
        simulate("gpt2", BITMOD, 8, activations="int8", conventions=CONVENTIONS)
    assert simulate("gpt2", BITMOD, 8, activations="int8").activations == "int8"


# Physical ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS)
def test_physical_simulation_runs_programs(weights: str) -> None:
    """Linear layers are the hardware's, all else is not; every total is that of its parts."""
    result = simulate("opt-1.3b", BITMOD, 64, 3, weights=weights)
    plain = simulate("opt-1.3b", PLAIN, 64, 3, weights=weights)
    linear = [o for o in result.operators if o.engine == "matrix" and o.context is None]
    assert linear
    assert all(o.simulated_only == (o not in linear) for o in result.operators)
    for operator in result.operators:
        assert list(operator.total_reasons) == list(REASONS)
        assert sum(operator.total_reasons.values()) == operator.total_cycles
        assert operator.total_dram_bytes >= operator.compulsory_bytes
        assert operator.energy_joules == pytest.approx(sum(operator.energy.values()))
    for name, phase in result.phases.items():
        mine = [o for o in result.operators if o.phase == name]
        assert phase.cycles == sum(phase.reasons.values()) == sum(o.total_cycles for o in mine)
        assert phase.energy_joules == pytest.approx(sum(phase.energy.values()))
        assert phase.energy_joules == pytest.approx(sum(o.energy_joules for o in mine))
        assert phase.cycles != plain.phases[name].cycles


def test_one_token_takes_a_word_of_weights_a_cycle() -> None:
    """FP4: two words a step of 32 x 4 codes; both the unit and the bus have one a cycle."""
    result = simulate("llama2-7b", BITMOD, 0, 1, context=1)
    found = next(o for o in result.operators if o.kind == "q")
    assert found.compute_cycles == 4096 // 32 * 4096 // 4 * 2
    assert found.lane_occupancy == pytest.approx(1 / 32)
    assert found.bound == "memory"
    # 32 groups, and numbers of special values for every four of them; 32 rows of activations
    weights = 4096 * 4096 // 2 + 4096 // 32 * (32 + 8) * 32
    read = found.read_bytes / found.count
    assert weights + 32 * 4096 * 2 <= read < 1.01 * (weights + 32 * 4096 * 2)


def test_scales_are_read_with_the_numbers_of_special_values() -> None:
    """A word of numbers goes before the scales of every four groups."""
    reads = [
        simulate("gpt2", BITMOD, 0, 1, context=1, weights=weights).phases["decode"].traffic
        for weights in ("fp4_g128", "bitmod_fp4_g128")
    ]
    plain, special = (one["scale_read"] for one in reads)
    # K = 768 has 6 groups and 8 words, 3072 has 24 and 30: a quarter to a third more
    assert 1.25 * plain <= special <= 8 / 6 * plain
    assert reads[0]["weight_read"] == reads[1]["weight_read"]
