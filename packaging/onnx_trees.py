"""A LightGBM classifier as one ONNX tree ensemble that decides each row as LightGBM does.

Written from LightGBM's own dump and not through a general converter, because
two things must be exact that it loses:

- Thresholds are doubles. Rounded to the nearest float32, one in two lies above
  its double, and a value on that edge goes the other way. Rounded down to the
  largest float32 not above, every float32 value compares as in training.
- A column that had no missing values in training treats one as 0 in serving
  (`missing_type` None), whichever side is the default.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.core.errors import ParityFailed
from baton.packaging.onnx_graph import ML_DOMAIN, Graph


def add_trees(graph: Graph, model: Any, matrix: str) -> str:
    """Add a fitted LGBMClassifier of two classes and give the tensor of raw scores, shape `(rows, 1)`.

    Raises:
        ParityFailed: The model has more classes, categorical splits, linear
            leaves, or another objective than binary.
    """
    dump = model.booster_.dump_model()
    objective = str(dump.get("objective", "")).split()
    if not objective or objective[0] != "binary" or dump["num_tree_per_iteration"] != 1:
        raise _cannot(f"its objective is {' '.join(objective) or 'unknown'}, only binary has a converter")
    if dump.get("average_output"):
        raise _cannot("boosting is 'rf', which averages its trees")
    ensemble = _Ensemble()
    for at, tree in enumerate(dump["tree_info"]):
        ensemble.add(at, tree["tree_structure"])
    attributes: dict[str, Any] = {**ensemble.attributes, "n_targets": 1}
    raw = graph.add("TreeEnsembleRegressor", [matrix], domain=ML_DOMAIN, **attributes)
    steepness = next((float(part.split(":")[1]) for part in objective if part.startswith("sigmoid:")), 1.0)
    if steepness == 1.0:
        return raw
    return graph.add("Mul", [raw, graph.constant(np.asarray([steepness], dtype=np.float32))])


def largest_float32_not_above(number: float) -> float:
    """Round down to float32, so that every float32 compares with it as with the number itself."""
    rounded = np.float32(number)
    if float(rounded) > number:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


class _Ensemble:
    """The parallel lists that ONNX keeps an ensemble in."""

    def __init__(self) -> None:
        self.attributes: dict[str, list[Any]] = {
            "nodes_treeids": [],
            "nodes_nodeids": [],
            "nodes_featureids": [],
            "nodes_modes": [],
            "nodes_values": [],
            "nodes_truenodeids": [],
            "nodes_falsenodeids": [],
            "nodes_missing_value_tracks_true": [],
            "target_treeids": [],
            "target_nodeids": [],
            "target_ids": [],
            "target_weights": [],
        }

    def add(self, tree: int, root: Any) -> None:
        """Add a tree, nodes numbered from its root in depth-first order."""
        pending, count = [(root, 0)], 1
        while pending:
            node, at = pending.pop()
            if "leaf_value" in node:
                self._leaf(tree, at, node)
                continue
            self._branch(tree, at, node, left=count, right=count + 1)
            pending += [(node["right_child"], count + 1), (node["left_child"], count)]
            count += 2

    def _branch(self, tree: int, at: int, node: Any, *, left: int, right: int) -> None:
        if node["decision_type"] != "<=":
            raise _cannot(f"a split is {node['decision_type']!r} (categorical), only <= has a converter")
        self._node(
            tree,
            at,
            feature=int(node["split_feature"]),
            mode="BRANCH_LEQ",
            value=largest_float32_not_above(float(node["threshold"])),
            left=left,
            right=right,
            missing_left=_missing_goes_left(node),
        )

    def _leaf(self, tree: int, at: int, node: Any) -> None:
        if "leaf_coeff" in node:
            raise _cannot("its leaves are linear")
        self._node(tree, at, feature=0, mode="LEAF", value=0.0, left=0, right=0, missing_left=False)
        row = {"target_treeids": tree, "target_nodeids": at, "target_ids": 0, "target_weights": node["leaf_value"]}
        for name, value in row.items():
            self.attributes[name].append(value)

    def _node(
        self, tree: int, at: int, *, feature: int, mode: str, value: float, left: int, right: int, missing_left: bool
    ) -> None:
        row = {
            "nodes_treeids": tree,
            "nodes_nodeids": at,
            "nodes_featureids": feature,
            "nodes_modes": mode,
            "nodes_values": value,
            "nodes_truenodeids": left,
            "nodes_falsenodeids": right,
            "nodes_missing_value_tracks_true": int(missing_left),
        }
        for name, item in row.items():
            self.attributes[name].append(item)


def _missing_goes_left(node: Any) -> bool:
    match node["missing_type"]:
        case "NaN":
            return bool(node["default_left"])
        case "None":
            return float(node["threshold"]) >= 0.0
        case _:
            # zero_as_missing also sends 0 the default way, which the ensemble cannot say.
            raise _cannot("it takes 0 for missing (zero_as_missing)")


def _cannot(why: str) -> ParityFailed:
    return ParityFailed(what="LGBMClassifier cannot be exported", why=why, fix="change the trainer's parameters")
