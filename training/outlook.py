"""How well a model's probabilities are calibrated on its holdout, and how much its days differ in that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baton.core.outlook import Outlook
from baton.training import metrics

Numbers = NDArray[np.float64]

# Scores nearer to 0 and 1 than this are no surer.
NEAREST = 1e-6
STEPS = 25
# A day of fewer rows says nothing of how days differ.
DAY_ROWS = 20
FEWEST_DAYS = 3


def logits(scores: Numbers) -> Numbers:
    """Give log odds of chances, shape `(rows,)`."""
    clipped = np.clip(scores, NEAREST, 1 - NEAREST)
    odds: Numbers = np.log(clipped / (1 - clipped))
    return odds


def outlook(labels: Numbers, scores: Numbers, days: NDArray[np.datetime64]) -> Outlook | None:
    """Measure the calibration of a model of two classes on rows that it has not seen.

    Intercept and slope by logistic regression (Platt, 1999); days as random
    effects on both, by moments of one Newton step a day.

    Args:
        labels: 0 and 1, shape `(rows,)`.
        scores: Chance of a 1, shape `(rows,)`.
        days: Day of each row.

    Returns:
        The outlook; None of one class, or of fewer than three days.
    """
    names, codes = np.unique(days, return_inverse=True)
    if len(np.unique(labels)) < 2 or len(names) < FEWEST_DAYS:  # noqa: PLR2004 - a class has two
        return None
    odds = logits(scores)
    centre = float(odds.mean())
    design = np.stack([np.ones(len(odds)), odds - centre], axis=1)
    # A prior of one row keeps separated classes finite, and draws towards the scores as they are.
    drawn = np.array([centre, 1.0])
    found, prior = drawn.copy(), np.eye(2)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (labels - chance) - prior @ (found - drawn)
        found = found + np.linalg.solve(_information(design, chance) + prior, slope)
    chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
    shared, persistence = _of_days(design, labels - chance, chance, codes)
    error = np.linalg.inv(_information(design, chance) + prior)
    return Outlook(
        rows=len(labels),
        days=len(names),
        intercept=float(found[0] - found[1] * centre),
        slope=float(found[1]),
        centre=centre,
        shared=(float(shared[0, 0]), float(shared[0, 1]), float(shared[1, 1])),
        error=(float(error[0, 0]), float(error[0, 1]), float(error[1, 1])),
        persistence=persistence,
        metrics={
            name: metrics.measure(name, labels, scores)
            for name in metrics.HIGHER_IS_BETTER & {"auc"} | metrics.ROW_LOSSES & {"log_loss", "brier"}
        },
    )


def _information(design: Numbers, chance: Numbers) -> Numbers:
    weighted = design * (chance * (1 - chance))[:, None]
    information: Numbers = design.T @ weighted
    return information


def _of_days(design: Numbers, residual: Numbers, chance: Numbers, codes: NDArray[np.int64]) -> tuple[Numbers, float]:
    """Give the covariance of the days' own shifts and tilts beyond chance, and how long a shift lasts."""
    steps, noise = [], []
    for day in range(int(codes.max()) + 1):
        rows = codes == day
        if rows.sum() < DAY_ROWS:
            continue
        inverse = np.linalg.inv(_information(design[rows], chance[rows]) + np.eye(2))
        steps.append(inverse @ (design[rows].T @ residual[rows]))
        noise.append(inverse)
    if len(steps) < FEWEST_DAYS:
        return np.zeros((2, 2)), 0.0
    each = np.array(steps)
    values, vectors = np.linalg.eigh(each.T @ each / len(each) - np.mean(noise, axis=0))
    shared = vectors @ np.diag(np.clip(values, 0.0, None)) @ vectors.T
    raw = float(np.mean(each[1:, 0] * each[:-1, 0])) / max(float(shared[0, 0]), 1e-12)
    # In a short series a correlation is underestimated (Kendall, Biometrika 41, 1954).
    lasting = float(np.clip(raw + (1 + 3 * max(raw, 0.0)) / len(each), 0.0, 0.9)) if shared[0, 0] > 0 else 0.0
    return shared, lasting
