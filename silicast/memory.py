"""Putting a matrix product into the memory of an accelerator, and getting its sums out."""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.layout import pack_activations, pack_scales, pack_weights, unpack_outputs
from mapping.program import GemmProgram
from mapping.quantise import QuantisedWeights

__all__ = [
    "clear_outputs",
    "memory_for",
    "read_sums",
    "write_activations",
    "write_instructions",
    "write_weights",
]


def memory_for(program: GemmProgram) -> NDArray[np.uint8]:
    """A memory of zeros, uint8 (lines, line_bytes), that holds a product's regions."""
    place, lines = program.placement, program.lines
    end = max(
        place.program_line + lines.program,
        place.weight_line + lines.weights,
        place.scale_line + lines.scales,
        place.activation_line + lines.activations,
        place.output_line + lines.outputs,
    )
    return np.zeros((end, program.design.line_bytes), np.uint8)


def _write(memory: NDArray[np.uint8], first: int, lines: NDArray[np.uint8]) -> None:
    if first + len(lines) > len(memory):
        allowed = f"at most {len(memory)} lines"
        raise InputError("memory", "lines", first + len(lines), allowed)
    memory[first : first + len(lines)] = lines


def write_weights(
    memory: NDArray[np.uint8], program: GemmProgram, weights: QuantisedWeights
) -> None:
    """Write codes and group scales, packed for the program's tiling."""
    design, place = program.design, program.placement
    _write(memory, place.weight_line, pack_weights(design, weights, program.tiling))
    _write(memory, place.scale_line, pack_scales(design, weights, program.tiling))


def write_activations(
    memory: NDArray[np.uint8], program: GemmProgram, activations: NDArray
) -> None:
    """Write activations (M, K), int8 or float16 as the design's, packed for the tiling."""
    packed = pack_activations(program.design, activations, program.tiling)
    _write(memory, program.placement.activation_line, packed)


def write_instructions(memory: NDArray[np.uint8], program: GemmProgram) -> None:
    """Write the program itself."""
    code = np.frombuffer(program.binary, np.uint8).reshape(-1, program.design.line_bytes)
    _write(memory, program.placement.program_line, code)


def clear_outputs(memory: NDArray[np.uint8], program: GemmProgram) -> None:
    """Zero the output region, so that no sum of an earlier run can pass for a new one."""
    first = program.placement.output_line
    memory[first : first + program.lines.outputs] = 0


def read_sums(memory: NDArray[np.uint8], program: GemmProgram) -> NDArray[np.int64]:
    """Accumulator sums of the output region, int64 (M, N)."""
    first = program.placement.output_line
    lines = memory[first : first + program.lines.outputs]
    return unpack_outputs(program.design, lines, program.tiling)
