"""Trees of any trainer as one ONNX ensemble that decides each row as the trainer does.

Written from the trainer's own arrays and not through a general converter,
because the cuts must be exact. A cut is often a double: rounded to the nearest
float32, one in two lies above it, and a value on that edge goes the other way.
Rounded down to the largest float32 not above, every float32 value compares as
in training.

An ensemble is written in one of two forms. The first compares and adds in
float32, which is quick, and right to 1e-7 for chances. The second compares and
adds in doubles: for numbers of any size, for chances that are calibrated
afterwards, and for features that an encoder has computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from baton.packaging.onnx_graph import ML_DOMAIN, ML_OPSET_OF_DOUBLES, Graph

# What turns raw scores into answers; a chance is one already.
Link = Literal["sigmoid", "softmax", "exp", "identity"]
# TreeEnsemble's numbers for its comparisons.
AT_MOST, BELOW = 0, 1
# Multiples of one in so many add up exactly in float32, up to a sum of 1.
SHARES = 2.0**23
# Such a task has one answer, the second class's chance.
TWO_CLASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree as arrays with one item for each node, the root first; a leaf has -1 for children.

    A missing value goes left where `missing_left` is true. `values` has the
    leaves' values, shape `(nodes, width)`: one column adds to `target`, more
    of them to a target each.
    """

    feature: NDArray[np.int64]
    cut: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    values: NDArray[np.float64]
    target: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees whose leaves are added up, and what each sum starts from, shape `(targets,)`.

    A value goes left where it is at most the cut, or below it where `strict`.
    `single` says that the trainer compares features as float32, `single_sums`
    that it also adds up so, tree by tree.
    """

    trees: tuple[Tree, ...]
    base: NDArray[np.float64]
    link: Link
    strict: bool = False
    single: bool = False
    single_sums: bool = False

    @property
    def spread(self) -> bool:
        """Whether a leaf adds to several targets."""
        return any(tree.values.shape[1] > 1 for tree in self.trees)

    def cuts(self, feature: int) -> NDArray[np.float64]:
        """Every cut of one feature, ascending."""
        found = [tree.cut[(tree.left >= 0) & (tree.feature == feature)] for tree in self.trees]
        return np.unique(np.concatenate(found)) if found else np.empty(0)


def add_forest(graph: Graph, forest: Forest, matrix: str, *, precise: bool) -> str:
    """Add a forest and give the tensor of its raw scores, shape `(rows, targets)`.

    Args:
        graph: The graph that is written.
        forest: The trees.
        matrix: The encoded features: doubles where they are compared so, else float32.
        precise: Whether to add in doubles, and to compare in doubles unless
            the leaves have several values; the scores are doubles then.
    """
    if not precise:
        return _in_singles(graph, forest, matrix)
    return _in_parts(graph, forest, matrix) if forest.spread else _in_doubles(graph, forest, matrix)


def largest_float32_not_above(number: float) -> float:
    """Round down to float32, so that every float32 compares with it as with the number itself."""
    return float(_not_above(np.asarray([number], dtype=np.float64))[0])


def _not_above(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float32)
    above = rounded.astype(np.float64) > numbers
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def _in_singles(graph: Graph, forest: Forest, matrix: str) -> str:
    mode = "BRANCH_LT" if forest.strict else "BRANCH_LEQ"
    lists: dict[str, Any] = {}
    for at, tree in enumerate(forest.trees):
        branch = tree.left >= 0
        rows = {
            "nodes_treeids": np.full(len(branch), at),
            "nodes_nodeids": np.arange(len(branch)),
            "nodes_featureids": np.where(branch, tree.feature, 0),
            "nodes_modes": np.where(branch, mode, "LEAF"),
            "nodes_values": _not_above(np.where(branch, tree.cut, 0.0)),
            "nodes_truenodeids": np.where(branch, tree.left, 0),
            "nodes_falsenodeids": np.where(branch, tree.right, 0),
            "nodes_missing_value_tracks_true": (branch & tree.missing_left).astype(int),
        }
        for name, items in rows.items():
            lists.setdefault(name, []).extend(items.tolist())
        for name, item in _leaves(at, tree):
            lists.setdefault(name, []).append(item)
    if forest.base.any():
        lists["base_values"] = forest.base.astype(np.float32).tolist()
    return graph.add("TreeEnsembleRegressor", [matrix], domain=ML_DOMAIN, n_targets=len(forest.base), **lists)


def _leaves(at: int, tree: Tree) -> Iterator[tuple[str, Any]]:
    """Say what each leaf adds to which target; zeros of a leaf with several values are left out."""
    for node in np.flatnonzero(tree.left < 0).tolist():
        values = tree.values[node]
        targets = [tree.target] if len(values) == 1 else np.flatnonzero(values).tolist() or [0]
        for target in targets:
            yield "target_treeids", at
            yield "target_nodeids", node
            yield "target_ids", target
            yield "target_weights", float(values[0 if len(values) == 1 else target])


def _in_parts(graph: Graph, forest: Forest, matrix: str) -> str:
    """Add shares up in two parts, each without an error that counts.

    A TreeEnsemble of doubles has one value a leaf, and would need every tree
    once for each class. Shares sum to at most 1, so their multiples of 2^-23
    add up in float32 exactly, and what is left of them is below 2^-24.
    """
    whole = [np.round(tree.values * SHARES) / SHARES for tree in forest.trees]
    trees = tuple(
        replace(tree, values=np.hstack([coarse, tree.values - coarse]))
        for tree, coarse in zip(forest.trees, whole, strict=True)
    )
    targets = len(forest.base)
    both = _in_singles(graph, replace(forest, trees=trees, base=np.zeros(2 * targets)), matrix)
    both = graph.cast(both, np.float64)
    coarse, fine = (graph.columns(both, range(start, start + targets), width=2 * targets) for start in (0, targets))
    return graph.add("Add", [coarse, fine])


def _in_doubles(graph: Graph, forest: Forest, matrix: str) -> str:
    from onnx import numpy_helper

    graph.ml_opset = ML_OPSET_OF_DOUBLES
    roots, nodes, leaves = _numbered(forest)
    raw = graph.add(
        "TreeEnsemble",
        [matrix],
        domain=ML_DOMAIN,
        n_targets=len(forest.base),
        tree_roots=roots,
        nodes_modes=numpy_helper.from_array(np.full(len(nodes["cut"]), BELOW if forest.strict else AT_MOST, np.uint8)),
        nodes_splits=numpy_helper.from_array(np.asarray(nodes.pop("cut"), dtype=np.float64)),
        leaf_weights=numpy_helper.from_array(np.asarray(leaves["weight"], dtype=np.float64)),
        leaf_targetids=leaves["target"],
        **nodes,
    )
    return graph.add("Add", [raw, graph.constant(forest.base)]) if forest.base.any() else raw


def _numbered(forest: Forest) -> tuple[list[int], dict[str, Any], dict[str, list[Any]]]:
    """Number branches and leaves each on their own, over all trees, as TreeEnsemble wants them."""
    roots: list[int] = []
    nodes: dict[str, Any] = {
        name: []
        for name in (
            "nodes_featureids",
            "cut",
            "nodes_truenodeids",
            "nodes_trueleafs",
            "nodes_falsenodeids",
            "nodes_falseleafs",
            "nodes_missing_value_tracks_true",
        )
    }
    leaves: dict[str, list[Any]] = {"weight": [], "target": []}
    for tree in (_with_a_branch(tree) for tree in forest.trees):
        branch = tree.left >= 0
        # The place of each node among its own kind.
        place = np.where(
            branch, np.cumsum(branch) - 1 + len(nodes["cut"]), np.cumsum(~branch) - 1 + len(leaves["weight"])
        )
        roots.append(len(nodes["cut"]))
        nodes["nodes_featureids"] += tree.feature[branch].tolist()
        nodes["cut"] += tree.cut[branch].tolist()
        nodes["nodes_missing_value_tracks_true"] += tree.missing_left[branch].astype(int).tolist()
        for side, child in (("true", tree.left[branch]), ("false", tree.right[branch])):
            nodes[f"nodes_{side}nodeids"] += place[child].tolist()
            nodes[f"nodes_{side}leafs"] += (~branch[child]).astype(int).tolist()
        leaves["weight"] += tree.values[~branch, 0].tolist()
        leaves["target"] += [tree.target] * int((~branch).sum())
    return roots, nodes, leaves


def _with_a_branch(tree: Tree) -> Tree:
    """Give a tree that is a leaf a branch with that leaf on both sides: a TreeEnsemble's roots are branches."""
    if tree.left[0] >= 0:
        return tree
    return Tree(
        feature=np.zeros(3, dtype=np.int64),
        cut=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.ones(3, dtype=np.bool_),
        values=np.repeat(tree.values[:1], 3, axis=0),
        target=tree.target,
    )
