"""The ports every matrix unit has, whatever is inside."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.units import UnitSpec
from designs.units.base import SPECIAL_VALUES

__all__ = ["MatrixUnit", "StepControl"]


class StepControl(data.StructLayout):
    """What the unit must know about one beat: a cycle in which it takes a word of weights.

    A step is one beat, or several: the words of a bit-serial unit. The flags that end a group or
    a pass are set on the last beat of the step that ends it.

    Members
    -------
    weight_bits : 4 bits
        Width of a code.
    code_type : 2 bits
        What codes mean: position in `designs.units.base.CODE_TYPES`.
    half : 1 bit
        Activations are FP16, else INT8.
    beat : 3 bits
        Position of this beat in its step, 0 first.
    second : 1 bit
        The step is the second one of a pair of odd width, which shares words of two bits; its last
        beat takes no word of weights.
    step_last : 1 bit
        This beat ends its step.
    group_last : 1 bit
        This beat ends a scale group: scale the group sum and accumulate it.
    pass_last : 1 bit
        This beat ends the pass: put out the sums. Implies ``group_last``.
    scaled : 1 bit
        Take a word from ``scales`` with the beat that ends a group, else scale by 1.
    identify : 1 bit
        Take a word from ``scales`` with this beat: byte n holds the numbers of feature n's special
        values in this and the next three groups, two bits each. Never together with a scale.
    special : 4 x 8 bits
        The special values, each as two signed powers of two: bits 0 to 3 a term that counts
        2^(exponent + 1), bits 4 to 7 one that counts 2^exponent; of each four, bit 0 says whether
        there is one, bits 1 and 2 are the exponent, bit 3 the sign. All 0 where a product has none.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "weight_bits": 4,
                "code_type": 2,
                "half": 1,
                "beat": 3,
                "second": 1,
                "step_last": 1,
                "group_last": 1,
                "pass_last": 1,
                "scaled": 1,
                "identify": 1,
                "special": data.ArrayLayout(8, SPECIAL_VALUES),
            }
        )


class MatrixUnit(wiring.Component):
    """Base of all units: packed weights and activations in, accumulator sums out.

    One transfer on ``control`` and ``weights`` together is one beat of a step (the last beat of a
    pair of odd width has no weights); with its first beat a step takes one word of ``activations``,
    ``[lanes_m][lanes_k]``, INT8 in the lower half of a word that is sized for FP16. A word of
    ``scales`` is taken with the beat that ends a scaled group, and one of special values' numbers
    with the beat that says so. After the last beat of a pass one transfer on ``sums`` carries
    ``lanes_m * lanes_n`` sums, index ``m * lanes_n + n``.

    Parameters
    ----------
    spec : UnitSpec
        Geometry and widths.

    Attributes
    ----------
    latency : int
        Cycles from the last beat's transfer to ``sums.valid``, when nothing stalls.
    """

    def __init__(self, spec: UnitSpec) -> None:
        self.spec = spec
        lanes = spec.lanes_m * spec.lanes_n
        super().__init__(
            {
                "control": In(stream.Signature(StepControl())),
                "activations": In(stream.Signature(8 * spec.activation_word_bytes)),
                "weights": In(stream.Signature(8 * spec.weight_word_bytes)),
                "scales": In(stream.Signature(8 * spec.scale_word_bytes)),
                "sums": Out(stream.Signature(lanes * spec.accumulator_bits)),
            }
        )

    @property
    def latency(self) -> int:
        return self.spec.latency
