"""How wrong a score was, row by row, and how well scores rank and are calibrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A served score is a float32: nothing closer to 1 can be told from it, and an
# infinite loss on one row would decide every comparison.
CLIP = 1e-7
CALIBRATION_BINS = 15


def log_losses(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each row's log loss in nats, shape `(rows,)`; scores are `(rows,)` or `(rows, classes)`."""
    if scores.ndim == 1:
        clipped = np.clip(scores, CLIP, 1 - CLIP)
        return -np.log(np.where(labels > 0, clipped, 1 - clipped))
    given = scores[np.arange(len(labels)), labels.astype(np.int64)]
    losses: NDArray[np.float64] = -np.log(np.clip(given, CLIP, 1 - CLIP))
    return losses


def squared_errors(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each row's squared error, of several classes the squared distance to the one that came true."""
    if scores.ndim == 1:
        return (scores - labels) ** 2
    given = scores[np.arange(len(labels)), labels.astype(np.int64)]
    # Over the classes, (s - e)^2 sums to s's square minus twice the chance of the true class plus 1.
    distances: NDArray[np.float64] = np.einsum("rc,rc->r", scores, scores) - 2 * given + 1
    return distances


def absolute_errors(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each row's distance between the number and the prediction."""
    return np.abs(scores - labels)


def pinball_losses(labels: NDArray[np.float64], scores: NDArray[np.float64], *, quantile: float) -> NDArray[np.float64]:
    """Give each row's loss of a predicted quantile: a number above it costs `quantile`, below it the rest."""
    over = labels - scores
    return np.maximum(quantile * over, (quantile - 1) * over)


def auc(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Give the chance that a positive row is scored above a negative one; a tie counts half.

    Returns:
        Area under the ROC curve, 0-1; NaN where all labels are alike.
    """
    positive = labels > 0
    pairs = float(positive.sum()) * float((~positive).sum())
    if pairs == 0:
        return float("nan")
    _, ranks = np.unique(scores, return_inverse=True)
    negatives = np.bincount(ranks[~positive], minlength=int(ranks.max()) + 1)
    below = np.cumsum(negatives) - negatives / 2
    return float(below[ranks[positive]].sum() / pairs)


def score_bins(scores: NDArray[np.float64], *, bins: int = CALIBRATION_BINS) -> list[NDArray[np.int64]]:
    """Give the rows of equally filled score bins, lowest scores first."""
    order = np.argsort(scores, kind="stable").astype(np.int64)
    return [rows for rows in np.array_split(order, bins) if len(rows)]


def calibration_error(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Give the mean distance between score and positive share over equally filled bins, 0-1."""
    bins = score_bins(scores)
    distances = [abs(float((scores[rows] - labels[rows]).mean())) for rows in bins]
    return float(np.average(distances, weights=[len(rows) for rows in bins]))
