"""Sum, product and power-of-two scaling of small floating-point numbers, without pipeline.

Numbers are IEEE 754 words with these rules, those of the adders in the published artifact of
LUT Tensor Core (DW_fp_add without IEEE compliance): subnormal operands and results are zero,
results are rounded to nearest even, what is too large is infinity. There is no NaN; a difference
of infinities is the infinity with the larger magnitude's sign.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed

from hwgen.cells.carry_save import carry_save_sum

__all__ = [
    "FP16",
    "FloatFormat",
    "float_integer_product",
    "float_product",
    "float_scaled",
    "float_sum",
]


@dataclass(frozen=True)
class FloatFormat:
    """Widths of exponent and fraction.

    Attributes
    ----------
    exponent_bits, fraction_bits : int
    """

    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Width of a word: sign, exponent, fraction."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """Exponent field of 1.0."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def infinite(self) -> int:
        """Exponent field of infinity."""
        return (1 << self.exponent_bits) - 1


FP16 = FloatFormat(exponent_bits=5, fraction_bits=10)
"""IEEE 754 binary16."""


def float_sum(m: Module, name: str, fmt: FloatFormat, a: Value, b: Value) -> Value:
    """``a + b``: alignment with guard, round and sticky bits, one adder, normalisation, rounding.

    Parameters
    ----------
    m : Module
        Takes the signals.
    name : str
        Prefix of their names.
    fmt : FloatFormat
    a, b : Value
        Words of the format.

    Returns
    -------
    Value
        A word of the format.
    """
    named = _namer(m, name)
    swap = named("swap", b[:-1] > a[:-1])
    large, small = named("large", Mux(swap, b, a)), named("small", Mux(swap, a, b))
    exponent = _exponent(fmt, large)
    # Difference of exponents: the smaller number moves right, lost bits gather in the lowest.
    distance = named("distance", (exponent - _exponent(fmt, small))[: fmt.exponent_bits])
    aligned = Cat(Const(0, 3), _significand(fmt, small))
    width = len(aligned)
    for stage in range(fmt.exponent_bits):
        step = min(1 << stage, width)
        lost = aligned[:step].any()
        moved = Cat(aligned[step:] | (Const(0, 1) if step == width else 0), Const(0, step))[:width]
        moved = Cat(moved[0] | lost, moved[1:])
        aligned = named(f"aligned_{stage}", Mux(distance[stage], moved, aligned))
    subtract = named("subtract", a[-1] ^ b[-1])
    # Two's complement of the smaller: inverted, and 1 carried in below the lowest place.
    left = Cat(Const(1, 1), Const(0, 3), _significand(fmt, large), Const(0, 1))
    right = Cat(subtract, aligned ^ subtract.replicate(width), subtract)
    total = named("total", (left + right)[1 : width + 2])
    # Normalise: the highest bit of `total` is worth exponent + 1.
    zeros: Value = Const(0, 0)
    for stage in reversed(range(width.bit_length())):
        step = 1 << stage
        empty = named(f"empty_{stage}", ~total[-step:].any())
        moved = Cat(Const(0, step), total)[: len(total)]
        total = named(f"normal_{stage}", Mux(empty, moved, total))
        zeros = Cat(empty, zeros)
    power = named("power", exponent.as_unsigned() + 1 - zeros, signed(fmt.exponent_bits + 2))
    infinite = exponent == fmt.infinite
    return _rounded(m, name, fmt, large[-1], power, total, infinite)


def float_product(m: Module, name: str, fmt: FloatFormat, a: Value, b: Value) -> Value:
    """``a * b``, rounded once; parameters and result as in :func:`float_sum`."""
    named = _namer(m, name)
    size = fmt.fraction_bits + 1
    columns: list[list[Value]] = [[] for _ in range(2 * size)]
    for i, x in enumerate(_significand(fmt, a)):
        for j, y in enumerate(_significand(fmt, b)):
            columns[i + j].append(x & y)
    product = named("product", carry_save_sum(m, columns))
    high = product[-1]
    normal = named("normal", Mux(high, product, Cat(Const(0, 1), product)[: 2 * size]))
    exponents = _exponent(fmt, a) + _exponent(fmt, b)
    power = named("power", exponents - fmt.bias + high, signed(fmt.exponent_bits + 2))
    infinite = (_exponent(fmt, a) == fmt.infinite) | (_exponent(fmt, b) == fmt.infinite)
    return _rounded(m, name, fmt, a[-1] ^ b[-1], power, normal, infinite)


