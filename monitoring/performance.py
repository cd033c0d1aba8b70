"""How right the answers were, from the labels that have arrived.

Drift says that the world has moved, not that the model is worse: over nine
months of flights the two hardly agree. Labels say it, some hours late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from baton.core.drift_report import PerformanceReport
from baton.core.errors import EmptyWindow
from baton.monitoring.labels import attach
from baton.training.losses import auc, log_losses, squared_errors
from baton.training.resampling import Resampling, resampling

if TYPE_CHECKING:
    import pandas as pd

Numbers = NDArray[np.float64]
Metric = Literal["auc", "log_loss", "brier"]

RESAMPLES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One score against another on the same rows; positive where `score` is the better.

    `low` and `high` bound the mean difference at `confidence`, from resampled
    days: rows of one day share their luck and are drawn together.
    """

    metric: str
    rows: int
    days: int
    score: float
    against: float
    difference: float
    low: float
    high: float
    confidence: float


def measure(
    window: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    key: str,
    label: str,
    as_of: datetime,
    model: str,
    digest: str,
    start: datetime,
    end: datetime,
) -> PerformanceReport:
    """Measure a window's answers against the labels known at `as_of`.

    Returns:
        AUC, log loss, Brier score and calibration (mean score minus rate of
        the label, positive where the model expects too much); None where no
        label has come, and no AUC where all labels are the same.
    """
    known = attach(window, labels, key=key, label=label, as_of=as_of).dropna(subset=["label"])
    truth, score = known["label"].to_numpy(dtype=np.float64), known["score"].to_numpy(dtype=np.float64)
    any_label = len(known) > 0
    return PerformanceReport(
        model=model,
        digest=digest,
        start=start,
        end=end,
        as_of=as_of,
        rows=len(window),
        labelled=len(known),
        auc=auc(truth, score) if 0 < truth.sum() < len(truth) else None,
        log_loss=float(log_losses(truth, score).mean()) if any_label else None,
        brier=float(squared_errors(truth, score).mean()) if any_label else None,
        calibration=float(score.mean() - truth.mean()) if any_label else None,
    )


def compare(
    labelled: pd.DataFrame,
    *,
    score: str,
    against: str,
    metric: Metric,
    seed: int,
    zone: str = "UTC",
    confidence: float = 0.90,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two score columns on the same rows, with an interval from resampled days.

    Args:
        labelled: Rows with `moment`, `label` (0 or 1; rows without are left out) and both scores.
        score: Column of the score in question.
        against: Column of the score it is compared with.
        metric: What to compare; losses are turned so that a gain is positive.
        seed: Seed of the resampling.
        zone: Time zone in which a day begins.
        confidence: Level of the two-sided interval.
        resamples: Number of resamples of days.

    Raises:
        EmptyWindow: No row has a label.
    """
    rows = labelled.dropna(subset=["label", score, against])
    if rows.empty:
        raise EmptyWindow(what="nothing to compare", why="no row has a label", fix="wait for labels")
    truth = rows["label"].to_numpy(dtype=np.float64)
    days = rows["moment"].dt.tz_convert(zone).dt.strftime("%Y-%m-%d").to_numpy(dtype=object)
    drawn = resampling(days, resamples=resamples, seed=seed)
    (mine, my_draws), (other, other_draws) = (
        _drawn(metric, truth, rows[column].to_numpy(dtype=np.float64), drawn) for column in (score, against)
    )
    sign = 1.0 if metric == "auc" else -1.0
    tail = (1 - confidence) / 2
    # A resample whose days hold one class only has no AUC.
    low, high = np.nanquantile(sign * (my_draws - other_draws), [tail, 1 - tail])
    return Comparison(
        metric=metric,
        rows=len(rows),
        days=drawn.blocks,
        score=mine,
        against=other,
        difference=sign * (mine - other) + 0.0,  # no minus before nothing
        low=float(low),
        high=float(high),
        confidence=confidence,
    )


def _drawn(metric: Metric, truth: Numbers, score: Numbers, drawn: Resampling) -> tuple[float, Numbers]:
    """Give the metric on all rows and on each resample."""
    if metric == "auc":
        return auc(truth, score), drawn.auc(truth, score)
    losses = (log_losses if metric == "log_loss" else squared_errors)(truth, score)
    return float(losses.mean()), drawn.mean(losses)
