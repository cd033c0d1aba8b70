"""A calibration as ONNX nodes behind a model's chances, in doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from baton.packaging.onnx_graph import Graph
from baton.training.calibration import HIGHEST, LOWEST

if TYPE_CHECKING:
    from baton.training.calibration import Calibration, Curve, Sigmoid


def add_calibration(graph: Graph, chances: str, calibration: Calibration) -> str:
    """Add what `Calibration.apply` does to chances of shape `(rows, columns)`; gives the calibrated ones."""
    if calibration.sigmoids:
        mapped = _sigmoids(graph, chances, calibration.sigmoids)
        columns = len(calibration.sigmoids)
    else:
        columns = len(calibration.curves)
        parts = [
            _curve(graph, graph.columns(chances, [at], width=columns), each)
            for at, each in enumerate(calibration.curves)
        ]
        mapped = graph.joined(parts)
    if columns == 1:
        return mapped
    total = graph.add("ReduceSum", [mapped, graph.constant(np.asarray([1], dtype=np.int64))], keepdims=1)
    return graph.add("Div", [mapped, total])


def _sigmoids(graph: Graph, chances: str, sigmoids: tuple[Sigmoid, ...]) -> str:
    clipped = graph.add("Clip", [chances, _number(graph, LOWEST), _number(graph, HIGHEST)])
    against = graph.add("Log", [graph.add("Sub", [_number(graph, 1.0), clipped])])
    odds = graph.add("Sub", [graph.add("Log", [clipped]), against])
    slopes = graph.constant(np.asarray([each.slope for each in sigmoids], dtype=np.float64))
    offsets = graph.constant(np.asarray([each.offset for each in sigmoids], dtype=np.float64))
    return graph.add("Sigmoid", [graph.add("Add", [graph.add("Mul", [odds, slopes]), offsets])])


def _curve(graph: Graph, chance: str, curve: Curve) -> str:
    """Add up how far the chance has come between each two knots, times the rise between them."""
    x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
    if len(x) == 1:
        # A flat curve still has a row for each row.
        return graph.add("Add", [graph.add("Mul", [chance, _number(graph, 0.0)]), _number(graph, float(y[0]))])
    way = graph.add("Sub", [chance, graph.constant(x[:-1])])
    share = graph.add("Div", [way, graph.constant(np.diff(x))])
    share = graph.add("Clip", [share, _number(graph, 0.0), _number(graph, 1.0)])
    rise = graph.add("MatMul", [share, graph.constant(np.diff(y)[:, None])])
    return graph.add("Add", [rise, _number(graph, float(y[0]))])


def _number(graph: Graph, value: Any) -> str:
    return graph.constant(np.asarray(value, dtype=np.float64))
