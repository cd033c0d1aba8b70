"""How right the answers were, from the labels that have arrived.

Drift says that the world has moved, not that the model is worse: over nine
months of flights the two hardly agree. Labels say it, some hours late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.drift_report import PerformanceReport
from baton.core.errors import EmptyWindow
from baton.core.policy import METRICS, Metric, Task
from baton.core.profile import SCORE
from baton.monitoring.label_delay import Weighted, censoring_weights
from baton.monitoring.labels import attach, corrected
from baton.monitoring.prediction_window import answer_columns, answers_of
from baton.training import metrics, weighted_metrics
from baton.training.resampling import resampling

if TYPE_CHECKING:
    import pandas as pd

Numbers = NDArray[np.float64]

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
    task: Task = "binary",
    classes: Sequence[str] = (),
    quantile: float = 0.5,
    told: pd.DataFrame | None = None,
) -> PerformanceReport:
    """Measure a window's answers against the labels known at `as_of`; `told` ones are by prediction id, see `attach`.

    Args:
        window: Answered rows; those before `start` only tell how long labels take.
        labels: See `attach`.
        key: See `attach`.
        label: See `attach`.
        as_of: Moment of knowledge (aware, UTC).
        model: Name of the model.
        digest: Digest of the champion's bundle.
        start: First moment of the window.
        end: End of the window.
        task: What is predicted.
        classes: The classes of the label, where it has several.
        quantile: Quantile of the pinball loss.
        told: See `attach`.

    Returns:
        Every metric of the task, and calibration (of two classes the mean
        score minus the rate of the label, positive where the model expects too
        much); None where no label has come, and no AUC where all labels are
        the same.
    """
    # A window has dozens of features, which none of this needs.
    needed = ("id", "entity", "moment", *answer_columns(SCORE, classes=classes))
    answers = window[[name for name in needed if name in window]]
    joined = attach(answers, labels, key=key, label=label, as_of=as_of, classes=classes, told=told)
    inside = (joined["moment"] >= start).to_numpy()
    counted = _weighted(joined, inside, as_of=as_of, classes=classes)
    here = inside & joined["label"].notna().to_numpy()
    known, weights = joined[here], counted.weights[here]
    truth, score = known["label"].to_numpy(dtype=np.float64), answers_of(known, classes=classes)

    def measured(counts: Numbers) -> dict[str, float | None]:
        of = {
            metric: weighted_metrics.measure(metric, truth, score, counts, quantile=quantile)
            for metric in METRICS[task]
        }
        return {str(metric): finite(value) for metric, value in of.items()}

    metrics_of_all = measured(weights)
    return PerformanceReport(
        model=model,
        digest=digest,
        start=start,
        end=end,
        as_of=as_of,
        rows=int(inside.sum()),
        labelled=len(known),
        auc=metrics_of_all.get("auc"),
        log_loss=metrics_of_all.get("log_loss"),
        brier=metrics_of_all.get("brier"),
        calibration=finite(_calibration(truth, score, weights)) if weights.sum() > 0 else None,
        metrics=metrics_of_all,
        unweighted=measured(np.ones(len(known))),
        young=int(counted.young.sum()),
        corrected=corrected(joined[inside], labels, key=key, label=label, as_of=as_of, told=told),
    )


def _weighted(joined: pd.DataFrame, inside: NDArray[np.bool_], *, as_of: datetime, classes: Sequence[str]) -> Weighted:
    """Weigh each label by how likely one of its kind has come by now."""
    labels = joined["label"].to_numpy(dtype=np.float64)
    if np.isfinite(labels).all():
        return Weighted(weights=np.ones(len(labels)), young=np.zeros(len(labels), dtype=np.bool_))
    scores = answers_of(joined, classes=classes)
    ages = np.asarray((as_of - joined["moment"]).dt.total_seconds(), dtype=np.float64)
    took = np.asarray((joined["label_at"] - joined["moment"]).dt.total_seconds(), dtype=np.float64)
    # A label that became known before its prediction took no time.
    delays = np.where(np.isfinite(labels), np.clip(took, 0.0, ages), np.nan)
    kinds: Numbers = scores if scores.ndim == 1 else np.asarray(scores.max(axis=1), dtype=np.float64)
    return censoring_weights(labels, kinds, delays, ages, window=inside)


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
    classes: Sequence[str] = (),
    quantile: float = 0.5,
) -> Comparison:
    """Compare two models' answers on the same rows, with an interval from resampled days.

    What is resampled is each row's influence on the difference, which for a
    mean of losses is the row's share of it.

    Args:
        labelled: Rows with `moment`, `label` (0 or 1, a class's place, or a
            number; rows without are left out) and both answers.
        score: Column of the score in question, of several classes the columns'
            name up to the dot; see `answers_of`.
        against: Column of the score it is compared with.
        metric: What to compare; losses are turned so that a gain is positive.
        seed: Seed of the resampling.
        zone: Time zone in which a day begins.
        confidence: Level of the two-sided interval.
        resamples: Number of resamples of days.
        classes: The classes of the label, where it has several.
        quantile: Quantile of the pinball loss.

    Raises:
        EmptyWindow: No row has a label.
    """
    columns = [*answer_columns(score, classes=classes), *answer_columns(against, classes=classes)]
    rows = labelled.dropna(subset=["label", *columns])
    if rows.empty:
        raise EmptyWindow(what="nothing to compare", why="no row has a label", fix="wait for labels")
    truth = rows["label"].to_numpy(dtype=np.float64)
    days = rows["moment"].dt.tz_convert(zone).dt.tz_localize(None).to_numpy(dtype="datetime64[D]")
    drawn = resampling(days, resamples=resamples, seed=seed)
    (mine, my_pull), (other, other_pull) = (
        metrics.influence(metric, truth, answers_of(rows, score=column, classes=classes), quantile=quantile)
        for column in (score, against)
    )
    sign = 1.0 if metric in metrics.HIGHER_IS_BETTER else -1.0
    tail = (1 - confidence) / 2
    draws = sign * (mine - other + drawn.mean(my_pull - other_pull))
    low, high = np.quantile(draws, [tail, 1 - tail])
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


def _calibration(truth: Numbers, score: Numbers, weights: Numbers) -> float:
    """Give how much more the model expects than comes true, on average."""
    if score.ndim == 1:
        return float(np.average(score - truth, weights=weights))
    return float(np.average(score.max(axis=1) - (np.argmax(score, axis=1) == truth), weights=weights))
