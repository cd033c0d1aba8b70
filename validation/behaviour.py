"""Behavioural tests: what a model does when one feature of real rows is changed, and on rows that must go right.

    invariance   the feature is set to each value; the score must not move
    direction    the feature is raised; the score must go one way, or stay
    minimum      on a group of rows a metric must reach a value

After Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList (2020). Of several classes the score of an invariance is each class's
chance, and the largest change counts; that of a direction is the expected
class index, which reads well where classes are listed from low to high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.verdict import Check, Outcome
from baton.validation.declared import refuse_impossible
from baton.validation.minimum import Measure, minimum, written

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.policy import Direction, Invariance, Task, TestSpec

Score = Callable[["pd.DataFrame"], NDArray[np.float64]]

# A mean over so many evenly spread rows is known to a hundredth of its spread.
MOST_ROWS = 20_000
# Scores come from float32: what differs by less is equal.
EQUAL = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """How setting one value moves the scores, and the words for the row that moves most."""

    value: Any
    mean: float
    example: str


def behaviour(
    tests: TestSpec,
    score: Score,
    rows: pd.DataFrame,
    labels: NDArray[np.float64],
    *,
    text: tuple[str, ...],
    task: Task,
    measure: Measure,
) -> tuple[Check, ...]:
    """Make every declared invariance, direction and minimum function test, in this order.

    Args:
        tests: As declared.
        score: Scores rows: `(rows,)`, or `(rows, classes)` of several classes.
        rows: Rows that the model has not learnt from; with a column `id`, examples are named by it.
        labels: 0 and 1, class indices or numbers, shape `(rows,)`.
        text: Which features are text.
        task: What is predicted.
        measure: Gives a metric's value on labels and scores.

    Raises:
        SpecInvalid: A test cannot be made, see `refuse_impossible`.
    """
    refuse_impossible(tests, [str(name) for name in rows.columns], text, task=task)
    some = rows.iloc[even(len(rows), MOST_ROWS)]
    before = score(some) if len(some) and (tests.invariance or tests.direction) else np.empty(0)
    checks = [_invariance(test, score, some, before, text) for test in tests.invariance]
    checks += [_direction(test, score, some, before) for test in tests.direction]
    scores = score(rows) if tests.minimum and len(rows) else np.empty(0)
    return (*checks, *minimum(tests.minimum, scores, rows, labels, measure=measure))


def level(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give one number a row: the score, or of several classes the expected class index."""
    return scores if scores.ndim == 1 else scores @ np.arange(scores.shape[1], dtype=np.float64)


def even(rows: int, most: int) -> NDArray[np.int64]:
    """Give the places of at most so many rows, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)) if rows else np.empty(0, np.int64)


def _invariance(
    test: Invariance, score: Score, rows: pd.DataFrame, before: NDArray[np.float64], text: tuple[str, ...]
) -> Check:
    name = f"invariance {test.feature}"
    is_text = test.feature in text
    wanted = test.values  # noqa: PD011
    tried = [_moved(test.feature, value, score, rows, before, is_text=is_text) for value in wanted]
    moves = [move for move in tried if move is not None]
    if not moves:
        detail = f"no row is changed by setting {test.feature} to {_listed(wanted)}, so nothing is shown"
        return Check(name=name, outcome=Outcome.UNDECIDED, observed=None, required=test.tolerance, detail=detail)
    # NaN is the worst of all, and no comparison says so.
    worst = max(moves, key=lambda move: (not np.isfinite(move.mean), move.mean))
    unseen = _unseen(test.feature, wanted, rows) if is_text else ""
    return Check(
        name=name,
        outcome=Outcome.PASSED if worst.mean <= test.tolerance else Outcome.FAILED,
        observed=finite(worst.mean),
        required=test.tolerance,
        detail=f"setting {_set(test.feature, worst.value)}{unseen} moves the score by {worst.mean:.4g} on average,"
        f" at most {test.tolerance:g} is allowed{worst.example}",
    )


def _moved(
    feature: str, value: Any, score: Score, rows: pd.DataFrame, before: NDArray[np.float64], *, is_text: bool
) -> _Move | None:
    """Set the feature on the rows that have another value; None where no row has."""
    missing: Any = "" if is_text else np.nan
    column = rows[feature]
    had = (column.isna() | (column == "")) if value is None else column == value
    others = ~had.to_numpy(dtype=bool, na_value=False)
    if not others.any():
        return None
    changed = rows[others].assign(**{feature: missing if value is None else value})
    was, now = before[others], score(changed)
    change = np.abs(now - was)
    farthest = change if change.ndim == 1 else change.max(axis=1)
    example = f"; most for {_example(changed, was, now, farthest)}" if farthest.any() else ""
    return _Move(value=value, mean=float(farthest.mean()), example=example)


def _direction(test: Direction, score: Score, rows: pd.DataFrame, before: NDArray[np.float64]) -> Check:
    name = f"direction {test.feature} {test.expect}"
    has = rows[test.feature].notna().to_numpy(dtype=bool)
    if not has.any():
        detail = f"no row has a {test.feature} to add {test.add:g} to, so nothing is shown"
        return Check(name=name, outcome=Outcome.UNDECIDED, observed=None, required=test.share, detail=detail)
    changed = rows[has].assign(**{test.feature: rows.loc[has, test.feature] + test.add})
    was, now = level(before[has]), level(score(changed))
    gain = (now - was) * (1.0 if test.expect == "up" else -1.0)
    equal = EQUAL * np.maximum(1.0, np.abs(was))
    right = float((gain >= -equal).mean())
    moved = float((gain > equal).mean())
    wrong = f"; farthest the other way for {_example(changed, was, now, -gain)}" if right < 1 else ""
    return Check(
        name=name,
        outcome=Outcome.PASSED if right >= test.share else Outcome.FAILED,
        observed=finite(right),
        required=test.share,
        detail=f"adding {test.add:g} to {test.feature} moves the score {test.expect} or leaves it for {right:.4g} of"
        f" {int(has.sum()):,} rows ({moved:.4g} move), at least {test.share:g} is needed{wrong}",
    )


def _example(
    rows: pd.DataFrame, was: NDArray[np.float64], now: NDArray[np.float64], distance: NDArray[np.float64]
) -> str:
    """Name the row at the greatest distance, with its scores before and after."""
    place = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
    who = str(rows["id"].iloc[place]) if "id" in rows.columns else f"row {rows.index[place]}"
    if was.ndim == 1:
        return f"{who}, from {was[place]:.4g} to {now[place]:.4g}"
    kind = int(np.argmax(np.abs(now[place] - was[place])))
    return f"{who}, class {kind} from {was[place, kind]:.4g} to {now[place, kind]:.4g}"


def _unseen(feature: str, wanted: list[Any], rows: pd.DataFrame) -> str:
    present = set(rows[feature])
    unseen = [value for value in wanted if value is not None and value not in present]
    return f" (no row has {_listed(unseen)})" if unseen else ""


def _set(feature: str, value: Any) -> str:
    return written({feature: value}).replace(" is ", " to ", 1)


def _listed(values: list[Any]) -> str:
    return written({"": values}).removeprefix(" is ")
