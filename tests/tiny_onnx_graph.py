"""Writes ONNX graphs node by node."""

from dataclasses import dataclass

import numpy
from onnx import TensorProto, helper, numpy_helper, save

INF = numpy.iinfo(numpy.int64).max


class Graph:
    """Collects nodes; a method returns the name of the value it makes."""

    def __init__(self, external=False):
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.external = external
        self.names = set()

    def node(self, op, *inputs, name="", outputs=1, domain="", **attributes):
        name = name or f"/{op}"
        while name in self.names:
            head, _, tail = name.rpartition("_")
            name = f"{head}_{int(tail) + 1}" if tail.isdecimal() and head else f"{name}_1"
        self.names.add(name)
        made = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name, domain=domain, **attributes))
        return made[0] if outputs == 1 else made

    def weight(self, name, *shape, kind=TensorProto.FLOAT):
        """A weight whose data, in an external file, is never there."""
        if self.external or numpy.prod(shape) > 65536:
            tensor = TensorProto(name=name, data_type=kind, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="missing.bin")
        else:
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            tensor = numpy_helper.from_array(numpy.zeros(shape, dtype), name)
        self.initializers.append(tensor)
        return name

    def value(self, array, dtype=numpy.float32):
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(numpy.array(array, dtype), name))
        return name

    def integers(self, *values):
        return self.value(values, numpy.int64)

    def input(self, name, shape, kind=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name, kind=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self):
        graph = helper.make_graph(self.nodes, "tiny", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets)

    def write(self, path):
        save(self.model(), path)
        return path

    def size(self, value, axis):
        """Length of one axis as a tensor of one element, as torch.onnx writes it."""
        shape = self.node("Shape", value)
        return self.node(
            "Unsqueeze", self.node("Gather", shape, self.value(axis, numpy.int64)), self.integers(0)
        )

    def reshape(self, value, *sizes):
        """Reshape to sizes that are integers or tensors of one element."""
        parts = [self.integers(s) if isinstance(s, int) else s for s in sizes]
        return self.node("Reshape", value, self.node("Concat", *parts, axis=0))


def mlp(*steps, width=48):
    """A linear operator and then `steps`: functions of the graph and a value."""
    graph = Graph()
    x = graph.input("x", ["batch", "tokens", 48])
    x = graph.node("MatMul", x, graph.weight("w", 48, width), name="first")
    for step in steps:
        x = step(graph, x)
    graph.output(x)
    return graph


def apply(op, *more, **attributes):
    def step(graph, x):
        return graph.node(op, x, *(make(graph) for make in more), name="last", **attributes)

    return step


@dataclass
class Sizes:
    """Sizes of a tiny decoder."""

    hidden: int = 48
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 8
    ffn: int = 80
    vocab: int = 112
    layers: int = 2
    positions: int = 64
