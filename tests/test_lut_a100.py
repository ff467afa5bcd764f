"""`lut-a100-like`: its rates, its parts, and what is simulated on it and its relatives."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from designs.errors import InputError
from designs.files import design_from_toml, design_to_toml, load_design
from designs.units import ArraySpec
from mapping.formats import parse_format
from mapping.models import resolve_model
from mapping.workload import Context, Work, decode_phase, prefill_phase
from silicast.fidelity.fpga import ROOFLINE
from silicast.fidelity.lut_gpu import (
    DESIGN,
    a100,
    bare_layer,
    gpu_rows,
    issue_rows,
    llama_3b,
)
from silicast.fidelity.lut_inputs import inputs
from silicast.simulation import simulate
from sim.conventions import PHYSICAL
from sim.cost.attention import attention_cost
from sim.cost.product import linear_cost

A100 = load_design(DESIGN)
UNIT = A100.unit
CONFIGS = ("A100-LUT-4X", "A100-LUT-8X", "A100 INT8 TC", "A100 FP16 TC")


def tops(design, weights):
    """Operations a second of all lanes, 10^12."""
    beats = design.unit.beats(parse_format(weights).bits)
    return 2 * design.unit.macs / beats * design.clock.frequency_hz / 1e12


def product(m, n, k, weights, design=A100, rules=ROOFLINE):
    work = Work("w", "up", "matrix", 1, m, n, k, macs=np.array([m * n * k]))
    return linear_cost(design, rules, prefill_phase(m, 1), work, parse_format(weights))


# Rates ---------------------------------------------------------------------------------------


def test_peak_is_four_times_that_of_fp16():
    """108 SMs of 1024 multiply-accumulates at 1.41 GHz; 312 and 1248 are that, rounded."""
    fp16 = 2 * 108 * 1024 * 1_410_000_000 / 1e12
    assert round(fp16) == 312
    assert tops(A100, "int2") == 4 * fp16
    assert tops(A100, "ternary") == 4 * fp16
    assert 4 * round(fp16) == inputs().config("A100-LUT-4X").peak == 1248
    assert tops(A100, "int2") == pytest.approx(1248, rel=5e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_peaks_of_table_1(config):
    design = a100(config)
    assert tops(design, design.formats.weights) == pytest.approx(
        inputs().config(config).peak, rel=5e-4
    )


def test_rate_is_inverse_to_planes():
    assert [tops(A100, f"int{bits}") / tops(A100, "int4") for bits in (1, 2, 4)] == [4, 2, 1]
    cycles = [int(product(4096, 13824, 4096, f"int{b}").cycles[0]) for b in (1, 2, 4)]
    assert cycles[1] == 2 * cycles[0]
    assert cycles[2] == 4 * cycles[0]
    physical = [
        int(product(4096, 13824, 16384, f"int{b}", rules=PHYSICAL).cycles[0]) for b in (1, 2, 4)
    ]
    assert physical[1] / physical[0] == pytest.approx(2, rel=0.03)
    assert physical[2] / physical[0] == pytest.approx(4, rel=0.03)


def test_arrays_of_the_paper():
    m, n, k = inputs().lut_tensor_core.shape
    assert UNIT.macs == 108 * 16 * m * n * k
    assert UNIT.side_by_side((UNIT.part_lanes_m, UNIT.part_lanes_n)) == 108
    assert UNIT.part_lanes_m * UNIT.part_lanes_n * UNIT.lanes_k == 16 * m * n * k
    assert not UNIT.part_lanes_m % m
    assert not UNIT.part_lanes_n % n
    assert UNIT.lanes_k == k


def test_memory_and_cuda_cores():
    dram = A100.dram
    assert dram.channels * dram.bandwidth_bytes_per_second == pytest.approx(1555e9, rel=2e-4)
    assert dram.capacity_bytes == 40 << 30
    assert A100.buffers.activation_bytes + A100.buffers.weight_bytes == 40 << 20
    assert A100.buffers.partial_bytes <= 108 * 256 * 1024
    assert A100.vector.lanes == 108 * 64


def test_ports_carry_a_plane():
    assert UNIT.weight_port_bits(128, 2) == UNIT.weight_port_bits(128, 8) == 4 * 128
    assert UNIT.activation_port_bits(16, 8) == 4 * 8 * 16


# Parts of the array --------------------------------------------------------------------------


def test_parts_take_tiles_of_their_own():
    """One product: rounds of 108 tiles of 16 x 128, if that is fewer than tiles of the whole."""
    for m, n, k in ((2048, 3200, 3200), (1024, 8640, 3200), (16, 128, 64), (1, 200, 12)):
        part = -(-(-(-m // 16) * -(-n // 128)) // 108)
        whole = -(-m // UNIT.lanes_m) * -(-n // UNIT.lanes_n)
        expected = min(part, whole) * -(-k // 4) * 2
        assert int(product(m, n, k, "int2").compute_cycles[0]) == expected


def test_parts_take_heads_of_their_own():
    """200 heads of one token: two rounds of 108 SMs, not 200 tiles one after the other."""
    context = Context(np.array([63]), 1)
    macs = context.pairs() * 200 * 100
    work = Work(
        "a", "attention_scores", "matrix", 1, 1, 64, 100, 200, macs, context=context, head_width=100
    )
    cost = attention_cost(A100, PHYSICAL, decode_phase(1, 200, 63), work, parse_format("int2"))
    assert int(cost.compute_cycles[0]) == 2 * 25 * 8
    alone = dataclasses.replace(UNIT, part_lanes_m=0, part_lanes_n=0)
    whole = dataclasses.replace(A100, unit=alone)
    cost = attention_cost(whole, PHYSICAL, decode_phase(1, 200, 63), work, parse_format("int2"))
    assert int(cost.compute_cycles[0]) == 200 * 25 * 8


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"part_lanes_m": 0}, "unit.part_lanes_m"),
        ({"part_lanes_n": 0}, "unit.part_lanes_n"),
        ({"part_lanes_m": 7}, "unit.part_lanes_m"),
        ({"part_lanes_n": 4096}, "unit.part_lanes_n"),
        ({"bits_per_beat": 3}, "unit.bits_per_beat"),
        ({"bits_per_beat": 0}, "unit.bits_per_beat"),
        ({"lanes_n": 4096}, "unit.lanes_k"),
    ],
)
def test_wrong_parts_are_refused(changes, field):
    with pytest.raises(InputError) as error:
        dataclasses.replace(UNIT, **changes)
    assert error.value.field == field


def test_the_file_is_read_back():
    assert design_from_toml(design_to_toml(A100), "again") == A100


def test_two_bits_a_beat_stay_the_default():
    unit = load_design("bitmod-28nm").as_published().unit
    assert isinstance(unit, ArraySpec)
    assert (unit.bits_per_beat, unit.part_lanes_m) == (2, 0)
    assert [unit.beats(bits) for bits in (3, 4, 5, 6, 8)] == [2, 2, 3, 3, 4]


# Models --------------------------------------------------------------------------------------


def test_bitnet_3b_is_table_1s():
    spec = resolve_model("bitnet-3b").spec
    assert (spec.layers, spec.hidden, spec.ffn, spec.head_dim) == (26, 3200, 8640, 100)
    assert spec.sub_norms
    assert spec.parameters() == pytest.approx(3.32e9, rel=2e-3)
    plain = llama_3b()
    assert plain.linear_weights() == spec.linear_weights()
    assert spec.parameters() - plain.parameters() == 26 * (3200 + 8640)


@pytest.mark.parametrize(
    ("model", "millions"),
    [("OPT-175B", 1812), ("BLOOM-176B", 2466), ("LLAMA2-70B", 856)],
)
def test_one_layer(model, millions):
    """12 h^2 of OPT and BLOOM; of LLaMA the checkpoint's: 68.98e9 - 2 x 262e6, over 80."""
    weights = sum(shape.n * shape.k for shape in bare_layer(model).layer_linears(0))
    assert weights / 1e6 == pytest.approx(millions, rel=1e-3)


