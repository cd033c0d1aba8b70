"""Linear models and plain networks as ONNX nodes: products and sums, all in doubles, so that sums cannot drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import ParityFailed
from baton.packaging.onnx_graph import Graph
from baton.packaging.onnx_trees import Link


def add_linear(graph: Graph, model: Any, matrix: str) -> tuple[str, int]:
    """Add a fitted linear model; give its tensor of raw scores and their number of columns.

    Raises:
        ParityFailed: It predicts several numbers at once.
    """
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    offsets = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), len(weights))
    if len(weights) > 1 and not hasattr(model, "classes_"):
        raise ParityFailed(
            what=f"{type(model).__name__} cannot be exported",
            why=f"it predicts {len(weights)} numbers at once",
            fix="train one model for each",
        )
    return _product(graph, matrix, weights.T, offsets), len(weights)


def add_layers(graph: Graph, model: Any, matrix: str) -> tuple[str, int]:
    """Add a fitted network; give its tensor of raw scores and their number of columns.

    Each of `layers` is a pair of weights of shape `(inputs, outputs)` and
    offsets of shape `(outputs,)`, with a rectifier between them. A network
    that has `mean` and `scale` standardises its features by them first.
    """
    tensor, width = matrix, 0
    if hasattr(model, "mean"):
        tensor = graph.add("Sub", [tensor, graph.constant(np.asarray(model.mean, dtype=np.float64))])
        tensor = graph.add("Div", [tensor, graph.constant(np.asarray(model.scale, dtype=np.float64))])
    for at, (weight, offset) in enumerate(model.layers):
        tensor = graph.add("Relu", [tensor]) if at else tensor
        tensor = _product(graph, tensor, np.asarray(weight, dtype=np.float64), np.asarray(offset, dtype=np.float64))
        width = np.shape(weight)[1]
    return tensor, width


def link_of_layers(width: int, *, chances: bool) -> Link:
    """Name what a network ends with: a number as it is, one chance by the logistic curve, several by softmax."""
    if not chances:
        return "identity"
    return "sigmoid" if width == 1 else "softmax"


def _product(graph: Graph, tensor: str, weights: NDArray[np.float64], offsets: NDArray[np.float64]) -> str:
    product = graph.add("MatMul", [tensor, graph.constant(np.ascontiguousarray(weights))])
    return graph.add("Add", [product, graph.constant(np.ascontiguousarray(offsets))])
