"""The trained model as one ONNX file, written node by node.

The graph is small and fixed, so it is built by hand: no tracing, no names or paths of this machine in the file, and the
same weights give the same bytes.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .encoding import MISSING_BIN, Encoding
from .model import STANDARDISED_LIMIT, RankingModel
from .vocabulary import FIRST_OWN, MISSING, RARE

# Old enough for any ONNX Runtime since 2022.
OPSET, ML_OPSET, IR_VERSION = 17, 2, 8


def export_onnx(model: RankingModel, encoding: Encoding, file: Path | BinaryIO) -> None:
    """Write the model: inputs `ids` int64 [N, C] and `dense` float32 [N, D] (absent when C or D is 0), output
    `probability` float32 [N]. Holds exactly what `Encoding.cells` and `RankingModel.forward` do, then a sigmoid."""
    graph = Graph()
    categorical, numeric = len(encoding.vocabularies), len(encoding.edges)
    cells, deep = [], []
    if categorical:
        graph.input("ids", TensorProto.INT64, categorical)
        rows = _rows_of_ids(graph, encoding)
        cells.append(rows)
        deep += [_embedded(graph, model, rows, dim) for dim in model.tables.columns]
    if numeric:
        graph.input("dense", TensorProto.FLOAT, numeric)
        cells.append(_bins(graph, encoding))
        deep.append(_standardise(graph, model))
    x = graph.add("Concat", *deep, axis=1)
    for index, layer in enumerate(model.layers):
        if index > 0:
            x = graph.add("Relu", x)
        x = graph.add("Gemm", x, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias)), transB=1)
    deep_logit = graph.add("Squeeze", x, graph.constant(np.array([1], dtype=np.int64)))
    logit = graph.add("Add", deep_logit, _wide(graph, model, cells))
    graph.output(graph.add("Sigmoid", logit), "probability")
    onnx.save(graph.build(), file)


def _rows_of_ids(graph: "Graph", encoding: Encoding) -> str:
    """int64 [N, C]: the row of each id in its own table."""
    count = len(encoding.vocabularies)
    parts = graph.split("ids", count)
    rows = [
        graph.add(
            "LabelEncoder",
            part,
            domain="ai.onnx.ml",
            keys_int64s=[0, *vocabulary.ids.tolist()],
            values_int64s=[MISSING, *range(FIRST_OWN, vocabulary.size)],
            default_int64=RARE,
        )
        for part, vocabulary in zip(parts, encoding.vocabularies)
    ]
    return graph.add("Concat", *rows, axis=1)


def _embedded(graph: "Graph", model: RankingModel, rows: str, dim: int) -> str:
    """float32 [N, columns * dim]: the embeddings of all features of this width."""
    tables = model.tables
    columns = graph.add("Gather", rows, graph.constant(np.array(tables.columns[dim], dtype=np.int64)), axis=1)
    places = graph.add("Add", columns, graph.constant(np.array(tables.offsets(dim), dtype=np.int64)))
    found = graph.add("Gather", graph.constant(_array(model.embedding(dim))), places, axis=0)
    return graph.add("Flatten", found, axis=1)


def _bins(graph: "Graph", encoding: Encoding) -> str:
    """int64 [N, D]: the bin of each number."""
    two = graph.constant(np.array([2], dtype=np.int64))
    above = graph.add("Greater", graph.add("Unsqueeze", "dense", two), graph.constant(encoding.edges))
    bins = graph.add("ReduceSum", graph.add("Cast", above, to=TensorProto.INT64), two, keepdims=0)
    return graph.add("Where", graph.add("IsNaN", "dense"), graph.constant(np.int64(MISSING_BIN)), bins)


def _wide(graph: "Graph", model: RankingModel, cells: list[str]) -> str:
    """float32 [N]: the sum of one weight a cell, and of the position's, which is the same for all."""
    starts = np.array(model.tables.starts, dtype=np.int64)
    inputs = len(model.features)
    places = graph.add("Add", graph.add("Concat", *cells, axis=1), graph.constant(starts[:inputs]))
    found = graph.add("Gather", graph.constant(_array(model.wide)), places, axis=0)
    total = graph.add("ReduceSum", found, graph.constant(np.array([1], dtype=np.int64)), keepdims=0)
    if len(starts) == inputs:
        return total
    return graph.add("Add", total, graph.constant(_array(model.wide)[starts[inputs]]))


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

    def split(self, value: str, parts: int) -> list[str]:
        """[N, parts] -> as many values [N, 1]."""
        names = [f"v{len(self.nodes)}_{part}" for part in range(parts)]
        sizes = self.constant(np.ones(parts, dtype=np.int64))
        self.nodes.append(helper.make_node("Split", [value, sizes], names, axis=1))
        return names

    def output(self, value: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]))

    def build(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "freshet", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="freshet")
        onnx.checker.check_model(model)
        return model


def _array(tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
