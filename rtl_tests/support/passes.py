"""Passes of a matrix unit: operands, the words that carry them, and the sums they must give."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from designs.units import UnitSpec
from designs.units.base import CODE_TYPES, CODE_WIDTHS, IDENTIFIED_GROUPS, SPECIAL_VALUES
from mapping.code_books import decode_special, decode_values, encode_special, encode_values
from mapping.digits import pack_digits
from mapping.half_precision import aligned_integers, scale_group
from mapping.layout import pack_codes
from mapping.planes import pack_planes, stored_bits

__all__ = [
    "HALF_CORNERS",
    "INT8_CORNERS",
    "Pass",
    "Special",
    "WeightType",
    "random_pass",
    "uniform_pass",
    "weight_types",
]

INT8_CORNERS = (-128, -127, -1, 0, 1, 127)
HALF_CORNERS = (-65504.0, -1.0, -(2.0**-24), 0.0, 2.0**-24, 1023 * 2.0**-24, 65504.0)
"""Largest, one, least and largest subnormal FP16 values."""


@dataclass(frozen=True)
class WeightType:
    """Width of codes, what they mean, and whether groups have special values."""

    bits: int
    code_type: str = "twos_complement"
    special: bool = False

    @property
    def name(self) -> str:
        short = "int" if self.code_type == "twos_complement" else self.code_type
        return f"{short}{self.bits}{'_special' * self.special}"

    @property
    def floating(self) -> bool:
        return self.code_type in ("float", "flint")

    @property
    def values(self) -> np.ndarray:
        """All values of a code, int8, lowest first; the largest special values where there are."""
        if self.code_type == "bipolar":
            return np.arange(1 - (1 << self.bits), 1 << self.bits, 2).astype(np.int8)
        if self.floating:
            codes = np.arange(1 << self.bits, dtype=np.uint8)
            values = decode_values(codes, self.code_type, self.bits)
            return np.unique(np.append(values, np.array([-24, 24] * self.special, np.int8)))
        return np.arange(-(1 << (self.bits - 1)), 1 << (self.bits - 1)).astype(np.int8)

    @property
    def corners(self) -> np.ndarray:
        """Both ends and the values around 0, int8."""
        values = self.values
        middle = len(values) // 2
        kept = {0, 1, middle - 1, middle, middle + 1, len(values) - 1}
        return values[sorted(i for i in kept if 0 <= i < len(values))]


def weight_types(spec: UnitSpec) -> list[WeightType]:
    """Every type the unit takes."""
    types = []
    for code_type in spec.weight_types:
        widths = [b for b in spec.weight_bits if b in CODE_WIDTHS.get(code_type, (b,))]
        types += [WeightType(bits, code_type) for bits in widths]
        if code_type in ("float", "flint"):
            types += [WeightType(bits, code_type, True) for bits in widths]
    return types


@dataclass
class Special:
    """A pass's special values: ``registers``, 8 bits each, and ``numbers`` (groups, lanes_n)."""

    registers: tuple[int, ...]
    numbers: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """Value of each group's, int8 (groups, lanes_n)."""
        return np.array([decode_special(r) for r in self.registers], np.int8)[self.numbers]

    @property
    def word(self) -> int:
        return sum(register << 8 * i for i, register in enumerate(self.registers))


