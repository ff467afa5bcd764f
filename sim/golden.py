"""The golden model: what a program computes, bit for bit.

Interprets the instructions themselves, in program order, on a memory of lines: buffers are
byte arrays, a LOAD copies lines, a MATMUL unpacks and multiplies what lies in the buffers, a
STORE copies tiles back. Nothing is known of the product the program stands for, so an error of
the compiler shows as wrong sums.

The arithmetic itself is in `sim.golden_products`.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.spec import Design
from designs.units.base import IDENTIFIED_GROUPS
from mapping.code_books import decode_values
from mapping.digits import unpack_digits
from mapping.instruction import Instruction, decode
from mapping.isa import Buffer, Opcode
from mapping.layout import ACTIVATION_TYPES, unpack_codes, unpack_outputs
from mapping.multiplication import (
    activation_format,
    activation_index,
    check_multiplication,
    code_type,
    special_values,
)
from mapping.planes import unpack_planes
from mapping.program import GemmProgram
from sim.golden_products import group_sums, scale_groups

__all__ = ["read_outputs", "run_program"]


def run_program(
    design: Design, program: bytes | GemmProgram | Sequence[Instruction], memory: NDArray[np.uint8]
) -> None:
    """Run a program to its END; outputs are written into ``memory``.

    Parameters
    ----------
    design : Design
        The accelerator.
    program : bytes or GemmProgram or sequence of Instruction
        A program; bytes (and the ``binary`` of a GemmProgram) are decoded first.
    memory : uint8 (lines, line_bytes)
        Packed weights, scales and activations, at the lines the instructions name.

    Raises
    ------
    InputError
        The program was compiled for another design, an instruction cannot be decoded or
        addresses more than a buffer or the memory, or there is no END.
    """
    if isinstance(program, GemmProgram):
        if program.design_digest != design.digest:
            allowed = f"{design.digest} of {design.name}"
            raise InputError("program", "design digest", program.design_digest, allowed)
        program = program.binary
    instructions = decode(program) if isinstance(program, bytes) else program
    if memory.dtype != np.uint8 or memory.ndim != 2 or memory.shape[1] != design.line_bytes:
        found = f"{memory.dtype} {memory.shape}"
        raise InputError("memory", "shape", found, f"uint8 (lines, {design.line_bytes})")
    machine = _Machine(design, memory)
    for index, instruction in enumerate(instructions):
        if instruction.opcode is Opcode.END:
            return
        try:
            machine.run(instruction)
        except InputError as error:
            field = f"instruction {index} {instruction.opcode.name}: {error.field}"
            raise InputError("program", field, error.found, error.allowed) from None
    raise InputError("program", "end", None, "an END instruction")


def read_outputs(program: GemmProgram, memory: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Accumulator sums (M, N) of a program that has run on ``memory``."""
    first = program.placement.output_line
    lines = memory[first : first + program.lines.outputs]
    return unpack_outputs(program.design, lines, program.tiling)


