"""The lookup unit's spec: what it refuses, its widths and its times."""

import pytest

from designs.errors import InputError
from designs.files import load_design
from designs.tables import structure
from designs.units import LutSpec

REFUSED = {
    "unit.lanes_k": (2, 16, 2, (1,), 256),
    "unit.lanes_n": (2, 1, 4, (2,), 256),
    "unit.weight_bits": (2, 16, 8, (4, 9), 256),
    "unit.activations": (2, 16, 8, (8,), 256, ("bf16",)),
    "unit.table_bits": (2, 16, 8, (8,), 256, ("int8",), 4),
}


@pytest.mark.parametrize("field", REFUSED)
def test_refuses(field):
    with pytest.raises(InputError, match=field):
        LutSpec(*REFUSED[field])


@pytest.mark.parametrize(
    ("bits", "most"), [((8,), 32768), ((1, 8), 32768), ((4,), 524288), ((7,), 65536)]
)
def test_half_limits_the_reduction(bits, most):
    """65504 * 2^24 is below 2^40; times the largest code and max_k it must be below 2^63."""
    LutSpec(2, 16, 8, bits, most, ("fp16",))
    with pytest.raises(InputError, match=f"unit.max_k.*{2 * most}.*{most} with fp16"):
        LutSpec(2, 16, 8, bits, 2 * most, ("fp16",))


def test_widths_hold_their_bounds_and_no_more():
    spec = LutSpec(2, 16, 8, (8,), 32768)
    assert (spec.aligned_bits, spec.entry_bits, spec.tree_bits) == (8, 10, 11)
    for bits, bound in (
        (spec.plane_sum_bits, 255 * 128 * 32768),
        (spec.token_sum_bits, 128 * 32768),
        (spec.group_sum_bits, 128 * 128 * 32768),
        (spec.accumulator_bits, 128 * 128 * 255 * 32768),
    ):
        assert bound < 1 << (bits - 1) <= 2 * bound
    assert LutSpec(2, 16, 8, (7,), 32768).group_sum_bits == (127 * 128 * 32768).bit_length() + 1
    half = load_design("lut-tiny").unit
    assert (half.aligned_bits, half.entry_bits, half.accumulator_bits) == (15, 17, 64)


@pytest.mark.parametrize(
    ("spec", "tables", "latency"),
    [
        (LutSpec(1, 8, 4, (1, 2), 256), 1, 8),
        (LutSpec(2, 16, 8, (8,), 256, ("int8", "fp16")), 3, 10),
        (LutSpec(2, 16, 16, (8,), 256, ("int8",), 8), 2, 9),
        (LutSpec(2, 16, 32, (8,), 256, ("fp16",), 8), 4, 12),
    ],
)
def test_stages_a_design_does_not_need_do_not_exist(spec, tables, latency):
    assert (spec.table_latency, spec.latency) == (tables, latency)


def test_a_step_takes_a_word_and_a_cycle_a_plane():
    spec = LutSpec(2, 16, 8, (1, 2, 4), 256)
    for bits in spec.weight_bits:
        assert spec.beats(bits) == spec.step_words(bits) == bits
        assert spec.weight_step_bytes(bits) == bits * spec.weight_word_bytes
    with pytest.raises(ValueError, match="weight_bits"):
        spec.beats(3)


def test_the_default_shape_is_the_papers() -> None:
    """M2 N64 K4, LUT Tensor Core, figure 12; a design file may leave the geometry out."""
    spec = LutSpec()
    assert (spec.lanes_m, spec.lanes_n, spec.lanes_k) == (2, 64, 4)
    assert structure({}, LutSpec, "here") == spec
