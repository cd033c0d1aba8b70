"""A fitted pipeline as one ONNX graph: raw feature columns in, answers out.

The graph takes `numbers` (float32, `[rows, number fields]`) and `texts`
(string, `[rows, text fields]`), in the order of the bundle's fields, and gives
`score`:

    binary      float32  [rows, 1]        the chance of class 1
    multiclass  float32  [rows, classes]  the chance of each class
    regression  double   [rows, 1]        the number

Encoders and calibration are part of it, so that serving cannot encode or
calibrate differently from training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.bundle import Field
from baton.core.errors import ParityFailed
from baton.core.policy import Task
from baton.packaging.onnx_blocks import Block
from baton.packaging.onnx_calibration import add_calibration
from baton.packaging.onnx_encoders import encode
from baton.packaging.onnx_graph import ML_DOMAIN, OPSET, OPSET_OF_WORDS, Graph
from baton.packaging.onnx_models import Answers, add_model, forest_of
from baton.packaging.onnx_trees import TWO_CLASSES, Forest
from baton.packaging.rows import NUMBER, TEXT, names_of
from baton.packaging.scorer import NUMBERS_INPUT, SCORE_OUTPUT, TEXTS_INPUT

if TYPE_CHECKING:
    from baton.training.calibration import Calibration

# What came with each operator set.
IR_VERSIONS = {OPSET: 8, OPSET_OF_WORDS: 9}
ROWS = "rows"
# What leaves a number as it is; whatever else computes, does so in doubles.
AS_IT_IS = frozenset({"passthrough", "FunctionTransformer", "OrdinalEncoder", "OneHotEncoder"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An ONNX file, and the cuts at which its trees divide the raw number columns."""

    onnx: bytes
    opset: int
    ml_opset: int
    cuts: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """The matrix that the model takes; `raw` names the column where an encoded one is a raw number as it is."""

    tensor: str
    raw: tuple[str | None, ...]


