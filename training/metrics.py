"""Every metric that a model can be judged by: its value, and how much each row has to do with it.

A metric is a smooth function of the rows' weights. The influence of a row is
the metric's derivative with respect to that weight, times the number of rows:

    metric(weights) ~ value + sum((weights - 1) * influence) / rows

So the influences of a mean are the rows' distances from it, those of an AUC
are the structural components of DeLong, DeLong and Clarke-Pearson (1988), and
their sums over blocks give the standard error of any of them (the
infinitesimal jackknife: Efron and Tibshirani 1993, chapter 22; clustered:
Obuchowski 1997 for the AUC).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baton.core.policy import Metric
from baton.training.losses import absolute_errors, log_losses, pinball_losses, squared_errors

Array = NDArray[np.float64]
Influence = tuple[float, Array]

HIGHER_IS_BETTER: frozenset[Metric] = frozenset({"auc", "pr_auc", "macro_f1"})
ROW_LOSSES: frozenset[Metric] = frozenset({"log_loss", "brier", "mae", "pinball"})
# Score from which a row of two classes counts as the second.
THRESHOLD = 0.5


def measure(metric: Metric, labels: Array, scores: Array, *, quantile: float = 0.5) -> float:
    """Give the metric's value; NaN where the rows cannot tell, as an AUC of one class.

    Args:
        metric: Its name.
        labels: 0 and 1, class indices or numbers, shape `(rows,)`.
        scores: Shape `(rows,)`; of three or more classes `(rows, classes)`.
        quantile: Quantile of the pinball loss, 0-1.
    """
    return influence(metric, labels, scores, quantile=quantile)[0]


def row_losses(metric: Metric, labels: Array, scores: Array, *, quantile: float = 0.5) -> Array:
    """Give each row's loss, shape `(rows,)`, of a metric that is a mean of them.

    Raises:
        ValueError: The metric is not a mean over rows.
    """
    match metric:
        case "log_loss":
            return log_losses(labels, scores)
        case "brier":
            return squared_errors(labels, scores)
        case "mae":
            return absolute_errors(labels, scores)
        case "pinball":
            return pinball_losses(labels, scores, quantile=quantile)
        case _:
            raise ValueError(f"{metric} is not a mean of row losses")


def influence(metric: Metric, labels: Array, scores: Array, *, quantile: float = 0.5) -> Influence:
    """Give the metric's value and the influence of each row on it, shape `(rows,)`; influences sum to zero."""
    if metric in ROW_LOSSES:
        return _of_mean(row_losses(metric, labels, scores, quantile=quantile))
    match metric:
        case "auc":
            return _of_auc(labels, scores) if scores.ndim == 1 else _of_one_against_the_rest(labels, scores)
        case "pr_auc":
            return _of_average_precision(labels, scores)
        case "macro_f1":
            return _of_macro_f1(labels, scores)
        case "rmse":
            return _of_rmse(labels, scores)
    raise ValueError(f"unknown metric {metric}")


def standard_error(influences: Array, codes: NDArray[np.int64]) -> float:
    """Give the standard error of a metric from its rows' influences, where rows of one block share luck.

    Args:
        influences: Of `influence`, or a difference of two, shape `(rows,)`.
        codes: Each row's block, 0 to blocks - 1, none left out, shape `(rows,)`.

    Returns:
        The root of blocks / (blocks - 1) times the summed squares of the
        blocks' mean influence; NaN where one block tells nothing of spread.
    """
    sums = np.bincount(codes, weights=influences)
    blocks = len(sums)
    if blocks < 2:  # noqa: PLR2004 - one block has no spread
        return float("nan")
    return float(np.sqrt(blocks / (blocks - 1) * np.square(sums).sum()) / len(influences))


def predicted_class(scores: Array) -> NDArray[np.int64]:
    """Give the class that each row is called, by the highest score, or the threshold where there are two."""
    if scores.ndim == 1:
        return (scores >= THRESHOLD).astype(np.int64)
    highest: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
    return highest


def _of_mean(values: Array) -> Influence:
    mean = float(values.mean())
    return mean, values - mean


def _of_rmse(labels: Array, scores: Array) -> Influence:
    squared, centred = _of_mean(squared_errors(labels, scores))
    root = float(np.sqrt(squared))
    # Without any error there is no slope: no row pulls.
    return root, centred / (2 * root) if root > 0 else np.zeros_like(centred)


def _unknown(labels: Array) -> Influence:
    return float("nan"), np.full(len(labels), np.nan)


def _of_auc(labels: Array, scores: Array) -> Influence:
    """Count, for each positive, the negatives below it, and the other way round; a tie counts half."""
    positive = labels > 0
    rows, up = len(labels), int(positive.sum())
    down = rows - up
    if not up or not down:
        return _unknown(labels)
    distinct, ranks = np.unique(scores, return_inverse=True)
    negatives = np.bincount(ranks[~positive], minlength=len(distinct))
    positives = np.bincount(ranks[positive], minlength=len(distinct))
    below = (np.cumsum(negatives) - negatives / 2) / down
    above = (up - np.cumsum(positives) + positives / 2) / up
    value = float(below @ positives / up)
    return value, np.where(positive, (below[ranks] - value) * (rows / up), (above[ranks] - value) * (rows / down))


def _of_one_against_the_rest(labels: Array, scores: Array) -> Influence:
    """Average over the classes that have rows, each against all others."""
    present = [c for c in range(scores.shape[1]) if 0 < np.count_nonzero(labels == c) < len(labels)]
    if not present:
        return _unknown(labels)
    parts = [_of_auc((labels == c).astype(np.float64), scores[:, c]) for c in present]
    return float(np.mean([value for value, _ in parts])), np.mean([each for _, each in parts], axis=0)


def _of_average_precision(labels: Array, scores: Array) -> Influence:
    """Average the precision at the score of each positive, where rows of one score are called together.

    With `prec_i = TP_i / N_i` over the rows scored at least as high as row i,
    the weight of row k moves its own share of the average and, by N_i and
    TP_i, the precision at every positive scored no higher.
    """
    positive = labels > 0
    rows, up = len(labels), int(positive.sum())
    if not up:
        return _unknown(labels)
    distinct, ranks = np.unique(scores, return_inverse=True)
    here = np.bincount(ranks[positive], minlength=len(distinct)).astype(np.float64)
    called = _from_the_top(np.bincount(ranks, minlength=len(distinct)).astype(np.float64))
    hits = _from_the_top(here)
    precision = hits / called
    value = float(here @ precision / up)
    gained = np.cumsum(here / called)[ranks]
    diluted = np.cumsum(here * hits / called**2)[ranks]
    slope = np.where(positive, precision[ranks] - value + gained, 0.0) - diluted
    return value, slope * (rows / up)


def _from_the_top(counts: Array) -> Array:
    return np.cumsum(counts[::-1])[::-1]


def _of_macro_f1(labels: Array, scores: Array) -> Influence:
    """Average `2 TP / (true + called)` over the classes that are true or called somewhere."""
    truth, called = labels.astype(np.int64), predicted_class(scores)
    values, slopes = [], np.zeros(len(labels))
    for each in np.union1d(truth, called):
        is_true, is_called = truth == each, called == each
        total = float(is_true.sum() + is_called.sum())
        value = 2 * float((is_true & is_called).sum()) / total
        values.append(value)
        slopes += (2.0 * (is_true & is_called) - value * (is_true.astype(np.float64) + is_called)) / total
    return float(np.mean(values)), slopes * (len(labels) / len(values))
