"""The best single question: one feature, one cut or one text value, two answers (Holte's 1R, 1993, with one split)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec

# Rows, evenly spread, that the question is chosen on; its answers come from all.
RULE_ROWS = 50_000
# Values of a text feature that are asked for, the most frequent ones.
RULE_VALUES = 30
# A side with fewer rows is luck.
SIDE_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A question about one feature, and what is answered where it holds and where it does not.

    It asks `feature is value` of a text, else `feature > cut`; `missing` says
    which answer a missing number gets. The answers are one number, or the
    share of each class.
    """

    feature: str
    value: str | None = None
    cut: float = 0.0
    missing: bool = False
    inside: tuple[float, ...]
    outside: tuple[float, ...]

    @property
    def question(self) -> str:
        """What it asks of a row."""
        if self.value is not None:
            return f"{self.feature} is {self.value!r}"
        return f"{self.feature} > {self.cut:.4g}" + (" or missing" if self.missing else "")

    @property
    def words(self) -> str:
        """The question and both answers."""
        inside, outside = (" / ".join(f"{part:.3g}" for part in answer) for answer in (self.inside, self.outside))
        return f"{self.question}: {inside}, otherwise {outside}"

    def holds(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Say for which rows the answer is yes."""
        column = frame[self.feature]
        if self.value is not None:
            return (column == self.value).to_numpy(dtype=bool)
        numbers = column.to_numpy(dtype=np.float64)
        above: NDArray[np.bool_] = np.where(np.isnan(numbers), self.missing, numbers > self.cut)
        return above


def best_rule(
    spec: ModelSpec, train: pd.DataFrame, labels: NDArray[np.float64], *, centre: Callable[[Any], float]
) -> Rule | None:
    """Find the question whose two sides differ most; None where no feature divides the rows.

    Args:
        spec: Names the features, and the classes.
        train: Rows with their features.
        labels: Their labels.
        centre: The number that answers a side of a regression best.
    """
    step = -(-len(train) // RULE_ROWS)
    sample = train.iloc[::step]
    columns = _columns(spec, sample)
    asked = _split(spec, np.column_stack([values for _, _, values in columns]), labels[::step])
    if asked is None:
        return None
    at, cut, missing = asked
    feature, value, _ = columns[at]
    question: dict[str, Any] = {"feature": feature, "value": value, "cut": cut, "missing": missing}
    holds = Rule(**question, inside=(), outside=()).holds(train)
    if not 0 < holds.sum() < len(holds):
        return None
    inside, outside = (_answer(spec, labels[side], centre) for side in (holds, ~holds))
    return Rule(**question, inside=inside, outside=outside)


def _columns(spec: ModelSpec, sample: pd.DataFrame) -> list[tuple[str, str | None, NDArray[np.float64]]]:
    """Give each number, and for each frequent text value whether a row has it."""
    found: list[tuple[str, str | None, NDArray[np.float64]]] = []
    for name in spec.features.names:
        if name not in spec.features.text:
            numbers = sample[name].to_numpy(dtype=np.float64)
            found.append((name, None, np.where(np.isinf(numbers), np.nan, numbers)))
            continue
        counts = sample[name].value_counts()
        # Ties are ordered by name, so that the same rows give the same rule.
        frequent = sorted(counts.index, key=lambda value: (-int(counts[value]), str(value)))[:RULE_VALUES]
        found += [(name, str(value), (sample[name] == value).to_numpy(dtype=np.float64)) for value in frequent]
    return found


def _split(
    spec: ModelSpec, columns: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[int, float, bool] | None:
    """Give the column, the cut and where a missing number goes, of a tree with one split."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if spec.task == "regression" else DecisionTreeClassifier
    # Beyond the largest float32 there is no number to a tree.
    most = float(np.finfo(np.float32).max)
    tree = kind(max_depth=1, min_samples_leaf=SIDE_ROWS, random_state=spec.seed)
    tree = tree.fit(np.clip(columns, -most, most), labels).tree_
    if tree.node_count == 1:
        return None
    return int(tree.feature[0]), float(tree.threshold[0]), not bool(tree.missing_go_to_left[0])


def _answer(spec: ModelSpec, labels: NDArray[np.float64], centre: Callable[[Any], float]) -> tuple[float, ...]:
    if spec.task == "regression":
        return (centre(labels),)
    if spec.task == "binary":
        return (float(labels.mean()),)
    # One more row of each class: a share of 0 would make one row infinitely wrong.
    counts = np.bincount(labels.astype(np.int64), minlength=len(spec.label.classes)) + 1
    return tuple((counts / counts.sum()).tolist())
