"""Matrix units, on every geometry and both simulators."""

import pytest

from rtl_tests.support.simulate import both_simulators


@pytest.mark.rtl
@pytest.mark.parametrize(
    "design", ["tiny", "narrow", "striped", "lut", "lut_narrow", "lut_half", "lut_quantised"]
)
def test_unit(simulate, design):
    """Sums, latency and protocol of the design's unit."""
    assert len(simulate("tb_unit", "unit", design).passed) == 21


@both_simulators
@pytest.mark.parametrize("design", ["narrow", "lut_narrow"])
def test_smallest_unit(simulate, design, simulator):
    """The same bench on the smallest unit of each kind, under both simulators."""
    assert len(simulate("tb_unit", "unit", design, simulator).passed) == 21
