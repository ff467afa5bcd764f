"""Products in closed form against counting tile by tile, and what buffers and banks cost."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import design_from_toml, design_to_toml, load_design
from designs.parts import Sram
from mapping.formats import parse_format
from mapping.workload import Context, Work, decode_phase, prefill_phase
from sim.conventions import PHYSICAL, load_conventions
from sim.cost.attention import attention_cost, scores_spill
from sim.cost.memory import stream_of
from sim.cost.product import linear_cost
from sim.cost.vector import vector_cost

BITMOD, FP16 = load_design("bitmod-28nm").as_published(), load_design("fp16-28nm")
FP4 = parse_format("bitmod_fp4_g128")


def linear(m, n, k, design=BITMOD, fmt=FP4, rules=PHYSICAL, phase="prefill"):
    work = Work("w", "up", "matrix", 1, m, n, k, macs=np.array([m * n * k]))
    chosen = prefill_phase(m, 1) if phase == "prefill" else decode_phase(1, m, 1)
    return linear_cost(design, rules, chosen, work, fmt)


def attention(kind, context, sharing, width, groups, design=BITMOD, rules=PHYSICAL):
    seen = int(context.widest()[-1])
    rows = sharing * context.tokens
    sizes = (rows, seen, width) if kind == "attention_scores" else (rows, width, seen)
    macs = context.pairs() * sharing * groups * width
    work = Work("a", kind, "matrix", 1, *sizes, groups, macs, context=context, head_width=width)
    phase = prefill_phase(context.tokens, 1) if context.tokens > 1 else decode_phase(1, 1, 9)
    return attention_cost(design, rules, phase, work, FP4)


@settings(deadline=None, max_examples=60)
@given(m=st.integers(1, 200), n=st.integers(1, 3000), k=st.integers(1, 40).map(lambda g: 128 * g))
def test_a_linear_layer_takes_its_tiles(m, n, k):
    cost = linear(m, n, k)
    best = min(-(-m // c) * -(-n // r) * -(-k // 4) for c, r in BITMOD.unit.shapes)
    assert cost.compute_cycles[0] >= 2 * best  # two terms a 4-bit code
    if 2 * m * k <= 262144 or n * (k * 4 + k // 128 * 10 + 32) // 8 <= 262144:
        assert cost.compute_cycles[0] == 2 * best
    assert sum(v[0] for v in cost.reasons.values()) == cost.cycles[0]
    # no element computes more than 4 products in 2 cycles, no bus moves more than a line a cycle
    assert cost.cycles[0] >= 2 * m * n * k / BITMOD.unit.macs
    assert cost.cycles[0] >= cost.read_bytes[0] / BITMOD.line_bytes
    packed = n * (k * 4 + k // 128 * 10 + 32) // 8
    assert cost.read_bytes[0] >= packed + 2 * m * k
    assert cost.write_bytes[0] == 2 * m * n


@settings(deadline=None, max_examples=80)
@given(
    tokens=st.integers(2, 150),
    sharing=st.sampled_from([1, 2, 4, 8, 40]),
    window=st.one_of(st.none(), st.integers(1, 200)),
    kind=st.sampled_from(["attention_scores", "attention_values"]),
)
def test_causal_tiles_are_those_some_token_needs(tokens, sharing, window, kind):
    context = Context(np.array([0]), tokens, window)
    cost = attention(kind, context, sharing, 64, 3)
    expected = []
    for columns, rows in BITMOD.unit.shapes:
        block = max(1, BITMOD.unit.lanes_m // sharing)
        tiles = 0
        for first in range(0, tokens, block):
            last = min(first + block, tokens)
            oldest = 0 if window is None else max(0, first + 1 - window)
            seen = last - oldest
            across = (seen, 64) if kind == "attention_scores" else (64, seen)
            tiles += (
                -(-(last - first) * sharing // columns) * -(-across[0] // rows) * -(-across[1] // 4)
            )
        expected.append(3 * 4 * tiles)  # four terms of an 8-bit cache
    assert cost.compute_cycles[0] == min(expected)
    assert cost.cycles[0] == sum(v[0] for v in cost.reasons.values())


def test_a_cache_is_read_once_when_a_head_fits():
    context = Context(np.array([999]), 1)
    cost = attention("attention_scores", context, 4, 128, 8)
    assert cost.read_bytes[0] == 8 * (1000 * (128 + 2) + 4 * 128 * 2)
    assert cost.write_bytes[0] == 0  # scores stay on chip
    values = attention("attention_values", context, 4, 128, 8)
    assert values.write_bytes[0] == 8 * 4 * 128 * 2


def test_long_contexts_pass_over_the_cache_again_or_spill():
    near, far = Context(np.array([0]), 2000), Context(np.array([0]), 4000)
    once = attention("attention_scores", near, 4, 128, 1).read_bytes[0]
    again = attention("attention_scores", far, 4, 128, 1).read_bytes[0]
    assert again > 10 * once  # 4000 positions x 130 bytes exceed half of the weight buffer
    work = Work(
        "a", "attention_scores", "matrix", 1, 1, 1, 1, context=Context(np.array([10**6]), 1)
    )
    assert scores_spill(BITMOD, PHYSICAL, work)
    assert not scores_spill(BITMOD, PHYSICAL, dataclasses.replace(work, context=near))


def test_decode_passes_are_computed_one_by_one():
    together = attention("attention_scores", Context(np.arange(50, 60), 1), 4, 128, 8)
    for i in range(10):
        alone = attention("attention_scores", Context(np.array([50 + i]), 1), 4, 128, 8)
        assert together.cycles[i] == alone.cycles[0]
        assert together.read_bytes[i] == alone.read_bytes[0]


def test_conventions_leave_out_fill_latency_and_memory_losses():
    rules = load_conventions("bitmod-hpca25")
    plain, physical = linear(256, 4096, 4096, rules=rules), linear(256, 4096, 4096)
    assert plain.cycles[0] == max(plain.compute_cycles[0], plain.memory_cycles[0])
    assert physical.cycles[0] > plain.cycles[0]
    assert plain.reasons["fill_drain"][0] == 0 < physical.reasons["fill_drain"][0]


@pytest.mark.parametrize(("name", "value"), [("array_overhead", 0.0), ("dram_pj_per_bit", -1.0)])
def test_conventions_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        dataclasses.replace(PHYSICAL, **{name: value})


def test_one_port_banks_and_single_buffers_cost_time():
    base = linear(64, 4096, 4096).cycles[0]
    one_port = dataclasses.replace(BITMOD, sram=Sram(banks=1, ports="1rw"))
    slow = linear(64, 4096, 4096, design=one_port)
    assert slow.cycles[0] > base
    assert sum(v[0] for v in slow.reasons.values()) == slow.cycles[0]
    banked = dataclasses.replace(BITMOD, sram=Sram(banks=8, ports="1rw"))
    assert linear(64, 4096, 4096, design=banked).cycles[0] == base
    single = dataclasses.replace(BITMOD, sram=Sram(double_buffered=False))
    alone = linear(64, 4096, 4096, design=single)
    assert alone.cycles[0] >= alone.compute_cycles[0] + alone.memory_cycles[0]
    # but an operand may take the whole buffer, so that less is read twice
    assert (
        linear(400, 8192, 8192, design=single).read_bytes[0] < linear(400, 8192, 8192).read_bytes[0]
    )


def test_sram_tables_are_read_written_and_checked():
    design = dataclasses.replace(BITMOD, sram=Sram(4, "1rw", False))
    assert design_from_toml(design_to_toml(design)) == design
    with pytest.raises(InputError, match=r"sram\.ports"):
        Sram(ports="2rw")
    dense = design_to_toml(load_design("dense-int8")).replace("1r1w", "1rw")
    with pytest.raises(InputError, match=r"sram\.ports.*generated buffers"):
        design_from_toml(dense)


def test_wider_formats_take_more_beats_and_bytes():
    formats = ("bitmod_fp3_g128", "bitmod_fp4_g128", "int6_g128", "int8_g128")
    costs = [linear(64, 1024, 1024, fmt=parse_format(name)) for name in formats]
    assert [c.compute_cycles[0] // (16 * 256 * 4) for c in costs] == [2, 2, 3, 4]
    read = [c.read_bytes[0] for c in costs]
    assert read == sorted(read)
    fp16 = linear(64, 1024, 1024, design=FP16, fmt=parse_format("fp16"))
    assert fp16.read_bytes[0] == 1024 * 1024 * 2 + 64 * 1024 * 2


def test_a_buffer_of_partial_sums_saves_traffic_at_large_k():
    plain = linear(256, 4096, 11008)
    buffers = dataclasses.replace(BITMOD.buffers, partial_bytes=262144)
    blocked = linear(256, 4096, 11008, design=dataclasses.replace(BITMOD, buffers=buffers))
    assert plain.read_bytes[0] > 15 * 4096 * 11008 / 2  # weights pass once for 11 tokens
    # 64 x 1024 or 128 x 512 or 256 x 256 sums of 4 bytes
    inputs, weights = 256 * 11008 * 2, 4096 * -(-(11008 * 4 + 86 * 10 + 32) // 8)
    expected = min(inputs * 4 + weights * 4, inputs * 8 + weights * 2, inputs * 16 + weights)
    assert blocked.read_bytes[0] == expected
    assert blocked.cycles[0] < plain.cycles[0]


def test_experts_do_not_share_buffers():
    eight = Work("w", "expert_up", "matrix", 1, 4, 512, 1024, 8, np.array([8 * 4 * 512 * 1024]))
    cost = linear_cost(BITMOD, PHYSICAL, decode_phase(1, 1, 1), eight, FP4)
    one = linear(4, 512, 1024)
    assert cost.read_bytes[0] == 8 * one.read_bytes[0]
    assert cost.compute_cycles[0] == 8 * one.compute_cycles[0]


def larger(design, part, field):
    """The design with twice of something."""
    whole = getattr(design, part)
    twice = dataclasses.replace(whole, **{field: 2 * getattr(whole, field)})
    return dataclasses.replace(design, **{part: twice})


ONE_SHAPE = dataclasses.replace(
    BITMOD, unit=dataclasses.replace(BITMOD.unit, decode_lanes_m=0, decode_lanes_n=0)
)
MORE = (
    ("dram", "channels"),
    ("unit", "lanes_m"),
    ("unit", "lanes_n"),
    ("unit", "lanes_k"),
    ("buffers", "activation_bytes"),
    ("buffers", "weight_bytes"),
)


@settings(deadline=None, max_examples=150)
@given(
    more=st.sampled_from(MORE),
    m=st.integers(1, 300),
    n=st.integers(1, 3000),
    k=st.integers(1, 90).map(lambda g: 128 * g),
    shrink=st.sampled_from([1, 16, 64, 1024]),
)
def test_more_hardware_is_never_slower_at_linear_layers(more, m, n, k, shrink):
    sizes = {f"{b}_bytes": 524288 // shrink for b in ("activation", "weight")}
    buffers = dataclasses.replace(ONE_SHAPE.buffers, **sizes)
    design = dataclasses.replace(ONE_SHAPE, buffers=buffers)
    few, many = linear(m, n, k, design), linear(m, n, k, larger(design, *more))
    # more lanes wait for a longer first step where they were not the bound
    first = 64 * 8 * 4 // 32 + 8 if more[0] == "unit" else 0
    assert many.cycles[0] <= few.cycles[0] + first


def whole_attention(context, sharing, design, rules=PHYSICAL):
    """Scores, softmax and values of three heads: cycles and bytes of all of them."""
    softmax = Work(
        "s", "softmax", "vector", 1, sharing * context.tokens, int(context.widest()[-1]), 1, 3
    )
    softmax = dataclasses.replace(softmax, context=context, head_width=128)
    kinds = ("attention_scores", "attention_values")
    costs = [attention(kind, context, sharing, 128, 3, design, rules) for kind in kinds]
    costs.append(vector_cost(design, rules, softmax))
    return (
        sum(cost.cycles for cost in costs),
        sum(cost.read_bytes + cost.write_bytes for cost in costs),
    )


@settings(deadline=None, max_examples=150)
@given(
    more=st.sampled_from(MORE),
    past=st.integers(0, 3000),
    tokens=st.integers(1, 300),
    sharing=st.sampled_from([1, 4, 7]),
    window=st.one_of(st.none(), st.integers(1, 400)),
    shrink=st.sampled_from([1, 16, 64, 1024]),
)
@example(("buffers", "weight_bytes"), 0, 3, 1, 2, 1024)  # windows read less than their tokens see
@example(("buffers", "weight_bytes"), 0, 8, 4, 2, 1024)
def test_more_hardware_is_never_slower_at_attention(more, past, tokens, sharing, window, shrink):
    sizes = {f"{b}_bytes": 524288 // shrink for b in ("activation", "weight")}
    buffers = dataclasses.replace(ONE_SHAPE.buffers, **sizes)
    design = dataclasses.replace(ONE_SHAPE, buffers=buffers)
    context = Context(np.array([past if tokens == 1 else 0]), tokens, window)
    few, few_bytes = whole_attention(context, sharing, design)
    many, many_bytes = whole_attention(context, sharing, larger(design, *more))
    first = 2 * (64 * 8 * 4 // 32 + 8) if more[0] == "unit" else 0
    # whether scores go to DRAM is decided by bytes, not by cycles
    assert many[0] <= 1.01 * few[0] + first
    assert many_bytes[0] <= few_bytes[0]
    assert few[0] >= few_bytes[0] / design.line_bytes
    assert few[0] * design.unit.macs >= 2 * 4 * int(context.pairs()[0]) * sharing * 3 * 128


def test_scores_take_the_way_that_moves_less():
    always = dataclasses.replace(PHYSICAL, name="through DRAM", scores_on_chip=False)
    for tokens, cheaper in ((1000, "chip"), (32768, "dram")):
        context = Context(np.array([0]), tokens)
        chosen, dram = (whole_attention(context, 4, BITMOD, r)[1][0] for r in (PHYSICAL, always))
        assert (chosen < dram) if cheaper == "chip" else (chosen == dram)


def test_passes_that_spill_do_not_change_those_that_do_not():
    buffers = dataclasses.replace(BITMOD.buffers, activation_bytes=4096, weight_bytes=65536)
    design = dataclasses.replace(BITMOD, buffers=buffers)
    past = np.array([100, 1022, 1023, 1024, 3000])  # a row of 1024 scores is half of the buffer
    cycles, moved = whole_attention(Context(past, 1), 4, design)
    alone = [whole_attention(Context(past[i : i + 1], 1), 4, design) for i in range(len(past))]
    assert cycles.tolist() == [int(found[0][0]) for found in alone]
    assert moved.tolist() == [int(found[1][0]) for found in alone]


def test_only_scores_that_are_computed_are_written():
    rules = dataclasses.replace(PHYSICAL, name="through DRAM", scores_on_chip=False)
    cost = attention("attention_scores", Context(np.array([0]), 100), 4, 128, 3, rules=rules)
    assert cost.write_bytes[0] == 2 * 3 * 4 * 100 * 101 // 2


def test_one_token_reads_each_weight_once():
    buffers = dataclasses.replace(BITMOD.buffers, activation_bytes=16384, weight_bytes=16384)
    cost = linear(1, 4096, 11008, design=dataclasses.replace(BITMOD, buffers=buffers))
    weights = 4096 * -(-(11008 * 4 + 86 * 10 + 32) // 8)
    # 22016 bytes of the token do not fit: they are read again for each tile of 64 features
    assert cost.read_bytes[0] == weights + 4096 // 64 * 22016


def test_streams_of_any_length_are_counted():
    stream = stream_of(BITMOD, PHYSICAL)
    lines = 10**15
    rate = (stream.beat / stream.sustained).limit_denominator(1 << 16)
    found = int(stream.cycles(np.array([lines * stream.line_bytes]))[0])
    assert found == -(-lines * rate.numerator // rate.denominator)
    for count in range(1, 2000, 7):
        found = int(stream.cycles(np.array([count * stream.line_bytes]))[0])
        assert found == -(-count * rate.numerator // rate.denominator)


@pytest.mark.parametrize(
    ("m", "n", "k"), [(256, 4096, 11008), (250, 4096, 4096), (77, 1500, 20480)]
)
@pytest.mark.parametrize("design", [ONE_SHAPE, FP16], ids=["bitmod", "fp16"])
def test_compute_and_traffic_follow_one_loop_order(design, m, n, k):
    fmt = parse_format(design.formats.weights)
    unit, stream = design.unit, stream_of(design, PHYSICAL)
    cost = linear(m, n, k, design, fmt)
    weight, token = -(-(k * 4 + k // 128 * 10 + 32) // 8), 2 * k
    if design is FP16:
        weight = 2 * k
    room = 262144
    steps = -(-k // unit.lanes_k) * unit.beats(fmt.mean_bits)
    best = None
    for columns, rows in unit.shapes:

        def tiles(size, piece, lanes):
            return sum(-(-min(piece, size - at) // lanes) for at in range(0, size, piece))

        plain = tiles(m, m, columns), tiles(n, n, rows)
        ways = [(plain[0], plain[1], plain[0] * plain[1])]  # nothing stays
        for kept in range(1, min(m, room // token) + 1):  # so many tokens stay
            ways.append((-(-m // kept), 1, tiles(m, kept, columns) * plain[1]))
        for kept in range(1, min(n, room // weight) + 1):  # so many features stay
            ways.append((1, -(-n // kept), plain[0] * tiles(n, kept, rows)))
        for weights, inputs, count in ways:
            moved = weights * n * weight + inputs * m * token
            time = max(count * steps, int(stream.cycles(moved, 2 * m * n)))
            best = time if best is None else min(best, time)
    assert max(cost.compute_cycles[0], cost.memory_cycles[0]) == best


@pytest.mark.parametrize("weight_bytes", [16, 1024, 524288])
def test_a_windowed_prefill_reads_every_position_some_token_sees(weight_bytes):
    """Not only those of the last token, whether scores stay on chip or go through DRAM."""
    buffers = dataclasses.replace(BITMOD.buffers, weight_bytes=weight_bytes)
    design = dataclasses.replace(BITMOD, buffers=buffers)
    context = Context(np.array([0]), 300, 2)
    for rules in (PHYSICAL, dataclasses.replace(PHYSICAL, scores_on_chip=False)):
        cost = attention("attention_scores", context, 1, 64, 1, design=design, rules=rules)
        assert cost.read_bytes[0] >= 300 * (64 + 2) + 300 * 64 * 2  # keys with scales, queries
