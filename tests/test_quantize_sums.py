"""The quick sums give the integers of the contract, and of the programs that hardware runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_gguf import write_tiny

from designs.errors import InputError
from designs.files import load_design
from mapping import folded_sums as module
from mapping.contract import contract_sums
from mapping.folded_sums import feature_part, folded_sums, output_blocks
from mapping.formats import parse_format
from mapping.models import open_checkpoint, resolve_model
from mapping.quantise import quantise
from silicast.linear import LinearLayers
from silicast.progress import Progress
from silicast.quantize_perplexity import QuantisedLayers
from silicast.simulation import with_activations
from silicast.verification import random_activations, random_weights
from silicast.weights import prepare

FORMATS = (
    *("int8", "int4", "int8_g32", "int8_asym", "int8_asym_g32", "int4_asym_g128", "int3_g16"),
    *("fp4_g128", "fp3_g32", "flint4_g32", "mxfp4", "mxfp3", "nvfp4", "ant4_g32"),
    *("bitmod_fp4_g128", "bitmod_fp3_g32", "fp4_er_g64", "fp3_ea_g16"),
    *("ternary_g64", "bipolar3_g32", "bcq3_asym_g128"),
)


@settings(deadline=None, max_examples=150, database=None)
@given(
    name=st.sampled_from(FORMATS),
    kind=st.sampled_from(("fp16", "int8")),
    m=st.integers(1, 9),
    n=st.integers(1, 40),
    groups=st.integers(1, 5),
    block=st.sampled_from((1, 4, 8)),
    seed=st.integers(0, 2**32 - 1),
)
def test_folded_sums_are_the_contract(name, kind, m, n, groups, block, seed) -> None:
    """All codes with FP16 values of all exponents, so that some tokens exceed float64."""
    fmt = parse_format(name)
    k = groups * (fmt.group or 24)
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, n, k, fmt)
    activations = random_activations(rng, m, k, kind)
    expected = contract_sums(activations, weights, block)
    np.testing.assert_array_equal(folded_sums(activations, weights, block), expected)


@pytest.mark.parametrize("name", ["int8_g128", "int8", "int8_asym_g32", "bitmod_fp4_g128"])
def test_only_tokens_too_large_for_float64_take_the_long_way(name, monkeypatch) -> None:
    """Two of five tokens: huge values, which need more than 53 bits with eight-bit codes."""
    fmt = parse_format(name)
    rng = np.random.default_rng(3)
    weights = random_weights(rng, 30, 512, fmt)
    values = rng.standard_normal((5, 512)).astype(np.float16)
    values[[1, 4]] = 65504
    long_way = []

    def heard(activations, weights, block):
        if len(activations) > 1:
            long_way.append(activations)
        return contract_sums(activations, weights, block)

    monkeypatch.setattr(module, "contract_sums", heard)
    found = folded_sums(values, weights, 4)
    np.testing.assert_array_equal(found, contract_sums(values, weights, 4))
    assert len(long_way) == 1
    np.testing.assert_array_equal(long_way[0], values[[1, 4]])


def test_outputs_come_in_blocks_of_features() -> None:
    rng = np.random.default_rng(5)
    weights = quantise(rng.standard_normal((70, 64)).astype(np.float32), parse_format("mxfp4"))
    values = rng.standard_normal((3, 64)).astype(np.float32)
    ((_, whole),) = output_blocks(values, weights, "fp16", 4)
    parts = list(output_blocks(values, weights, "fp16", 4, features=32))
    assert [part for part, _ in parts] == [slice(0, 32), slice(32, 64), slice(64, 70)]
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts], axis=1), whole)
    exact = values @ weights.dequantise().T
    assert np.abs(whole - exact).max() < 2e-3 * np.abs(exact).max()  # FP16 has 11 bits


def test_a_part_of_the_features_is_a_matrix_of_its_own() -> None:
    weights = random_weights(np.random.default_rng(0), 9, 64, parse_format("int4_asym_g32"))
    part = feature_part(weights, slice(2, 5))
    np.testing.assert_array_equal(part.dequantise(), weights.dequantise()[2:5])


@pytest.mark.parametrize(
    ("activations", "block", "found", "allowed"),
    [
        (np.zeros((2, 32), np.float32), 4, "float32", "int8 or float16"),
        (np.zeros((2, 31), np.float16), 4, "31", "32, of the weights"),
        (np.zeros((2, 32), np.float16), 3, "int4_g32", "a multiple of the block, 3"),
        (np.full((2, 32), np.inf, np.float16), 4, "infinity", "finite"),
    ],
)
def test_what_the_contract_refuses_is_refused(activations, block, found, allowed) -> None:
    weights = random_weights(np.random.default_rng(0), 4, 32, parse_format("int4_g32"))
    with pytest.raises(InputError) as error:
        folded_sums(activations, weights, block)
    assert found in str(error.value)
    assert allowed in str(error.value)


def test_unknown_activations_are_refused() -> None:
    weights = random_weights(np.random.default_rng(0), 4, 32, parse_format("int4"))
    with pytest.raises(InputError, match="fp16, int8"):
        next(output_blocks(np.zeros((1, 32), np.float32), weights, "int4", 4))


@pytest.mark.parametrize(
    ("design", "kind", "name"),
    [
        ("dense-int8-tiny", "int8", "int4_g32"),
        ("dense-int8-tiny", "int8", "int8"),
        ("lut-tiny", "fp16", "int4_g32"),
        ("lut-tiny", "fp16", "int2"),
        ("lut-tiny", "int8", "int3_g32"),
    ],
)
def test_layers_of_a_model_are_those_of_the_golden_model(
    design, kind, name, tmp_path, monkeypatch
) -> None:
    """Every layer of a small model: the compiled, interpreted programs give the same floats."""
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))
    checkpoint = open_checkpoint(resolve_model(write_tiny(tmp_path / "tiny.gguf")))
    accelerator = with_activations(load_design(design), kind)
    fmt = parse_format(name)
    shapes = {shape.name: shape for shape in checkpoint.spec.linear_layers()}
    quantised = {layer: quantise(checkpoint.weight(layer), fmt) for layer in shapes}
    layers = QuantisedLayers(quantised, kind, accelerator.unit.lanes_k)
    prepared = prepare(checkpoint, accelerator, fmt, Progress())
    rng = np.random.default_rng(1)
    with LinearLayers(prepared, shapes, "golden", Progress()) as golden:
        for layer, shape in shapes.items():
            values = rng.standard_normal((7, shape.k)).astype(np.float32)
            found = np.concatenate([part for _, part in layers.blocks(layer, values)], axis=1)
            np.testing.assert_array_equal(found, golden(layer, values), err_msg=layer)