def export(
    pipeline: Any,
    fields: Sequence[Field],
    *,
    task: Task = "binary",
    classes: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> Exported:
    """Give a fitted pipeline's ONNX file; the same pipeline gives the same bytes.

    Args:
        pipeline: A `ColumnTransformer`, any scalers of numbers, and an estimator.
        fields: The features in the order in which rows carry them.
        task: What the estimator predicts.
        classes: The classes in the order of their scores, where they have names.
        calibration: What is done to the estimator's chances.

    Raises:
        ParityFailed: A step has no converter, or takes a column that is no field.
    """
    graph = Graph()
    encoder, between, model = _steps(pipeline)
    forest = forest_of(model)
    double = forest is None or not all(_keeps(step) for step in [*_transformers(encoder), *between])
    matrix = _encoded(graph, encoder, between, fields, dtype=np.float64 if double else np.float32)
    answers = add_model(
        graph,
        model,
        forest,
        matrix.tensor,
        task=task,
        width=len(matrix.raw),
        double=double,
        precise=task == "regression" or calibration is not None,
        opset=OPSET,
    )
    width = _finish(graph, answers, task=task, classes=classes, calibration=calibration)
    return Exported(
        onnx=_assemble(graph, fields, task=task, width=width),
        opset=graph.opset,
        ml_opset=graph.ml_opset,
        cuts=_cuts(forest, matrix.raw),
    )


def _steps(pipeline: Any) -> tuple[Any, list[Any], Any]:
    steps = [step for _, step in getattr(pipeline, "steps", ())]
    if not steps[1:] or type(steps[0]).__name__ != "ColumnTransformer":
        shape = " > ".join(type(step).__name__ for step in steps) or type(pipeline).__name__
        raise ParityFailed(
            what="the pipeline cannot be exported",
            why=f"it is {shape}, expected ColumnTransformer > estimator",
            fix="build the trainer's pipeline from these two steps",
        )
    return steps[0], steps[1:-1], steps[-1]


def _transformers(encoder: Any) -> list[Any]:
    return [step for _, step, columns in encoder.transformers_ if len(columns) and step != "drop"]


def _keeps(step: Any) -> bool:
    """Say whether a step computes nothing: what leaves it is as exact in float32 as in doubles."""
    if type(step).__name__ == "Pipeline":
        return all(_keeps(part) for _, part in step.steps)
    return (step if isinstance(step, str) else type(step).__name__) in AS_IT_IS


def _encoded(
    graph: Graph, encoder: Any, between: Sequence[Any], fields: Sequence[Field], *, dtype: type[np.floating[Any]]
) -> _Encoded:
    sources = _sources(graph, fields, dtype)
    parts: list[str] = []
    raw: list[str | None] = []
    for _, transformer, columns in encoder.transformers_:
        if not len(columns) or (isinstance(transformer, str) and transformer == "drop"):
            continue
        # A vectorizer takes its one column by name alone.
        names = [columns] if isinstance(columns, str) else list(columns)
        picked = _pick(graph, sources, names)
        block = encode(graph, transformer, picked, dtype=dtype)
        parts.append(block.tensor)
        raw += names if block.tensor == picked.tensor and block.kind == NUMBER else [None] * block.width
    block = Block(tensor=graph.joined(parts), kind=NUMBER, width=len(raw))
    for step in between:
        block = encode(graph, step, block, dtype=dtype)
    return _Encoded(tensor=block.tensor, raw=tuple(raw) if not between else (None,) * block.width)


def _sources(
    graph: Graph, fields: Sequence[Field], dtype: type[np.floating[Any]]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name the two input tensors with their columns, numbers in the encoders' element type."""
    numbers, texts = names_of(fields, NUMBER), names_of(fields, TEXT)
    tensor = NUMBERS_INPUT
    if numbers and dtype is not np.float32:
        tensor = graph.cast(tensor, dtype)
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


def _finish(
    graph: Graph, answers: Answers, *, task: Task, classes: Sequence[str], calibration: Calibration | None
) -> int:
    """Turn raw scores into the graph's output and give its number of columns."""
    _check_width(answers, task=task, classes=classes)
    if not answers.precise and (task == "regression" or calibration is not None):
        answers = replace(answers, tensor=graph.cast(answers.tensor, np.float64), precise=True)
    tensor, columns = _linked(graph, answers)
    if task == "binary" and columns == TWO_CLASSES:
        tensor, columns = graph.columns(tensor, [1], width=columns), 1
    if calibration is not None:
        tensor = add_calibration(graph, tensor, calibration)
    if answers.precise and task != "regression":
        graph.cast(tensor, np.float32, output=SCORE_OUTPUT)
    else:
        assert graph.nodes[-1].output[0] == tensor
        graph.nodes[-1].output[0] = SCORE_OUTPUT
    return columns


def _linked(graph: Graph, answers: Answers) -> tuple[str, int]:
    match answers.link:
        case "sigmoid":
            return graph.add("Sigmoid", [answers.tensor]), answers.columns
        case "softmax":
            return graph.add("Softmax", [answers.tensor], axis=1), answers.columns
        case "exp":
            return graph.add("Exp", [answers.tensor]), answers.columns
        case "identity":
            return answers.tensor, answers.columns


def _check_width(answers: Answers, *, task: Task, classes: Sequence[str]) -> None:
    match task:
        case "binary":
            fits = answers.columns in (1, TWO_CLASSES)
        case "multiclass":
            fits = answers.columns == (len(classes) or answers.columns) > 1
        case "regression":
            fits = answers.columns == 1
    if not fits:
        expected = f"{len(classes)} classes" if classes else f"a {task} model"
        raise ParityFailed(
            what="the pipeline cannot be exported",
            why=f"its estimator gives {answers.columns} scores a row, expected those of {expected}",
            fix="train on rows of every class in label.classes, or change the task in model.yaml",
        )


def _cuts(forest: Forest | None, raw: Sequence[str | None]) -> dict[str, tuple[float, ...]]:
    if forest is None:
        return {}
    return {name: tuple(forest.cuts(at).tolist()) for at, name in enumerate(raw) if name is not None}


def _assemble(graph: Graph, fields: Sequence[Field], *, task: Task, width: int) -> bytes:
    from onnx import TensorProto, checker, helper

    numbers, texts = len(names_of(fields, NUMBER)), len(names_of(fields, TEXT))
    inputs = [
        helper.make_tensor_value_info(name, element, [ROWS, columns])
        for name, element, columns in (
            (NUMBERS_INPUT, TensorProto.FLOAT, numbers),
            (TEXTS_INPUT, TensorProto.STRING, texts),
        )
        if columns
    ]
    element = TensorProto.DOUBLE if task == "regression" else TensorProto.FLOAT
    output = helper.make_tensor_value_info(SCORE_OUTPUT, element, [ROWS, width])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "baton", inputs, [output], initializer=graph.constants),
        opset_imports=[helper.make_opsetid("", graph.opset), helper.make_opsetid(ML_DOMAIN, graph.ml_opset)],
        producer_name="baton",
        ir_version=IR_VERSIONS[graph.opset],
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
