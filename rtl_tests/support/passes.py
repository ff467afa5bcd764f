"""Passes of a matrix unit: operands, the words that carry them, and the sums they must give."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from designs.units import UnitSpec
from mapping.half_precision import aligned_integers, scale_group
from mapping.layout import pack_codes
from mapping.planes import pack_planes, stored_bits

__all__ = ["HALF_CORNERS", "INT8_CORNERS", "Pass", "WeightType", "random_pass", "weight_types"]

INT8_CORNERS = (-128, -127, -1, 0, 1, 127)
HALF_CORNERS = (-65504.0, -1.0, -(2.0**-24), 0.0, 2.0**-24, 1023 * 2.0**-24, 65504.0)
"""Largest, one, least and largest subnormal FP16 values."""


@dataclass(frozen=True)
class WeightType:
    """Width of codes and what they mean."""

    bits: int
    bipolar: bool = False

    @property
    def name(self) -> str:
        return f"{'bipolar' if self.bipolar else 'int'}{self.bits}"

    @property
    def values(self) -> np.ndarray:
        """All values of a code, int8, lowest first."""
        if self.bipolar:
            return np.arange(1 - (1 << self.bits), 1 << self.bits, 2).astype(np.int8)
        return np.arange(-(1 << (self.bits - 1)), 1 << (self.bits - 1)).astype(np.int8)

    @property
    def corners(self) -> np.ndarray:
        """Both ends and the values around 0, int8."""
        values = self.values
        middle = len(values) // 2
        kept = {0, 1, middle - 1, middle, middle + 1, len(values) - 1}
        return values[sorted(i for i in kept if 0 <= i < len(values))]


def weight_types(spec: UnitSpec) -> list[WeightType]:
    """Every type the unit takes; bipolar values of 8 bits do not exist."""
    types = [WeightType(bits) for bits in spec.weight_bits]
    if "bipolar" in spec.weight_types:
        types += [WeightType(bits, True) for bits in spec.weight_bits if bits < 8]
    return types


@dataclass
class Pass:
    """One pass: a list of groups of steps, and the sums they give.

    ``weights`` int8 (steps, lanes_n, lanes_k); ``activations`` int8 or float16 (steps, lanes_m,
    lanes_k); ``scales`` (groups, lanes_n) or None; ``groups`` the steps of each group.
    """

    type: WeightType
    groups: list[int]
    weights: np.ndarray
    activations: np.ndarray
    scales: np.ndarray | None

    @property
    def steps(self) -> int:
        return len(self.weights)

    @property
    def half(self) -> bool:
        return self.activations.dtype == np.float16

    def words(self, spec: UnitSpec, rng: np.random.Generator) -> dict[str, list[int]]:
        """What each input stream carries, in order; unused bytes of a word are noise."""
        each = spec.beats(self.type.bits)
        ends = np.cumsum(self.groups)
        found: dict[str, list[int]] = {"control": [], "activations": [], "weights": []}
        found["scales"] = [] if self.scales is None else [_word(s) for s in self.scales]
        for step in range(self.steps):
            for index in range(each):
                step_last = index + 1 == each
                group_last = step_last and step + 1 in ends
                flags = (
                    (self.type.bits, 4),
                    (self.type.bipolar, 1),
                    (self.half, 1),
                    (index, 3),
                    (step_last, 1),
                    (group_last, 1),
                    (step_last and step + 1 == self.steps, 1),
                    (self.scales is not None, 1),
                )
                found["control"].append(_packed(flags))
            operands = self.activations[step]
            operands = operands.view(np.uint16) if self.half else operands.astype(np.uint8)
            found["activations"].append(_word(operands, spec.activation_word_bytes, rng))
            packed = self._packed_weights(spec, step).reshape(each, -1)
            found["weights"] += [_word(w, spec.weight_word_bytes, rng) for w in packed]
        return found

    def _packed_weights(self, spec: UnitSpec, step: int) -> np.ndarray:
        codes = self.weights[step]
        if spec.weight_word_bits == 1:
            return pack_planes(codes[None, None], self.type.bits, self.type.bipolar)
        return pack_codes(codes.reshape(1, -1), self.type.bits)

    def sums(self, spec: UnitSpec) -> np.ndarray:
        """Reference: int64 (lanes_m, lanes_n), by the arithmetic contract."""
        values, bases = self._integers(spec)
        if getattr(spec, "table_bits", 0):
            dots = _quantised_dots(self.type, self.weights, values, bases)
        else:
            wide = values << bases[:, :, None]
            dots = 2 * np.einsum("snk,smk->smn", self.weights, wide, dtype=np.int64)
        total = np.zeros(dots.shape[1:], np.int64)
        step = 0
        for group, length in enumerate(self.groups):
            found = dots[step : step + length].sum(axis=0) >> 1
            if self.scales is not None:
                scale = self.scales[group]
                found = scale_group(found, scale) if self.half else found * scale.astype(np.int64)
            total += found
            step += length
        return total

    def _integers(self, spec: UnitSpec) -> tuple[np.ndarray, np.ndarray]:
        """Activations as integers, int64, and the exponent each token's step shares."""
        shape = self.activations.shape
        if not self.half:
            return self.activations.astype(np.int64), np.zeros(shape[:2], np.int64)
        aligned, base = aligned_integers(self.activations.reshape(-1, shape[2]), shape[2])
        return aligned.reshape(shape).astype(np.int64), base.reshape(shape[:2]).astype(np.int64)


