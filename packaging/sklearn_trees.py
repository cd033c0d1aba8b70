"""The trees of scikit-learn's forests and histogram boosting, from their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.core.errors import ParityFailed
from baton.packaging.onnx_trees import TWO_CLASSES, Forest, Link, Tree

# The loss of a histogram boosting says how its sums become answers.
LINKS: dict[str, Link] = {
    "HalfBinomialLoss": "sigmoid",
    "HalfMultinomialLoss": "softmax",
    **dict.fromkeys(("HalfPoissonLoss", "HalfGammaLoss"), "exp"),
    **dict.fromkeys(("HalfSquaredError", "AbsoluteError", "PinballLoss"), "identity"),
}


def averaged_forest(model: Any) -> Forest:
    """Read a fitted tree or forest, whose answer is the mean of its trees' leaves.

    Of two classes only the second is kept. Features are compared as float32,
    cuts are doubles.

    Raises:
        ParityFailed: It predicts several things at once.
    """
    if model.n_outputs_ != 1:
        raise _cannot(model, "it predicts several things at once")
    estimators = getattr(model, "estimators_", [model])
    classes = len(getattr(model, "classes_", ()))
    return Forest(
        trees=tuple(_averaged(each.tree_, classes=classes, share=1 / len(estimators)) for each in estimators),
        base=np.zeros(1 if classes <= TWO_CLASSES else classes),
        link="identity",
        single=True,
    )


def boosted_forest(model: Any) -> Forest:
    """Read a fitted HistGradientBoostingClassifier or HistGradientBoostingRegressor.

    Raises:
        ParityFailed: It has categorical features.
    """
    loss = type(model._loss).__name__
    if loss not in LINKS:
        raise _cannot(model, f"its loss is {loss}, which has no converter")
    rounds = [[predictor.nodes for predictor in each] for each in model._predictors]
    if model._preprocessor is not None or any(nodes["is_categorical"].any() for each in rounds for nodes in each):
        raise _cannot(model, "it has categorical features")
    return Forest(
        trees=tuple(_boosted(nodes, target=target) for each in rounds for target, nodes in enumerate(each)),
        base=np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1),
        link=LINKS[loss],
    )


def boosted_refusal(model: Any) -> str | None:
    """Say why a histogram boosting with these parameters cannot be exported, before it is fitted."""
    if model.get_params().get("categorical_features") in (None, "from_dtype"):
        return None
    return "categorical_features has no converter: encode them before the model"


def _averaged(tree: Any, *, classes: int, share: float) -> Tree:
    values = np.asarray(tree.value[:, 0, :], dtype=np.float64)
    if classes:
        values = values / values.sum(axis=1, keepdims=True)
    if classes == TWO_CLASSES:
        values = values[:, 1:]
    return Tree(
        feature=np.asarray(tree.feature, dtype=np.int64),
        cut=np.asarray(tree.threshold, dtype=np.float64),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        missing_left=np.asarray(tree.missing_go_to_left, dtype=np.bool_),
        values=values * share,
    )


def _boosted(nodes: Any, *, target: int) -> Tree:
    leaf = nodes["is_leaf"].astype(np.bool_)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        cut=np.where(leaf, 0.0, nodes["num_threshold"]),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        values=np.where(leaf, nodes["value"], 0.0)[:, None],
        target=target,
    )


def _cannot(model: Any, why: str) -> ParityFailed:
    return ParityFailed(
        what=f"{type(model).__name__} cannot be exported", why=why, fix="change the trainer's parameters"
    )
