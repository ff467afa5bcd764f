"""Conservation: cycles, bytes and energy of whole models add up, and never beat physics."""

import dataclasses
from functools import cache

import pytest

from designs.errors import InputError
from designs.files import library_names, load_design
from designs.parts import Cores, Flash
from mapping.formats import parse_format
from mapping.models import resolve_model
from sim.attribution import REASONS
from sim.conventions import PHYSICAL, list_conventions, load_conventions
from sim.model import simulate_model
from sim.trace import trace_totals, write_trace

MODELS = ("gemma3-270m", "gpt2-medium", "llama3.2-1b", "opt-1.3b", "qwen1.5-moe-a2.7b")
LARGE = ("llama2-7b", "mixtral-8x7b", "qwen3-30b-a3b")  # too wide for the smallest design
RULES = {"physical": PHYSICAL} | {name: load_conventions(name) for name in list_conventions()}


@cache
def simulate(model, design, rules="physical", prefill=96, decode=5, **options):
    accelerator = load_design(design) if isinstance(design, str) else design
    memory = dataclasses.replace(accelerator.dram, capacity_bytes=1 << 42)
    accelerator = dataclasses.replace(accelerator, dram=memory)
    fmt = parse_format(accelerator.formats.weights)
    spec = resolve_model(model).spec
    return accelerator, simulate_model(
        spec, accelerator, fmt, prefill, decode, rules=RULES[rules], **options
    )


