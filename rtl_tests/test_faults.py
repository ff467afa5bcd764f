"""Programs that go wrong end, say so, and leave the accelerator usable."""

import numpy as np
import pytest

from designs.files import load_design
from hwgen.verilated.runner import HardwareError, VerilatedAccelerator
from mapping.formats import parse_format
from mapping.instruction import Instruction, encode
from mapping.isa import Opcode
from mapping.program import compile_gemm
from mapping.quantise import exact_sums
from mapping.tiling import GemmShape
from silicast.memory import (
    clear_outputs,
    read_sums,
    write_activations,
    write_instructions,
    write_weights,
)
from silicast.verification import random_activations, random_weights

pytestmark = pytest.mark.rtl

TINY = load_design("dense-int8-tiny")
LINES = 4096
PROGRAM_LINE = 2048
END = Instruction.make(Opcode.END)


def load(**changes: int) -> Instruction:
    operands = {"buffer": 0, "dram_line": 0, "buffer_line": 0, "lines": 4} | changes
    return Instruction.make(Opcode.LOAD, **operands)


def matmul(**changes: int) -> Instruction:
    operands = {
        "weight_bits": 8,
        "scaled": 0,
        "accumulate": 0,
        "emit": 1,
        "weight_word": 0,
        "code_type": 0,
        "half": 0,
        "planes": 1,
        "special": 0,
        **dict.fromkeys(("special_0", "special_1", "special_2", "special_3"), 0),
        "activation_step": 0,
        "activation_stride": 1,
        "scale_word": 0,
        "tile": 0,
        "partial_tile": 0,
        "n_tiles": 1,
        "m_tiles": 1,
        "k_steps": 1,
        "group_steps": 1,
    }
    return Instruction.make(Opcode.MATMUL, **(operands | changes))


def store(*flags: str, **changes: int) -> Instruction:
    operands = {"dram_line": 1024, "tile": 0, "tiles": 1, "lines_per_tile": 4} | changes
    return Instruction.make(Opcode.STORE, *flags, **operands)


@pytest.fixture(scope="module")
def machine():
    with VerilatedAccelerator(TINY, np.zeros((LINES, TINY.line_bytes), np.uint8)) as accelerator:
        yield accelerator


def put(machine: VerilatedAccelerator, code: bytes) -> int:
    """Write a program to memory; its fetch blocks."""
    size = TINY.fetch_block_bytes
    code = code.ljust(-(-len(code) // size) * size, b"\0")
    lines = np.frombuffer(code, np.uint8).reshape(-1, TINY.line_bytes)
    machine.memory[PROGRAM_LINE : PROGRAM_LINE + len(lines)] = lines
    return len(code) // size


def good_program_runs(machine: VerilatedAccelerator) -> None:
    fmt = parse_format("int4_g32")
    program = compile_gemm(TINY, GemmShape(3, 20, 64), fmt)
    generator = np.random.default_rng(0)
    codes, activations = (
        random_weights(generator, 20, 64, fmt),
        random_activations(generator, 3, 64),
    )
    write_instructions(machine.memory, program)
    write_weights(machine.memory, program, codes)
    write_activations(machine.memory, program, activations)
    clear_outputs(machine.memory, program)
    machine.run(program.placement.program_line, program.blocks, 100_000)
    expected = exact_sums(activations, codes)
    np.testing.assert_array_equal(read_sums(machine.memory, program), expected)


UNKNOWN_OPCODE = (9).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (UNKNOWN_OPCODE + encode([END]), "bad_program"),
        (encode([load(), load()]), "bad_program"),  # no END
        (encode([load(lines=0), END]), "bad_program"),
        (encode([matmul(n_tiles=0), END]), "bad_program"),
        (encode([matmul(k_steps=0), END]), "bad_program"),
        (encode([matmul(group_steps=0), END]), "bad_program"),
        (encode([matmul(weight_bits=3), END]), "bad_program"),
        (encode([store(tiles=0), END]), "bad_program"),
        (encode([store(lines_per_tile=0), END]), "bad_program"),
        (encode([load(dram_line=LINES - 2), END]), "memory_error"),
        (encode([store(dram_line=LINES + 64), END]), "memory_error"),
        (encode([store("wait_upstream"), END]), "aborted"),  # a token that never comes
    ],
)
def test_a_bad_program_ends(machine, code: bytes, told: str) -> None:
    with pytest.raises(HardwareError, match=told):
        machine.run(PROGRAM_LINE, put(machine, code), 5_000)
    good_program_runs(machine)


def test_a_program_outside_memory_ends(machine) -> None:
    with pytest.raises(HardwareError, match="memory_error, aborted"):
        machine.run(LINES + 1024, 3, 5_000)
    good_program_runs(machine)


def test_no_blocks_end_at_once(machine) -> None:
    with pytest.raises(HardwareError, match="bad_program"):
        machine.run(PROGRAM_LINE, 0, 5_000)
    good_program_runs(machine)


def test_nothing_behind_end_is_executed(machine) -> None:
    blocks = put(machine, encode([load(), END, load(), store(), END]))
    counters = machine.run(PROGRAM_LINE, blocks, 5_000)
    assert counters.read_lines == TINY.fetch_block_lines + 4
    assert counters.write_lines == 0


def test_abort_in_the_middle_keeps_memory_traffic_whole(machine) -> None:
    """A long program is put out while bursts are in flight; the next one is not disturbed."""
    code = encode([load(lines=256) for _ in range(23)] + [END])
    with pytest.raises(HardwareError, match="aborted"):
        machine.run(PROGRAM_LINE, put(machine, code), 700)
    good_program_runs(machine)


def test_the_memory_model_checks_the_bus(machine) -> None:
    """A program that is not aligned to its fetch block makes a burst across 4 KB."""
    per_page = 4096 // TINY.dram.data_bytes
    with (
        VerilatedAccelerator(TINY, machine.memory) as other,
        pytest.raises(HardwareError, match="4 KB boundary"),
    ):
        other.run(PROGRAM_LINE + per_page - 8, 1, 5_000)
