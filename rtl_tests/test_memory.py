"""Buffers, the fork, the read arbiter and the striped memory behind several channels."""

import pytest

from rtl_tests.support.simulate import both_simulators
from rtl_tests.support.tops import BUFFER_BYTES


@both_simulators
@pytest.mark.parametrize("ratio", BUFFER_BYTES)
def test_buffer(simulate, ratio, simulator):
    """Written wider than read, as wide, and narrower."""
    assert simulate("tb_small", f"buffer_{ratio}", "tiny", simulator).passed


@both_simulators
def test_fork(simulate, simulator):
    """One stream to three consumers of different speeds."""
    assert len(simulate("tb_small", "fork", "tiny", simulator).passed) == 16


@both_simulators
def test_arbiter(simulate, simulator):
    """Fetch and load on one read port."""
    assert len(simulate("tb_arbiter", "arbiter", "striped", simulator).passed) == 33


@pytest.mark.rtl
def test_striped_memory(simulate):
    """Two channels whose answers come at different times."""
    assert len(simulate("tb_memory", "memory", "striped").passed) == 7
