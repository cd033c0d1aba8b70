"""Scores turned into chances that hold: a sigmoid or a monotone curve, fitted on rows that the model has not seen.

Each class has its own curve against all others; several classes are then
scaled so that a row sums to 1. A calibration is a plain value, which is what
lets it be hashed and exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import TrainingFailed, listed

# A served probability is a float32. It is fine near 0 and coarse near 1, where
# a log odds would turn its last bit into a visible difference.
LOWEST, HIGHEST = 1e-7, 1 - 1e-4
# Knots of a curve lie at least one percent apart, for the same reason.
KNOT_RATIO = 0.01
NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigmoid:
    """`1 / (1 + exp(-(slope * log_odds(score) + offset)))`, the score clipped to `LOWEST` and `HIGHEST`."""

    slope: float
    offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Straight lines between knots `(x, y)`, x ascending; flat beyond the first and the last."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How raw scores become chances: one map for the second class of two, or one for each of several.

    `kind` says which of the two maps is filled; `rows` is how many rows it was
    fitted on. Of several classes, each row is divided by its sum in the end.
    """

    kind: Literal["sigmoid", "isotonic"]
    sigmoids: tuple[Sigmoid, ...] = ()
    curves: tuple[Curve, ...] = ()
    rows: int

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate scores of shape `(rows,)` or `(rows, classes)`; the shape stays."""
        maps: tuple[Sigmoid | Curve, ...] = self.sigmoids or self.curves
        if scores.ndim == 1:
            return _map(maps[0], scores)
        each = np.column_stack([_map(found, scores[:, at]) for at, found in enumerate(maps)])
        total: NDArray[np.float64] = each / each.sum(axis=1, keepdims=True)
        return total


def calibration(
    kind: Literal["sigmoid", "isotonic"], labels: NDArray[np.float64], scores: NDArray[np.float64]
) -> Calibration:
    """Fit a calibration.

    Args:
        kind: `sigmoid` after Platt (1999), with his smoothed targets;
            `isotonic` is the best monotone curve.
        labels: 0 and 1, or class indexes, shape `(rows,)`.
        scores: What the model answers for these rows, `(rows,)` or `(rows, classes)`.

    Raises:
        TrainingFailed: A class has no row here.
    """
    columns = [scores] if scores.ndim == 1 else list(scores.T)
    targets = [labels == 1] if scores.ndim == 1 else [labels == at for at in range(scores.shape[1])]
    _check_classes(labels, count=max(len(columns), 2))
    pairs = list(zip(columns, targets, strict=True))
    if kind == "sigmoid":
        return Calibration(kind=kind, sigmoids=tuple(_sigmoid(*pair) for pair in pairs), rows=len(labels))
    return Calibration(kind=kind, curves=tuple(_curve(*pair) for pair in pairs), rows=len(labels))


def log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the log odds of clipped scores."""
    clipped = np.clip(scores, LOWEST, HIGHEST)
    return np.log(clipped) - np.log1p(-clipped)


def _check_classes(labels: NDArray[np.float64], *, count: int) -> None:
    missing = sorted(set(range(count)) - set(labels.astype(np.int64).tolist()))
    if missing:
        raise TrainingFailed(
            what=f"the {len(labels)} newest training rows cannot calibrate",
            why=f"they have no row of class {listed(missing)}",
            fix="raise training.calibration_share, or set training.calibration to none",
        )


def _map(found: Sigmoid | Curve, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(found, Curve):
        return np.interp(scores, found.x, found.y)
    return _logistic(found.slope * log_odds(scores) + found.offset)


def _logistic(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    # One exponential that never overflows.
    return 0.5 * (1 + np.tanh(odds / 2))


def _sigmoid(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Sigmoid:
    """Fit slope and offset by Newton's method with halved steps, as Lin, Lin and Weng (2007) do."""
    odds = log_odds(scores)
    count = float(positive.sum())
    # Platt's targets: one more row of each class, so that no chance is 0 or 1.
    targets = np.where(positive, (count + 1) / (count + 2), 1 / (len(scores) - count + 2))
    columns = np.column_stack([odds, np.ones_like(odds)])
    at = np.array([0.0, np.log((count + 1) / (len(scores) - count + 1))])
    loss = _cross_entropy(columns @ at, targets)
    for _ in range(NEWTON_STEPS):
        chance = _logistic(columns @ at)
        gradient = columns.T @ (chance - targets)
        curvature = (columns * (chance * (1 - chance))[:, None]).T @ columns + 1e-9 * np.eye(2)
        direction = np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)
        at, loss, gained = _step(columns, targets, at, direction, loss)
        if not gained:
            break
    return Sigmoid(slope=float(at[0]), offset=float(at[1]))


def _step(
    columns: NDArray[np.float64],
    targets: NDArray[np.float64],
    at: NDArray[np.float64],
    direction: NDArray[np.float64],
    loss: float,
) -> tuple[NDArray[np.float64], float, bool]:
    """Go as far along the direction as the loss falls; the place stays where it does not."""
    for halving in range(20):
        there = at - direction / 2**halving
        found = _cross_entropy(columns @ there, targets)
        if found < loss - 1e-12 * abs(loss):
            return there, found, True
    return at, loss, False


def _cross_entropy(odds: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, odds) - targets * odds).sum())


def _curve(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    knots = np.exp(np.round(np.log(np.maximum(scores, LOWEST)) / KNOT_RATIO) * KNOT_RATIO)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(knots, positive.astype(np.float64))
    # An isotonic fit answers 0 and 1, which one wrong row would make infinitely wrong.
    least = 1 / (len(scores) + 2)
    y = np.clip(fitted.y_thresholds_, least, 1 - least)
    return Curve(x=tuple(fitted.X_thresholds_.tolist()), y=tuple(y.tolist()))
