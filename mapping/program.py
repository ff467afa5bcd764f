"""Programs: the instructions of one matrix product, and where everything lies in memory."""

from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from designs.errors import InputError
from designs.memory_timing import memory_timing
from designs.spec import Design
from designs.units.base import ACTIVATION_BYTES
from mapping.formats import WeightFormat
from mapping.instruction import Instruction, encode, operand_names
from mapping.isa import FORMS, Buffer, Opcode
from mapping.layout import (
    activation_block_lines,
    output_lines,
    scale_slot_lines,
    weight_slot_lines,
)
from mapping.proof import Proof, prove
from mapping.schedule import schedule
from mapping.tiling import GemmShape, Tiling, choose_tiling

__all__ = [
    "GemmProgram",
    "Placement",
    "Regions",
    "align_up",
    "capacity_lines",
    "check",
    "compile_gemm",
    "compile_tiling",
    "region_alignment",
    "weight_lines",
]

_ADDRESS_LINES = 1 << next(f.bits for f in FORMS[Opcode.LOAD].fields if f.name == "dram_line")


@dataclass(frozen=True)
class Placement:
    """First memory line of each region."""

    program_line: int
    weight_line: int
    scale_line: int
    activation_line: int
    output_line: int


@dataclass(frozen=True)
class Regions:
    """Memory lines of each region."""

    program: int
    weights: int
    scales: int
    activations: int
    outputs: int