def float_integer_product(m: Module, name: str, fmt: FloatFormat, a: Value, b: Value) -> Value:
    """``a * b`` for a float and a signed integer, rounded once.

    The integer's magnitude times the significand, then normalisation by as many places as the
    magnitude has bits. Parameters and result as in :func:`float_sum`, ``b`` in two's complement.
    """
    named = _namer(m, name)
    bits = len(b)
    magnitude = named("magnitude", Mux(b[-1], -b.as_signed(), b)[:bits])
    significand = _significand(fmt, a)
    # The largest magnitude is a power of two: products need a bit less than both factors have.
    columns: list[list[Value]] = [[] for _ in range(len(significand) + bits - 1)]
    for i, x in enumerate(significand):
        for j, y in enumerate(magnitude):
            columns[i + j].append(x & y)
    total = named("product", carry_save_sum(m, columns))
    zeros: Value = Const(0, 0)
    for stage in reversed(range((bits - 1).bit_length())):
        step = 1 << stage
        empty = named(f"empty_{stage}", ~total[-step:].any())
        total = named(
            f"normal_{stage}", Mux(empty, Cat(Const(0, step), total)[: len(total)], total)
        )
        zeros = Cat(empty, zeros)
    power = named("power", _exponent(fmt, a) + (bits - 1) - zeros, signed(fmt.exponent_bits + 3))
    infinite = (_exponent(fmt, a) == fmt.infinite) & b.any()
    return _rounded(m, name, fmt, a[-1] ^ b[-1], power, total, infinite)


def float_scaled(m: Module, name: str, fmt: FloatFormat, a: Value, plane: Value) -> Value:
    """``a * 2**plane``: the exponent grows, zero stays zero; parameters as in :func:`float_sum`."""
    named = _namer(m, name)
    power = named("power", _exponent(fmt, a) + plane)
    zero = _exponent(fmt, a) == 0
    over = power >= fmt.infinite
    fraction = a[: fmt.fraction_bits] & (~(over | zero)).replicate(fmt.fraction_bits)
    field = Mux(zero, 0, Mux(over, fmt.infinite, power))[: fmt.exponent_bits]
    return named("scaled", Cat(fraction, field, a[-1]))


def _exponent(fmt: FloatFormat, word: Value) -> Value:
    return word[fmt.fraction_bits : -1]


def _significand(fmt: FloatFormat, word: Value) -> Value:
    """Fraction with the leading 1; all 0 if the exponent is 0."""
    normal = _exponent(fmt, word).any()
    return Cat(word[: fmt.fraction_bits] & normal.replicate(fmt.fraction_bits), normal)


def _rounded(m, name, fmt, sign, power, normal, infinite) -> Value:
    """The word of a normalised significand: bits below the fraction are rounded away.

    ``normal`` has its leading 1 on top, or is 0; ``power`` is its exponent field, maybe out of
    range.
    """
    named = _namer(m, name)
    fraction = normal[-1 - fmt.fraction_bits : -1]
    guard = normal[-2 - fmt.fraction_bits]
    sticky = normal[: -2 - fmt.fraction_bits].any()
    up = guard & (sticky | fraction[0])
    # Exponent and fraction are one number: a fraction that rounds up to 2 raises the exponent.
    word = named("word", Cat(fraction, power).as_signed() + Cat(up, Const(0, 1)).as_signed())
    field = named("field", word[fmt.fraction_bits :].as_signed())
    over = named("over", infinite | (field >= fmt.infinite))
    zero = named("zero", ~infinite & (~normal[-1] | (field <= 0)))
    fraction = word[: fmt.fraction_bits] & (~(over | zero)).replicate(fmt.fraction_bits)
    exponent = (field[: fmt.exponent_bits] | over.replicate(fmt.exponent_bits)) & (~zero).replicate(
        fmt.exponent_bits
    )
    return named("result", Cat(fraction, exponent, sign & ~zero))


def _namer(m: Module, prefix: str):
    """A function that gives a value a name, so that it is computed once."""

    def named(name: str, value: Value, shape=None) -> Signal:
        signal = Signal(Shape.cast(shape or value.shape()), name=f"{prefix}_{name}")
        m.d.comb += signal.eq(value)
        return signal

    return named
