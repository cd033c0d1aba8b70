"""Every metric over rows that count for more or less than one; with equal weights it is `metrics.measure`."""

from __future__ import annotations

import numpy as np

from baton.core.policy import Metric
from baton.training.losses import squared_errors
from baton.training.metrics import ROW_LOSSES, Array, predicted_class, row_losses


def measure(metric: Metric, labels: Array, scores: Array, weights: Array, *, quantile: float = 0.5) -> float:
    """Give the metric's value; NaN where the rows that count cannot tell.

    Args:
        metric: Its name.
        labels: 0 and 1, class indices or numbers, shape `(rows,)`.
        scores: Shape `(rows,)`; of three or more classes `(rows, classes)`.
        weights: What each row counts for, none below 0, shape `(rows,)`.
        quantile: Quantile of the pinball loss, 0-1.
    """
    counts = weights > 0
    labels, scores, weights = labels[counts], scores[counts], weights[counts]
    if not len(labels):
        return float("nan")
    if metric in ROW_LOSSES:
        return float(np.average(row_losses(metric, labels, scores, quantile=quantile), weights=weights))
    match metric:
        case "rmse":
            return float(np.sqrt(np.average(squared_errors(labels, scores), weights=weights)))
        case "auc":
            return _auc(labels, scores, weights) if scores.ndim == 1 else _one_against_the_rest(labels, scores, weights)
        case "pr_auc":
            from sklearn.metrics import average_precision_score

            known = bool((labels > 0).any())
            return float(average_precision_score(labels > 0, scores, sample_weight=weights)) if known else float("nan")
        case "macro_f1":
            from sklearn.metrics import f1_score

            called = predicted_class(scores)
            return float(f1_score(labels.astype(np.int64), called, average="macro", sample_weight=weights))
    raise ValueError(f"unknown metric {metric}")


def _auc(labels: Array, scores: Array, weights: Array) -> float:
    """Give the weight of the pairs in which the positive is the higher, a tie counts half."""
    positive = labels > 0
    distinct, ranks = np.unique(scores, return_inverse=True)
    up = np.bincount(ranks[positive], weights=weights[positive], minlength=len(distinct))
    down = np.bincount(ranks[~positive], weights=weights[~positive], minlength=len(distinct))
    pairs = float(up.sum() * down.sum())
    return float(up @ (np.cumsum(down) - down / 2)) / pairs if pairs > 0 else float("nan")


def _one_against_the_rest(labels: Array, scores: Array, weights: Array) -> float:
    found = [_auc((labels == c).astype(np.float64), scores[:, c], weights) for c in range(scores.shape[1])]
    told = [each for each in found if np.isfinite(each)]
    return float(np.mean(told)) if told else float("nan")
