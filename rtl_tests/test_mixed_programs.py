"""Programs no compiler writes: multiplications of all types one after the other, and wrong ones.

Operands are random bytes, so every code, activation and scale occurs. Bits equal the golden
model's and cycles the timeline's, whatever the multiplication before left behind.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from designs.files import load_design
from designs.spec import Design
from designs.units.base import CODE_TYPES, CODE_WIDTHS, SPECIAL_VALUES
from hwgen.verilated.runner import HardwareError, VerilatedAccelerator
from mapping.instruction import Instruction, encode
from mapping.isa import Buffer, Opcode
from rtl_tests.odd_designs import ODD_DESIGNS
from sim.golden import run_program
from sim.timeline import simulate_program

pytestmark = pytest.mark.rtl

DESIGNS = {
    name: ODD_DESIGNS.get(name) or load_design(name)
    for name in (
        *("lut-tiny", "lut-tables", "lut-flat", "dense-int8-tiny"),
        *("bitmod-tiny", "serial-short", "serial-tiles", "serial-long"),
    )
}
WEIGHTS, SCALES, ACTIVATIONS, OUTPUTS, PROGRAM = 0, 4096, 8192, 12288, 24576  # memory lines
LINES = 32768
PROGRAMS = 60


@pytest.fixture(scope="module")
def machines():
    made: dict[str, VerilatedAccelerator] = {}

    def machine(name: str) -> VerilatedAccelerator:
        if name not in made:
            memory = np.zeros((LINES, DESIGNS[name].line_bytes), np.uint8)
            made[name] = VerilatedAccelerator(DESIGNS[name], memory)
        return made[name]

    yield machine
    for accelerator in made.values():
        accelerator.close()


def _finite(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random bytes that are finite FP16 values pair by pair."""
    values = rng.integers(0, 1 << 16, size // 2, np.uint16)
    values[(values >> 10 & 31) == 31] ^= np.uint16(1 << 12)
    return values.view(np.uint8)


def _matmul(rng: np.random.Generator, design: Design) -> dict[str, int] | None:
    """Operands of a random MATMUL whose reads lie in the buffers; None when they do not."""
    unit, buffers = design.unit, design.buffers
    bits = int(rng.choice(unit.weight_bits))
    types = [name for name in unit.weight_types if bits in CODE_WIDTHS.get(name, (bits,))]
    code_type = str(rng.choice(types))
    special = code_type in ("float", "flint") and bool(rng.integers(2))
    odd = "bipolar" in unit.weight_types
    activations = str(rng.choice(unit.activation_formats))
    planes = int(rng.choice([1, 1, 1, 2, 3, 5, 15])) if odd else 1
    tokens = int(rng.integers(1, 4))
    least, grain = unit.least_steps(bits), unit.step_grain(bits)
    group = least + grain * int(rng.integers(0, 5))
    groups, features = int(rng.integers(1, 5)) * planes, int(rng.integers(1, 4))
    steps, scaled = group * groups, special or bool(rng.integers(2))
    stride = int(rng.integers(0, steps // planes + 3))
    room = {
        "activation_step": buffers.activation_bytes // unit.activation_step_bytes(activations)
        - (tokens - 1) * stride
        - steps // planes,
        "weight_word": (buffers.weight_bytes - features * steps * unit.weight_step_bytes(bits))
        // unit.weight_word_bytes,
        "scale_word": buffers.scale_bytes // unit.scale_word_bytes
        - features * unit.scale_words(groups, special),
    }
    if min(room.values()) < 0:
        return None
    places = {name: int(rng.integers(0, most + 1)) for name, most in room.items()}
    return places | {
        "weight_bits": bits,
        "code_type": CODE_TYPES.index(code_type),
        "special": int(special),
        **{f"special_{j}": int(rng.integers(256)) for j in range(SPECIAL_VALUES)},
        "half": int(activations == "fp16"),
        "planes": planes,
        "scaled": int(scaled),
        "accumulate": 0,
        "emit": 1,
        "activation_stride": stride,
        "tile": 0,
        "partial_tile": 0,
        "n_tiles": features,
        "m_tiles": tokens,
        "k_steps": steps,
        "group_steps": group,
    }


def _program(rng: np.random.Generator, design: Design) -> tuple[list[Instruction], int]:
    """Load all buffers, multiply up to eight times, store; and the tiles that are stored.

    Some sums are kept and added to a later product of no more tiles.
    """
    sizes = {
        Buffer.ACTIVATION: (ACTIVATIONS, design.buffers.activation_bytes),
        Buffer.WEIGHT: (WEIGHTS, design.buffers.weight_bytes),
        Buffer.SCALE: (SCALES, design.buffers.scale_bytes),
    }
    code = [
        Instruction.make(
            Opcode.LOAD,
            *(["signal_downstream"] * (buffer is Buffer.SCALE)),
            buffer=buffer,
            dram_line=first,
            buffer_line=0,
            lines=size // design.line_bytes,
        )
        for buffer, (first, size) in sizes.items()
    ]
    products: list[dict[str, int]] = []
    tiles = kept = 0
    for _ in range(200):
        found = _matmul(rng, design)
        if found is None or len(products) == 8:
            continue
        count = found["n_tiles"] * found["m_tiles"]
        found["accumulate"] = int(kept >= count and rng.integers(2))
        if len(products) < 7 and count <= design.partial_tiles and rng.random() < 0.3:
            found["emit"], kept = 0, max(kept, count)
        elif tiles + count <= design.output_tiles:
            found["tile"], tiles = tiles, tiles + count
        else:
            continue
        products.append(found)
    while not products[-1]["emit"]:
        products.pop()
    for index, found in enumerate(products):
        flags = ["wait_upstream"] * (index == 0)
        flags += ["signal_downstream"] * (index + 1 == len(products))
        code.append(Instruction.make(Opcode.MATMUL, *flags, **found))
    places = {"dram_line": OUTPUTS, "tile": 0, "tiles": tiles, "lines_per_tile": design.tile_lines}
    code.append(Instruction.make(Opcode.STORE, "wait_upstream", **places))
    return [*code, Instruction.make(Opcode.END)], tiles


def _put(machine: VerilatedAccelerator, design: Design, code: list[Instruction]) -> int:
    """Write a program to memory; its fetch blocks."""
    blocks = -(-len(code) // design.fetch_block_instructions)
    binary = encode(code).ljust(blocks * design.fetch_block_bytes, b"\0")
    lines = np.frombuffer(binary, np.uint8).reshape(-1, design.line_bytes)
    machine.memory[PROGRAM : PROGRAM + len(lines)] = lines
    return blocks


@pytest.mark.parametrize("name", DESIGNS)
def test_types_follow_each_other(machines, name: str) -> None:
    """Every third program is put out once on its way; it leaves nothing behind."""
    design, machine = DESIGNS[name], machines(name)
    rng = np.random.default_rng(11)
    memory = machine.memory
    seen: set[tuple[int, ...]] = set()
    for number in range(PROGRAMS):
        memory[:ACTIVATIONS] = rng.integers(0, 256, memory[:ACTIVATIONS].shape, np.uint8)
        tokens = memory[ACTIVATIONS:OUTPUTS]
        tokens[:] = _finite(rng, tokens.size).reshape(tokens.shape)
        memory[OUTPUTS:PROGRAM] = 0
        code, tiles = _program(rng, design)
        blocks = _put(machine, design, code)
        golden = memory.copy()
        run_program(design, code, golden)
        place = SimpleNamespace(program_line=PROGRAM)
        timeline = simulate_program(
            design, SimpleNamespace(instructions=tuple(code), placement=place, blocks=blocks)
        )
        if number % 3 == 0:
            with pytest.raises(HardwareError, match="aborted"):
                machine.run(PROGRAM, blocks, int(rng.integers(1, timeline.cycles // 2)))
            memory[OUTPUTS:PROGRAM] = 0
        counters = machine.run(PROGRAM, blocks, 2 * timeline.cycles + 10_000)
        stored = slice(OUTPUTS, OUTPUTS + tiles * design.tile_lines)
        np.testing.assert_array_equal(memory[stored], golden[stored])
        assert counters.cycles == timeline.cycles
        assert counters.compute_busy == timeline.compute_cycles
        for i in code:
            if i.opcode is Opcode.MATMUL:
                seen.add((i.weight_bits, i.code_type, i.half))
    unit = design.unit
    types = sum(
        bits in CODE_WIDTHS.get(name, (bits,))
        for bits in unit.weight_bits
        for name in unit.weight_types
    )
    assert len(seen) == types * len(unit.activation_formats), "a type that never occurred"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lut-tiny", {"weight_bits": 5}),
        ("lut-tiny", {"planes": 0}),
        ("lut-tiny", {"code_type": 1, "weight_bits": 8}),
        ("lut-tiny", {"code_type": 2}),
        ("lut-flat", {"weight_bits": 2, "half": 1}),
        ("dense-int8-tiny", {"weight_bits": 8, "code_type": 1}),
        ("dense-int8-tiny", {"special": 1, "scaled": 1}),
        ("dense-int8-tiny", {"weight_bits": 8, "half": 1}),
        ("dense-int8-tiny", {"weight_bits": 8, "planes": 2}),
        ("bitmod-tiny", {"code_type": 1}),
        ("bitmod-tiny", {"code_type": 2}),
        ("bitmod-tiny", {"code_type": 3, "weight_bits": 3}),
        ("bitmod-tiny", {"code_type": 2, "weight_bits": 4, "special": 1}),
        ("bitmod-tiny", {"special": 1, "scaled": 1}),
        ("bitmod-tiny", {"weight_bits": 5, "group_steps": 5, "k_steps": 5}),
        ("bitmod-tiny", {"group_steps": 7, "k_steps": 7}),
        ("bitmod-tiny", {"planes": 2, "k_steps": 16}),
    ],
)
def test_what_a_unit_cannot_do_is_refused(machines, name: str, changes: dict) -> None:
    """The hardware ends the program and says so; the next one runs."""
    design, machine = DESIGNS[name], machines(name)
    bits = min(design.unit.weight_bits)
    operands = {"weight_bits": bits, "planes": 1, "emit": 1, "activation_stride": 1}
    steps = design.unit.least_steps(bits)
    operands |= {"n_tiles": 1, "m_tiles": 1, "k_steps": steps, "group_steps": steps}
    zeros = (
        "code_type",
        "half",
        "special",
        "scaled",
        "accumulate",
        "weight_word",
        "activation_step",
    )
    operands |= dict.fromkeys((*zeros, "scale_word", "tile", "partial_tile"), 0)
    operands |= {f"special_{j}": 0 for j in range(SPECIAL_VALUES)}
    end = Instruction.make(Opcode.END)
    bad = Instruction.make(Opcode.MATMUL, **(operands | changes))
    with pytest.raises(HardwareError, match="bad_program"):
        machine.run(PROGRAM, _put(machine, design, [bad, end]), 5_000)
    good = Instruction.make(Opcode.MATMUL, **operands)
    assert machine.run(PROGRAM, _put(machine, design, [good, end]), 5_000).compute_busy >= 1
