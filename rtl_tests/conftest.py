"""Fixtures of the RTL tests."""

from collections.abc import Callable
from functools import partial

import pytest

from rtl_tests.support.simulate import Result, simulate


@pytest.fixture(name="simulate")
def simulate_fixture(tmp_path) -> Callable[..., Result]:
    """``simulate(bench, top, design, simulator)`` in this test's own folder."""
    return partial(simulate, tmp_path)
