"""Any other estimator of scikit-learn, converted by skl2onnx and taken into our graph.

Only the model step goes this way: encoders are always ours. In doubles where
the converter and the runtime can, else in float32; the parity proof judges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.core.errors import ParityFailed
from baton.packaging.onnx_graph import ML_DOMAIN, ML_OPSET, Graph

PREFIX = "model_"
INPUT = "features"
DOMAINS = frozenset({"", ML_DOMAIN})


def known(model: Any) -> bool:
    """Say whether skl2onnx has a converter for the estimator's class; others that build on it are not asked for."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    return type(model) in sklearn_operator_name_map


def add_converted(graph: Graph, model: Any, matrix: str, *, width: int, opset: int) -> tuple[str, int]:
    """Add a fitted estimator behind a matrix of doubles; give the tensor of its answers and its columns.

    Raises:
        ParityFailed: The converter gives up, or needs operators beyond the standard ones.
    """
    from onnx import compose

    converted, single = _converted(model, width=width, opset=opset)
    part = compose.add_prefix(converted, PREFIX).graph
    entry = graph.cast(matrix, np.float32) if single else matrix
    graph.add("Identity", [entry], output=PREFIX + INPUT)
    graph.nodes += part.node
    graph.constants += part.initializer
    # A classifier's first output is the label, its second the chances.
    answers = graph.cast(part.output[-1].name, np.float64)
    columns = len(getattr(model, "classes_", (0,)))
    shape = graph.constant(np.asarray([-1, columns], dtype=np.int64))
    return graph.add("Reshape", [answers, shape]), columns


def _converted(model: Any, *, width: int, opset: int) -> tuple[Any, bool]:
    """Convert in doubles, or in float32 where that fails; says which."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    reason = ""
    for single, kind in ((False, DoubleTensorType), (True, FloatTensorType)):
        try:
            converted = _convert(model, kind([None, width]), opset=opset)
        except Exception as error:  # noqa: BLE001 - converters and runtime share no base of exceptions
            reason = str(error).partition("\n")[0]
            continue
        return converted, single
    raise ParityFailed(
        what=f"{type(model).__name__} cannot be exported",
        why=f"skl2onnx gives up ({reason})",
        fix="use a trainer that has a converter, such as lightgbm, xgboost or forest",
    )


def _convert(model: Any, kind: Any, *, opset: int) -> Any:
    import onnxruntime
    from skl2onnx import convert_sklearn

    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    converted = convert_sklearn(
        model, initial_types=[(INPUT, kind)], options=options, target_opset={"": opset, ML_DOMAIN: ML_OPSET}
    )
    strangers = {node.domain for node in converted.graph.node} - DOMAINS
    if strangers:
        raise ValueError(f"it uses operators of {', '.join(sorted(strangers))}")
    # Some operators are there for float32 alone, which only loading says.
    onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    return converted
