"""The bit-serial unit's spec: what it refuses, its widths and its times; its generated Verilog."""

import subprocess

import pytest

from designs.errors import InputError
from designs.tables import structure
from designs.units import BitSerialSpec
from hwgen.units import BitSerialUnit
from hwgen.verilated.build import verilator_environment
from hwgen.verilog import component_verilog
from templates import render

REFUSED: dict[str, tuple] = {
    "unit.lanes_k": (8, 8, 3, (8,), 256),
    "unit.lanes_n": (8, 2, 2, (4, 8), 256),
    "unit.weight_bits": (8, 8, 4, (1, 8), 256),
    "unit.activations": (8, 8, 4, (8,), 256, ("bf16",)),
    "unit.tile_m": (8, 8, 4, (8,), 256, ("int8",), 3),
    "unit.tile_n": (8, 8, 4, (8,), 256, ("int8",), 0, 16),
    "unit.scale_bits_per_beat": (8, 8, 4, (8,), 256, ("int8",), 0, 0, 8),
}


@pytest.mark.parametrize("field", REFUSED)
def test_refuses(field):
    with pytest.raises(InputError, match=field) as refused:
        BitSerialSpec(*REFUSED[field])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bits", [True, 1.0, "1"])
def test_a_number_of_another_type_is_refused(bits):
    with pytest.raises(InputError, match="scale_bits_per_beat"):
        BitSerialSpec(scale_bits_per_beat=bits)


@pytest.mark.parametrize(("digit", "most"), [(1, 7), (2, 3), (4, 1)])
def test_hops_must_be_fewer_than_cycles_of_the_shortest_group(digit, most):
    """The first tile's totals stay until the last tile's are there."""
    lanes = 8 * (most + 1)
    spec = BitSerialSpec(8, lanes, 4, tile_n=8, scale_bits_per_beat=digit)
    assert (spec.least_group_beats, spec.hops) == (most + 1, most)
    with pytest.raises(InputError, match=f"unit.tile_[mn].*at most {most} hops.*not {most + 1}"):
        BitSerialSpec(8, lanes, 4, tile_m=4, tile_n=8, scale_bits_per_beat=digit)


@pytest.mark.parametrize(
    ("bits", "most"), [((8,), 65536), ((2, 8), 65536), ((6,), 262144), ((3,), 262144)]
)
def test_half_limits_the_reduction(bits, most):
    """65504 * 2^24 times the largest code and max_k must be below 2^63."""
    BitSerialSpec(8, 8, 4, bits, most, ("fp16",))
    with pytest.raises(InputError, match="max_k"):
        BitSerialSpec(8, 8, 4, bits, 2 * most, ("fp16",))


@pytest.mark.parametrize(
    ("bits", "largest"), [((8,), 128), ((3, 8), 128), ((6,), 32), ((3,), 24), ((4,), 24), ((2,), 2)]
)
def test_widths_hold_their_bounds_and_no_more(bits, largest):
    """The largest code is an integer's, or a special value of 16 + 8 halves."""
    spec = BitSerialSpec(8, 8, 4, bits, 4096)
    for width, bound in (
        (spec.dot_bits, largest * 128 * 4),
        (spec.group_sum_bits, largest * 128 * 4096),
        (spec.accumulator_bits, largest * 128 * 255 * 4096),
    ):
        assert bound < 1 << (width - 1) <= 2 * bound


@pytest.mark.parametrize(
    ("bits", "forms", "term", "tree", "shift"),
    [
        ((8,), ("int8",), 9, 11, 6),
        ((2,), ("int8",), 9, 11, 0),
        ((4,), ("int8",), 11, 13, 2),
        ((3, 8), ("fp16",), 18, 20, 32),
        ((5, 6), ("int8", "fp16"), 16, 18, 30),
    ],
)
def test_widths_of_terms_and_shifts(bits, forms, term, tree, shift):
    """Booth digits reach 2, floating codes 8; a digit counts up to 4^3, an exponent 2^26."""
    spec = BitSerialSpec(8, 8, 4, bits, 4096, forms)
    assert (spec.term_bits, spec.tree_bits, spec.most_shift) == (term, tree, shift)


