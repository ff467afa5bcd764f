"""The ports every matrix unit has, whatever is inside."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.units import UnitSpec

__all__ = ["MatrixUnit", "StepControl"]


class StepControl(data.StructLayout):
    """What the unit must know about one word of weights.

    A step is one word, or several: the planes of a bit-serial unit. The flags that end a group or
    a pass are set on the last word of the step that ends it.

    Members
    -------
    weight_bits : 4 bits
        Width of a code.
    bipolar : 1 bit
        Codes are odd values around 0, else two's complement.
    half : 1 bit
        Activations are FP16, else INT8.
    word : 3 bits
        Position of this word in its step, 0 first.
    step_last : 1 bit
        This word ends its step.
    group_last : 1 bit
        This word ends a scale group: scale the group sum and accumulate it.
    pass_last : 1 bit
        This word ends the pass: put out the sums. Implies ``group_last``.
    scaled : 1 bit
        Take a word from ``scales`` with the word that ends a group, else scale by 1.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "weight_bits": 4,
                "bipolar": 1,
                "half": 1,
                "word": 3,
                "step_last": 1,
                "group_last": 1,
                "pass_last": 1,
                "scaled": 1,
            }
        )


class MatrixUnit(wiring.Component):
    """Base of all units: packed weights and activations in, accumulator sums out.

    One transfer on ``control`` and ``weights`` together is one word of a step; with its first word
    a step takes one word of ``activations``, ``[lanes_m][lanes_k]``, INT8 in the lower half of a
    word that is sized for FP16. A word of ``scales`` is taken with the word that ends a scaled
    group. After the last word of a pass one transfer on ``sums`` carries ``lanes_m * lanes_n``
    sums, index ``m * lanes_n + n``.

    Parameters
    ----------
    spec : UnitSpec
        Geometry and widths.

    Attributes
    ----------
    latency : int
        Cycles from the last word's transfer to ``sums.valid``, when nothing stalls.
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
