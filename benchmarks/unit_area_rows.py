"""The units that the area model is compared on, and a row of the comparison."""

from dataclasses import dataclass

from designs.units import BitSerialSpec, DenseSpec, LutSpec, UnitSpec

__all__ = ["BOUND", "COMPARED", "FRESH", "GEOMETRIES", "LARGE", "TARGETS", "Row", "label"]

BOUND = 0.15
"""Largest error of a row."""

TARGETS = {"xcup": "xcup", "sky130hd": "liberty"}
"""File of designs/technology/cells -> target of the synthesis."""

COMPARED = {"xcup": ("lut", "ff", "dsp", "carry4"), "sky130hd": ("um2",)}
"""Resources of a row, by file."""

GEOMETRIES: tuple[UnitSpec, ...] = (
    LutSpec(1, 4, 4, (1, 2, 4), 1024),
    LutSpec(1, 8, 8, (1, 2, 3, 4, 8), 4096),
    LutSpec(2, 8, 4, (2, 4), 2048),
    LutSpec(2, 4, 16, (1, 2), 8192),
    LutSpec(1, 16, 4, (2,), 512),
    LutSpec(1, 8, 8, (2, 4), 4096, table_bits=8),
    LutSpec(1, 8, 4, (1, 2, 4), 1024, ("int8", "fp16")),
    LutSpec(2, 4, 4, (2, 4), 4096, ("int8", "fp16")),
    LutSpec(1, 8, 4, (2,), 1024, ("fp16",)),
    LutSpec(1, 4, 8, (2, 4), 2048, ("int8", "fp16"), 8),
    DenseSpec(1, 4, 4, (4, 8), 1024),
    DenseSpec(2, 4, 8, (8,), 4096),
    DenseSpec(1, 16, 4, (4,), 2048),
    DenseSpec(2, 8, 2, (4, 8), 512),
    DenseSpec(1, 4, 16, (4, 8), 8192),
    DenseSpec(1, 8, 8, (4, 8), 32768),
)
"""Units whose synthesis the estimates are compared with; small enough for a minute each."""

FRESH: tuple[UnitSpec, ...] = (
    LutSpec(1, 4, 32, (1, 2, 3), 1024),
    LutSpec(2, 16, 4, (1,), 4096),
    LutSpec(1, 8, 16, (8,), 1024),
    LutSpec(1, 4, 16, (2, 4), 2048, ("fp16",)),
    LutSpec(2, 4, 8, (1, 2, 4, 8), 16384, table_bits=8),
    DenseSpec(2, 8, 4, (4, 8), 1024),
    DenseSpec(1, 8, 4, (8,), 16384),
    DenseSpec(2, 4, 4, (4,), 4096),
    BitSerialSpec(2, 2, 4, (8,), 1024),
    BitSerialSpec(2, 4, 4, (3, 4, 5, 6, 8), 4096),
    BitSerialSpec(1, 4, 4, (3, 4, 5, 6, 8), 1024, ("int8", "fp16")),
    BitSerialSpec(2, 4, 4, (4, 8), 2048, ("fp16",)),
    BitSerialSpec(2, 4, 8, (5, 6), 1024, scale_bits_per_beat=2),
    BitSerialSpec(4, 4, 4, (4, 8), 1024, tile_m=2, tile_n=2),
    BitSerialSpec(2, 8, 1, (4,), 256, scale_bits_per_beat=4),
    BitSerialSpec(1, 4, 16, (6, 8), 1024, ("int8", "fp16")),
    BitSerialSpec(8, 2, 4, (7,), 512, tile_m=2, scale_bits_per_beat=2),
    BitSerialSpec(2, 8, 4, (3, 4, 5, 6, 8), 1024, ("int8", "fp16"), 2, 2),
)
"""Units first synthesised when list of parts and circuits were finished, and not changed since."""

LARGE = LutSpec(2, 64, 4, (1, 2, 4), 4096)
"""Shown once: the elongated tile of LUT Tensor Core."""


@dataclass(frozen=True)
class Row:
    """One unit on one target.

    Attributes
    ----------
    unit : str
        Kind and geometry.
    target : str
        File of designs/technology/cells.
    estimate, synthesis : dict of str to float
        By resource.
    seconds : float
        Time of the synthesis.
    """

    unit: str
    target: str
    estimate: dict[str, float]
    synthesis: dict[str, float]
    seconds: float

    def error(self, resource: str) -> float:
        """Estimate over synthesis, less 1."""
        return self.estimate[resource] / self.synthesis[resource] - 1


def label(spec: UnitSpec) -> str:
    """A unit in one line, e.g. ``lut M1 N8 K4, 1/2/4 bits, int8``."""
    bits = "/".join(str(width) for width in spec.weight_bits)
    text = f"{spec.kind} M{spec.lanes_m} N{spec.lanes_n} K{spec.lanes_k}, {bits} bits"
    if isinstance(spec, LutSpec):
        text += f", {'+'.join(spec.activations)}"
        text += f", {spec.table_bits}-bit tables" if spec.table_bits else ""
    if isinstance(spec, BitSerialSpec):
        text += f", {'+'.join(spec.activations)}"
        if spec.tiles_m * spec.tiles_n > 1:
            text += f", {spec.tiles_m} x {spec.tiles_n} tiles"
        if spec.scale_bits_per_beat > 1:
            text += f", {spec.scale_bits_per_beat} bits of a scale"
    return f"{text}, max_k {spec.max_k}"
