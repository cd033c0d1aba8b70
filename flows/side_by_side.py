"""The champions that were retrained beside the one that was not, month by month, on the same rows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from baton.core.digest import finite
from baton.flows.sealed_model import score
from baton.monitoring.story import Month

if TYPE_CHECKING:
    import pandas as pd

    from baton.compose import Platform
    from baton.core.policy import Metric
    from baton.packaging.reader import Contents

METRICS: tuple[Metric, Metric] = ("log_loss", "auc")


def month_beside(
    platform: Platform,
    stale: Contents,
    asked: pd.DataFrame,
    answered: pd.DataFrame,
    *,
    label: str,
    as_of: datetime,
    psi: float | None,
) -> Month:
    """Compare what was answered in a month with what the first champion would have answered.

    Args:
        platform: The project.
        stale: The first champion's bundle.
        asked: The month's rows with their features.
        answered: The prediction log of the month.
        label: Name of the month.
        as_of: Labels known by then count.
        psi: Score PSI of the champion in force at the month's end.
    """
    from baton.monitoring.performance import compare

    spec = platform.spec
    rows = _answered_twice(platform, stale, asked, answered, as_of=as_of)
    zone = spec.prediction.timezone
    loss, ranking = (
        compare(rows, score="served", against="other", metric=metric, seed=spec.seed, zone=zone) for metric in METRICS
    )
    return Month(
        label=label,
        rows=len(answered),
        late_rate=float(rows["label"].mean()),
        auc_retrained=finite(ranking.score),
        auc_stale=finite(ranking.against),
        log_loss_retrained=finite(loss.score),
        log_loss_stale=finite(loss.against),
        gain=finite(loss.difference),
        gain_low=finite(loss.low),
        gain_high=finite(loss.high),
        score_psi=psi,
        version=str(answered["version"].mode().iloc[0]),
    )


def refused_beside(
    platform: Platform, refused: Contents, asked: pd.DataFrame, answered: pd.DataFrame, *, as_of: datetime
) -> tuple[float, float]:
    """Give the AUC that a refused challenger would have had on a month, and the one of what was answered."""
    from baton.training.losses import auc

    rows = _answered_twice(platform, refused, asked, answered, as_of=as_of)
    labels = rows["label"].to_numpy(dtype=float)
    return auc(labels, rows["other"].to_numpy()), auc(labels, rows["served"].to_numpy())


def _answered_twice(
    platform: Platform, other: Contents, asked: pd.DataFrame, answered: pd.DataFrame, *, as_of: datetime
) -> pd.DataFrame:
    """Give the labelled answers of a month as `served`, beside another model's as `other`."""
    from baton.monitoring.labels import attach
    from baton.monitoring.prediction_window import answers_of, with_answers

    spec = platform.spec
    classes = spec.label.classes
    labels = platform.landing.read(spec.label.table, as_of=as_of)
    rows = attach(
        answered, labels, key=spec.prediction.id, label=spec.label.column, as_of=as_of, classes=classes
    ).dropna(subset=["label"])
    rows = with_answers(rows, answers_of(rows, classes=classes), score="served", classes=classes)
    scores = dict(zip(asked["id"], score(other, asked), strict=True))
    return with_answers(rows, np.stack([scores[entity] for entity in rows["entity"]]), score="other", classes=classes)
