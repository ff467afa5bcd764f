"""Shapes that are inferred against those that the ONNX reference implementation computes."""

import numpy
import pytest

pytest.importorskip("onnx")

from onnx import TensorShapeProto, checker, helper
from onnx.reference import ReferenceEvaluator
from tiny_onnx import Decoder
from tiny_onnx_graph import Sizes

from mapping.frontends.onnx_network import build_network
from mapping.frontends.onnx_shapes import infer_shapes

LLAMA = {
    "arithmetic": {},
    "halves": {"rope": "halves"},
    "interleaved": {"rope": "interleaved"},
    "scaled": {"attention": "scaled"},
    "batched": {"attention": "batched"},
    "broadcast": {"attention": "grouped"},
    "standard": {"norm": "RMSNormalization", "rope": "RotaryEmbedding", "attention": "Attention"},
    "dequantised": {"weights": "DequantizeLinear"},
    "integer": {"weights": "MatMulInteger"},
}


def computed(model):
    """Shapes of all values when the model is run."""
    random, feeds = numpy.random.default_rng(3), {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [size.dim_value for size in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[value.name] = random.integers(0, 2, shape).astype(dtype)
    results = ReferenceEvaluator(model).run(None, feeds, intermediate=True)
    return {name: numpy.shape(array) for name, array in results.items() if name}


def assert_shapes(graph):
    model = graph.model()
    for value in model.graph.output:  # the checker wants a rank
        value.type.tensor_type.shape.dim.extend([TensorShapeProto.Dimension() for _ in range(3)])
    checker.check_model(model, full_check=True)
    network = build_network(model, "tiny")
    found = infer_shapes(network, "").shapes
    expected = computed(model)
    made = {value for node in network.nodes for value in node.outputs}
    assert made <= expected.keys()
    wrong = {name: (found.get(name), expected[name]) for name in made}
    assert {name: pair for name, pair in wrong.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("cache", [False, True], ids=["", "cache"])
@pytest.mark.parametrize("form", LLAMA)
def test_llama(form, cache):
    sizes = Sizes(layers=1)
    decoder = Decoder(sizes, cache=cache, batch=2, tokens=3, past=4, **LLAMA[form])
    assert_shapes(decoder.llama())


@pytest.mark.parametrize("weights", ["MatMul", "Gemm"])
@pytest.mark.parametrize("activation", ["Relu", "Gelu", "erf", "tanh"])
@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_opt(activation, weights, fused):
    decoder = Decoder(Sizes(layers=1, kv_heads=6), weights=weights, batch=2, tokens=3)
    assert_shapes(decoder.opt(activation, fused))
