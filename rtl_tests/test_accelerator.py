"""The whole accelerator over AXI: one channel of the library's tiny design, and two channels."""

import pytest


@pytest.mark.rtl
@pytest.mark.parametrize("design", ["tiny", "striped"])
def test_accelerator(simulate, design):
    """Compiled products equal to the golden model, errors reported, resets survived."""
    assert len(simulate("tb_accelerator", "accelerator", design).passed) == 11