def _quantised_dots(type_: WeightType, weights, values, bases) -> np.ndarray:
    """Twice the steps' sums by tables of 8-bit entries, int64 (steps, lanes_m, lanes_n).

    All sixteen sums of each four activations stand in the table here, quantised one by one: with
    one power of two a token's step, ``e = max(0, bits of the largest - 7)``.
    """
    steps, lanes_m, lanes_k = values.shape
    signs = 2 * (np.arange(16)[:, None] >> np.arange(4) & 1) - 1
    table = values.reshape(steps, lanes_m, lanes_k // 4, 4) @ signs.T
    largest = np.abs(table).max(axis=(2, 3))
    exponent = np.maximum(np.frexp(largest.astype(np.float64))[1] - 7, 0)
    entries = np.rint(table / (1 << exponent)[:, :, None, None])  # numpy rounds ties to even
    entries = np.clip(entries, -127, 127).astype(np.int64) << (exponent + bases)[:, :, None, None]
    bits = stored_bits(weights, type_.bits, type_.bipolar).astype(np.int64)
    total = np.zeros((steps, lanes_m, weights.shape[1]), np.int64)
    for plane in range(type_.bits):
        fours = (bits >> plane & 1).reshape(*weights.shape[:2], -1, 4) @ (1 << np.arange(4))
        for group in range(lanes_k // 4):
            for step in range(steps):
                total[step] += entries[step, :, group][:, fours[step, :, group]] << plane
    token = entries[:, :, :, 15].sum(axis=2)
    return 2 * total if type_.bipolar else total - token[:, :, None]


def random_pass(
    spec: UnitSpec, rng: np.random.Generator, coverage: Counter, longest: int = 6
) -> Pass:
    """A pass of random type and shape; operands uniform, or from the corners only."""
    types = weight_types(spec)
    type_ = types[rng.integers(len(types))]
    form = spec.activation_formats[rng.integers(len(spec.activation_formats))]
    groups = rng.integers(1, longest, int(rng.integers(1, 4))).tolist()
    steps = sum(groups)
    corners = rng.random() < 0.3
    weights = rng.choice(
        type_.corners if corners else type_.values, (steps, spec.lanes_n, spec.lanes_k)
    )
    shape = steps, spec.lanes_m, spec.lanes_k
    if form == "fp16":
        kind = "corners" if corners else str(rng.choice(["any", "near", "small"]))
        activations = _random_half(rng, kind, shape)
        coverage[f"fp16 {kind}"] += 1
    else:
        activations = rng.choice(INT8_CORNERS if corners else np.arange(-128, 128), shape)
        activations = activations.astype(np.int8)
    coverage["corner operands"] += corners
    scales = None
    if rng.random() < 0.5:
        scales = rng.choice([0, 1, 2, 127, 128, 254, 255], (len(groups), spec.lanes_n))
        scales = scales.astype(np.uint8)
    coverage["scaled" if scales is not None else "unscaled"] += 1
    coverage[type_.name] += 1
    coverage[form] += 1
    coverage["one step"] += steps == 1
    coverage["several groups"] += len(groups) > 1
    return Pass(type_, groups, weights, activations, scales)


def _random_half(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Finite float16: any bits; values a few binades apart; subnormal ones and their neighbours."""
    if kind == "corners":
        return rng.choice(HALF_CORNERS, shape).astype(np.float16)
    if kind == "near":
        return (rng.standard_normal(shape) * 2.0 ** rng.integers(-14, 12)).astype(np.float16)
    exponent = rng.integers(0, 31 if kind == "any" else 6, shape)
    bits = exponent << 10 | rng.integers(0, 1 << 10, shape) | rng.integers(0, 2, shape) << 15
    zero = rng.random(shape) < 0.1
    return np.where(zero, bits & 1 << 15, bits).astype(np.uint16).view(np.float16)


def _packed(flags: tuple[tuple[int, int], ...]) -> int:
    """Fields of (value, width) as one word, the first lowest."""
    word = place = 0
    for value, width in flags:
        word |= int(value) << place
        place += width
    return word


def _word(array: np.ndarray, size: int = 0, rng: np.random.Generator | None = None) -> int:
    """Bytes of an array as one integer, first byte lowest; noise up to ``size`` bytes."""
    data = np.ascontiguousarray(array).tobytes()
    if rng is not None:
        data += rng.bytes(size - len(data))
    return int.from_bytes(data, "little")
