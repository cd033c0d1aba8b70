"""The trees of an XGBoost model, from its own JSON.

XGBoost compares float32 features with float32 cuts, strictly below, and sends
missing values the default way. It adds in float32 too, tree by tree, starting
from `base_score`, which is stored as an answer and goes through the inverse
link to become a sum. Where the first trees' leaves start from it, the runtime
adds the same numbers in the same order, and the sums agree to the last bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import ParityFailed
from baton.packaging.onnx_trees import Forest, Link, Tree

LINKS: dict[str, Link] = {
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(
        ("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
        "identity",
    ),
}


def xgboost_forest(model: Any) -> Forest:
    """Read the trees of a fitted XGBClassifier or XGBRegressor.

    Raises:
        ParityFailed: It has categorical splits, leaves of several values,
            another booster than gbtree, or an objective that is not known.
    """
    learner = json.loads(bytes(model.get_booster().save_raw(raw_format="json")))["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    if objective not in LINKS:
        raise _cannot(model, f"its objective is {objective}, which has no converter")
    if booster["name"] != "gbtree":
        raise _cannot(model, f"its booster is {booster['name']}, only gbtree has a converter")
    link = LINKS[objective]
    targets = int(learner["learner_model_param"]["num_class"]) or int(learner["learner_model_param"]["num_target"])
    base = _base(learner["learner_model_param"]["base_score"], link=link, targets=targets)
    kept = _kept(booster["model"], learner.get("attributes", {}))
    stored = zip(booster["model"]["trees"][:kept], booster["model"]["tree_info"], strict=False)
    trees = [_tree(model, tree, target=target) for tree, target in stored]
    return Forest(
        trees=tuple(_starting_from(base, trees)),
        base=np.zeros(targets),
        link=link,
        strict=True,
        single=True,
        single_sums=True,
    )


def xgboost_refusal(model: Any) -> str | None:
    """Say why a model with these parameters cannot be exported, before it is fitted."""
    parameters = model.get_params()
    if parameters.get("booster") not in {None, "gbtree"}:
        return f"booster={parameters['booster']!r} has no converter, only gbtree has"
    if parameters.get("multi_strategy") == "multi_output_tree":
        return "multi_strategy='multi_output_tree' has no converter"
    if not math.isnan(parameters.get("missing", math.nan)):
        return f"missing={parameters['missing']!r} has no converter, only nan has"
    objective = parameters.get("objective")
    # A classifier of several classes changes its own objective to multi:softprob.
    if objective is not None and objective not in {*LINKS, "multi:softmax"}:
        return f"objective={objective!r} has no converter"
    return None


def _kept(stored: Any, attributes: Any) -> int:
    """Count the trees that answer: those up to the best round, where training was stopped early."""
    best = attributes.get("best_iteration")
    return len(stored["trees"]) if best is None else int(stored["iteration_indptr"][int(best) + 1])


def _base(stored: str, *, link: Link, targets: int) -> NDArray[np.float32]:
    one = np.float32(1)
    answers = np.asarray([float(each) for each in stored.strip("[]").split(",")], dtype=np.float32)
    match link:
        case "sigmoid":
            sums = -np.log(one / answers - one)
        case "exp":
            sums = np.log(answers)
        case _:
            sums = answers
    return np.broadcast_to(sums, targets)


def _starting_from(base: NDArray[np.float32], trees: Sequence[Tree]) -> Iterator[Tree]:
    """Give the trees with the first of each target starting from its base."""
    started: set[int] = set()
    for tree in trees:
        if tree.target in started:
            yield tree
            continue
        started.add(tree.target)
        values = tree.values.astype(np.float32) + base[tree.target]
        yield replace(tree, values=values.astype(np.float64))


def _tree(model: Any, stored: Any, *, target: int) -> Tree:
    if any(stored["split_type"]):
        raise _cannot(model, "it has categorical splits")
    if int(stored["tree_param"]["size_leaf_vector"]) > 1:
        raise _cannot(model, "its leaves have several values")
    left = np.asarray(stored["left_children"], dtype=np.int64)
    # A leaf keeps its value where a branch keeps its cut.
    cut = np.asarray(stored["split_conditions"], dtype=np.float32).astype(np.float64)
    return Tree(
        feature=np.asarray(stored["split_indices"], dtype=np.int64),
        cut=np.where(left >= 0, cut, 0.0),
        left=left,
        right=np.asarray(stored["right_children"], dtype=np.int64),
        missing_left=np.asarray(stored["default_left"], dtype=np.bool_),
        values=np.where(left >= 0, 0.0, cut)[:, None],
        target=target,
    )


def _cannot(model: Any, why: str) -> ParityFailed:
    return ParityFailed(
        what=f"{type(model).__name__} cannot be exported", why=why, fix="change the trainer's parameters"
    )
