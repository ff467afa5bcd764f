"""Programs: proofs that hold, proofs that must fail, placement and files."""

import dataclasses
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from designs.files import load_design
from mapping.formats import parse_format
from mapping.instruction import Instruction, decode, operand_names
from mapping.isa import Opcode
from mapping.model_program import ModelProgram
from mapping.program import (
    Placement,
    check,
    compile_gemm,
)
from mapping.program_files import write_program
from mapping.proof import prove
from mapping.tiling import GemmShape

TINY = load_design("dense-int8-tiny")
INT8 = parse_format("int8")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    m=st.integers(1, 200),
    n=st.integers(1, 1500),
    k=st.integers(1, 16),
    fmt=st.sampled_from(["int8", "int4", "int4_g32", "int4_g64", "int4_g128"]),
    name=st.sampled_from(["dense-int8", "dense-int8-tiny"]),
)
def test_every_program_is_proven(m, n, k, fmt, name):
    design = load_design(name)
    program = compile_gemm(design, GemmShape(m, n, k * 128), parse_format(fmt))
    proof = check(program)
    assert proof.loads + proof.multiplications + proof.stores + 1 == len(program.relative)
    weights = program.tiling.weights
    assert proof.peak_tokens["load->compute"] <= weights.slots + program.tiling.activation_slots
    assert proof.peak_tokens["compute->store"] <= program.tiling.output_slots
    assert proof.peak_tokens["store->compute"] <= program.tiling.output_slots


def _program():
    return compile_gemm(TINY, GemmShape(3, 200, 640), INT8)


def _set(instruction: Instruction, **changes) -> Instruction:
    operands = dict(zip(operand_names(instruction.opcode), instruction.operands, strict=True))
    flags = {k: changes.pop(k) for k in list(changes) if k not in operands}
    operands.update(changes)
    return dataclasses.replace(instruction, operands=tuple(operands.values()), **flags)


def _nth(program, opcode: Opcode, number: int) -> int:
    return [i for i, x in enumerate(program.instructions) if x.opcode is opcode][number]


@pytest.mark.parametrize(
    ("opcode", "number", "changes", "message"),
    [
        (Opcode.MATMUL, 0, {"wait_upstream": False}, "MATMUL.*not known to be loaded"),
        (Opcode.LOAD, 4, {"wait_downstream": False}, "LOAD.*overwrites lines still to be read"),
        (Opcode.STORE, 0, {"wait_upstream": False}, "STORE.*tiles not known to be written"),
        (Opcode.MATMUL, 8, {"wait_downstream": False}, "MATMUL.*overwrites tiles being stored"),
        (Opcode.MATMUL, 0, {"tile": 40}, "MATMUL.*output tiles 40 .* allowed: 0 .. 31"),
        (Opcode.MATMUL, 0, {"weight_word": 250}, "MATMUL.*lines of WEIGHT"),
        (Opcode.MATMUL, 0, {"activation_stride": 300}, "MATMUL.*ACTIVATION lines not known"),
        (Opcode.MATMUL, 0, {"group_steps": 7}, "MATMUL.*a divisor of k_steps"),
        (Opcode.MATMUL, 0, {"accumulate": 1}, "MATMUL.*partial sums never kept"),
        (Opcode.LOAD, 1, {"buffer_line": 2000}, "LOAD.*lines of the buffer"),
        (Opcode.STORE, 0, {"lines_per_tile": 9}, "STORE.*lines_per_tile 9"),
    ],
)
def test_a_broken_program_is_caught(opcode, number, changes, message):
    program = _program()
    instructions = list(program.instructions)
    index = _nth(program, opcode, number)
    instructions[index] = _set(instructions[index], **changes)
    with pytest.raises(InputError, match=message):
        prove(TINY, program.tiling, instructions)


