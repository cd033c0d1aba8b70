"""What labels that have come say of those that have not."""

from __future__ import annotations

import numpy as np
import pytest

from baton.monitoring.label_delay import censoring_weights, reporting
from baton.training.metrics import measure
from baton.training.weighted_metrics import measure as weighted


def late(seed: int, *, by_score: bool, by_label: bool, rows: int = 24_000) -> tuple[np.ndarray, ...]:
    """Give scores, all labels, ages of up to 90 days and delays of a median of seven."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.0, 1.2, size=rows)
    chance = 1 / (1 + np.exp(-np.where(logit > -0.5, 0.4 * logit - 0.3, 1.3 * logit)))
    truth = (rng.random(rows) < chance).astype(float)
    slow = np.exp(-0.5 * (logit + 1)) if by_score else np.ones(rows)
    slow = np.where(truth > 0, 2 * slow, slow) if by_label else slow
    delays = 7 * slow * np.exp(rng.normal(scale=0.7, size=rows))
    return logit, truth, rng.uniform(0, 90, size=rows), np.where(rng.random(rows) < 0.1, np.inf, delays)


def test_how_fast_labels_come_is_known_from_those_that_have() -> None:
    rng = np.random.default_rng(1)
    delays, ages = rng.exponential(7.0, size=20_000), rng.uniform(0, 40, size=20_000)
    come = delays <= ages
    times, chances = reporting(delays[come], ages[come])
    for day in (2.0, 7.0, 20.0):
        truth = (1 - np.exp(-day / 7)) / (1 - np.exp(-40 / 7))
        assert chances[np.searchsorted(times, day) - 1] == pytest.approx(truth, abs=0.03)
        # The labels that have come are quicker than labels are.
        assert (delays[come] <= day).mean() > truth


@pytest.mark.parametrize(("by_score", "by_label"), [(False, False), (True, False), (False, True)])
def test_f8_late_labels_are_corrected_for_who_answers_early(by_score: bool, by_label: bool) -> None:  # noqa: FBT001 - a table
    """F8: over twelve windows, with a Monte Carlo error of 0.002; `make bench-delay` takes more."""
    errors, naive = [], []
    for seed in range(12):
        scores, truth, ages, delays = late(seed, by_score=by_score, by_label=by_label)
        asked, told = ages < 30, delays <= ages
        labels, come = np.where(told, truth, np.nan), told & (ages < 30)
        found = censoring_weights(labels, scores, np.where(told, delays, np.nan), ages, window=asked)
        oracle = measure("auc", truth[asked], scores[asked])
        errors.append(weighted("auc", truth[come], scores[come], found.weights[come]) - oracle)
        naive.append(measure("auc", truth[come], scores[come]) - oracle)
        assert found.weights.sum() == pytest.approx(asked.sum())
        assert not found.weights[~come].any()
    assert abs(np.mean(errors)) <= 0.005 + 2 * 0.002
    if by_score:
        assert abs(np.mean(naive)) > 0.015


def test_labels_that_are_all_there_count_for_themselves() -> None:
    rng = np.random.default_rng(1)
    labels, scores, ages = rng.integers(0, 2, 1_000).astype(float), rng.random(1_000), np.full(1_000, 90.0)
    found = censoring_weights(labels, scores, rng.uniform(0, 5, 1_000), ages)
    assert found.weights == pytest.approx(np.ones(1_000))
    assert not found.young.any()


def test_without_any_label_nothing_counts() -> None:
    nothing = np.full(50, np.nan)
    found = censoring_weights(nothing, np.linspace(0, 1, 50), nothing, np.arange(50.0))
    assert found.weights.sum() == 0
