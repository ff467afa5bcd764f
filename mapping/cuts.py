"""A matrix product and the pieces it is cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from designs.errors import InputError
from mapping.formats import WeightFormat

__all__ = ["GemmShape", "Split", "Tiling", "WeightTiling"]


@dataclass(frozen=True)
class GemmShape:
    """A product (m, k) x (n, k)^T -> (m, n): tokens, output features, reduction elements.

    Raises
    ------
    InputError
        A size is not an integer of at least 1.
    """

    m: int
    n: int
    k: int

    def __post_init__(self) -> None:
        for name in ("m", "n", "k"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError("GEMM shape", name, value, "an integer of at least 1")


@dataclass(frozen=True)
class Split:
    """``total`` things dealt to ``parts`` consecutive parts evenly, the larger parts first."""

    total: int
    parts: int

    @property
    def largest(self) -> int:
        """Size of the first part."""
        return -(-self.total // self.parts)

    def size(self, part: int) -> int:
        """Things in a part."""
        return self.total // self.parts + (part < self.total % self.parts)

    def start(self, part: int) -> int:
        """Things before a part."""
        return part * (self.total // self.parts) + min(part, self.total % self.parts)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Runs of equal parts as (first part, parts, size): one or two."""
        extra = self.total % self.parts
        if extra:
            yield 0, extra, self.largest
        yield extra, self.parts - extra, self.total // self.parts


@dataclass(frozen=True)
class WeightTiling:
    """How the weights of one matrix are cut, stored and ringed; independent of the tokens.

    Parameters
    ----------
    n, k : int
        Output features and reduction elements, unpadded.
    fmt : WeightFormat
        Number format.
    steps : int
        Steps of the whole of K, padded to ``lanes_k``, of all planes with a scale of their own.
    unit_steps : int
        Steps K may be cut at: a scale group with all its planes; without groups the steps that
        share words, or 1.
    columns : Split
        Feature tiles over slots (each slot, or each row of chunk slots).
    chunks : Split
        Units of K over chunks; one part is the whole of K.
    slots : int
        Slots of the ring in the weight buffer, and of the one in the scale buffer.
    weight_slot_bytes, scale_slot_bytes : int
        Distance of two slots in the buffers; whole lines and words.
    word_bits : int
        Bits of every code that one weight word holds (`designs.units.base.UnitSpec`).
    """

    n: int
    k: int
    fmt: WeightFormat
    steps: int
    unit_steps: int
    columns: Split
    chunks: Split
    slots: int
    weight_slot_bytes: int
    scale_slot_bytes: int
    word_bits: int = 8

    @property
    def activation_steps(self) -> int:
        """Steps of activations of the whole of K: planes read the same ones again."""
        return self.steps // self.fmt.planes

    @property
    def slot_count(self) -> int:
        """Slots the whole matrix is stored in, in order: column outer, chunk inner."""
        return self.columns.parts * self.chunks.parts

    def chunk_steps(self, chunk: int) -> int:
        """Steps of a chunk of K."""
        return self.chunks.size(chunk) * self.unit_steps

    def chunk_start(self, chunk: int) -> int:
        """First step of a chunk of K."""
        return self.chunks.start(chunk) * self.unit_steps

    @property
    def feature_grain(self) -> int:
        """Feature tiles of a slot that fill whole weight words: where a slot may be cut."""
        return self.word_bits // gcd(self.word_bits, self.chunk_steps(0) * self.fmt.bits)

    def group_steps(self, chunk: int) -> int:
        """Steps of a scale group as the instruction says it; the chunk when unscaled."""
        return self.unit_steps // self.fmt.planes if self.fmt.scaled else self.chunk_steps(chunk)


@dataclass(frozen=True)
class Tiling:
    """How a product is cut.

    Parameters
    ----------
    shape : GemmShape
        The product, unpadded.
    weights : WeightTiling
        How the weights are cut.
    blocks : Split
        Token tiles over blocks; a block stays in the activation buffer for one pass over all
        weights.
    activation_slots : int
        1, or 2 when the next block is loaded during the work on this one.
    activation_slot_bytes : int
        Distance of two blocks in the activation buffer.
    emit_features : int
        Most feature tiles one instruction sends to the output buffer.
    emit_tokens : int
        Most token tiles one instruction sends to the output buffer.
    output_slots : int
        Slots of the ring in the output buffer, ``emit_features * emit_tokens`` tiles each.
    lines_per_tile : int
        Lines of each tile that are stored: rows of real tokens when there is less than a tile.
    """

    shape: GemmShape
    weights: WeightTiling
    blocks: Split
    activation_slots: int
    activation_slot_bytes: int
    emit_features: int
    emit_tokens: int
    output_slots: int
    lines_per_tile: int

    @property
    def fmt(self) -> WeightFormat:
        """Number format of the weights."""
        return self.weights.fmt

    @property
    def output_slot_tiles(self) -> int:
        """Tiles of one slot of the output ring."""
        return self.emit_features * self.emit_tokens