def test_tokens_left_over_or_never_given_are_caught():
    program = _program()
    last = _nth(program, Opcode.STORE, -1)
    instructions = list(program.instructions)
    instructions[last] = _set(instructions[last], signal_upstream=True)
    with pytest.raises(InputError, match="tokens store->compute: found 1; allowed: 0 left over"):
        prove(TINY, program.tiling, instructions)
    instructions = list(program.instructions)
    instructions[0] = _set(instructions[0], wait_downstream=True)
    with pytest.raises(InputError, match=r"instruction 0 LOAD: .*never given before"):
        prove(TINY, program.tiling, instructions)
    with pytest.raises(InputError, match="end: missing; allowed: an END instruction"):
        prove(TINY, program.tiling, program.instructions[:-1])
    first = _nth(program, Opcode.STORE, -1)
    without = [x for i, x in enumerate(program.instructions) if i != first]
    with pytest.raises(InputError, match=r"never stored|left over"):
        prove(TINY, program.tiling, without)


def test_loads_and_stores_stay_in_their_regions():
    program = _program()
    line = program.placement.weight_line + 1
    moved = dataclasses.replace(program.placement, weight_line=line)
    other = dataclasses.replace(program, placement=moved)
    object.__setattr__(other, "instructions", program.instructions)
    with pytest.raises(InputError, match="LOAD: found 'lines"):
        check(other)
    moved = dataclasses.replace(program.placement, output_line=program.placement.output_line + 1)
    other = dataclasses.replace(program, placement=moved)
    object.__setattr__(other, "instructions", program.instructions)
    with pytest.raises(InputError, match="stored lines: found 'a gap or an overlap'"):
        check(other)


def test_regions_are_aligned_and_apart():
    program = compile_gemm(TINY, GemmShape(5, 100, 256), parse_format("int4_g32"))
    place = dataclasses.astuple(program.placement)
    lengths = dataclasses.astuple(program.lines)
    assert place[0] == 0
    assert all(line % TINY.dram.max_burst_beats == 0 for line in place)
    for start, length, following in zip(place, lengths, place[1:], strict=False):
        assert start + length <= following
    assert len(program.binary) == program.blocks * TINY.fetch_block_bytes
    assert program.lines.program == program.blocks * TINY.fetch_block_lines
    decoded = decode(program.binary)
    assert tuple(decoded[: len(program.instructions)]) == program.instructions
    assert all(i.opcode is Opcode.NOP for i in decoded[len(program.instructions) :])


def test_placement_errors_name_the_field():
    shape = GemmShape(1, 64, 64)
    with pytest.raises(InputError, match=r"weight_line: found 0; .*behind the region of program_l"):
        compile_gemm(TINY, shape, INT8, Placement(0, 0, 0, 4096, 8192))
    with pytest.raises(InputError, match="program_line: found 3; allowed: a multiple of 16"):
        compile_gemm(TINY, shape, INT8, Placement(3, 1024, 0, 4096, 8192))
    dram = dataclasses.replace(TINY.dram, capacity_bytes=1 << 16)
    small = dataclasses.replace(TINY, dram=dram)
    with pytest.raises(InputError, match=r"dram.capacity_bytes: .*at most 4096 lines of 16 bytes"):
        compile_gemm(small, GemmShape(1, 64, 960), INT8)
    with pytest.raises(InputError, match=r"N = 1024, K = 640.*at most 65536 bytes together"):
        compile_gemm(small, GemmShape(1, 1024, 640), INT8)


def test_what_can_never_fit_is_refused_before_it_is_cut():
    begin = time.perf_counter()
    with pytest.raises(InputError, match=r"dram\.capacity_bytes: .*weights of 1099511627776 bytes"):
        compile_gemm(TINY, GemmShape(1, 1 << 30, 1 << 10), INT8)
    layers = [(f"layers.{i}.up", 1 << 20, 1 << 12) for i in range(10_000)]
    with pytest.raises(InputError, match="bytes of the model"):
        ModelProgram(TINY, INT8, layers, 8)
    assert time.perf_counter() - begin < 2


