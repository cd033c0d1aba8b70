"""The last step of a pipeline as ONNX nodes: which estimator is written by what, and which cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from baton.core.errors import ParityFailed
from baton.core.policy import Task
from baton.packaging.lightgbm_trees import lightgbm_forest, lightgbm_refusal
from baton.packaging.onnx_graph import Graph
from baton.packaging.onnx_layers import add_layers, add_linear, link_of_layers
from baton.packaging.onnx_trees import Forest, Link, add_forest
from baton.packaging.sklearn_trees import averaged_forest, boosted_forest, boosted_refusal
from baton.packaging.xgboost_trees import xgboost_forest, xgboost_refusal

FORESTS: dict[str, Callable[[Any], Forest]] = {
    **dict.fromkeys(("LGBMClassifier", "LGBMRegressor"), lightgbm_forest),
    **dict.fromkeys(("XGBClassifier", "XGBRegressor"), xgboost_forest),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), boosted_forest),
    **dict.fromkeys(
        (
            "DecisionTreeClassifier",
            "DecisionTreeRegressor",
            "ExtraTreesClassifier",
            "ExtraTreesRegressor",
            "RandomForestClassifier",
            "RandomForestRegressor",
        ),
        averaged_forest,
    ),
}
LINEAR: dict[str, Link] = {
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV"), "sigmoid"),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor"), "exp"),
    **dict.fromkeys(
        (
            "BayesianRidge",
            "ElasticNet",
            "ElasticNetCV",
            "HuberRegressor",
            "Lasso",
            "LassoCV",
            "LinearRegression",
            "QuantileRegressor",
            "Ridge",
            "RidgeCV",
        ),
        "identity",
    ),
}
# Parameters that decide before the fit that there is no export after it.
REFUSALS: dict[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("LGBMClassifier", "LGBMRegressor"), lightgbm_refusal),
    **dict.fromkeys(("XGBClassifier", "XGBRegressor"), xgboost_refusal),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), boosted_refusal),
}
NETWORK = "layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A tensor of raw scores with its columns, and what turns them into answers; doubles where `precise`."""

    tensor: str
    columns: int
    link: Link
    precise: bool


def exportable(estimator: Any, *, task: Task = "binary") -> str | None:
    """Say why an estimator cannot be exported, fitted or not; None where it can.

    A fitted one is still proven row by row: this only saves a fit that would
    be in vain.

    Args:
        estimator: The last step of the trainer's pipeline.
        task: What it is to predict.
    """
    name = type(estimator).__name__
    if task != "regression" and not hasattr(estimator, "predict_proba"):
        return f"{name} gives no probabilities"
    if name in REFUSALS:
        why = REFUSALS[name](estimator)
        return f"{name} with {why}" if why else None
    if name in FORESTS or name in LINEAR or _is_network(estimator) or _is_converted(estimator):
        return None
    return f"{name} has no converter: give it an attribute {NETWORK!r} of weights and offsets, or use another trainer"


def forest_of(model: Any) -> Forest | None:
    """Read the trees of a fitted estimator; None where it has none that we read."""
    read = FORESTS.get(type(model).__name__)
    return read(model) if read else None


def add_model(
    graph: Graph,
    model: Any,
    forest: Forest | None,
    matrix: str,
    *,
    task: Task,
    width: int,
    double: bool,
    precise: bool,
    opset: int,
) -> Answers:
    """Add a fitted estimator behind its encoded features.

    Args:
        graph: The graph that is written.
        model: The estimator.
        forest: Its trees, where it has some.
        matrix: The encoded features.
        task: What it predicts.
        width: Number of encoded features.
        double: Whether the features are doubles, else float32.
        precise: Whether the answers need more than float32's seven digits.
        opset: The ONNX operator set of the graph.

    Raises:
        ParityFailed: It has no converter, or an option of it has none.
    """
    if forest is not None:
        return _add_forest(graph, forest, matrix, double=double, precise=precise)
    name = type(model).__name__
    if name in LINEAR:
        tensor, columns = add_linear(graph, model, matrix)
        link: Link = "softmax" if columns > 1 else LINEAR[name]
    elif _is_network(model):
        tensor, columns = add_layers(graph, model, matrix)
        link = link_of_layers(columns, chances=task != "regression")
    elif _is_converted(model):
        from baton.packaging.skl2onnx_model import add_converted

        tensor, columns = add_converted(graph, model, matrix, width=width, opset=opset)
        link = "identity"
    else:
        raise ParityFailed(
            what=f"{name} cannot be exported",
            why=exportable(model, task=task) or "it has no converter",
            fix="use another trainer, or add its converter to packaging/onnx_models.py",
        )
    return Answers(tensor=tensor, columns=columns, link=link, precise=True)


def _add_forest(graph: Graph, forest: Forest, matrix: str, *, double: bool, precise: bool) -> Answers:
    # Shares of trees often meet a half exactly, where a float32 sum would fall to the other side.
    shares = forest.link == "identity"
    precise = (precise or shares or (double and not forest.single)) and not forest.single_sums
    if double and forest.single:
        # What the trainer compares as float32 is rounded where the trainer rounds it: after the encoders.
        matrix, double = graph.cast(matrix, np.float32), False
    if precise and not double and not forest.spread:
        matrix = graph.cast(matrix, np.float64)
    tensor = add_forest(graph, forest, matrix, precise=precise)
    return Answers(tensor=tensor, columns=len(forest.base), link=forest.link, precise=precise)


def _is_network(model: Any) -> bool:
    # An unfitted network may not have its layers yet, but its class says that it will.
    return hasattr(model, NETWORK) or any(
        NETWORK in vars(kind).get("__annotations__", {}) for kind in type(model).mro()
    )


def _is_converted(model: Any) -> bool:
    from baton.packaging.skl2onnx_model import known

    return known(model)
