"""Programs: instructions together with where everything lies in memory.

A ``GemmProgram`` is one matrix product. A ``ModelProgram`` is the memory map of a whole model:
weights and scales of every layer once, and scratch regions that all products share.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.spec import INSTRUCTION_BYTES, Design
from mapping.formats import WeightFormat
from mapping.instruction import Instruction, encode, listing, operand_names
from mapping.isa import FORMS, Buffer, Opcode
from mapping.layout import (
    activation_block_lines,
    output_lines,
    pack_scales,
    pack_weights,
    scale_slot_lines,
    weight_slot_lines,
)
from mapping.proof import Proof, prove
from mapping.quantise import QuantisedWeights
from mapping.schedule import schedule
from mapping.tiling import GemmShape, Tiling, WeightTiling, choose_tiling, choose_weight_tiling

__all__ = [
    "GemmProgram",
    "Layer",
    "ModelProgram",
    "Placement",
    "Regions",
    "check",
    "compile_gemm",
    "write_program",
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
    blocks = -(-len(relative) // design.fetch_block_instructions)
    lines = Regions(
        program=blocks * design.fetch_block_lines,
        weights=int(weight_slot_lines(design, tiling).sum()),
        scales=int(scale_slot_lines(design, tiling).sum()),
        activations=int(activation_block_lines(design, tiling).sum()),
        outputs=output_lines(tiling),
    )
    return tiling, relative, lines


def _alignment(design: Design) -> int:
    """Lines a region starts at a multiple of: the longest burst, and whole fetch blocks."""
    return max(design.dram.max_burst_beats, design.fetch_block_lines)


def _align(line: int, grain: int) -> int:
    return -(-line // grain) * grain


def _capacity_lines(design: Design) -> int:
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
    tiling, relative, lines = _scheduled(design, shape, fmt)
    if placement is None:
        starts, line = [], 0
        for field in fields(Regions):
            starts.append(line)
            line = _align(line + getattr(lines, field.name), _alignment(design))
        placement = Placement(*starts)
    _check_placement(design, placement, lines)
    return GemmProgram(design, shape, fmt, tiling, placement, lines, relative)


def _check_placement(design: Design, placement: Placement, lines: Regions) -> None:
    capacity = _capacity_lines(design)
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


@dataclass(frozen=True)
class Layer:
    """A weight matrix in the memory map of a model."""

    name: str
    tiling: WeightTiling
    weight_line: int
    weight_lines: int
    scale_line: int
    scale_lines: int


class ModelProgram:
    """Memory map of a model, and a program for each of its matrix products.

    Weights and scales of every layer are stored once, in the order given; behind them lie an
    activation and an output region that all products share, and the program region up to the
    end of the memory. Instructions of equal shapes are compiled once.

    Parameters
    ----------
    design : Design
        The accelerator.
    fmt : WeightFormat
        Number format of all weights.
    layers : sequence of (str, int, int)
        Name, output features N and reduction elements K of each weight matrix.
    max_tokens : int
        Most tokens of a product.

    Raises
    ------
    InputError
        A name occurs twice, a layer does not fit the design, or the memory is too small.
    """

    def __init__(
        self,
        design: Design,
        fmt: WeightFormat,
        layers: Sequence[tuple[str, int, int]],
        max_tokens: int,
    ):
        GemmShape(max_tokens, 1, 1)
        self.design, self.fmt, self.max_tokens = design, fmt, max_tokens
        self.layers: dict[str, Layer] = {}
        grain = _alignment(design)
        line = 0
        for name, n, k in layers:
            if name in self.layers:
                raise InputError("model", "layer", name, "each name once")
            tiling = choose_weight_tiling(design, n, k, fmt)
            weights = int(weight_slot_lines(design, tiling).sum())
            scales = int(scale_slot_lines(design, tiling).sum())
            scale_line = _align(line + weights, grain)
            self.layers[name] = Layer(name, tiling, line, weights, scale_line, scales)
            line = _align(scale_line + scales, grain)
        if not self.layers:
            raise InputError("model", "layers", 0, "at least one weight matrix")
        self.activation_line = line
        self.output_line = _align(line + self._most_activation_lines(), grain)
        self.program_line = _align(self.output_line + self._most_output_lines(), grain)
        if self.program_line >= _capacity_lines(design):
            found = self.program_line * design.line_bytes
            allowed = f"at most dram.capacity_bytes = {design.dram.capacity_bytes}"
            raise InputError(design.name, "bytes of the model", found, allowed)

    def _most_activation_lines(self) -> int:
        """A bound over all layers and token counts: every token tile padded to whole lines."""
        unit = self.design.unit
        steps = max(layer.tiling.steps for layer in self.layers.values())
        tile = -(-steps * unit.activation_word_bytes // self.design.line_bytes)
        return -(-self.max_tokens // unit.lanes_m) * tile

    def _most_output_lines(self) -> int:
        columns = max(layer.tiling.columns.total for layer in self.layers.values())
        tiles = -(-self.max_tokens // self.design.unit.lanes_m)
        return columns * tiles * self.design.tile_lines

    def operator(self, name: str, m: int) -> GemmProgram:
        """The program of one product.

        Parameters
        ----------
        name : str
            A layer of the model.
        m : int
            Tokens, 1 to ``max_tokens``.

        Raises
        ------
        InputError
            There is no such layer, or too many tokens.
        """
        layer = self._layer(name)
        if not 1 <= m <= self.max_tokens:
            raise InputError("model", "m", m, f"1 to max_tokens = {self.max_tokens}")
        placement = Placement(
            program_line=self.program_line,
            weight_line=layer.weight_line,
            scale_line=layer.scale_line,
            activation_line=self.activation_line,
            output_line=self.output_line,
        )
        shape = GemmShape(m, layer.tiling.n, layer.tiling.k)
        return compile_gemm(self.design, shape, self.fmt, placement)

    def write_weights(
        self, memory: NDArray[np.uint8], name: str, weights: QuantisedWeights
    ) -> None:
        """Put a layer's weights and scales into memory, uint8 (lines, line_bytes).

        Raises
        ------
        InputError
            There is no such layer, or shape or format differ from it.
        """
        layer = self._layer(name)
        end = layer.weight_line + layer.weight_lines
        memory[layer.weight_line : end] = pack_weights(self.design, weights, layer.tiling)
        end = layer.scale_line + layer.scale_lines
        memory[layer.scale_line : end] = pack_scales(self.design, weights, layer.tiling)

    def memory_lines(self, program_bytes: int = 1 << 20) -> int:
        """Lines of a memory that holds the model and a program of ``program_bytes``."""
        lines = -(-program_bytes // self.design.line_bytes)
        return self.program_line + _align(lines, _alignment(self.design))

    def _layer(self, name: str) -> Layer:
        if name not in self.layers:
            raise InputError("model", "layer", name, f"one of: {', '.join(self.layers)}")
        return self.layers[name]


def write_program(directory: str | Path, programs: Mapping[str, GemmProgram]) -> list[Path]:
    """Write ``program.bin``, ``program.lst`` and ``layout.json``.

    Each file is written under a temporary name and renamed, so none is ever half-written.
    ``program.bin`` holds the programs one after the other, each in whole fetch blocks.

    Parameters
    ----------
    directory : str or Path
        Made when missing.
    programs : mapping of str to GemmProgram
        Programs by the name of their operator, in order.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        The directory cannot be written.
    """
    binary, text, layout, offset = [], [], [], 0
    for name, program in programs.items():
        shape = program.shape
        size = f"M={shape.m} N={shape.n} K={shape.k}"
        text.append(f"; {name}: {size} {program.fmt.name} at byte {offset}\n")
        text.append(listing(program.instructions))
        binary.append(program.binary)
        layout.append(
            {
                "name": name,
                "offset_bytes": offset,
                "instruction_bytes": INSTRUCTION_BYTES,
                **program.describe(),
            }
        )
        offset += len(program.binary)
    contents = {
        "program.bin": b"".join(binary),
        "program.lst": "\n".join(text).encode(),
        "layout.json": (json.dumps({"programs": layout}, indent=2) + "\n").encode(),
    }
    folder = Path(directory)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            temporary = folder / f".{name}.{os.getpid()}"
            try:
                temporary.write_bytes(content)
                temporary.replace(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(folder / name)
    except OSError as error:
        allowed = "a directory that can be written"
        raise InputError(folder, "", error.strerror or str(error), allowed) from None
    return written