class _Machine:
    """Buffers and memory, and what each instruction does to them."""

    def __init__(self, design: Design, memory: NDArray[np.uint8]):
        buffers, unit = design.buffers, design.unit
        self.design = design
        self.memory = memory
        self.buffers = {
            Buffer.ACTIVATION: np.zeros(buffers.activation_bytes, np.uint8),
            Buffer.WEIGHT: np.zeros(buffers.weight_bytes, np.uint8),
            Buffer.SCALE: np.zeros(buffers.scale_bytes, np.uint8),
        }
        row_bytes = design.row_lines * design.line_bytes
        self.rows = np.zeros((design.output_tiles, unit.lanes_m, row_bytes), np.uint8)
        self.sums = self.rows[:, :, : unit.lanes_n * unit.result_bytes].view(
            f"<i{unit.result_bytes}"
        )
        self.partial = np.zeros((design.partial_tiles, unit.lanes_m, unit.lanes_n), np.int64)

    def run(self, i: Instruction) -> None:
        """Run one instruction."""
        if i.opcode is Opcode.LOAD:
            self._load(i)
        elif i.opcode is Opcode.MATMUL:
            self._multiply(i)
        elif i.opcode is Opcode.STORE:
            self._store(i)

    def _load(self, i: Instruction) -> None:
        source = _part(self.memory, "dram_line", i.dram_line, i.lines)
        lines = self.buffers[Buffer(i.buffer)].reshape(-1, self.design.line_bytes)
        _part(lines, "buffer_line", i.buffer_line, i.lines)[:] = source

    def _store(self, i: Instruction) -> None:
        tiles = _part(self.rows, "tile", i.tile, i.tiles)
        lines = tiles.reshape(i.tiles, self.design.tile_lines, self.design.line_bytes)
        if not 1 <= i.lines_per_tile <= self.design.tile_lines:
            allowed = f"1 to {self.design.tile_lines}"
            raise InputError("", "lines_per_tile", i.lines_per_tile, allowed)
        target = _part(self.memory, "dram_line", i.dram_line, i.tiles * i.lines_per_tile)
        shape = i.tiles, i.lines_per_tile, self.design.line_bytes
        target.reshape(shape)[:] = lines[:, : i.lines_per_tile]

    def _multiply(self, i: Instruction) -> None:
        unit = self.design.unit
        check_multiplication(unit, i)
        sums = group_sums(unit, i, self._weights(i), self._activations(i))  # (groups, n, m)
        if i.scaled:
            sums = scale_groups(sums, self._scales(i), bool(i.half))
        total = sums.sum(axis=0).reshape(i.n_tiles, unit.lanes_n, i.m_tiles, unit.lanes_m)
        tiles = total.transpose(0, 2, 3, 1).reshape(-1, unit.lanes_m, unit.lanes_n)
        if i.accumulate:
            tiles = tiles + _part(self.partial, "partial_tile", i.partial_tile, len(tiles))
        if not i.emit:
            _part(self.partial, "partial_tile", i.partial_tile, len(tiles))[:] = tiles
            return
        target = _part(self.sums, "tile", i.tile, len(tiles))
        target[:] = tiles
        if unit.result_bytes < 8 and (target != tiles).any():
            raise InputError("", "sums", "overflow", f"{unit.result_bytes} bytes a sum")

    def _weights(self, i: Instruction) -> NDArray[np.int8]:
        """Codes as (n tile, step, lanes_n, lanes_k)."""
        unit = self.design.unit
        size = i.n_tiles * i.k_steps * unit.weight_step_bytes(i.weight_bits)
        start = i.weight_word * unit.weight_word_bytes
        stored = _part(self.buffers[Buffer.WEIGHT], "weight_word", start, size)
        packed = stored.reshape(1, -1)
        lanes = unit.lanes_n, unit.lanes_k
        shape = i.n_tiles, i.k_steps, *lanes
        if unit.weight_word_bits == 1:
            odd = code_type(i) == "bipolar"
            return unpack_planes(packed, i.weight_bits, odd, *lanes).reshape(shape)
        if unit.weight_word_bits == 2:
            codes = unpack_digits(packed, i.weight_bits, math.prod(lanes)).reshape(shape)
            if code_type(i) in ("float", "flint"):
                return decode_values(codes, code_type(i), i.weight_bits, self._special(i))
            up = 8 - i.weight_bits  # the sign is extended on the way back
            return (codes << np.uint8(up)).view(np.int8) >> np.int8(up)
        return unpack_codes(packed, i.weight_bits).reshape(shape)

    def _special(self, i: Instruction) -> NDArray[np.int8]:
        """Special values as (n tile, step, lanes_n, 1)."""
        if not i.special:
            return np.zeros((1, 1, 1, 1), np.int8)
        words = self._scale_words(i)  # (n tile, word, lanes_n)
        groups = i.k_steps // i.group_steps
        places = np.arange(0, 2 * IDENTIFIED_GROUPS, 2).astype(np.uint8)
        numbers = words[:, :: IDENTIFIED_GROUPS + 1, None] >> places[:, None] & np.uint8(3)
        numbers = numbers.reshape(i.n_tiles, -1, self.design.unit.lanes_n)[:, :groups]
        return np.repeat(special_values(i)[numbers], i.group_steps, axis=1)[..., None]

    def _activations(self, i: Instruction) -> NDArray:
        """Activations as (m tile, step, lanes_m, lanes_k), int8 or float16."""
        unit, name = self.design.unit, activation_format(i)
        words: NDArray = self.buffers[Buffer.ACTIVATION].view(ACTIVATION_TYPES[name])
        words = words.reshape(-1, unit.lanes_m * unit.lanes_k)
        index = np.arange(i.m_tiles)[:, None] * i.activation_stride + activation_index(i)
        last = int(index[-1, -1]) + 1
        codes = _part(words, "activation_step", i.activation_step, last)[index]
        return codes.reshape(i.m_tiles, i.k_steps, unit.lanes_m, unit.lanes_k)

    def _scales(self, i: Instruction) -> NDArray[np.int64]:
        """Group scales as (groups, n, 1)."""
        words = self._scale_words(i)
        if i.special:
            numbered = np.arange(words.shape[1]) % (IDENTIFIED_GROUPS + 1) == 0
            words = words[:, ~numbered]
        scales = words.astype(np.int64).transpose(1, 0, 2)
        return scales.reshape(len(scales), -1, 1)

    def _scale_words(self, i: Instruction) -> NDArray[np.uint8]:
        """Words of the scale buffer as (n tile, word, lanes_n)."""
        unit = self.design.unit
        words = self.buffers[Buffer.SCALE].reshape(-1, unit.scale_word_bytes)
        each = unit.scale_words(i.k_steps // i.group_steps, bool(i.special))
        found = _part(words, "scale_word", i.scale_word, i.n_tiles * each)
        return found.reshape(i.n_tiles, each, unit.lanes_n)


def _part(array: NDArray, field: str, first: int, count: int) -> NDArray:
    """``array[first : first + count]``, proven to lie inside."""
    if count < 1 or first + count > len(array):
        found = f"{first} .. {first + count - 1}"
        raise InputError("", field, found, f"0 .. {len(array) - 1}")
    return array[first : first + count]
