"""Linear layers of a whole model on the timeline, everything else on the host."""

import dataclasses
import time

import pytest

import silicast
from designs.errors import InputError
from designs.files import load_design
from mapping.formats import parse_format
from mapping.models import resolve_model
from mapping.tiling import GemmShape
from silicast.report import print_rows, print_simulation
from sim.attribution import REASONS
from sim.conventions import PHYSICAL
from sim.model import not_modelled, simulate_gemm, simulate_model

GEMMA = resolve_model("gemma3-270m").spec
DESIGN = dataclasses.replace(load_design("dense-int8"), vector=None)
INT8, INT4 = parse_format("int8"), parse_format("int4")


def simulate(prefill=16, decode=4, fmt=INT8, **options):
    return simulate_model(GEMMA, DESIGN, fmt, prefill, decode, **options)


def of_phase(result, phase):
    return {o.kind: o for o in result.operators if o.phase == phase}


def test_reasons_and_totals_add_up():
    result = simulate()
    for operator in result.operators:
        assert list(operator.reasons) == list(REASONS)
        assert sum(operator.reasons.values()) == operator.cycles
        assert operator.reasons["compute"] == operator.compute_cycles
        assert operator.total_cycles == operator.count * operator.cycles
        assert operator.memory_cycles <= operator.cycles
    for name, phase in result.phases.items():
        mine = [o for o in result.operators if o.phase == name]
        assert phase.cycles == sum(o.total_cycles for o in mine)
        assert phase.dram_bytes == sum(o.count * o.dram_bytes for o in mine)
        assert phase.seconds == phase.cycles / DESIGN.clock.frequency_hz
        assert phase.tokens_per_second == pytest.approx(phase.tokens / phase.seconds)
        assert 0 < phase.utilization <= 1


def test_counts_and_rows_of_the_phases():
    result = simulate(prefill=16, decode=4, batch=3)
    prefill, decode = of_phase(result, "prefill"), of_phase(result, "decode")
    assert list(prefill) == ["q", "k", "v", "o", "gate", "up", "down", "lm_head"]
    assert {o.m for o in prefill.values()} == {48, 3}
    assert prefill["lm_head"].m == 3  # the last position of each sequence
    assert {o.m for o in decode.values()} == {3}
    assert (prefill["q"].layers, prefill["q"].count) == (18, 18)
    assert (decode["q"].layers, decode["q"].count) == (18, 18 * 4)
    assert (decode["lm_head"].layers, decode["lm_head"].count) == (1, 4)
    assert result.phases["prefill"].tokens == 48
    assert result.phases["decode"].tokens == 12
    assert (decode["down"].n, decode["down"].k) == (640, 2048)


def test_utilization_is_of_the_unpadded_product():
    phase = simulate().phases["decode"]
    macs = 4 * GEMMA.linear_weights()
    assert phase.utilization == pytest.approx(macs / (phase.cycles * DESIGN.unit.macs))


def test_int4_moves_half_the_weights():
    eight, four = simulate().phases["decode"], simulate(fmt=INT4).phases["decode"]
    assert 0.5 < four.dram_bytes / eight.dram_bytes < 0.53
    assert four.cycles < eight.cycles
    groups = simulate(fmt=parse_format("int4_g32")).phases["decode"]
    assert four.dram_bytes < groups.dram_bytes < eight.dram_bytes


def test_traffic_holds_every_weight():
    result = simulate()
    assert result.weight_bytes >= GEMMA.linear_weights()
    assert result.phases["decode"].dram_bytes >= 4 * result.weight_bytes
    assert result.fits_memory


def test_equal_shapes_are_simulated_once():
    simulate_gemm.cache_clear()
    simulate()
    # q, k = v, o, gate = up, down in two phases; lm_head is the same in both
    assert simulate_gemm.cache_info().misses == 5 * 2 + 1
    simulate(decode=100)
    assert simulate_gemm.cache_info().misses == 11
    other = dataclasses.replace(DESIGN, clock=dataclasses.replace(DESIGN.clock))
    simulate_model(GEMMA, other, INT8, 16, 4)
    assert simulate_gemm.cache_info().misses == 11  # an equal design
    simulate(fmt=INT4)
    assert simulate_gemm.cache_info().misses == 22


def test_bound_names_the_busier_side():
    result = simulate(prefill=64)
    assert of_phase(result, "prefill")["gate"].bound == "compute"
    assert of_phase(result, "decode")["gate"].bound == "memory"
    for operator in result.operators:
        assert (operator.bound == "compute") == (operator.compute_cycles >= operator.memory_cycles)


def test_a_phase_without_tokens_has_no_rates():
    result = simulate(prefill=0, decode=1)
    empty = result.phases["prefill"]
    assert (empty.tokens, empty.cycles, empty.dram_bytes) == (0, 0, 0)
    assert empty.tokens_per_second is None
    assert empty.utilization is None
    assert {o.phase for o in result.operators} == {"decode"}


def test_context_changes_nothing_and_the_result_says_so():
    plain = simulate(prefill=0, decode=1)
    at_context = simulate(prefill=0, decode=1, context=4096)
    assert at_context.phases == plain.phases
    assert at_context.context == 4096
    assert "context" in at_context.not_modelled["attention"]


