"""How far two answers to the same rows are apart, in the unit in which a task can be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from baton.core.policy import Task

HALF = 0.5


def gaps(scores: NDArray[np.float64], expected: NDArray[np.float64], *, task: Task) -> NDArray[np.float64]:
    """Measure how far each row's answer is from the expected one.

    Args:
        scores: Answers, shape `(rows,)` or `(rows, classes)`.
        expected: What they should be, of the same shape.
        task: What they say.

    Returns:
        Shape `(rows,)`. The difference of the chances, of several classes the
        largest one; of a regression the difference relative to the expected
        number, or to the spread of all of them where that is larger. Infinite
        where one of the two is no number.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(scores - expected)
    if task == "multiclass":
        apart = apart.max(axis=1)
    if task == "regression":
        apart = apart / _unit(expected)
    # A NaN differs from everything, also from a NaN: neither is an answer.
    return np.nan_to_num(apart, nan=np.inf)


def decisions(scores: NDArray[np.float64], *, task: Task, cut: float = HALF) -> NDArray[np.int64] | None:
    """Give the class that each row is called, shape `(rows,)`; None where the task calls none."""
    match task:
        case "binary":
            return (scores >= cut).astype(np.int64)
        case "multiclass":
            called: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
            return called
        case "regression":
            return None


def _unit(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = expected[np.isfinite(expected)]
    # The middle of the distances, which one row far out does not move.
    spread = float(np.median(np.abs(finite - np.median(finite)))) if len(finite) else 0.0
    unit = np.maximum(np.abs(expected), spread)
    return np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
