"""Matrix units, on every geometry and both simulators."""

import pytest

from rtl_tests.support.designs import BIT_SERIAL_UNITS, LUT_UNITS, test_design
from rtl_tests.support.passes import weight_types
from rtl_tests.support.simulate import both_simulators

_DESIGNS = ["tiny", "narrow", "striped", "lut", *LUT_UNITS, *BIT_SERIAL_UNITS]


def _tests(design: str) -> int:
    """Tests of the bench; that of special values is for units that have them."""
    special = any(kind.special for kind in weight_types(test_design(design).unit))
    return 21 + special


@pytest.mark.rtl
@pytest.mark.parametrize("design", _DESIGNS)
def test_unit(simulate, design):
    """Sums, latency and protocol of the design's unit."""
    assert len(simulate("tb_unit", "unit", design).passed) == _tests(design)


@both_simulators
@pytest.mark.parametrize("design", ["narrow", "lut_narrow", "bit_serial_integers"])
def test_smallest_unit(simulate, design, simulator):
    """The same bench on the smallest unit of each kind, under both simulators."""
    assert len(simulate("tb_unit", "unit", design, simulator).passed) == _tests(design)


@pytest.mark.rtl
def test_bit_serial_element(simulate):
    """Every code of every type and every special value, times activations of every size."""
    assert len(simulate("tb_element", "unit", "bit_serial_element").passed) == 2
