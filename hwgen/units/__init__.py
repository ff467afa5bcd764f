"""Registry of matrix units: ``kind`` in a design file -> the component that multiplies."""

from hwgen.units.base import MatrixUnit, StepControl
from hwgen.units.bit_serial import BitSerialUnit
from hwgen.units.dense import DenseUnit
from hwgen.units.lut import LutUnit

__all__ = ["UNITS", "BitSerialUnit", "DenseUnit", "LutUnit", "MatrixUnit", "StepControl"]

UNITS: dict[str, type[MatrixUnit]] = {
    "dense": DenseUnit,
    "lut": LutUnit,
    "bit_serial": BitSerialUnit,
}
