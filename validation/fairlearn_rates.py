"""Fairlearn as the measure of subgroups: one rate for each of them, on the rows that the rate speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def rates(
    measure: str, labels: NDArray[np.float64], predictions: NDArray[np.float64], groups: NDArray[np.int64]
) -> pd.Series:
    """Give each group's rate.

    Args:
        measure: "selection_rate", "true_positive_rate" or "false_positive_rate"
            of labels and predictions 0 and 1; "error_rate", the share of rows
            whose prediction is not the label; or "mean_absolute_error".
        labels: Shape `(rows,)`.
        predictions: Decisions, classes or numbers, shape `(rows,)`.
        groups: The group of each row, shape `(rows,)`.

    Returns:
        One value per group, indexed by group; a rate of no rows is 0.
    """
    from fairlearn.metrics import MetricFrame

    frame = MetricFrame(metrics=_metric(measure), y_true=labels, y_pred=predictions, sensitive_features=groups)
    by_group: pd.Series = frame.by_group
    return by_group.astype(float)


def _metric(measure: str) -> Any:
    from fairlearn import metrics
    from sklearn.metrics import mean_absolute_error, zero_one_loss

    return {
        "selection_rate": metrics.selection_rate,
        "true_positive_rate": metrics.true_positive_rate,
        "false_positive_rate": metrics.false_positive_rate,
        "error_rate": zero_one_loss,
        "mean_absolute_error": mean_absolute_error,
    }[measure]
