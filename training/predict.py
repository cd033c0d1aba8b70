"""What a fitted pipeline answers for rows, in the shape of its task, and nothing that is no score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.errors import SourceMissing, TrainingFailed, listed
from baton.core.policy import Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# Chances that a library adds up in float32 sum to 1 within some 1e-6.
SUM_TOLERANCE = 1e-4


def predictions(pipeline: Any, frame: pd.DataFrame, *, task: Task, features: tuple[str, ...]) -> NDArray[np.float64]:
    """Give a pipeline's raw answers, before any calibration.

    Returns:
        Shape `(rows,)`; of several classes `(rows, classes)`, each row summing to 1.

    Raises:
        SourceMissing: A feature column is missing.
        TrainingFailed: An answer is not of the task's shape, no number, or no chance.
    """
    rows = feature_columns(frame, features)
    if task == "regression":
        return _numbers(pipeline, rows)
    chances = _chances(pipeline, rows)
    if task == "binary":
        return np.ascontiguousarray(chances[:, 1])
    scaled: NDArray[np.float64] = chances / chances.sum(axis=1, keepdims=True)
    return scaled


def feature_columns(frame: pd.DataFrame, features: tuple[str, ...]) -> pd.DataFrame:
    """Give the feature columns of a frame, in the model's order.

    Raises:
        SourceMissing: One is not there.
    """
    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise SourceMissing(
            what=f"{len(missing)} feature columns are missing",
            why=f"the model takes {listed(missing)}",
            fix="build the snapshot again from this model.yaml",
        )
    return frame[list(features)]


def _numbers(pipeline: Any, rows: pd.DataFrame) -> NDArray[np.float64]:
    if rows.empty:
        return np.empty(0)
    numbers = _asked(pipeline, "predict", rows)
    if numbers.shape != (len(rows),):
        raise _misshapen(numbers, f"({len(rows)},)", method="predict")
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise _refused(numbers, bad, what="are no numbers")
    return numbers


def _chances(pipeline: Any, rows: pd.DataFrame) -> NDArray[np.float64]:
    classes = len(getattr(pipeline, "classes_", ()))
    if rows.empty:
        return np.empty((0, classes))
    chances = _asked(pipeline, "predict_proba", rows)
    if chances.shape != (len(rows), classes):
        raise _misshapen(chances, f"({len(rows)}, {classes})", method="predict_proba")
    bad = np.asarray(~((chances >= 0) & (chances <= 1)).all(axis=1))
    if bad.any():
        raise _refused(chances, bad, what="are no probabilities")
    unequal: NDArray[np.bool_] = np.abs(np.asarray(chances.sum(axis=1)) - 1) > SUM_TOLERANCE
    if unequal.any():
        raise _refused(chances, unequal, what="do not sum to 1")
    return chances


def _asked(pipeline: Any, method: str, rows: pd.DataFrame) -> NDArray[np.float64]:
    try:
        return np.asarray(getattr(pipeline, method)(rows), dtype=np.float64)
    except Exception as error:
        raise TrainingFailed(
            what=f"the fitted model cannot answer {len(rows)} rows",
            why=f"{method}: {type(error).__name__}: {error}",
            fix="correct the trainer's pipeline, which must take the features as a data frame",
        ) from error


def _misshapen(found: NDArray[np.float64], expected: str, *, method: str) -> TrainingFailed:
    return TrainingFailed(
        what=f"{method} gave answers of shape {found.shape}",
        why=f"expected {expected}",
        fix="correct the trainer's estimator",
    )


def _refused(found: NDArray[np.float64], bad: NDArray[np.bool_], *, what: str) -> TrainingFailed:
    return TrainingFailed(
        what=f"{int(bad.sum())} of {len(found)} scores {what}",
        why=f"the first is {found[bad][0]}",
        fix="look for infinite feature values and extreme training.parameters",
    )
