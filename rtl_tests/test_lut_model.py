"""A real model on the lookup unit's RTL."""

import pytest

from silicast.execution import run


@pytest.mark.rtl
@pytest.mark.model
@pytest.mark.parametrize(("weights", "activations"), [("int2_g64", "int8"), ("int4_g64", "fp16")])
def test_gemma_writes_on_the_lookup_unit(weights: str, activations: str) -> None:
    """Every sum of prompt and first tokens equals the golden model's, every cycle is promised."""
    tokens = 2 if weights == "int2_g64" else 1
    result = run("gemma3-270m", "lut-tiny", "Hi", tokens, weights, activations=activations)
    assert result.passed
    assert result.mismatched_outputs == 0
    assert result.cycles_rtl == result.cycles_simulated
    assert result.outputs > 500_000
    assert result.text