@dataclass(frozen=True)
class GemmProgram:
    """A compiled matrix product.

    Parameters
    ----------
    design : Design
        The accelerator it is for.
    shape : GemmShape
        The product.
    fmt : WeightFormat
        Number format of the weights.
    tiling : Tiling
        How it is cut.
    placement : Placement
        Where its regions begin.
    lines : Regions
        How long its regions are.
    relative : tuple of Instruction
        Instructions with memory lines counted from their region; shared by equal shapes.
    """

    design: Design
    shape: GemmShape
    fmt: WeightFormat
    tiling: Tiling
    placement: Placement
    lines: Regions
    relative: tuple[Instruction, ...]

    @property
    def design_digest(self) -> str:
        """Digest of the design it was compiled for."""
        return self.design.digest

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Instructions in program order, END last, with absolute memory lines."""
        place = self.placement
        bases = {
            Buffer.ACTIVATION: place.activation_line,
            Buffer.WEIGHT: place.weight_line,
            Buffer.SCALE: place.scale_line,
        }
        columns = {o: operand_names(o).index("dram_line") for o in (Opcode.LOAD, Opcode.STORE)}
        result = []
        for i in self.relative:
            column = columns.get(i.opcode)
            if column is not None:
                base = bases[Buffer(i.buffer)] if i.opcode is Opcode.LOAD else place.output_line
                values = i.operands
                values = (*values[:column], values[column] + base, *values[column + 1 :])
                i = Instruction(
                    i.opcode,
                    values,
                    i.wait_upstream,
                    i.wait_downstream,
                    i.signal_upstream,
                    i.signal_downstream,
                )
            result.append(i)
        return tuple(result)

    @property
    def blocks(self) -> int:
        """Fetch blocks of the program."""
        return -(-len(self.relative) // self.design.fetch_block_instructions)

    @cached_property
    def binary(self) -> bytes:
        """The program as it lies in memory: whole fetch blocks, NOP after END."""
        code = encode(self.instructions)
        return code.ljust(self.blocks * self.design.fetch_block_bytes, b"\0")

    def describe(self) -> dict:
        """Shape, format and memory layout as plain values for JSON."""
        weights = self.tiling.weights
        return {
            "design": self.design.name,
            "design_digest": self.design_digest,
            "shape": asdict(self.shape),
            "weights": self.fmt.name,
            "instructions": len(self.relative),
            "line_bytes": self.design.line_bytes,
            "placement": asdict(self.placement),
            "lines": asdict(self.lines),
            "tiling": {
                "weight_slots": weights.slots,
                "columns": asdict(weights.columns),
                "chunks": asdict(weights.chunks),
                "blocks": asdict(self.tiling.blocks),
                "activation_slots": self.tiling.activation_slots,
                "output_slots": self.tiling.output_slots,
                "lines_per_tile": self.tiling.lines_per_tile,
            },
        }


@lru_cache(maxsize=64)
def _scheduled(
    design: Design, shape: GemmShape, fmt: WeightFormat
) -> tuple[Tiling, tuple[Instruction, ...], Regions]:
    """Tiling, relative instructions and region sizes; equal shapes share them."""
    tiling = choose_tiling(design, shape, fmt)
    relative = schedule(design, tiling)
    return tiling, relative, _regions(design, tiling, len(relative))


def _regions(design: Design, tiling: Tiling, instructions: int) -> Regions:
    blocks = -(-instructions // design.fetch_block_instructions)
    return Regions(
        program=blocks * design.fetch_block_lines,
        weights=int(weight_slot_lines(design, tiling).sum()),
        scales=int(scale_slot_lines(design, tiling).sum()),
        activations=int(activation_block_lines(design, tiling).sum()),
        outputs=output_lines(tiling),
    )


def region_alignment(design: Design) -> int:
    """Lines a region starts at a multiple of: longest burst, fetch blocks, a round of all banks.

    Regions of equal products then meet in the same banks wherever they lie, and take equal cycles.
    """
    banks = memory_timing(design).period_lines
    return max(design.dram.max_burst_beats, design.fetch_block_lines, banks)


def align_up(line: int, grain: int) -> int:
    """``line``, or the next multiple of ``grain`` behind it."""
    return -(-line // grain) * grain


def capacity_lines(design: Design) -> int:
    """Memory lines that exist and that instructions can address."""
    return min(design.dram.capacity_bytes // design.line_bytes, _ADDRESS_LINES)


def compile_gemm(
    design: Design, shape: GemmShape, fmt: WeightFormat, placement: Placement | None = None
) -> GemmProgram:
    """Compile a matrix product.

    Parameters
    ----------
    design : Design
        The accelerator.
    shape : GemmShape
        Tokens, output features and reduction elements.
    fmt : WeightFormat
        Number format of the weights.
    placement : Placement, optional
        Where the regions begin; by default one after the other from line 0 (program, weights,
        scales, activations, outputs), each at a multiple of the longest burst.

    Raises
    ------
    InputError
        The design cannot run the product, or the regions overlap or exceed the memory.
    """
    _check_capacity(design, shape, fmt)
    tiling, relative, lines = _scheduled(design, shape, fmt)
    placement = placement or _one_after_the_other(design, lines)
    _check_placement(design, placement, lines)
    return GemmProgram(design, shape, fmt, tiling, placement, lines, relative)


def compile_tiling(design: Design, tiling: Tiling) -> GemmProgram:
    """The program of a product that is cut already; regions one after the other.

    Raises
    ------
    InputError
        The regions exceed the memory.
    """
    relative = schedule(design, tiling)
    lines = _regions(design, tiling, len(relative))
    placement = _one_after_the_other(design, lines)
    _check_placement(design, placement, lines)
    return GemmProgram(design, tiling.shape, tiling.fmt, tiling, placement, lines, relative)


def weight_lines(design: Design, shape: GemmShape, fmt: WeightFormat) -> int:
    """Memory lines the packed weights and scales of a product occupy; no program is made.

    Raises
    ------
    InputError
        The design cannot run the product.
    """
    tiling = choose_tiling(design, shape, fmt)
    slots = weight_slot_lines(design, tiling).sum() + scale_slot_lines(design, tiling).sum()
    return int(slots)


def _one_after_the_other(design: Design, lines: Regions) -> Placement:
    starts, line = [], 0
    for field in fields(Regions):
        starts.append(line)
        line = align_up(line + getattr(lines, field.name), region_alignment(design))
    return Placement(*starts)


def _check_capacity(design: Design, shape: GemmShape, fmt: WeightFormat) -> None:
    """Refuse what can never fit before instructions and addresses of it are made."""
    size = {
        "weights": shape.n * shape.k * fmt.planes * fmt.bits // 8,
        "activations": shape.m * shape.k * ACTIVATION_BYTES[design.activations],
        "sums": shape.m * shape.n * design.unit.result_bytes,
    }
    if sum(size.values()) > design.dram.capacity_bytes:
        what = ", ".join(f"{name} of {size[name]} bytes" for name in size)
        found = f"{what} (M = {shape.m}, N = {shape.n}, K = {shape.k})"
        allowed = f"at most {design.dram.capacity_bytes} bytes together"
        raise InputError(design.name, "dram.capacity_bytes", found, allowed)


def _check_placement(design: Design, placement: Placement, lines: Regions) -> None:
    capacity = capacity_lines(design)
    spans = []
    for place, region in zip(fields(Placement), fields(Regions), strict=True):
        start, length = getattr(placement, place.name), getattr(lines, region.name)
        if start < 0 or start + length > capacity:
            found = f"lines {start} .. {start + length - 1} of {region.name}"
            allowed = f"at most {capacity} lines of {design.line_bytes} bytes"
            raise InputError(design.name, "dram.capacity_bytes", found, allowed)
        if length:
            spans.append((start, length, place.name))
    if placement.program_line % design.fetch_block_lines:
        allowed = f"a multiple of {design.fetch_block_lines} lines, a fetch block"
        raise InputError(design.name, "program_line", placement.program_line, allowed)
    spans.sort()
    for (start, length, name), (following, _, other) in pairwise(spans):
        if following < start + length:
            allowed = f"at least {start + length}, behind the region of {name}"
            raise InputError(design.name, other, following, allowed)


def check(program: GemmProgram) -> Proof:
    """Prove a program safe, and that it touches the lines it may touch and no others.

    See ``mapping.schedule.prove`` for tokens and buffers. In memory, loads must stay inside
    their regions and stores must cover the output region exactly once.

    Raises
    ------
    InputError
        Naming the first rule that is broken.
    """
    proof = prove(program.design, program.tiling, program.instructions)
    place, lines = program.placement, program.lines
    regions = {
        Buffer.ACTIVATION: (place.activation_line, lines.activations),
        Buffer.WEIGHT: (place.weight_line, lines.weights),
        Buffer.SCALE: (place.scale_line, lines.scales),
    }
    stores = []
    for index, i in enumerate(program.instructions):
        if i.opcode is Opcode.LOAD:
            start, length = regions[Buffer(i.buffer)]
            if not start <= i.dram_line <= start + length - i.lines:
                found = f"lines {i.dram_line} .. {i.dram_line + i.lines - 1}"
                allowed = f"{start} .. {start + length - 1}"
                raise InputError("program", f"instruction {index} LOAD", found, allowed)
        elif i.opcode is Opcode.STORE:
            stores.append((i.dram_line, i.tiles * i.lines_per_tile))
    spans = np.array(sorted(stores), np.int64).reshape(-1, 2)
    ends = place.output_line + np.cumsum(spans[:, 1])
    starts = ends - spans[:, 1]
    if (spans[:, 0] != starts).any() or place.output_line + lines.outputs != ends[-1]:
        allowed = f"each of the {lines.outputs} lines once"
        raise InputError("program", "stored lines", "a gap or an overlap", allowed)
    return proof
