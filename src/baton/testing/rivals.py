"""Two models with known merits on rows of nature's making: what a gate is tried on.

Scores are binormal: a row of class y has `separation * y` plus noise of
variance one, so a model's AUC over endlessly many rows is exactly
`Phi(separation / sqrt(2))` (Green and Swets 1966). Two models of one AUC are
equal, not nearly equal; their noises are correlated as their mistakes are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Labels and the calibrated scores of two models, with each row's day."""

    labels: Array
    challenger: Array
    champion: Array
    blocks: NDArray[np.int64]


def rivals(
    generator: np.random.Generator,
    *,
    rows: int,
    lift: float | Array = 0.0,
    correlation: float = 0.9,
    auc: float = 0.8,
    rate: float = 0.3,
    days: int | None = None,
    shock: float = 0.0,
) -> Rivals:
    """Draw rows that two models have scored.

    Args:
        generator: Source of randomness.
        rows: Number of rows.
        lift: The challenger's true AUC less the champion's; one number, or one for each row's group.
        correlation: Of the two models' scores among rows of one class.
        auc: The champion's true AUC, 0.5-1.
        rate: Share of positive rows.
        days: Rows are spread evenly over so many days; each is its own block where left out.
        shock: Standard deviation of what a day adds to all scores of one
            model, as a share of a score's own; 0-1.
    """
    labels = (generator.random(rows) < rate).astype(np.float64)
    blocks = np.arange(rows) if days is None else np.arange(rows) * days // rows
    common = generator.normal(size=rows) * np.sqrt(correlation)
    scores = []
    for merit in (auc + np.asarray(lift), np.asarray(auc)):
        luck = generator.normal(size=days or 1)[blocks] if days and shock else 0.0
        noise = common + generator.normal(size=rows) * np.sqrt(1 - correlation)
        scores.append(_calibrated(labels, np.sqrt(1 - shock**2) * noise + shock * luck, merit, rate))
    return Rivals(labels=labels, challenger=scores[0], champion=scores[1], blocks=blocks)


def _calibrated(labels: Array, noise: Array, merit: Array, rate: float) -> Array:
    """Give the chance of a positive, given a score of a model with this AUC."""
    from scipy.special import expit, ndtri

    separation = np.sqrt(2) * ndtri(merit)
    score = separation * labels + noise
    chance: Array = expit(np.log(rate / (1 - rate)) + separation * score - separation**2 / 2)
    return chance
