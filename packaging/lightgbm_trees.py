"""The trees of a LightGBM model, from its own dump.

A column that had no missing values in training treats one as 0 in serving
(`missing_type` None), whichever side is the default. A value that is no
further from 0 than 1e-35 is 0 to LightGBM, so a cut in there cannot divide.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.core.errors import ParityFailed
from baton.packaging.onnx_trees import Forest, Link, Tree

LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
}
# LightGBM's kZeroThreshold, a float32.
ZERO = float(np.float32(1e-35))


def lightgbm_forest(model: Any) -> Forest:
    """Read the trees of a fitted LGBMClassifier or LGBMRegressor.

    Raises:
        ParityFailed: It has categorical splits or linear leaves, averages its
            trees, takes 0 for missing, or has an objective that is not known.
    """
    dump = model.booster_.dump_model()
    objective, *options = str(dump.get("objective", "")).split() or ["unknown"]
    if objective not in LINKS or "sqrt" in options:
        raise _cannot(model, f"its objective is {' '.join([objective, *options])}, which has no converter")
    if dump.get("average_output"):
        raise _cannot(model, "boosting is 'rf', which averages its trees")
    targets = int(dump["num_tree_per_iteration"])
    steepness = next((float(each.split(":")[1]) for each in options if each.startswith("sigmoid:")), 1.0)
    trees = (
        _tree(model, tree["tree_structure"], target=at % targets, steepness=steepness)
        for at, tree in enumerate(dump["tree_info"])
    )
    return Forest(trees=tuple(trees), base=np.zeros(targets), link=LINKS[objective])


def lightgbm_refusal(model: Any) -> str | None:
    """Say why a model with these parameters cannot be exported, before it is fitted."""
    parameters = model.get_params()
    names = {"boosting_type": ("rf",), "linear_tree": (True,), "zero_as_missing": (True,), "reg_sqrt": (True,)}
    refused = [f"{name}={parameters[name]!r}" for name, values in names.items() if parameters.get(name) in values]
    objective = parameters.get("objective")
    if objective is not None and objective not in LINKS:
        refused.append(f"objective={objective!r}")
    return f"{refused[0]} has no converter" if refused else None


def _tree(model: Any, root: Any, *, target: int, steepness: float) -> Tree:
    """Number a tree's nodes from its root in depth-first order."""
    found: list[tuple[int, float, int, int, bool, float]] = []
    pending, count = [(root, 0)], 1
    while pending:
        node, at = pending.pop()
        found += [(0, 0.0, -1, -1, False, 0.0)] * (at + 1 - len(found))
        if "leaf_value" in node:
            if "leaf_coeff" in node:
                raise _cannot(model, "its leaves are linear")
            found[at] = (0, 0.0, -1, -1, False, steepness * float(node["leaf_value"]))
            continue
        if node["decision_type"] != "<=":
            raise _cannot(model, f"a split is {node['decision_type']!r} (categorical), only <= has a converter")
        found[at] = (
            int(node["split_feature"]),
            _beside_zero(float(node["threshold"])),
            count,
            count + 1,
            _missing_goes_left(model, node),
            0.0,
        )
        pending += [(node["right_child"], count + 1), (node["left_child"], count)]
        count += 2
    feature, cut, left, right, missing_left, values = zip(*found, strict=True)
    return Tree(
        feature=np.asarray(feature, dtype=np.int64),
        cut=np.asarray(cut, dtype=np.float64),
        left=np.asarray(left, dtype=np.int64),
        right=np.asarray(right, dtype=np.int64),
        missing_left=np.asarray(missing_left, dtype=np.bool_),
        values=np.asarray(values, dtype=np.float64)[:, None],
        target=target,
    )


def _beside_zero(cut: float) -> float:
    """Move a cut out of the values that are read as 0, to the side on which 0 itself stays."""
    if abs(cut) > ZERO:
        return cut
    return ZERO if cut >= 0 else float(np.nextafter(-ZERO, -np.inf))


def _missing_goes_left(model: Any, node: Any) -> bool:
    match node["missing_type"]:
        case "NaN":
            return bool(node["default_left"])
        case "None":
            return float(node["threshold"]) >= 0.0
        case _:
            # zero_as_missing also sends 0 the default way, which the ensemble cannot say.
            raise _cannot(model, "it takes 0 for missing (zero_as_missing)")


def _cannot(model: Any, why: str) -> ParityFailed:
    return ParityFailed(
        what=f"{type(model).__name__} cannot be exported", why=why, fix="change the trainer's parameters"
    )
