"""Metrics over rows that count for more or less than one."""

from __future__ import annotations

import numpy as np
import pytest

from baton.core.policy import METRICS, Metric, Task
from baton.training import metrics, weighted_metrics

RNG = np.random.default_rng(1)
CASES: dict[Task, tuple[np.ndarray, np.ndarray]] = {
    "binary": (RNG.integers(0, 2, 300).astype(float), RNG.integers(1, 50, 300) / 51),
    "multiclass": (RNG.integers(0, 3, 300).astype(float), RNG.dirichlet([1, 1, 1], 300)),
    "regression": (RNG.normal(size=300), RNG.normal(size=300)),
}


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task in CASES for metric in METRICS[task]])
def test_a_row_that_counts_twice_is_two_rows(task: Task, metric: Metric) -> None:
    labels, scores = CASES[task]
    even = weighted_metrics.measure(metric, labels, scores, np.ones(300))
    assert even == pytest.approx(metrics.measure(metric, labels, scores))
    times = RNG.integers(0, 3, 300)
    twice = metrics.measure(metric, np.repeat(labels, times), np.repeat(scores, times, axis=0))
    assert weighted_metrics.measure(metric, labels, scores, times.astype(float)) == pytest.approx(twice)


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task in CASES for metric in METRICS[task]])
def test_no_row_that_counts_tells_nothing(task: Task, metric: Metric) -> None:
    labels, scores = CASES[task]
    assert np.isnan(weighted_metrics.measure(metric, labels, scores, np.zeros(300)))