def test_a_group_that_does_not_divide_k_names_the_layer():
    with pytest.raises(InputError, match=r"down: K: found 640; .*multiple of 384.*int4_g384"):
        ModelProgram(TINY, parse_format("int4_g384"), [("q", 8, 768), ("down", 8, 640)], 8)


LAYERS = [("q", 1024, 640), ("down", 640, 2048), ("up", 2048, 640), ("q2", 1024, 640)]


def test_a_model_stores_each_layer_once_and_shares_the_rest():
    model = ModelProgram(TINY, parse_format("int4_g128"), LAYERS, max_tokens=64)
    end = 0
    for layer in model.layers.values():
        assert layer.weight_line >= end
        assert layer.scale_line >= layer.weight_line + layer.weight_lines
        end = layer.scale_line + layer.scale_lines
    for name in model.layers:
        for m in (1, 6, 64):
            program = model.operator(name, m)
            check(program)
            place, lines = program.placement, program.lines
            assert lines.weights == model.layers[name].weight_lines
            assert place.activation_line >= end
            assert place.activation_line + lines.activations <= place.output_line
            assert place.output_line + lines.outputs <= place.program_line
    assert model.operator("q", 6).relative is model.operator("q2", 6).relative
    assert model.operator("q", 6).instructions != model.operator("q2", 6).instructions


def test_model_errors():
    with pytest.raises(InputError, match="layer: found 'q'; allowed: each name once"):
        ModelProgram(TINY, INT8, [("q", 8, 8), ("q", 8, 8)], 1)
    with pytest.raises(InputError, match="at least one weight matrix"):
        ModelProgram(TINY, INT8, [], 1)
    with pytest.raises(InputError, match=r"bytes of the model: .*dram.capacity_bytes"):
        ModelProgram(TINY, INT8, [("big", 1 << 20, 2048)], 1)
    model = ModelProgram(TINY, INT8, LAYERS, 8)
    with pytest.raises(InputError, match="layer: found 'k'; allowed: one of: q, down, up, q2"):
        model.operator("k", 1)
    with pytest.raises(InputError, match="m: found 9; allowed: 1 to max_tokens = 8"):
        model.operator("q", 9)


def test_files_are_written_whole(tmp_path):
    model = ModelProgram(TINY, INT8, LAYERS, 8)
    programs = {name: model.operator(name, 1) for name in model.layers}
    paths = write_program(tmp_path / "out", programs)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "layout.json",
        "program.bin",
        "program.lst",
    ]
    binary = paths[0].read_bytes()
    layout = json.loads(paths[2].read_text())["programs"]
    for entry, program in zip(layout, programs.values(), strict=True):
        start = entry["offset_bytes"]
        assert binary[start : start + len(program.binary)] == program.binary
        assert entry["placement"]["weight_line"] == program.placement.weight_line
    assert paths[1].read_text().count("END") == len(programs)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a directory and files in it that can be written"):
        write_program(tmp_path / "file", programs)


def test_a_failed_write_leaves_things_as_they_were(tmp_path):
    model = ModelProgram(TINY, INT8, LAYERS, 8)
    programs = {"q": model.operator("q", 1)}
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "program.bin").write_bytes(b"old")
    (folder / "layout.json").mkdir()
    with pytest.raises(InputError, match=r"layout\.json: found 'Is a directory'"):
        write_program(folder, programs)
    assert (folder / "program.bin").read_bytes() == b"old"
    assert sorted(p.name for p in folder.iterdir()) == ["layout.json", "program.bin"]


def test_a_failed_write_leaves_no_new_folder(tmp_path, monkeypatch):
    model = ModelProgram(TINY, INT8, LAYERS, 8)

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        write_program(tmp_path / "new" / "deep", {"q": model.operator("q", 1)})
    assert list(tmp_path.iterdir()) == []