def check(design, result):
    lanes = design.unit.macs * design.cores.count
    for o in result.operators:
        assert list(o.total_reasons) == list(REASONS)
        assert min(o.total_reasons.values()) >= 0
        assert sum(o.total_reasons.values()) == o.total_cycles
        assert o.cycles * o.count == pytest.approx(o.total_cycles)
        assert o.dram_bytes * o.count == pytest.approx(o.total_dram_bytes)
        assert o.read_bytes + o.write_bytes == o.total_dram_bytes
        assert o.total_dram_bytes >= o.compulsory_bytes, o.name
        bits = design.formats.kv_cache_bits if o.context else parse_format(result.weights).mean_bits
        beats = design.unit.beats(bits) if o.macs else 1
        assert o.total_cycles * lanes >= o.macs * beats, o.name
        roof = result.roof.dram_bytes_per_second * o.total_cycles / design.clock.frequency_hz
        assert o.total_dram_bytes <= roof * (1 + 1e-3), o.name
        if o.energy is not None:
            assert min(o.energy.values()) >= 0
            assert o.energy_joules == pytest.approx(sum(o.energy.values()))
    for name, phase in result.phases.items():
        mine = [o for o in result.operators if o.phase == name]
        assert phase.cycles == sum(phase.reasons.values()) == sum(o.total_cycles for o in mine)
        assert phase.dram_bytes == sum(o.total_dram_bytes for o in mine)
        assert phase.dram_bytes == phase.traffic["dram_read"] + phase.traffic["dram_write"]
        assert 0 <= phase.simulated_only_cycles <= phase.cycles
        if phase.energy is not None:
            assert phase.energy_joules == pytest.approx(sum(phase.energy.values()))
            assert phase.energy_joules == pytest.approx(sum(o.energy_joules for o in mine))
        peak = result.roof.dram_bytes_per_second * phase.seconds
        assert phase.dram_bytes <= peak * (1 + 1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("design", library_names())
def test_physical_results_are_conserved(design, model):
    check(*simulate(model, design))


@pytest.mark.parametrize("model", LARGE)
@pytest.mark.parametrize("design", ["dense-int8", "bitmod-28nm", "fp16-28nm"])
def test_large_models_are_conserved(design, model):
    check(*simulate(model, design, prefill=2048, decode=3))


@pytest.mark.parametrize("design", ["fp16-28nm", "bitmod-28nm", "dense-int8"])
@pytest.mark.parametrize("rules", list_conventions())
def test_results_under_conventions_are_conserved(design, rules):
    check(*simulate("llama2-7b", design, rules))


def test_cores_share_the_work_and_meet():
    one = load_design("dense-int8")
    cores = Cores(count=4, barrier_cycles=500, link_bytes_per_second=10**11)
    design, four = simulate("llama2-7b", dataclasses.replace(one, cores=cores))
    check(design, four)
    _, alone = simulate("llama2-7b", "dense-int8")
    for phase in ("prefill", "decode"):
        assert 2.5 < alone.phases[phase].cycles / four.phases[phase].cycles < 4
        assert four.phases[phase].traffic["link"] > 0
    # padding apart, no weight is moved twice
    moved = four.phases["decode"].dram_bytes / alone.phases["decode"].dram_bytes
    assert 1 <= moved < 1.05
    assert all(o.simulated_only for o in four.operators)


def test_cores_receive_what_the_others_computed_and_no_more():
    spec = resolve_model("llama3-8b").spec
    one = load_design("bitmod-28nm").as_published()
    cores = Cores(count=4, barrier_cycles=0, link_bytes_per_second=10**9)
    design, four = simulate("llama3-8b", dataclasses.replace(one, cores=cores), prefill=0, decode=1)
    check(design, four)
    found = {o.kind: o for o in four.operators}
    # each core lacks three quarters of an output, FP16, at one byte a cycle
    assert found["down"].reasons["dependency"] == spec.hidden * 3 // 4 * 2
    assert found["lm_head"].reasons["dependency"] == spec.vocab * 3 // 4 * 2
    outputs = {"q": 32 * 128, "k": 8 * 128, "v": 8 * 128, "attention_values": 32 * 128}
    outputs |= {"o": spec.hidden, "gate": spec.ffn, "up": spec.ffn, "down": spec.hidden}
    whole = spec.layers * sum(outputs.values()) + spec.vocab
    assert four.phases["decode"].traffic["link"] == 3 * 2 * whole


def test_heads_keep_their_scores_and_cache():
    one = load_design("dense-int8")
    cores = Cores(count=4, barrier_cycles=0, link_bytes_per_second=10**12)
    _, four = simulate("llama3-8b", dataclasses.replace(one, cores=cores), prefill=64, decode=1)
    _, alone = simulate("llama3-8b", "dense-int8", prefill=64, decode=1)
    for ours, theirs in zip(four.operators, alone.operators, strict=True):
        ratio = ours.total_dram_bytes / max(theirs.total_dram_bytes, 1)
        if ours.kind in ("softmax", "kv_append", "requantise"):
            assert ours.total_dram_bytes == theirs.total_dram_bytes
            assert ours.cycles < theirs.cycles
        elif ours.engine != "matrix":  # on every core alike
            assert ratio == 4
            assert ours.cycles == theirs.cycles
    # two key-value heads on each of 16 cores: half of them have none
    cores = dataclasses.replace(cores, count=16)
    design, many = simulate("llama3-8b", dataclasses.replace(one, cores=cores), prefill=64)
    check(design, many)


def test_a_narrow_cache_does_not_use_more_than_the_unit_has():
    one = load_design("bitmod-28nm").as_published()
    narrow = dataclasses.replace(one, formats=dataclasses.replace(one.formats, kv_cache_bits=4))
    accelerator = dataclasses.replace(narrow, dram=dataclasses.replace(one.dram, channels=8))
    spec = resolve_model("llama2-7b").spec
    result = simulate_model(spec, accelerator, parse_format("int8"), 4096)
    for phase in ("prefill",):
        needed = sum(o.macs * (2 if o.context else 4) for o in result.operators)
        lanes = result.phases[phase].cycles * accelerator.unit.macs
        assert result.phases[phase].utilization == pytest.approx(needed / lanes)
        assert result.phases[phase].utilization <= 1


def test_sums_of_experts_are_those_of_the_tokens_sent_to_them():
    _, result = simulate("mixtral-8x7b", "dense-int8", prefill=9, decode=0)
    found = {o.name: o for o in result.operators}
    assert found["layers.*.expert_up"].products == 8
    requantise = found["layers.*.expert_up_requantise"]
    assert requantise.m * requantise.products == 9 * 2


def test_a_slow_barrier_costs_its_cycles():
    one = load_design("dense-int8")
    results = []
    for barrier in (0, 1000):
        cores = Cores(count=2, barrier_cycles=barrier, link_bytes_per_second=10**11)
        results.append(simulate("gemma3-270m", dataclasses.replace(one, cores=cores))[1])
    for phase in ("prefill", "decode"):
        fast, slow = (r.phases[phase] for r in results)
        met = sum(
            o.count
            for o in results[0].operators
            if o.phase == phase and o.engine == "matrix" and o.kind != "attention_scores"
        )
        assert slow.cycles - fast.cycles == 1000 * met


def test_weights_beyond_dram_come_from_flash():
    one = load_design("dense-int8")
    spec = resolve_model("llama2-7b").spec
    flash = Flash("nvme-gen4-x4", 7_000_000_000, 80.0, 1 << 40, 20.0)
    small = dataclasses.replace(one.dram, capacity_bytes=4 << 30)
    design = dataclasses.replace(one, dram=small, flash=flash)
    fmt = parse_format("int8")
    slow = simulate_model(spec, design, fmt, 0, 4, 100)
    fast = simulate_model(spec, one, fmt, 0, 4, 100)
    check(design, slow)
    assert not slow.fits_memory
    assert all(o.simulated_only for o in slow.operators)  # no RTL reads flash
    assert not all(o.simulated_only for o in fast.operators)
    decode = slow.phases["decode"]
    missing = slow.weight_bytes + slow.kv_cache_bytes + 2 * spec.vocab * spec.hidden - (4 << 30)
    assert decode.traffic["flash_read"] == pytest.approx(4 * missing, rel=0.001)
    assert decode.seconds >= decode.traffic["flash_read"] / 7e9
    assert decode.cycles > fast.phases["decode"].cycles
    assert decode.energy["flash"] == pytest.approx(decode.traffic["flash_read"] * 8 * 20e-12)
    # what comes from flash is written to DRAM, where the operators read it
    written = decode.traffic["dram_write"] - fast.phases["decode"].traffic["dram_write"]
    assert written == decode.traffic["flash_read"]
    assert decode.traffic["dram_read"] == fast.phases["decode"].traffic["dram_read"]


def test_cores_share_one_flash():
    spec = resolve_model("llama2-7b").spec
    one = load_design("dense-int8")
    flash = Flash("nvme-gen4-x4", 7_000_000_000, 80.0, 1 << 40, 20.0)
    dram = dataclasses.replace(one.dram, capacity_bytes=1 << 30)
    cores = Cores(count=4, link_bytes_per_second=10**12)
    design = dataclasses.replace(one, dram=dram, flash=flash, cores=cores)
    result = simulate_model(spec, design, parse_format("int8"), 0, 1, 10)
    check(design, result)
    decode = result.phases["decode"]
    assert decode.traffic["flash_read"] > 2 << 30
    assert decode.seconds >= decode.traffic["flash_read"] / 7e9


def test_activations_need_memory_too():
    spec = resolve_model("llama2-7b").spec
    one = load_design("bitmod-28nm").as_published()
    one = dataclasses.replace(one, dram=dataclasses.replace(one.dram, capacity_bytes=1 << 38))
    fmt = parse_format(one.formats.weights)
    result = simulate_model(spec, one, fmt, 2048, batch=64)
    # two operands and the result of gate times up, and the residual
    activations = 2048 * 64 * (3 * spec.ffn + spec.hidden) * 2
    tables = 2 * spec.vocab * spec.hidden
    needed = result.weight_bytes + result.kv_cache_bytes + tables + activations
    for spare, fits in ((0, True), (-1, False)):
        dram = dataclasses.replace(one.dram, capacity_bytes=needed + spare)
        design = dataclasses.replace(one, dram=dram)
        if fits:
            assert simulate_model(spec, design, fmt, 2048, batch=64).fits_memory
        else:
            with pytest.raises(InputError, match=r"is 1 bytes \(1 MiB\) too large"):
                simulate_model(spec, design, fmt, 2048, batch=64)


SWITCHES = {
    "lm_head_rows": "all",
    "decode_context": "fixed",
    "causal": False,
    "sliding_windows": False,
    "vector_operators": False,
    "scores_on_chip": False,
    "mixed_sequences": False,
    "overlap": "perfect",
    "memory": "peak",
    "memory_limit": False,
    "buffer_share": "whole",
    "buffers_hold": "operator",
    "array_shape": "phase",
    "port_width": "stored",
    "group_bits": 16,
    "channel_scale": False,
    "output_reads": False,
    "leakage": False,
    "background": False,
    "encoder": False,
    "array_overhead": 1.5,
    "dram_pj_per_bit": 5.0,
    "pe_picojoules": {"bitmod-pe": 0.1},
    "products": "array",
}


def test_every_switch_changes_something():
    names = {f.name for f in dataclasses.fields(PHYSICAL)} - {"name", "description"}
    assert set(SWITCHES) == names
    whole, spec = load_design("bitmod-28nm"), resolve_model("mixtral-8x7b").spec
    design = whole.as_published()  # switches on arrays need one
    spec = dataclasses.replace(spec, sliding_window=200)
    fmt = parse_format(design.formats.weights)
    dram = dataclasses.replace(design.dram, capacity_bytes=16 << 30)
    design = dataclasses.replace(design, dram=dram)

    def figures(rules):
        try:
            found = simulate_model(spec, design, fmt, 300, 3, batch=3, rules=rules)
        except InputError:
            return "refused"
        return [(p.cycles, p.dram_bytes, p.energy_joules) for p in found.phases.values()]

    assert figures(PHYSICAL) == "refused"
    assert figures(dataclasses.replace(PHYSICAL, memory_limit=False)) != "refused"
    design = dataclasses.replace(design, dram=dataclasses.replace(dram, capacity_bytes=1 << 36))
    plain = figures(PHYSICAL)
    for switch, value in SWITCHES.items():
        if switch in ("memory_limit", "products"):  # before and after the others
            continue
        # the same name: what is kept from one simulation to the next must tell the switches
        assert figures(dataclasses.replace(PHYSICAL, **{switch: value})) != plain, switch
    assert figures(PHYSICAL) == plain
    design = dataclasses.replace(whole, dram=design.dram)
    assert figures(PHYSICAL) != plain
    assert figures(dataclasses.replace(PHYSICAL, products="array")) == plain


def test_the_name_of_the_defaults_is_taken(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "physical"\ndescription = "not so"\ncausal = false\n')
    with pytest.raises(InputError, match=r"mine\.toml.*name"):
        load_conventions(str(path))


def test_a_context_that_grows_is_the_sum_of_its_steps():
    _, many = simulate("gemma3-270m", "dense-int8", prefill=0, decode=6, context=700)
    steps = [
        simulate("gemma3-270m", "dense-int8", prefill=0, decode=1, context=700 + i)[1]
        for i in range(6)
    ]
    for field in ("cycles", "dram_bytes"):
        assert getattr(many.phases["decode"], field) == sum(
            getattr(step.phases["decode"], field) for step in steps
        )
    assert many.phases["decode"].energy_joules == pytest.approx(
        sum(step.phases["decode"].energy_joules for step in steps)
    )


def test_longer_contexts_and_wider_caches_cost_more():
    cycles = [
        simulate("llama3-8b", "dense-int8", prefill=0, decode=1, context=context)[1]
        .phases["decode"]
        .cycles
        for context in (64, 512, 4096, 8000)
    ]
    assert cycles == sorted(cycles)
    one = load_design("dense-int8")
    narrow = dataclasses.replace(one, formats=dataclasses.replace(one.formats, kv_cache_bits=4))
    wide = simulate("llama3-8b", one, prefill=0, decode=1, context=8000)[1]
    less = simulate("llama3-8b", narrow, prefill=0, decode=1, context=8000)[1]
    assert less.phases["decode"].cycles < wide.phases["decode"].cycles
    assert less.kv_cache_bytes < 0.6 * wide.kv_cache_bytes


def test_int8_cache_of_llama2_7b_has_the_size_it_must_have():
    _, result = simulate("llama2-7b", "dense-int8", prefill=0, decode=1, context=127)
    # 262,144 bytes a token of keys and values, and a 2-byte scale for each of 32 x 32 x 2
    assert result.kv_cache_bytes == 128 * (262_144 + 2 * 2 * 32 * 32)


@pytest.mark.parametrize("design", ["dense-int8", "bitmod-28nm"])
def test_a_trace_holds_every_byte_and_cycle(design, tmp_path):
    accelerator, result = simulate("mixtral-8x7b", design)
    path = tmp_path / "trace.json"
    write_trace(result, accelerator, parse_format(accelerator.formats.weights), path)
    assert trace_totals(path)["phases"] == {
        name: {"dram_bytes": phase.dram_bytes, "cycles": phase.cycles}
        for name, phase in result.phases.items()
    }
