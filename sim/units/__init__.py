"""Registry of unit costs: ``kind`` in a design file -> energy, area and FPGA logic of the unit."""

from sim.units.array import ArrayCosts
from sim.units.base import Logic, NotModelled, UnitCosts
from sim.units.bit_serial import BitSerialCosts
from sim.units.dense import DenseCosts
from sim.units.lut import LutCosts

__all__ = ["UNIT_COSTS", "Logic", "NotModelled", "UnitCosts"]

UNIT_COSTS: dict[str, UnitCosts] = {
    "dense": DenseCosts(),
    "array": ArrayCosts(),
    "lut": LutCosts(),
    "bit_serial": BitSerialCosts(),
}
