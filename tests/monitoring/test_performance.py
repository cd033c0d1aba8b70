"""How right the answers were."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from baton.core.drift_report import PerformanceReport
from baton.core.errors import EmptyWindow
from baton.monitoring.performance import compare, measure


@pytest.fixture
def measured(world: SimpleNamespace):
    def measured(window: pd.DataFrame, labels: pd.DataFrame, *, days: float) -> PerformanceReport:
        end = world.start + timedelta(days=28)
        as_of = world.start + timedelta(days=days)
        facts = {"model": "m", "digest": world.digest, "start": world.start, "end": end}
        return measure(window, labels, key="flight", label="late", as_of=as_of, **facts)

    return measured


def labels_of(window: pd.DataFrame, *, seed: int = 5) -> pd.DataFrame:
    """Give true labels of well calibrated scores, known six hours after each moment."""
    late = (np.random.default_rng(seed).random(len(window)) < window["score"]).astype(int)
    return pd.DataFrame(
        {"flight": window["entity"], "late": late, "known_time": window["moment"] + pd.Timedelta(hours=6)}
    )


def test_figures_agree_with_scikit_learn(world: SimpleNamespace, measured) -> None:
    window = world.answered(world.features(3_000, seed=3))
    labels = labels_of(window)
    report = measured(window, labels, days=40)
    late, score = labels["late"], window["score"]
    assert report.auc == pytest.approx(metrics.roc_auc_score(late, score))
    assert report.log_loss == pytest.approx(metrics.log_loss(late, score))
    assert report.brier == pytest.approx(metrics.brier_score_loss(late, score))
    assert report.calibration == pytest.approx(score.mean() - late.mean())
    assert report.maturity == 1.0


def test_maturity_is_the_share_of_labels_that_have_come(world: SimpleNamespace, measured) -> None:
    window = world.answered(world.features(2_800, seed=3))
    report = measured(window, labels_of(window), days=14.25)
    assert report.labelled == 1_401
    assert report.maturity == pytest.approx(0.5, abs=0.001)


def test_without_labels_nothing_is_claimed(world: SimpleNamespace, measured) -> None:
    window = world.answered(world.features(100, seed=3))
    report = measured(window, labels_of(window), days=0)
    assert (report.auc, report.log_loss, report.brier, report.calibration) == (None, None, None, None)
    assert report.rows == 100
    assert report.maturity == 0.0


def test_one_class_has_no_auc_and_has_a_loss(world: SimpleNamespace, measured) -> None:
    window = world.answered(world.features(100, seed=3))
    report = measured(window, labels_of(window).assign(late=0), days=40)
    assert report.auc is None
    assert report.log_loss > 0


@pytest.mark.parametrize("metric", ["auc", "log_loss", "brier"])
def test_the_better_score_has_the_positive_difference(world: SimpleNamespace, metric: str) -> None:
    window = world.answered(world.features(6_000, seed=3))
    noise = np.random.default_rng(1).normal(scale=1.5, size=len(window))
    logit = np.log(window["score"] / (1 - window["score"])) + noise
    labelled = window.assign(label=labels_of(window)["late"].astype(float), worse=1 / (1 + np.exp(-logit)))
    labelled.loc[0, "label"] = np.nan
    found = compare(labelled, score="score", against="worse", metric=metric, seed=1)
    other = compare(labelled, score="worse", against="score", metric=metric, seed=1)
    assert found.low > 0
    assert found.low < found.difference < found.high
    assert other.difference == pytest.approx(-found.difference)
    assert (found.rows, found.days) == (5_999, 28)
    assert found == compare(labelled, score="score", against="worse", metric=metric, seed=1)


def test_a_score_is_no_better_than_itself(world: SimpleNamespace) -> None:
    window = world.answered(world.features(600, seed=3))
    labelled = window.assign(label=labels_of(window)["late"])
    found = compare(labelled, score="score", against="score", metric="log_loss", seed=1)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not np.signbit(found.difference)


def test_a_day_begins_in_the_projects_zone(world: SimpleNamespace) -> None:
    window = world.answered(world.features(600, seed=3), days=2)
    labelled = window.assign(label=labels_of(window)["late"])
    assert compare(labelled, score="score", against="score", metric="brier", seed=1).days == 2
    assert compare(labelled, score="score", against="score", metric="brier", seed=1, zone="America/New_York").days == 3


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # 200 repeats with a gain that differs by day, true mean 0: the share of
    # 90 % intervals that hold 0 has a Monte Carlo error of 0.021, and blocks of
    # 40 days make bootstrap intervals some hundredths too short.
    rng = np.random.default_rng(4)
    moment = pd.date_range("2013-07-01", periods=40 * 10, freq="144min", tz="UTC")
    held = 0
    for repeat in range(200):
        gain = np.repeat(rng.normal(scale=0.05, size=40), 10)
        rows = pd.DataFrame({"moment": moment, "label": 1.0, "a": np.sqrt(0.25) - gain, "b": np.full(400, 0.5)})
        # A Brier loss that is linear in the gain, so that the true difference is 0.
        rows["a"] = 1 - np.sqrt(0.25 - gain)
        found = compare(rows, score="a", against="b", metric="brier", seed=repeat, resamples=300)
        held += found.low <= 0 <= found.high
    assert 0.82 <= held / 200 <= 0.96


def test_nothing_to_compare_is_an_empty_window(world: SimpleNamespace) -> None:
    window = world.answered(world.features(10, seed=3)).assign(label=np.nan)
    with pytest.raises(EmptyWindow, match="no row has a label"):
        compare(window, score="score", against="score", metric="auc", seed=1)
