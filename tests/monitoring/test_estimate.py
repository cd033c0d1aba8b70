"""Performance without labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from baton.core.drift_report import PerformanceReport
from baton.monitoring.estimate import METRICS, estimate, expected, judged
from baton.training.metrics import measure
from baton.training.outlook import outlook

BEGIN = np.datetime64("2024-01-01")


def served(
    seed: int, *, days: int = 14, shift: float = 0.0, luck: float = 0.3, concept: float = 0.0, a_day: int = 200
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give labels, scores that are off by a constant and a slope, and days with a luck of their own."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), a_day)
    truth = rng.normal(-1.0 + shift, 1.2, size=len(day))
    chance = 1 / (1 + np.exp(-(truth + rng.normal(scale=luck, size=days)[day] + concept)))
    labels = (rng.random(len(day)) < chance).astype(float)
    return labels, 1 / (1 + np.exp(-(1.4 * truth + 0.3))), BEGIN + day.astype("timedelta64[D]")


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["like the holdout", "riskier rows"])
def test_the_interval_holds_what_labels_then_say_nine_times_in_ten(shift: float) -> None:
    # 60 windows: a true coverage of 0.90 stays above 0.80 all but once in 200 times.
    held = dict.fromkeys(METRICS, 0)
    for seed in range(60):
        known = outlook(*served(seed, days=28))
        labels, scores, days = served(1_000 + seed, shift=shift)
        for metric, each in estimate(scores, days, known).items():
            held[metric] += each.low <= measure(metric, labels, scores) <= each.high
    assert min(held.values()) / 60 >= 0.90 - 0.10


def test_calibration_is_found_where_scores_are_off() -> None:
    known = outlook(*served(1, days=40, luck=0.0, a_day=1_000))
    # The scores are 1.4 times the truth and 0.3.
    assert known.slope == pytest.approx(1 / 1.4, abs=0.03)
    assert known.intercept == pytest.approx(-0.3 / 1.4, abs=0.05)
    assert known.shared[0] < 0.01
    assert outlook(*served(1, days=40, luck=0.5, a_day=1_000)).shared[0] == pytest.approx(0.25, rel=0.5)


@pytest.mark.parametrize("metric", METRICS)
def test_expected_metrics_are_the_means_over_labels_that_could_come(metric: str) -> None:
    rng = np.random.default_rng(2)
    scores, chance = rng.uniform(0.05, 0.95, size=400), rng.uniform(0.1, 0.9, size=400)
    drawn = [measure(metric, (rng.random(400) < chance).astype(float), scores) for _ in range(3_000)]
    value, pull = expected(metric, scores, chance)
    assert value == pytest.approx(np.mean(drawn), abs=0.003)
    # How much each label moves it gives the spread of what could come.
    spread = np.sqrt(np.sum(pull**2 * chance * (1 - chance))) / 400
    assert spread == pytest.approx(np.std(drawn), rel=0.08)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_count_twice_are_two_rows(metric: str) -> None:
    rng = np.random.default_rng(3)
    scores, chance, times = rng.uniform(0.1, 0.9, 300), rng.uniform(0.1, 0.9, 300), rng.integers(0, 3, 300)
    value, _ = expected(metric, scores, chance, times.astype(float))
    assert value == pytest.approx(expected(metric, np.repeat(scores, times), np.repeat(chance, times))[0])


def test_an_estimate_says_when_it_is_not_to_be_trusted(world: SimpleNamespace) -> None:
    known = outlook(*served(1, days=28))
    labels, scores, days = served(2, concept=1.2)
    quiet = world.report(world.start.date())
    nothing = PerformanceReport(
        model="m",
        digest="d",
        start=world.start,
        end=world.start + timedelta(days=14),
        as_of=world.start,
        rows=len(labels),
        labelled=0,
        auc=None,
        log_loss=None,
        brier=None,
        calibration=None,
    )
    assert judged(scores, days, known, drift=quiet, realised=nothing).trusted
    metrics = {metric: measure(metric, labels, scores) for metric in METRICS}
    told = judged(scores, days, known, drift=quiet, realised=replace(nothing, labelled=len(labels), metrics=metrics))
    assert not told.trusted
    assert "labels that have come contradict it: log_loss" in told.why
    few = judged(scores, days, outlook(*served(1, days=7)), drift=quiet, realised=nothing)
    assert few.why == "the calibration is known from 7 days"
    moved = replace(quiet, columns=(replace(quiet.score, name="gust", outside=0.3),))
    assert "beyond the reference in gust" in judged(scores, days, known, drift=moved, realised=nothing).why
    assert not judged(scores, days, None, drift=quiet, realised=nothing).metrics
    assert not judged(scores[:0], days[:0], known, drift=quiet, realised=nothing).metrics


def test_one_class_and_two_days_give_no_outlook() -> None:
    labels, scores, days = served(1, days=2)
    assert outlook(labels, scores, days) is None
    assert outlook(np.zeros(600), scores[:600], np.repeat(days[::200], 300)) is None
