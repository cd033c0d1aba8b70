"""Realised and estimated performance as lines."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

from baton.core.drift_report import Estimate, Estimated, PerformanceReport
from baton.monitoring.performance_text import estimate_line, realised_line


def realised(world: SimpleNamespace, **fields: object) -> PerformanceReport:
    known = {"rows": 1_000, "labelled": 0, "auc": None, "log_loss": None, "brier": None, "calibration": None}
    moments = {"start": world.start, "end": world.start + timedelta(days=28), "as_of": world.start}
    return PerformanceReport(model="m", digest=world.digest, **(known | moments | fields))


def test_what_labels_show_says_how_many_have_come(world: SimpleNamespace) -> None:
    metrics = {"log_loss": 0.48, "brier": 0.2, "auc": 0.75}
    report = realised(world, labelled=900, metrics=metrics, calibration=-0.02, corrected=3)
    assert realised_line(report) == (
        "realised: AUC 0.7500, log loss 0.4800, calibration -0.020 on 900 labels (90% have come)"
        ", 3 of them replaced an earlier one"
    )


def test_f8_without_labels_an_estimate_is_named_a_proxy(world: SimpleNamespace) -> None:
    """F8: labels that never come."""
    assert realised_line(realised(world)) == "realised: no label has come for 1,000 answers"
    likely = Estimate(
        metrics={"auc": Estimated(value=0.74, low=0.7, high=0.78)}, reference={"auc": 0.75}, trusted=True, why=""
    )
    line = "estimated without labels, a proxy: AUC 0.7400 (0.7000 to 0.7800; holdout 0.7500)"
    assert estimate_line(likely) == line
    doubted = Estimate(metrics=likely.metrics, reference=likely.reference, trusted=False, why="it is of 5 days")
    assert estimate_line(doubted) == f"{line}; not to be trusted: it is of 5 days"
    unknown = Estimate(metrics={}, reference={}, trusted=False, why="no rows were answered")
    assert estimate_line(unknown) == "estimated: not known, no rows were answered"