def test_what_the_host_does_is_named():
    left_out = not_modelled(DESIGN, PHYSICAL)
    for part in ("embedding lookup", "attention", "KV cache", "sampling", "biases"):
        assert part in left_out
    assert left_out.items() <= simulate().not_modelled.items()
    with_vectors = not_modelled(load_design("dense-int8"), PHYSICAL)
    assert "attention" not in with_vectors
    assert "quantising activations" in with_vectors
    assert "multiplying the cache" not in with_vectors
    # elements of 4-bit weights beside a cache of 8 bits
    assert "4 bits" in not_modelled(load_design("flexllm-u280"), PHYSICAL)["multiplying the cache"]


def test_an_empty_phase_has_joules_only_where_there_are_figures():
    for design, known in (("dense-int8", True), ("flexllm-u280", False)):
        result = silicast.simulate("llama3.2-1b", design, 0, 1)
        assert (result.phases["prefill"].energy_joules == 0.0) == known
        for phase in result.phases.values():
            assert isinstance(phase.energy_joules, float) == known


def test_a_model_larger_than_the_memory_is_refused_by_how_much():
    tiny = load_design("dense-int8-tiny")
    small = dataclasses.replace(
        tiny, dram=dataclasses.replace(tiny.dram, capacity_bytes=200_000_000)
    )
    with pytest.raises(InputError) as error:
        simulate_model(GEMMA, small, INT8, 0, 1)
    assert error.value.field == "dram.capacity_bytes"
    short = int(error.value.allowed.split("gemma3-270m is ")[1].split()[0])
    needed = int(error.value.found.split()[0])
    assert short == needed - 200_000_000
    assert needed > GEMMA.linear_weights()


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("prefill", {"prefill": -1}),
        ("prefill", {"prefill": 1.5}),
        ("prefill", {"prefill": True}),
        ("decode", {"decode": -1}),
        ("decode", {"prefill": 0, "decode": 0}),
        ("batch", {"batch": 0}),
        ("batch * prefill", {"prefill": 1 << 19, "batch": 3}),
        ("context", {"prefill": 0, "context": 0}),
        ("context", {"prefill": 4, "context": 8}),
        ("decode", {"prefill": 0, "decode": 0, "context": 8}),
    ],
)
def test_wrong_arguments_are_named(field, options):
    with pytest.raises(InputError) as error:
        simulate(**options)
    assert error.value.field == field


def test_a_shape_the_design_cannot_run():
    with pytest.raises(InputError, match="max_k"):
        simulate_gemm(DESIGN, GemmShape(1, 8, 2 * DESIGN.unit.max_k), INT8)


def test_llama2_7b_is_quick():
    simulate_gemm.cache_clear()
    spec = resolve_model("llama2-7b").spec
    begin = time.perf_counter()
    result = simulate_model(spec, DESIGN, INT8, 256, 20)
    assert time.perf_counter() - begin < 8  # 0.5 s on two cores; room for a loaded machine
    # weights stream once a token at 76.8 GB/s: no design can be faster
    assert result.phases["decode"].tokens_per_second < 76.8e9 / spec.linear_weights()


def test_lane_occupancy_counts_the_lanes_that_multiply():
    unit = DESIGN.unit
    result = simulate(prefill=16, decode=4)
    for o in result.operators:
        expected = o.m * o.n * o.k / (o.compute_cycles * unit.macs)
        assert o.lane_occupancy == pytest.approx(expected)
        full = o.m % unit.lanes_m == 0
        assert o.lane_occupancy == pytest.approx(1.0 if full else o.m / unit.lanes_m)


def test_more_tokens_than_positions_are_a_warning():
    most = GEMMA.max_context
    assert simulate(prefill=16, decode=4).warnings == ()
    assert simulate(prefill=0, decode=1, context=most - 1).warnings == ()
    (warning,) = simulate(prefill=0, decode=1, context=most).warnings
    assert str(most) in warning
    assert GEMMA.name in warning
    assert simulate(prefill=16, decode=most).to_dict()["warnings"]


def test_each_distinct_operator_is_a_step():
    steps = []
    simulate(prefill=16, decode=4, step=lambda: steps.append(1))
    assert len(steps) == 16


def test_a_group_that_does_not_divide_k_names_model_and_layer():
    with pytest.raises(InputError) as error:
        simulate(fmt=parse_format("int4_g48"))
    assert error.value.where == "model gemma3-270m"
    assert error.value.field == "layers.*.q: K"
    assert "multiple of 48" in error.value.allowed


@pytest.mark.parametrize("width", [40, 60, 80])
def test_tables_never_cut_a_figure(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    result = silicast.simulate("gemma3-270m", "dense-int8", 16, 2)
    print_simulation(result)
    print_rows("designs", silicast.designs(), {"name": "name", "macs": "MACs", "description": "d"})
    out = capsys.readouterr().out
    assert "…" not in out
    head = next(o for o in result.operators if o.kind == "lm_head")
    assert f"{head.total_cycles:,}" in out
