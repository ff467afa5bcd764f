"""Matrix units, on every geometry and both simulators."""

import pytest

from rtl_tests.support.simulate import both_simulators


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["tiny", "narrow", "striped"])
def test_unit(simulate, design):
    """Sums, latency and protocol of the design's unit."""
    assert len(simulate("tb_unit", "unit", design).passed) == 20


@both_simulators
def test_smallest_unit(simulate, simulator):
    """The same bench on the smallest unit, under both simulators."""
    assert len(simulate("tb_unit", "unit", "narrow", simulator).passed) == 20
