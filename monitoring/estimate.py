"""How good a model's answers are likely to be while no label has come, and how sure that is.

A model whose probabilities are calibrated says itself how often it will be
right: the expected metric over labels that come with these chances
(confidence-based performance estimation: Garg et al., "Leveraging Unlabeled
Data to Predict Out-of-Distribution Performance", ICLR 2022; NannyML's CBPE). It
follows a change of what is asked, and cannot see a change of what is true. The
interval holds the chance of the labels, what the days of a window share, and
how little is known of the calibration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton.core.drift_report import DriftReport, Estimate, Estimated, PerformanceReport
from baton.core.outlook import Outlook
from baton.core.policy import Metric
from baton.training.outlook import logits

Numbers = NDArray[np.float64]

# Fewer days than this tell too little of how days differ.
FEWEST_DAYS = 10
# With a larger share of rows beyond the reference of a feature, the calibration there is a guess.
MOST_OUTSIDE = 0.1
# Fewer labels than this contradict nothing.
FEWEST_LABELS = 200
# How days differ is itself known from few days, so this level is what it takes to hold nine times in ten.
CONFIDENCE = 0.95
# Three metrics are compared with labels day after day.
CONTRADICTION = 0.995
METRICS: tuple[Metric, ...] = ("auc", "log_loss", "brier")


def estimate(
    scores: Numbers,
    days: NDArray[np.datetime64],
    outlook: Outlook,
    *,
    confidence: float = CONFIDENCE,
    answered: float = 1.0,
) -> dict[str, Estimated]:
    """Estimate AUC, log loss and Brier score of answers without labels.

    Args:
        scores: Chance of a 1 of each row, shape `(rows,)`, at least one.
        days: Day of each row.
        outlook: The calibration that was sealed with the champion.
        confidence: Level of the two-sided intervals.
        answered: Share of the rows on whose labels the metric is measured; the
            fewer they are, the more of it is chance.
    """
    from scipy.special import stdtrit

    odds = logits(scores)
    chance = 1 / (1 + np.exp(-(outlook.intercept + outlook.slope * odds)))
    times = float(stdtrit(max(outlook.days - 2, 1), 0.5 + confidence / 2))
    found: dict[str, Estimated] = {}
    for metric in METRICS:
        value, pull = expected(metric, scores, chance)
        error = _standard_error(pull, chance, odds - outlook.centre, days, outlook, answered=answered)
        low, high = value - times * error, value + times * error
        least, most = (0.0, 1.0) if metric != "log_loss" else (0.0, np.inf)
        found[metric] = Estimated(value=value, low=max(low, least), high=float(min(high, most)))
    return found


def expected(metric: str, scores: Numbers, chance: Numbers, weights: Numbers | None = None) -> tuple[float, Numbers]:
    """Give a metric's value over labels that come with these chances, and how much each label would move it.

    Args:
        metric: `auc`, `log_loss` or `brier`.
        scores: What was answered, shape `(rows,)`.
        chance: Chance that each label is 1, shape `(rows,)`.
        weights: What each row counts for; as much as any other where left out.

    Returns:
        The value, and its derivative by each label, times the rows, shape `(rows,)`.
    """
    counts = np.ones(len(scores)) if weights is None else weights * (len(weights) / weights.sum())
    if metric == "auc":
        return _expected_auc(scores, chance, counts)
    odds = logits(scores)
    if metric == "log_loss":
        losses, pull = np.logaddexp(0.0, odds) - chance * odds, -odds
    else:
        losses, pull = chance * (1 - scores) ** 2 + (1 - chance) * scores**2, 1 - 2 * scores
    return float(np.average(losses, weights=counts)), pull * counts


def judged(
    scores: Numbers,
    days: NDArray[np.datetime64],
    outlook: Outlook | None,
    *,
    drift: DriftReport,
    realised: PerformanceReport,
) -> Estimate:
    """Estimate a window's performance, and say whether the estimate is to be trusted.

    Args:
        scores: Chance of a 1 of each row.
        days: Day of each row.
        outlook: The champion's; None where it is of another task or an older format.
        drift: The window's drift, for rows that are unlike any the calibration is known for.
        realised: What labels that have come say; they may contradict.
    """
    if outlook is None or not len(scores):
        why = "no rows were answered" if outlook else "the champion was sealed without its calibration by day"
        return Estimate(metrics={}, reference={}, trusted=False, why=why)
    metrics = estimate(scores, days, outlook)
    wide = estimate(scores, days, outlook, confidence=CONTRADICTION, answered=max(realised.maturity, 1 / len(scores)))
    doubts = [*_doubts(outlook, drift), *_contradictions(wide, realised)]
    return Estimate(metrics=metrics, reference=outlook.metrics, trusted=not doubts, why="; ".join(doubts))


def _doubts(outlook: Outlook, drift: DriftReport) -> Sequence[str]:
    found = []
    if outlook.days < FEWEST_DAYS:
        found.append(f"the calibration is known from {outlook.days} days")
    far = [c.name for c in drift.columns if c.outside + c.new_values > MOST_OUTSIDE and not c.silent]
    if far:
        more = f" and {len(far) - 1} more" if len(far) > 1 else ""
        found.append(f"many rows are beyond the reference in {far[0]}{more}")
    return found


def _contradictions(metrics: dict[str, Estimated], realised: PerformanceReport) -> Sequence[str]:
    if realised.labelled < FEWEST_LABELS:
        return []
    beyond = [
        name
        for name, each in metrics.items()
        if (value := realised.metrics.get(name)) is not None and not each.low <= value <= each.high
    ]
    return [f"labels that have come contradict it: {beyond[0]} {realised.metrics[beyond[0]]:.3f}"] if beyond else []


def _expected_auc(scores: Numbers, chance: Numbers, counts: Numbers) -> tuple[float, Numbers]:
    distinct, ranks = np.unique(scores, return_inverse=True)
    up = np.bincount(ranks, weights=chance * counts, minlength=len(distinct))
    down = np.bincount(ranks, weights=(1 - chance) * counts, minlength=len(distinct))
    positives, negatives = float(up.sum()), float(down.sum())
    below = np.cumsum(down) - down / 2
    above = positives - np.cumsum(up) + up / 2
    pairs = positives * negatives
    value = float(up @ below) / pairs
    slope = (below - above)[ranks] / pairs - value * (negatives - positives) / pairs
    return value, slope * counts * len(scores)


def _standard_error(
    pull: Numbers, chance: Numbers, odds: Numbers, days: NDArray[np.datetime64], outlook: Outlook, *, answered: float
) -> float:
    """Give the standard error of an estimate: chance of the labels, luck of the days, doubt of the calibration."""
    rows = len(pull)
    spread = chance * (1 - chance)
    moved = (pull * spread)[:, None] * np.stack([np.ones(rows), odds], axis=1)
    names, codes = np.unique(days, return_inverse=True)
    of_days = np.stack([np.bincount(codes, weights=column, minlength=len(names)) for column in moved.T], axis=1)
    whole = of_days.sum(axis=0)
    shared, error = _matrix(outlook.shared), _matrix(outlook.error)
    lasting = (1 + outlook.persistence) / (1 - outlook.persistence)
    labels = float(np.sum(pull**2 * spread)) / answered
    luck = float(np.einsum("di,ij,dj->", of_days, shared, of_days)) * lasting
    doubt = float(whole @ (shared * lasting / outlook.days + error) @ whole)
    return float(np.sqrt(labels + luck + doubt)) / rows


def _matrix(three: tuple[float, float, float]) -> Numbers:
    return np.array([[three[0], three[1]], [three[1], three[2]]])
