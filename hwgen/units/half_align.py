"""FP16 activations of one token's step as integers that share one exponent.

Every finite FP16 is ``mantissa * 2^(e - 1)`` units of 2^-24, mantissa at most 2047, e its exponent
field, or 1 for a subnormal. Of the largest e of the step follows the *base*, the exponent all of
them share: ``max(e_largest - 1 - 3, 0)``. Three guard bits stay below the largest number's lowest
bit; what lies below those is rounded to nearest even. Aligning before integer arithmetic is what
FIGNA (HPCA'24) and FIGLUT-I (HPCA'25, arXiv 2503.06862) do; `mapping.half_precision` defines the
numbers and gives the error.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.units.base import GUARD_BITS
from hwgen.units.rounding import halved_to_even

__all__ = ["HalfAlign"]

_EXPONENT_BITS = 5
_ALIGNED_BITS = 15  # +-2047 * 2^3


class HalfAlign(wiring.Component):
    """Aligns one token's ``lanes_k`` FP16 activations in two stages; passes INT8 ones on.

    First stage: the largest exponent. Second: shift, round, apply the sign. Infinities and NaNs
    are the host's to refuse; they would pass as numbers of exponent 31.

    Parameters
    ----------
    lanes_k : int
        Activations.
    int8 : bool
        Steps of integers come too; without, every step is FP16 and there is no ``half``.

    Members
    -------
    enable : In(2)
        Enables of the two stages.
    half : In(1)
        The step in the second stage is FP16, else integers.
    elements : In(16 * lanes_k)
        FP16, or integers sign-extended to 16 bits.
    aligned : Out(15 * lanes_k)
        Signed; within +-2047 * 8, an integer unchanged.
    base : Out(5)
        An element counts ``aligned * 2^base`` units of 2^-24; 0 to 26, and 0 with integers.
    """

    stages = 2

    def __init__(self, lanes_k: int, *, int8: bool) -> None:
        self.lanes_k, self.int8 = lanes_k, int8
        members = {
            "enable": In(self.stages),
            "elements": In(16 * lanes_k),
            "aligned": Out(_ALIGNED_BITS * lanes_k),
            "base": Out(_EXPONENT_BITS),
        }
        if int8:
            members["half"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        elements = Signal(16 * self.lanes_k, name="elements_1", reset_less=True)
        largest = Signal(_EXPONENT_BITS, name="largest", reset_less=True)
        fields = [_exponent(self.elements.word_select(k, 16)) for k in range(self.lanes_k)]
        with m.If(self.enable[0]):
            m.d.sync += [elements.eq(self.elements), largest.eq(_largest(m, fields))]

        half = self.half if self.int8 else Const(1)
        top = Signal(_EXPONENT_BITS)  # exponent of an aligned 1: base + 1 + guard bits
        m.d.comb += top.eq(Mux(largest > GUARD_BITS + 1, largest, GUARD_BITS + 1))
        aligned = []
        for k in range(self.lanes_k):
            element = elements.word_select(k, 16)
            number = self._aligned(m, k, element, top)
            integer = element[:_ALIGNED_BITS].as_signed()
            aligned.append(Mux(half, number, integer) if self.int8 else number)
        base = Signal(_EXPONENT_BITS, name="base_1")
        m.d.comb += base.eq(Mux(half, top - (GUARD_BITS + 1), 0))
        with m.If(self.enable[1]):
            m.d.sync += [self.aligned.eq(Cat(aligned)), self.base.eq(base)]
        return m

    def _aligned(self, m, k: int, element, top) -> Value:
        """One FP16 as a signed integer of exponent ``top - 4``; 15 bits."""
        normal = element[10:15].any()
        distance = Signal(_EXPONENT_BITS, name=f"distance_{k}")
        wide = Signal(_ALIGNED_BITS - 1, name=f"mantissa_{k}")
        m.d.comb += [
            distance.eq(top - _exponent(element)),
            wide.eq(Cat(Const(0, GUARD_BITS), element[:10], normal)),
        ]
        floor, up = halved_to_even(m, f"element_{k}", wide, distance)
        sign = element[15]
        # -(floor + up) = ~floor + (1 - up): one adder rounds and negates.
        number = Signal(signed(_ALIGNED_BITS), name=f"number_{k}")
        signs = sign.replicate(_ALIGNED_BITS)
        m.d.comb += number.eq((Cat(floor, Const(0, 1)) ^ signs) + (up ^ sign))
        return number


def _exponent(element) -> Value:
    """Exponent field of an FP16, 1 for zero and subnormals."""
    field = element[10:15]
    return Cat(field[0] | ~field.any(), field[1:])


def _largest(m, values: list[Value]) -> Value:
    """Largest of unsigned values, by a tree of comparisons."""
    level = 0
    while len(values) > 1:
        winners = []
        for i in range(0, len(values), 2):
            winner = Signal(len(values[0]), name=f"largest_{level}_{i // 2}")
            left, right = values[i : i + 2]
            m.d.comb += winner.eq(Mux(left > right, left, right))
            winners.append(winner)
        values, level = winners, level + 1
    return values[0]
