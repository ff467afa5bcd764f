"""Control path: instruction fetch, tokens and the AXI4-Lite register port."""

import pytest

from rtl_tests.support.simulate import both_simulators


@both_simulators
def test_fetch(simulate, simulator):
    """Programs longer than the ring, padding and unknown opcodes."""
    assert len(simulate("tb_fetch", "fetch", "tiny", simulator).passed) == 42


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["narrow", "wide_line"])
def test_fetch_geometries(simulate, design):
    """Four lines an instruction; two instructions a line."""
    assert len(simulate("tb_fetch", "fetch", design).passed) == 42


@both_simulators
def test_tokens(simulate, simulator):
    """Tokens given, taken and cleared."""
    assert simulate("tb_small", "tokens", "tiny", simulator).passed == ["tokens_are_counted"]


@both_simulators
def test_control_port(simulate, simulator):
    """Every register over AXI4-Lite."""
    assert len(simulate("tb_control", "control", "tiny", simulator).passed) == 9
