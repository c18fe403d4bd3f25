"""The trained model as one ONNX file, written node by node.

The graph is small and fixed, so it is built by hand: no tracing, no names or paths of this machine in the file, and the
same weights give the same bytes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .model import STANDARDISED_LIMIT, RankingModel, table_key

# Old enough for any ONNX Runtime since 2022.
OPSET, IR_VERSION = 17, 8


def export_onnx(model: RankingModel, path: Path) -> None:
    """Write the model: inputs `ids` int64 [N, C] and `dense` float32 [N, D] (absent when C or D is 0), output
    `probability` float32 [N]. Holds exactly what `RankingModel.forward` does, then a sigmoid."""
    graph = Graph()
    blocks = []
    if model.categorical:
        graph.input("ids", TensorProto.INT64, len(model.categorical))
        for column, feature in enumerate(model.categorical):
            # fmod is 0: the row is never negative, as with torch.remainder.
            ids = graph.add("Gather", "ids", graph.constant(np.int64(column)), axis=1)
            row = graph.add("Mod", ids, graph.constant(np.int64(feature.buckets)), fmod=0)
            table = model.tables[table_key(feature)].weight
            blocks.append(graph.add("Gather", graph.constant(_array(table)), row, axis=0))
    if model.numeric:
        graph.input("dense", TensorProto.FLOAT, len(model.numeric))
        blocks.append(_standardise(graph, model))
    x = graph.add("Concat", *blocks, axis=1)
    for index, layer in enumerate(model.layers):
        if index > 0:
            x = graph.add("Relu", x)
        x = graph.add("Gemm", x, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias)), transB=1)
    logit = graph.add("Squeeze", x, graph.constant(np.array([1], dtype=np.int64)))
    graph.output(graph.add("Sigmoid", logit), "probability")
    onnx.save(graph.build(), path)


def _standardise(graph: "Graph", model: RankingModel) -> str:
    zero, one, limit = (graph.constant(np.float32(value)) for value in (0.0, 1.0, STANDARDISED_LIMIT))
    missing = graph.add("IsNaN", "dense")
    known = graph.add("Where", missing, zero, "dense")
    logged = graph.add("Log", graph.add("Add", graph.add("Max", known, zero), one))
    transformed = graph.add("Where", graph.constant(_array(model.is_log1p)), logged, known)
    centred = graph.add("Sub", transformed, graph.constant(_array(model.mean)))
    standardised = graph.add("Div", centred, graph.constant(_array(model.deviation)))
    imputed = graph.add("Where", missing, zero, standardised)
    return graph.add("Clip", imputed, graph.constant(np.float32(-STANDARDISED_LIMIT)), limit)


class Graph:
    """Collects nodes and constants; every value gets a number for a name."""

    def __init__(self) -> None:
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def input(self, name: str, element: int, width: int) -> None:
        self.inputs.append(helper.make_tensor_value_info(name, element, ["N", width]))

    def constant(self, value: np.ndarray | np.generic) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def output(self, value: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]))

    def build(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "freshet", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="freshet")
        onnx.checker.check_model(model)
        return model


def _array(tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
