"""Tiling: limits of every buffer and field, and the choices that make decoding fast."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.spec import Design
from mapping.formats import parse_format
from mapping.layout import pack_codes, unpack_codes, weight_slot_lines
from mapping.tiling import GemmShape, Split, choose_tiling, choose_weight_tiling


def changed(name: str, **parts: dict) -> Design:
    """A library design with some fields of its parts replaced."""
    design = load_design(name)
    new = {k: dataclasses.replace(getattr(design, k), **v) for k, v in parts.items()}
    return dataclasses.replace(design, **new)


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_split_deals_everything_evenly(total, parts):
    split = Split(total, parts)
    sizes = [split.size(part) for part in range(parts)]
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] == split.largest
    assert [split.start(part) for part in range(parts)] == [sum(sizes[:p]) for p in range(parts)]
    assert sum(count for _, count, _ in split.runs()) == parts


@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_codes_is_lossless_and_little_endian(bits, eights, seed):
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    codes = np.random.default_rng(seed).integers(low, high, (3, eights * 8)).astype(np.int8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (3, eights * bits)
    assert np.array_equal(unpack_codes(packed, bits), codes)
    whole = int.from_bytes(packed[1].tobytes(), "little")
    mask = (1 << bits) - 1
    assert [whole >> i * bits & mask for i in range(eights * 8)] == (
        codes[1].astype(int) & mask
    ).tolist()


@pytest.mark.parametrize("name", ["dense-int8", "dense-int8-tiny"])
@pytest.mark.parametrize("fmt", ["int8", "int4", "int4_g128"])
@pytest.mark.parametrize(("n", "k"), [(1024, 640), (640, 2048), (2048, 640), (262144, 640)])
def test_a_decode_step_keeps_memory_busy(name, fmt, n, k):
    design = load_design(name)
    tiling = choose_weight_tiling(design, n, k, parse_format(fmt))
    assert tiling.slots >= 3
    assert tiling.slots * tiling.weight_slot_bytes <= design.buffers.weight_bytes
    assert tiling.slots * tiling.scale_slot_bytes <= design.buffers.scale_bytes
    # the ring covers the round trip of a request, and padding is a small part of the traffic
    lines = int(weight_slot_lines(design, tiling).sum())
    ring = (tiling.slots - 1) * lines / tiling.slot_count
    assert ring > design.dram_latency_cycles
    assert lines * design.line_bytes <= 1.01 * n * k * parse_format(fmt).bits / 8


def test_the_large_design_uses_four_slots_of_whole_k():
    tiling = choose_weight_tiling(load_design("dense-int8"), 262144, 640, parse_format("int8"))
    assert tiling.slots == 4
    assert tiling.chunks.parts == 1
    assert tiling.columns.largest == 6  # 6 * 20480 bytes of a 131072-byte slot


def test_stored_weights_do_not_depend_on_the_tokens():
    design = load_design("dense-int8-tiny")
    fmt = parse_format("int4_g32")
    weights = {choose_tiling(design, GemmShape(m, 640, 2048), fmt).weights for m in (1, 6, 300)}
    assert len(weights) == 1


def test_a_long_reduction_is_cut_at_groups():
    tiling = choose_weight_tiling(
        load_design("dense-int8-tiny"), 64, 8192, parse_format("int4_g128")
    )
    assert tiling.chunks.parts > 1
    assert tiling.columns.largest == 1
    starts = [tiling.chunk_start(chunk) for chunk in range(tiling.chunks.parts)]
    assert all(start % tiling.unit_steps == 0 for start in starts)


@pytest.mark.parametrize(
    ("design", "shape", "fmt", "message"),
    [
        (changed("dense-int8-tiny"), (1, 8, 64), "int3", "weights: found 'int3'; allowed: int8"),
        (changed("dense-int8-tiny"), (1, 8, 64), "int4_asym_g32", "no zero points"),
        (changed("dense-int8-tiny"), (1, 8, 64), "int4_g4", "with G a multiple of 8"),
        (changed("dense-int8-tiny"), (1, 8, 72), "int4_g16", "K: found 72; .*multiple .* 16"),
        (
            changed("dense-int8-tiny"),
            (1, 8, 32776),
            "int8",
            "dense-int8-tiny: K: found 32776; allowed: at most unit.max_k = 32768",
        ),
        (
            changed("dense-int8-tiny", buffers={"activation_bytes": 1024}),
            (1, 8, 640),
            "int8",
            "buffers.activation_bytes: found 1024; allowed: at least 2048 bytes for K = 640",
        ),
        (
            changed("dense-int8-tiny", buffers={"weight_bytes": 1024}),
            (1, 8, 256),
            "int4_g256",
            "buffers.weight_bytes: found 1024; allowed: at least 2048 bytes for two slots of a gro",
        ),
    ],
)
def test_what_cannot_be_cut_says_why(design, shape, fmt, message):
    with pytest.raises(InputError, match=message):
        choose_tiling(design, GemmShape(*shape), parse_format(fmt))


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, -1, 1), (1, 1, 1.0), (True, 1, 1)])
def test_a_shape_is_of_positive_integers(shape):
    with pytest.raises(InputError, match=r"GEMM shape: [mnk]: found .*integer of at least 1"):
        GemmShape(*shape)


@given(
    m=st.integers(1, 4000),
    n=st.integers(1, 5000),
    k=st.integers(1, 256).map(lambda steps: steps * 128),
    fmt=st.sampled_from(["int8", "int4", "int4_g32", "int4_g128"]),
    name=st.sampled_from(["dense-int8", "dense-int8-tiny"]),
)
def test_everything_fits_its_buffer(m, n, k, fmt, name):
    design = load_design(name)
    if design.unit.lanes_m * k > design.buffers.activation_bytes:
        return
    tiling = choose_tiling(design, GemmShape(m, n, k), parse_format(fmt))
    weights, buffers = tiling.weights, design.buffers
    assert weights.slots * weights.weight_slot_bytes <= buffers.weight_bytes
    assert weights.slots * weights.scale_slot_bytes <= buffers.scale_bytes
    assert tiling.activation_slots * tiling.activation_slot_bytes <= buffers.activation_bytes
    assert tiling.output_slots >= 2
    assert tiling.output_slots * tiling.output_slot_tiles <= design.output_tiles
    assert weights.columns.total * design.unit.lanes_n >= n
    assert weights.steps * design.unit.lanes_k >= k
    if weights.chunks.parts > 1:
        assert weights.columns.largest == 1
        assert tiling.blocks.largest <= design.partial_tiles
