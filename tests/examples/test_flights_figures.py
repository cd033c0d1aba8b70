"""The figures of the flights of 2013: fresh data helps, a short memory hurts, and November is lost honestly."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from baton.compose import platform
from baton.features import snapshot
from baton.flows import landing_run
from baton.flows.challenge import freeze, vary
from baton.training.fit import Fitted, fit, predict
from baton.training.losses import auc, log_losses
from baton.training.split import known

ZONE = ZoneInfo("America/New_York")
STARTS = [datetime(2013, month, 1, tzinfo=ZONE) for month in range(4, 13)]
ENDS = [*STARTS[1:], datetime(2014, 1, 1, tzinfo=ZONE)]
ROLLING_DAYS = 30

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def rows(spec, tmp_path_factory) -> pd.DataFrame:
    """Freeze the year through the real landing zone and Feast."""
    baton = platform(spec.folder, home=tmp_path_factory.mktemp("year"))
    as_of = ENDS[-1] + timedelta(days=2)
    landing_run.land(baton, landing_run.read(baton), as_of=as_of)
    return snapshot.frame(freeze(baton, as_of=as_of))


@pytest.fixture(scope="module")
def months(rows) -> list[pd.DataFrame]:
    return [rows[(rows["moment"] >= start) & (rows["moment"] < end)] for start, end in zip(STARTS, ENDS, strict=True)]


@pytest.fixture(scope="module")
def measured(spec, rows, months) -> pd.DataFrame:
    """Score each month by the model retrained on its first day, by one with a short memory, and by the stale one."""
    short = vary(spec, {"training": {"window_days": ROLLING_DAYS}})
    stale = fit(spec, known(rows, spec, as_of=STARTS[0]), threads=1)
    found = []
    for start, month in zip(STARTS, months, strict=True):
        models = {
            "retrained": fit(spec, known(rows, spec, as_of=start), threads=1),
            "rolling": fit(short, known(rows, short, as_of=start), threads=1),
            "stale": stale,
        }
        found.append(
            {f"{name}_{metric}": value for name, model in models.items() for metric, value in score(model, month)}
        )
    return pd.DataFrame(found, index=[f"{start:%b}" for start in STARTS])


def score(model: Fitted, month: pd.DataFrame) -> list[tuple[str, float]]:
    labels, scores = month["label"].to_numpy(np.float64), predict(model, month)
    return [("auc", auc(labels, scores)), ("log_loss", float(log_losses(labels, scores).mean()))]


def test_monthly_retraining_reaches_its_mean_auc(measured) -> None:
    assert measured["retrained_auc"].mean() == pytest.approx(0.743, abs=0.002)
    assert measured["stale_auc"].mean() == pytest.approx(0.732, abs=0.002)


def test_retraining_loses_in_november(measured) -> None:
    november = measured.loc["Nov"]
    assert november["retrained_auc"] < november["stale_auc"]
    assert november["retrained_log_loss"] > november["stale_log_loss"]


def test_a_month_of_memory_is_worse_than_never_retraining(measured) -> None:
    assert measured["rolling_log_loss"].mean() > measured["stale_log_loss"].mean()
    assert measured["retrained_log_loss"].mean() < measured["stale_log_loss"].mean()


def test_a_month_weighs_like_a_few_hundred_rows(rows, months, spec) -> None:
    """Days differ so much that the late rate of a month is known as if from 250 rows, not 28,000."""
    month = months[2]
    by_day = month.groupby("block")["label"].agg(["mean", "size"])
    variance = by_day["mean"].var(ddof=1) / len(by_day)
    rate = month["label"].mean()
    assert rate * (1 - rate) / variance < 1_000
