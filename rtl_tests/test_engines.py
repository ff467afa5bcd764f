"""Load, compute, accumulate and store engines, each on its own."""

import pytest

from rtl_tests.support.simulate import both_simulators


@both_simulators
def test_load(simulate, simulator):
    """Bursts, lines and tokens of the load engine."""
    assert len(simulate("tb_load", "load", "tiny", simulator).passed) == 10


@pytest.mark.rtl
def test_load_short_bursts(simulate):
    """Two channels, short bursts and two loads in flight."""
    assert len(simulate("tb_load", "load", "striped").passed) == 10


@both_simulators
def test_store(simulate, simulator):
    """Bursts, lines and tokens of the store engine, rows padded to lines."""
    assert len(simulate("tb_store", "store", "tiny", simulator).passed) == 7


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["striped", "wide_line"])
def test_store_geometries(simulate, design):
    """Short bursts, and lines longer than a row of sums."""
    assert len(simulate("tb_store", "store", design).passed) == 7


@both_simulators
def test_accumulate(simulate, simulator):
    """Partial sums, forwarding and tokens; sums of 8 bytes."""
    assert len(simulate("tb_accumulate", "accumulate", "tiny", simulator).passed) == 9


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["striped", "wide_line"])
def test_accumulate_geometries(simulate, design):
    """Sums of 4 bytes; rows shorter than a line."""
    assert len(simulate("tb_accumulate", "accumulate", design).passed) == 9


@both_simulators
def test_compute(simulate, simulator):
    """Loops, addresses, descriptors and tokens of the compute engine."""
    assert len(simulate("tb_compute", "compute", "tiny", simulator).passed) == 10


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["lut", "lut_half"])
def test_compute_planes(simulate, design):
    """Several words a step, activations of two widths, groups read again."""
    assert len(simulate("tb_compute", "compute", design).passed) == 10