def test_beats_are_the_papers():
    """4, 3, 2, 2 cycles for INT8, INT6, FP4, FP3 (HPCA'25, section IV-A); INT5 as INT6."""
    spec = BitSerialSpec(weight_bits=tuple(range(2, 9)))
    assert [spec.beats(bits) for bits in (8, 6, 4, 3)] == [4, 3, 2, 2]
    assert [spec.beats(bits) for bits in (7, 5, 2)] == [4, 3, 1]
    with pytest.raises(ValueError, match="weight_bits"):
        BitSerialSpec(weight_bits=(3, 4)).beats(8)


def test_words_and_least_steps():
    """A word is two bits a code; pairs of steps are not parted; groups outlast scaling."""
    spec = BitSerialSpec(weight_bits=tuple(range(2, 9)))
    assert spec.weight_word_bytes == 8 * 4 * 2 // 8
    for bits in spec.weight_bits:
        assert spec.step_words(bits) * 2 == bits
        assert spec.weight_step_bytes(bits) == 8 * 4 * bits // 8
        assert spec.step_grain(bits) == 1 + bits % 2
        steps = spec.least_steps(bits)
        assert steps % spec.step_grain(bits) == 0
        assert (steps - spec.step_grain(bits)) * spec.beats(bits) < spec.least_group_beats
        assert steps * spec.beats(bits) >= spec.least_group_beats == 8
    assert [spec.least_steps(bits) for bits in (8, 6, 5, 4, 3, 2)] == [2, 3, 4, 4, 4, 8]


@pytest.mark.parametrize(
    ("spec", "latency"),
    [
        (BitSerialSpec(), 16),
        (BitSerialSpec(lanes_k=1), 16),
        (BitSerialSpec(lanes_k=8), 17),
        (BitSerialSpec(scale_bits_per_beat=4), 10),
        (BitSerialSpec(32, 32, 4, activations=("fp16",), tile_m=8, tile_n=8), 22),
        (BitSerialSpec(16, 8, 4, tile_m=8, scale_bits_per_beat=2), 13),
    ],
)
def test_latency(spec, latency):
    """Seven stages, adder tree, scaling, hops; the RTL is measured against it (tb_unit)."""
    assert (spec.latency, spec.table_latency) == (latency, 0)


def test_the_default_is_a_tile_of_the_paper() -> None:
    """8 x 8 elements of four lanes, HPCA'25, section IV-B; a file may leave the geometry out."""
    spec = BitSerialSpec()
    assert (spec.lanes_m, spec.lanes_n, spec.lanes_k) == (8, 8, 4)
    assert (spec.tiles_m, spec.tiles_n, spec.hops) == (1, 1, 0)
    assert structure({}, BitSerialSpec, "here") == spec


ODD = {
    "integers": BitSerialSpec(1, 4, 2, (2, 6), 64),
    "int2": BitSerialSpec(1, 8, 1, (2,), 64),
    "tiles": BitSerialSpec(2, 4, 2, (3, 4, 7), 64, ("int8", "fp16"), 1, 2),
    "half": BitSerialSpec(1, 2, 4, (4,), 64, ("fp16",), scale_bits_per_beat=2),
}


@pytest.fixture(scope="module", params=ODD)
def verilog(request) -> tuple[str, str]:
    name = f"unit_{request.param}"
    return name, component_verilog(BitSerialUnit(ODD[request.param]), name)


def test_lint_clean(verilog, tmp_path) -> None:
    name, text = verilog
    (tmp_path / f"{name}.v").write_text(text)
    (tmp_path / "lint.vlt").write_text(render("verilog/lint.vlt.jinja", top=name))
    command = ["verilator", "--lint-only", "-Wall", "--top-module", name, "lint.vlt", f"{name}.v"]
    result = subprocess.run(
        command, cwd=tmp_path, env=verilator_environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "%Warning" not in result.stderr


def test_hardware_nobody_needs_is_not_there(verilog) -> None:
    """FP16, floating codes, and odd widths cost nothing where there are none."""
    name, text = verilog
    spec = ODD[name.removeprefix("unit_")]
    assert (" distance_0;" in text) == spec.has_half
    assert ("special_value_0" in text) == spec.has_float
    assert (" field_0;" in text) == spec.has_float
    assert (" top_0 =" in text) == any(bits % 2 for bits in spec.weight_bits)
    assert (" hop_0_" in text) == (spec.tiles_n > 1)
    assert (" shifts;" in text) == bool(spec.most_shift)
