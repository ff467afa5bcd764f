"""The ports every matrix unit has, whatever is inside."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.units import UnitSpec

__all__ = ["MatrixUnit", "StepControl"]


class StepControl(data.StructLayout):
    """What the unit must know about one step.

    Members
    -------
    narrow : 1 bit
        Codes are 4 bits wide, else 8.
    group_last : 1 bit
        This step ends a scale group: scale the group sum and accumulate it.
    pass_last : 1 bit
        This step ends the pass: put out the sums. Implies ``group_last``.
    scaled : 1 bit
        Take a word from ``scales`` with the ``group_last`` step, else scale by 1.
    """

    def __init__(self) -> None:
        super().__init__({"narrow": 1, "group_last": 1, "pass_last": 1, "scaled": 1})


class MatrixUnit(wiring.Component):
    """Base of all units: packed weights and activations in, accumulator sums out.

    One transfer on ``control``, ``activations`` and ``weights`` together is one step; a word of
    ``scales`` is taken with the last step of each scaled group. After the last step of a pass one
    transfer on ``sums`` carries ``lanes_m * lanes_n`` sums, index ``m * lanes_n + n``.

    Parameters
    ----------
    spec : UnitSpec
        Geometry and widths.

    Attributes
    ----------
    latency : int
        Cycles from the last step's transfer to ``sums.valid``, when nothing stalls.
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
