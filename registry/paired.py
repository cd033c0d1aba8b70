"""How much better one model is than another on the same rows, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.training.losses import auc, log_losses, squared_errors
from baton.training.resampling import Resampling, standard_error

# Verdicts are compared byte by byte; the last bits of a sum differ between processors.
DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The challenger's metric less the champion's, higher is better, with its interval."""

    mean: float
    low: float
    high: float
    standard_error: float


def paired_gain(
    metric: str,
    labels: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    draws: Resampling,
    *,
    confidence: float,
) -> Gain:
    """Measure the gain of a challenger over a champion, both scored on the same rows and resampled together.

    The interval is the percentile interval, expanded so that few blocks give
    honest ends: its tails are those of a t distribution with `blocks - 1`
    degrees of freedom and a variance of `blocks / (blocks - 1)` (Hesterberg,
    What Teachers Should Know about the Bootstrap, 2015, section 5.3).

    Args:
        metric: `log_loss`, `brier` or `auc`.
        labels: 0 or 1, shape `(rows,)`.
        challenger: Scores 0-1, shape `(rows,)`.
        champion: Scores 0-1, shape `(rows,)`.
        draws: Resampled blocks of these rows.
        confidence: Level of the two-sided interval, 0-1.

    Returns:
        The gain in the metric's unit, rounded to nine decimals; a loss counts
        as the champion's minus the challenger's.
    """
    if metric == "auc":
        mean = auc(labels, challenger) - auc(labels, champion)
        resampled = draws.auc(labels, challenger) - draws.auc(labels, champion)
    else:
        losses = log_losses if metric == "log_loss" else squared_errors
        gains = losses(labels, champion) - losses(labels, challenger)
        mean, resampled = float(gains.mean()), draws.mean(gains)
    measured = resampled[np.isfinite(resampled)]
    tail = _tail(draws.blocks, confidence)
    low, high = np.quantile(measured, [tail, 1 - tail]) if len(measured) else (np.nan, np.nan)
    return Gain(
        mean=round(mean, DECIMALS),
        low=round(float(low), DECIMALS),
        high=round(float(high), DECIMALS),
        standard_error=round(standard_error(measured), DECIMALS),
    )


def _tail(blocks: int, confidence: float) -> float:
    """Give the percentile to cut on either side, less than half of `1 - confidence` where blocks are few."""
    from scipy.special import ndtr, stdtrit

    if blocks < 2:  # noqa: PLR2004 - one block has no spread
        return 0.0
    degrees = blocks - 1
    return float(ndtr(np.sqrt(blocks / degrees) * stdtrit(degrees, (1 - confidence) / 2)))
