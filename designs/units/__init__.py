"""Registry of unit specs: ``kind`` in a design file -> the class that holds its geometry."""

from designs.units.array import ArraySpec
from designs.units.base import UnitSpec
from designs.units.bit_serial import BitSerialSpec
from designs.units.dense import DenseSpec
from designs.units.lut import LutSpec

__all__ = ["UNIT_SPECS", "ArraySpec", "BitSerialSpec", "DenseSpec", "LutSpec", "UnitSpec"]

UNIT_SPECS: dict[str, type[UnitSpec]] = {
    spec.kind: spec for spec in (DenseSpec, LutSpec, BitSerialSpec, ArraySpec)
}