@dataclass
class Pass:
    """One pass: a list of groups of steps, and the sums they give.

    ``weights`` int8 (steps, lanes_n, lanes_k), floating ones in halves; ``activations`` int8 or
    float16 (steps, lanes_m, lanes_k); ``scales`` (groups, lanes_n) or None; ``groups`` the steps of
    each group; ``codes`` uint8, as they are stored, where values do not say it all.
    """

    type: WeightType
    groups: list[int]
    weights: np.ndarray
    activations: np.ndarray
    scales: np.ndarray | None
    special: Special | None = None
    codes: np.ndarray | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        return len(self.weights)

    @property
    def half(self) -> bool:
        return self.activations.dtype == np.float16

    def words(self, spec: UnitSpec, rng: np.random.Generator) -> dict[str, list[int]]:
        """What each input stream carries, in order; unused bytes of a word are noise."""
        found = {"control": self._control(spec), "scales": self._scale_words(rng)}
        size = spec.activation_word_bytes
        operands = self.activations.view(np.uint16 if self.half else np.uint8)
        found["activations"] = [_word(step, size, rng) for step in operands]
        found["weights"] = [_word(w, spec.weight_word_bytes, rng) for w in self._packed(spec)]
        return found

    def _control(self, spec: UnitSpec) -> list[int]:
        each = spec.beats(self.type.bits)
        pairs = spec.step_grain(self.type.bits) == 2
        ends = np.cumsum(self.groups)
        begins = [0, *ends[:-1]][::IDENTIFIED_GROUPS] if self.special else []
        found = []
        for step in range(self.steps):
            for index in range(each):
                step_last = index + 1 == each
                flags = (
                    (self.type.bits, 4),
                    (CODE_TYPES.index(self.type.code_type), 2),
                    (self.half, 1),
                    (index, 3),
                    (pairs and step % 2, 1),
                    (step_last, 1),
                    (step_last and step + 1 in ends, 1),
                    (step_last and step + 1 == self.steps, 1),
                    (self.scales is not None, 1),
                    (index == 0 and step in begins, 1),
                    (self.special.word if self.special else 0, 8 * SPECIAL_VALUES),
                )
                found.append(_packed(flags))
        return found

    def _scale_words(self, rng: np.random.Generator) -> list[int]:
        """Numbers of special values before every fourth group, and the scales of each group."""
        found = []
        for group in range(len(self.groups)):
            if self.special and group % IDENTIFIED_GROUPS == 0:
                part = self.special.numbers[group : group + IDENTIFIED_GROUPS]
                absent = rng.integers(0, 4, (IDENTIFIED_GROUPS - len(part), part.shape[1]))
                places = 1 << 2 * np.arange(IDENTIFIED_GROUPS)
                found.append(_word((places @ np.concatenate([part, absent])).astype(np.uint8)))
            if self.scales is not None:
                found.append(_word(self.scales[group]))
        return found

    def _packed(self, spec: UnitSpec) -> np.ndarray:
        """Words of weights, (words, bytes); those of a step of 8-bit codes have unused bytes."""
        bits, steps = self.type.bits, self.steps
        if spec.weight_word_bits == 1:
            packed = pack_planes(self.weights[None], bits, self.type.code_type == "bipolar")
        elif spec.weight_word_bits == 2:
            codes = self.weights.view(np.uint8) if self.codes is None else self.codes
            packed = pack_digits(codes.reshape(1, steps, -1), bits)
        else:
            return pack_codes(self.weights.reshape(steps, -1), bits)
        return packed.reshape(-1, spec.weight_word_bytes)

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
    bipolar = type_.code_type == "bipolar"
    bits = stored_bits(weights, type_.bits, bipolar).astype(np.int64)
    total = np.zeros((steps, lanes_m, weights.shape[1]), np.int64)
    for plane in range(type_.bits):
        fours = (bits >> plane & 1).reshape(*weights.shape[:2], -1, 4) @ (1 << np.arange(4))
        for group in range(lanes_k // 4):
            for step in range(steps):
                total[step] += entries[step, :, group][:, fours[step, :, group]] << plane
    token = entries[:, :, :, 15].sum(axis=2)
    return 2 * total if bipolar else total - token[:, :, None]


def random_pass(
    spec: UnitSpec, rng: np.random.Generator, coverage: Counter, longest: int = 6
) -> Pass:
    """A pass of random type and shape; operands uniform, or from the corners only."""
    types = weight_types(spec)
    type_ = types[rng.integers(len(types))]
    form = spec.activation_formats[rng.integers(len(spec.activation_formats))]
    grain, least = spec.step_grain(type_.bits), spec.least_steps(type_.bits)
    count = int(rng.integers(1, 8 if type_.special else 4))
    groups = (least + grain * rng.integers(0, longest - 1, count)).tolist()
    steps = sum(groups)
    corners = rng.random() < 0.3
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
    coverage["shortest group"] += groups == [least]
    coverage["several groups"] += len(groups) > 1
    coverage["numbers of special values twice"] += type_.special and count > IDENTIFIED_GROUPS
    shape = steps, spec.lanes_n, spec.lanes_k
    if not type_.floating:
        weights = rng.choice(type_.corners if corners else type_.values, shape)
        return Pass(type_, groups, weights, activations, scales)
    codes = rng.integers(0, 1 << type_.bits, shape).astype(np.uint8)
    special = None
    if type_.special:
        numbers = rng.integers(0, SPECIAL_VALUES, (len(groups), spec.lanes_n))
        special = Special(tuple(rng.integers(0, 256, SPECIAL_VALUES).tolist()), numbers)
        often = rng.random(shape) < 0.3  # of 16 codes one has a special value
        codes = np.where(often, 1 << (type_.bits - 1), codes).astype(np.uint8)
    weights = _decoded(type_, groups, codes, special)
    return Pass(type_, groups, weights, activations, scales, special, codes)


def uniform_pass(
    spec: UnitSpec, type_: WeightType, steps: int, value: int, activation, scales, register: int = 0
) -> Pass:
    """A pass of one group with the same weight and activation in all lanes.

    Parameters
    ----------
    value : int
        Of the weights. One that is not in the code book is made the special value.
    activation : int or float
        INT8, or FP16 when it is a float.
    scales : sequence of int, or None
        Repeated over the output features.
    register : int
        Bits of the special value, if not those that ``value`` has by itself.
    """
    of = np.float16 if isinstance(activation, float) else np.int8
    weights = np.full((steps, spec.lanes_n, spec.lanes_k), value, np.int8)
    activations = np.full((steps, spec.lanes_m, spec.lanes_k), activation, of)
    given = None if scales is None else np.resize(np.array(scales, np.uint8), (1, spec.lanes_n))
    special = codes = None
    if type_.floating:
        codes = encode_values(weights, type_.code_type, type_.bits)
        if register:
            codes = np.full_like(codes, 1 << (type_.bits - 1))
    if type_.special:
        is_special = codes is not None and codes.flat[0] == 1 << (type_.bits - 1)
        used = register or (encode_special(value) if is_special else 0)
        numbers = np.arange(spec.lanes_n)[None] % SPECIAL_VALUES
        special = Special((used,) * SPECIAL_VALUES, numbers)
        assert (_decoded(type_, [steps], codes, special) == weights).all()
    return Pass(type_, [steps], weights, activations, given, special, codes)


def _decoded(type_: WeightType, groups: list[int], codes, special: Special | None) -> np.ndarray:
    """Values of floating codes, int8."""
    if special is None:
        return decode_values(codes, type_.code_type, type_.bits)
    each = np.repeat(special.values, groups, axis=0)[:, :, None]
    return decode_values(codes, type_.code_type, type_.bits, each)


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
