"""The golden model against the arithmetic contract, on many designs and shapes."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from designs.spec import Buffers, Design
from mapping.formats import WeightFormat, parse_format
from mapping.instruction import Instruction
from mapping.isa import Opcode
from mapping.layout import pack_activations, pack_scales, pack_weights
from mapping.model_program import ModelProgram
from mapping.program import GemmProgram, check, compile_gemm
from mapping.quantise import QuantisedWeights, exact_sums, quantise
from mapping.tiling import GemmShape
from sim.golden import read_outputs, run_program

FORMATS = ["int8", "int4", "int4_g32", "int4_g64", "int4_g128"]


def random_weights(rng: np.random.Generator, n: int, k: int, fmt: WeightFormat) -> QuantisedWeights:
    """Codes and scales over their whole range, the most negative code included."""
    low, high = -(1 << (fmt.bits - 1)), 1 << (fmt.bits - 1)
    codes = rng.integers(low, high, (n, k), dtype=np.int8)
    scales = rng.integers(1, 256, (n, fmt.groups(k))).astype(np.uint8) if fmt.scaled else None
    return QuantisedWeights(fmt, codes, scales, None, np.ones(n, np.float32))


def memory_of(
    program: GemmProgram, weights: QuantisedWeights, activations: np.ndarray
) -> np.ndarray:
    """A memory with everything in place; all other bytes are noise."""
    design, place, lines = program.design, program.placement, program.lines
    rng = np.random.default_rng(0)
    last = place.output_line + lines.outputs
    memory = rng.integers(0, 256, (last, design.line_bytes), dtype=np.uint8)
    for line, content in (
        (place.weight_line, pack_weights(design, weights, program.tiling)),
        (place.scale_line, pack_scales(design, weights, program.tiling)),
        (place.activation_line, pack_activations(design, activations, program.tiling)),
    ):
        memory[line : line + len(content)] = content
    return memory


def assert_exact(design: Design, m: int, n: int, k: int, fmt: WeightFormat, seed: int) -> None:
    """Compile, prove, run and compare with the contract."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, n, k, fmt)
    activations = rng.integers(-128, 128, (m, k)).astype(np.int8)
    program = compile_gemm(design, GemmShape(m, n, k), fmt)
    check(program)
    memory = memory_of(program, weights, activations)
    before = memory.copy()
    run_program(design, program, memory)
    assert np.array_equal(read_outputs(program, memory), exact_sums(activations, weights))
    first = program.placement.output_line
    assert np.array_equal(memory[:first], before[:first])


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    m=st.integers(1, 64),
    n=st.integers(1, 512),
    k=st.integers(1, 2048),
    name=st.sampled_from(FORMATS),
    design=st.sampled_from(["dense-int8", "dense-int8-tiny"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_library_designs_compute_the_contract(m, n, k, name, design, seed):
    fmt = parse_format(name)
    if fmt.group:
        k = -(-k // fmt.group) * fmt.group
    assert_exact(load_design(design), m, n, k, fmt, seed)


def why_not(design: Design, m: int, n: int, k: int, fmt: WeightFormat) -> InputError | None:
    """The error that says why a design cannot run a product; None when it can."""
    try:
        compile_gemm(design, GemmShape(m, n, k), fmt)
    except InputError as error:
        return error
    return None


@st.composite
def odd_designs(draw) -> Design:
    """Small designs of uneven geometry: words larger and smaller than lines, tiny buffers."""
    tiny = load_design("dense-int8-tiny")
    unit = dataclasses.replace(
        tiny.unit,
        lanes_m=draw(st.sampled_from([1, 2, 4, 8])),
        lanes_n=draw(st.sampled_from([1, 2, 4, 16, 32])),
        lanes_k=draw(st.sampled_from([2, 4, 8, 16, 32])),
        max_k=draw(st.sampled_from([512, 4096])),
    )
    channels = draw(st.sampled_from([1, 2, 4]))
    data_bytes = draw(st.sampled_from([8, 16, 64]))
    fetch_lines = max(1, 256 // (channels * data_bytes))  # one fetch is one burst
    dram = dataclasses.replace(
        tiny.dram,
        channels=channels,
        data_bytes=data_bytes,
        bandwidth_bytes_per_second=800_000_000,
        max_burst_beats=draw(st.sampled_from([fetch_lines, 2 * fetch_lines, 64])),
    )
    large = Buffers(1 << 24, 1 << 24, 1 << 24, 1 << 24, 1 << 24)
    design = dataclasses.replace(tiny, unit=unit, dram=dram, buffers=large)
    line = design.line_bytes

    def size(least: int) -> int:
        return (1 << max(4, (least - 1).bit_length())) << draw(st.integers(0, 4))

    buffers = Buffers(
        activation_bytes=size(max(line, unit.lanes_m * 512)),
        weight_bytes=size(2 * max(line, unit.weight_word_bytes)),
        scale_bytes=size(2 * max(line, unit.scale_word_bytes)),
        output_bytes=size(2 * design.tile_lines * line),
        partial_bytes=size(design.partial_tile_bytes),
    )
    return dataclasses.replace(design, buffers=buffers)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    design=odd_designs(),
    m=st.integers(1, 40),
    n=st.integers(1, 130),
    k=st.integers(1, 500),
    name=st.sampled_from(FORMATS),
    seed=st.integers(0, 2**32 - 1),
)
def test_odd_designs_compute_the_contract_or_say_what_is_too_small(design, m, n, k, name, seed):
    fmt = parse_format(name)
    if fmt.group:
        k = -(-k // fmt.group) * fmt.group
    error = why_not(design, m, n, k, fmt)
    if error is None:
        assert_exact(design, m, n, k, fmt, seed)
    else:
        allowed = ("buffers.weight_bytes", "unit.lanes_n", "K", "weights")
        assert error.field in allowed, str(error)


def test_extreme_sums_do_not_overflow():
    design = load_design("dense-int8-tiny")
    k = 8192
    fmt = parse_format("int8_g8192")
    codes = np.full((8, k), -128, np.int8)
    scales = np.full((8, 1), 255, np.uint8)
    weights = QuantisedWeights(fmt, codes, scales, None, np.ones(8, np.float32))
    big = dataclasses.replace(design.buffers, weight_bytes=1 << 20)
    design = dataclasses.replace(design, buffers=big)
    activations = np.full((1, k), -128, np.int8)
    program = compile_gemm(design, GemmShape(1, 8, k), fmt)
    memory = memory_of(program, weights, activations)
    run_program(design, program, memory)
    assert (read_outputs(program, memory) == 128 * 128 * 255 * k).all()


def test_a_model_runs_from_one_memory():
    design = load_design("dense-int8-tiny")
    fmt = parse_format("int4_g32")
    layers = [("a", 96, 128), ("b", 40, 256), ("c", 96, 128)]
    model = ModelProgram(design, fmt, layers, max_tokens=8)
    memory = np.zeros((model.memory_lines(), design.line_bytes), np.uint8)
    rng = np.random.default_rng(3)
    stored = {}
    for name, n, k in layers:
        stored[name] = quantise(rng.standard_normal((n, k)), fmt)
        model.write_weights(memory, name, stored[name])
    for m in (1, 5, 8):
        for name, _, k in layers:
            program = model.operator(name, m)
            activations = rng.integers(-127, 128, (m, k)).astype(np.int8)
            lines = pack_activations(design, activations, program.tiling)
            first = program.placement.activation_line
            memory[first : first + len(lines)] = lines
            run_program(design, program.binary, memory)
            expected = exact_sums(activations, stored[name])
            assert np.array_equal(read_outputs(program, memory), expected)


def test_wrong_programs_are_refused():
    design = load_design("dense-int8-tiny")
    program = compile_gemm(design, GemmShape(1, 8, 64), parse_format("int8"))
    memory = np.zeros((10, design.line_bytes), np.uint8)
    with pytest.raises(InputError, match=r"instruction 0 LOAD: dram_line: found .*0 \.\. 9"):
        run_program(design, program, memory)
    with pytest.raises(InputError, match="design digest"):
        run_program(load_design("dense-int8"), program, memory)
    with pytest.raises(InputError, match="memory: shape"):
        run_program(design, program, memory[:, :8])
    with pytest.raises(InputError, match="an END instruction"):
        run_program(design, [Instruction(Opcode.NOP)], memory)


def test_wrong_arrays_are_refused():
    design = load_design("dense-int8-tiny")
    fmt = parse_format("int8")
    program = compile_gemm(design, GemmShape(2, 8, 64), fmt)
    with pytest.raises(InputError, match=r"activations: shape: .*int8 \(2, 64\)"):
        pack_activations(design, np.zeros((2, 63), np.int8), program.tiling)
    weights = random_weights(np.random.default_rng(0), 8, 64, parse_format("int4"))
    with pytest.raises(InputError, match="weights: format: found 'int4'; allowed: int8"):
        pack_weights(design, weights, program.tiling)
    with pytest.raises(InputError, match=r"weights: shape: .*\(8, 64\)"):
        pack_weights(design, random_weights(np.random.default_rng(0), 9, 64, fmt), program.tiling)


def test_a_language_model_head_runs_fast():
    design = load_design("dense-int8")
    fmt = parse_format("int8")
    n, k = 262144, 640
    rng = np.random.default_rng(5)
    weights = random_weights(rng, n, k, fmt)
    activations = rng.integers(-128, 128, (1, k)).astype(np.int8)
    program = compile_gemm(design, GemmShape(1, n, k), fmt)
    memory = memory_of(program, weights, activations)
    begin = time.perf_counter()
    run_program(design, program, memory)
    seconds = time.perf_counter() - begin
    assert np.array_equal(read_outputs(program, memory), exact_sums(activations, weights))
    assert seconds < 3  # 0.2 s on an idle core
