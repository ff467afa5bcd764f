"""The memory map of a whole model, and a program for each of its matrix products."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.spec import Design
from mapping.cuts import GemmShape, WeightTiling
from mapping.formats import WeightFormat
from mapping.layout import pack_scales, pack_weights, scale_slot_lines, weight_slot_lines
from mapping.program import (
    GemmProgram,
    Placement,
    align_up,
    capacity_lines,
    compile_gemm,
    region_alignment,
)
from mapping.quantise import QuantisedWeights
from mapping.tiling import choose_weight_tiling

__all__ = ["Layer", "ModelProgram"]


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
        grain = region_alignment(design)
        codes = sum(n * k * fmt.planes * fmt.bits // 8 for _, n, k in layers)
        if codes > design.dram.capacity_bytes:  # before anything is made for each layer
            raise self._too_large(codes)
        line = 0
        for name, n, k in layers:
            if name in self.layers:
                raise InputError("model", "layer", name, "each name once")
            try:
                tiling = choose_weight_tiling(design, n, k, fmt)
            except InputError as error:
                if error.where != fmt.name:  # a group that does not divide K
                    raise
                allowed = f"a multiple of {fmt.group}, the group of {fmt.name}"
                raise InputError("model", f"{name}: {error.field}", error.found, allowed) from None
            weights = int(weight_slot_lines(design, tiling).sum())
            scales = int(scale_slot_lines(design, tiling).sum())
            scale_line = align_up(line + weights, grain)
            self.layers[name] = Layer(name, tiling, line, weights, scale_line, scales)
            line = align_up(scale_line + scales, grain)
        if not self.layers:
            raise InputError("model", "layers", 0, "at least one weight matrix")
        self.activation_line = line
        self.output_line = align_up(line + self._most_activation_lines(), grain)
        self.program_line = align_up(self.output_line + self._most_output_lines(), grain)
        if self.program_line >= capacity_lines(design):
            raise self._too_large(self.program_line * design.line_bytes)

    def _too_large(self, size: int) -> InputError:
        allowed = f"at most dram.capacity_bytes = {self.design.dram.capacity_bytes}"
        return InputError(self.design.name, "bytes of the model", size, allowed)

    def _most_activation_lines(self) -> int:
        """A bound over all layers and token counts: every token tile padded to whole lines."""
        steps = max(layer.tiling.activation_steps for layer in self.layers.values())
        tile = -(-steps * self.design.activation_step_bytes // self.design.line_bytes)
        return -(-self.max_tokens // self.design.unit.lanes_m) * tile

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
        return self.program_line + align_up(lines, region_alignment(self.design))

    def describe(self) -> dict:
        """The memory map as plain values for JSON."""
        return {
            "weights": self.fmt.name,
            "activations": self.design.activations,
            "line_bytes": self.design.line_bytes,
            "activation_line": self.activation_line,
            "output_line": self.output_line,
            "program_line": self.program_line,
            "layers": [
                {
                    "name": layer.name,
                    "n": layer.tiling.n,
                    "k": layer.tiling.k,
                    "weight_line": layer.weight_line,
                    "weight_lines": layer.weight_lines,
                    "scale_line": layer.scale_line,
                    "scale_lines": layer.scale_lines,
                }
                for layer in self.layers.values()
            ],
        }

    def _layer(self, name: str) -> Layer:
        if name not in self.layers:
            raise InputError("model", "layer", name, f"one of: {', '.join(self.layers)}")
        return self.layers[name]
