"""ONNX files that are refused, each in one line that names the file and the node."""

import sys

import numpy
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper, save
from onnx_graphs import contents
from tiny_onnx import Decoder
from tiny_onnx_graph import Sizes, apply, mlp

from designs.errors import InputError
from mapping.frontends.onnx_file import read_onnx
from mapping.graph import operators


def vector(graph):
    return graph.weight("vector", 48)


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (apply("Conv", vector), ["'last'", "Conv"]),
        (apply("LSTM", vector, vector), ["'last'", "LSTM"]),
        (apply("Loop"), ["'last'", "Loop"]),
        (apply("Exp"), ["'last'", "Exp"]),
        (apply("ReduceMean"), ["'last'", "ReduceMean"]),
        (apply("TopK", lambda g: g.integers(2), outputs=2), ["'last'", "TopK"]),
        (apply("Secret", domain="my.domain"), ["'last'", "my.domain.Secret"]),
        (lambda g, x: g.node("Mul", x, name="last"), ["'last'", "Mul", "2 inputs"]),
        (lambda g, x: g.node("MatMul", x, g.weight("v", 48), name="last"), ["'last'", "(48,)"]),
        (lambda g, x: g.node("Div", "x", x, name="last"), ["'last'", "Div"]),
        (
            lambda g, x: g.node("MatMul", x, g.node("Transpose", x, perm=[0, 2, 1]), name="last"),
            ["'last'", "MatMul", "Softmax"],
        ),
        (
            lambda g, x: g.node("MatMul", x, g.weight("v", 40, 8), name="last"),
            ["'last'", "(40, 8)"],
        ),
        (
            lambda g, x: g.node("MatMul", x, g.weight("v", 4, 48, 8), name="last"),
            ["'last'", "two dimensions"],
        ),
        (
            lambda g, x: g.node("Reshape", x, g.integers(-1, 7), name="last"),
            ["'last'", "Reshape", "7"],
        ),
        (
            lambda g, x: g.node("Relu", g.node("Reshape", x, g.input("to", [3], 7)), name="last"),
            ["'last'", "shape of"],
        ),
    ],
)
def test_refused_nodes(tmp_path, step, words):
    """The message names the file, the node and the operator type."""

    def taken(graph, x):
        made = step(graph, x)
        return made[0] if isinstance(made, list) else made

    refused(mlp(taken).write(tmp_path / "bad.onnx"), *words)


def test_attention_without_softmax(tmp_path):
    graph = Decoder(Sizes()).llama()
    softmax = next(node for node in graph.nodes if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    refused(graph.write(tmp_path / "bad.onnx"), "/layers.0/self_attn/MatMul", "Softmax")


def test_truncated_everywhere(tmp_path):
    """A file that is cut anywhere is refused in one line, or still holds a whole graph."""
    whole = Decoder(Sizes(layers=1)).llama().model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for size in range(0, len(whole) - 40, len(whole) // 23):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"GGUF" * 20, bytes(range(256)), b"{}"])
def test_not_onnx(tmp_path, data):
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    refused(path)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path, "a folder")


def test_package_missing(tmp_path, monkeypatch):
    path = Decoder(Sizes()).llama().write(tmp_path / "tiny.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(path, "not installed", "silicast[onnx]")


def write_nodes(path, nodes, initializers=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [4, 8])],
        [value("y", TensorProto.FLOAT, None)],
        list(initializers),
    )
    save(helper.make_model(graph), path)
    return path


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], ["graph.node"]),
        ([("Relu", ["b"], ["a"]), ("Relu", ["a"], ["b"])], ["cycle"]),
        ([("Relu", ["z"], ["y"])], ["'z'"]),
        ([("Relu", ["x"], ["y"]), ("Tanh", ["x"], ["y"])], ["'y'"]),
        ([("Relu", ["x"], ["a"])], ["graph.output", "'y'"]),
        ([("Relu", ["x"], ["y"])], ["linear operators"]),
    ],
)
def test_refused_graphs(tmp_path, nodes, words):
    made = [helper.make_node(op, i, o, o[0]) for op, i, o in nodes]
    for node in made:
        if "cycle" in words and node.output[0] == "a":
            node.output.append("y")
    refused(write_nodes(tmp_path / "bad.onnx", made), *words)


def test_damaged_initializer(tmp_path):
    weight = numpy_helper.from_array(numpy.zeros((8, 4), numpy.float32), "w")
    weight.raw_data = weight.raw_data[:-1]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "m")]
    refused(write_nodes(tmp_path / "bad.onnx", nodes, [weight]), "initializer 'w'")


def test_nodes_out_of_order(tmp_path):
    """Some tools write nodes in another order: what counts is who reads what."""
    graph = Decoder(Sizes()).llama()
    expected = contents(read_onnx(graph.write(tmp_path / "a.onnx")).graph)
    graph.nodes.reverse()
    assert contents(read_onnx(graph.write(tmp_path / "b.onnx")).graph) == expected


def test_function_of_the_file(tmp_path):
    """A function that the file defines is read as the nodes it stands for."""
    model = mlp(lambda g, x: g.node("Act", x, domain="local")).model()
    opsets = [helper.make_opsetid("", 23)]
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("local", "Act", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    save(model, tmp_path / "f.onnx")
    kinds = [o.kind for o in operators(read_onnx(tmp_path / "f.onnx").graph)]
    assert kinds == ["linear", "activation"]


def test_damage_inside(tmp_path):
    """Single damaged bytes, anywhere: the file is read, or refused in one line."""
    whole = Decoder(Sizes(layers=1), external=True).llama().model().SerializeToString()
    random, path, messages = numpy.random.default_rng(5), tmp_path / "damaged.onnx", []
    for _ in range(150):
        data = bytearray(whole)
        data[random.integers(len(data))] = random.integers(256)
        path.write_bytes(data)
        try:
            read_onnx(path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_damaged_text(tmp_path):
    """Names that are not UTF-8, in a node, a value and a dimension."""
    data = Decoder(Sizes(layers=1)).llama().model().SerializeToString()
    for name in (b"/Softmax", b"hidden", b"sequence", b"position_ids"):
        path = tmp_path / "text.onnx"
        path.write_bytes(data.replace(name, b"\xff" * len(name)))
        assert read_onnx(path).layers == 1