def test_no_time_beats_the_arithmetic():
    """Products at the peak and weights across the bus bound every simulated time from below."""
    for line in inputs().table1[:4]:
        design = a100(line.name)
        spec = llama_3b() if line.name == "A100 FP16 TC" else resolve_model("bitnet-3b").spec
        in_layers = spec.linear_weights() - spec.vocab * spec.hidden
        bits = parse_format(design.formats.weights).mean_bits
        for tokens, batch in ((2048, 1), (1, 1024)):
            compute = 2 * in_layers * tokens * batch / (line.peak * 1.001e12)
            bus = in_layers * bits / 8 / 1555.2e9
            for rules in (ROOFLINE, PHYSICAL):
                result = simulate(spec, design, tokens, batch=batch, conventions=rules)
                assert result.phases["prefill"].seconds > max(compute, bus)


def test_faster_arrays_never_take_longer():
    times = {}
    for row in gpu_rows():
        if row.place.startswith("L15"):
            times.setdefault(row.workload.split("; ")[1], []).append((row.counted, row.physical))
    assert len(times) == 2
    for rows in times.values():
        assert len(rows) == 4
        for slow, fast in pairwise(rows):
            assert slow[0] > fast[0]
            assert slow[1] > fast[1]


def test_physical_counts_more_than_the_roofline():
    for row in gpu_rows():
        assert row.counted < row.physical
        assert row.grade == "B"
        assert row.assumption


def test_issue_bound_of_the_log():
    """2048 x 27648 x 5120 products on 442,368 one-bit lanes."""
    (row,) = issue_rows()
    m, n, k = inputs().lut_tensor_core.log_shape
    assert row.ours == m * n * k // (108 * 4096) == 655_360
    assert row.met
    assert row.ours / row.low == pytest.approx(0.815, abs=5e-4)
