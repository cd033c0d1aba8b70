"""A fitted pipeline as one ONNX graph: raw feature columns in, the probability of class 1 out.

The graph takes `numbers` (float32, `[rows, number fields]`) and `texts`
(string, `[rows, text fields]`), in the order of the bundle's fields, and gives
`score` (float32, `[rows, 1]`). Encoders are part of it, so that serving cannot
encode differently from training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baton.core.bundle import Field
from baton.core.errors import ParityFailed
from baton.packaging.onnx_encoders import Block, encode
from baton.packaging.onnx_graph import ML_DOMAIN, Graph
from baton.packaging.onnx_trees import add_trees
from baton.packaging.rows import NUMBER, TEXT, names_of
from baton.packaging.scorer import NUMBERS_INPUT, SCORE_OUTPUT, TEXTS_INPUT

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8
ROWS = "rows"


def export(pipeline: Any, fields: Sequence[Field]) -> bytes:
    """Give a fitted pipeline's ONNX file; the same pipeline gives the same bytes.

    Args:
        pipeline: A `ColumnTransformer` and a classifier of two classes.
        fields: The features in the order in which rows carry them.

    Raises:
        ParityFailed: A step has no converter, or takes a column that is no field.
    """
    graph = Graph()
    encoder, model = _steps(pipeline)
    kind = type(model).__name__
    if kind not in _MODELS:
        raise ParityFailed(
            what=f"{kind} cannot be exported",
            why=f"only {', '.join(_MODELS)} have a converter",
            fix="use another trainer, or add its converter to packaging/onnx_export.py",
        )
    dtype, convert = _MODELS[kind]
    matrix = _encoded(graph, encoder, fields, dtype=dtype)
    raw = convert(graph, model, matrix)
    _finish(graph, raw, dtype)
    return _assemble(graph, fields)


def _steps(pipeline: Any) -> tuple[Any, Any]:
    steps = [step for _, step in getattr(pipeline, "steps", ())]
    if [type(step).__name__ for step in steps[:-1]] != ["ColumnTransformer"]:
        shape = " > ".join(type(step).__name__ for step in steps) or type(pipeline).__name__
        raise ParityFailed(
            what="the pipeline cannot be exported",
            why=f"it is {shape}, expected ColumnTransformer > classifier",
            fix="build the trainer's pipeline from these two steps",
        )
    return steps[0], steps[1]


def _encoded(graph: Graph, encoder: Any, fields: Sequence[Field], *, dtype: type[np.floating[Any]]) -> str:
    sources = _sources(graph, fields, dtype)
    parts = []
    for _, transformer, columns in encoder.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        parts += [encode(graph, transformer, _pick(graph, sources, list(columns)), dtype=dtype)] if len(columns) else []
    tensors = [part.tensor for part in parts]
    return tensors[0] if len(tensors) == 1 else graph.add("Concat", tensors, axis=1)


def _sources(
    graph: Graph, fields: Sequence[Field], dtype: type[np.floating[Any]]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name the two input tensors with their columns, numbers in the model's element type."""
    from onnx import helper

    numbers, texts = names_of(fields, NUMBER), names_of(fields, TEXT)
    tensor = NUMBERS_INPUT
    if numbers and dtype is not np.float32:
        tensor = graph.add("Cast", [tensor], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return {NUMBER: (tensor, numbers), TEXT: (TEXTS_INPUT, texts)}


def _pick(graph: Graph, sources: dict[str, tuple[str, tuple[str, ...]]], columns: list[str]) -> Block:
    for kind, (tensor, names) in sources.items():
        if set(columns) <= set(names):
            indices = [names.index(column) for column in columns]
            return Block(tensor=graph.columns(tensor, indices, width=len(names)), kind=kind, width=len(columns))
    known = {name for _, names in sources.values() for name in names}
    strangers = [column for column in columns if column not in known]
    why = f"{strangers[0]!r} is no field" if strangers else "one transformer takes numbers and text"
    raise ParityFailed(
        what="the pipeline cannot be exported", why=why, fix="pass the fields that the pipeline was fitted on"
    )


def _linear(graph: Graph, model: Any, matrix: str) -> str:
    if len(model.classes_) != 2:  # noqa: PLR2004
        raise ParityFailed(
            what="LogisticRegression cannot be exported", why="it has more than two classes", fix="train a binary model"
        )
    weights = graph.constant(np.ascontiguousarray(model.coef_.T, dtype=np.float64))
    return graph.add("Add", [graph.add("MatMul", [matrix, weights]), graph.constant(model.intercept_)])


_MODELS: dict[str, tuple[type[np.floating[Any]], Any]] = {
    "LGBMClassifier": (np.float32, add_trees),
    "LogisticRegression": (np.float64, _linear),
}


def _finish(graph: Graph, raw: str, dtype: type[np.floating[Any]]) -> None:
    from onnx import TensorProto

    if dtype is np.float32:
        graph.add("Sigmoid", [raw], output=SCORE_OUTPUT)
    else:
        graph.add("Cast", [graph.add("Sigmoid", [raw])], output=SCORE_OUTPUT, to=TensorProto.FLOAT)


def _assemble(graph: Graph, fields: Sequence[Field]) -> bytes:
    from onnx import TensorProto, checker, helper

    numbers, texts = len(names_of(fields, NUMBER)), len(names_of(fields, TEXT))
    inputs = [
        helper.make_tensor_value_info(name, element, [ROWS, width])
        for name, element, width in (
            (NUMBERS_INPUT, TensorProto.FLOAT, numbers),
            (TEXTS_INPUT, TensorProto.STRING, texts),
        )
        if width
    ]
    output = helper.make_tensor_value_info(SCORE_OUTPUT, TensorProto.FLOAT, [ROWS, 1])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "baton", inputs, [output], initializer=graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)],
        producer_name="baton",
        ir_version=IR_VERSION,
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
