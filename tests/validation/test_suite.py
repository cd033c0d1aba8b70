"""What a finding does to a batch."""

from __future__ import annotations

import pandas as pd
import pytest

from baton.core.spec import TableSpec
from baton.validation.suite import Finding, sort_out

SPEC = TableSpec(key=["id"], quarantine_limit=0.05)
ROWS = pd.DataFrame({"id": range(100)}, index=range(500, 600))


def _finding(severity, places=(), *, met=False, detail="wrong"):
    return Finding(
        expectation="expect_it",
        column="id",
        severity=severity,
        met=met,
        unexpected=len(places),
        places=places,
        detail=detail,
    )


def _check(*findings, rows=ROWS):
    return sort_out("orders", SPEC, rows, findings, batch="monday", suite="shop-orders")


def test_a_batch_that_meets_everything_passes_whole():
    checked = _check(_finding("stop", met=True), _finding("quarantine", met=True))
    assert checked.report.passed
    assert checked.good.equals(ROWS)
    assert checked.bad.empty


def test_no_expectations_pass_nothing():
    assert not _check().report.passed


@pytest.mark.parametrize(("severity", "passed"), [("warn", True), ("quarantine", True), ("stop", False)])
def test_severity_decides_what_a_failure_does(severity, passed):
    checked = _check(_finding(severity, (3,)))
    assert checked.report.passed is passed
    assert len(checked.report.failures) == 1
    assert len(checked.bad) == (severity == "quarantine")


def test_bad_rows_are_set_aside_with_every_reason():
    checked = _check(_finding("quarantine", (3, 7), detail="too big"), _finding("quarantine", (7,), detail="too late"))
    assert checked.bad["reason"].to_dict() == {503: "too big", 507: "too big; too late"}
    assert checked.report.quarantined == 2
    assert len(checked.good) == 98
    assert not set(checked.good.index) & {503, 507}


@pytest.mark.parametrize(
    ("bad", "rows", "passed"),
    [(5, 100, True), (6, 100, False), (1, 3, True), (2, 3, False)],
    ids=["at the limit", "over it", "one row of a small batch", "two rows of a small batch"],
)
def test_too_many_bad_rows_stop_the_batch(bad, rows, passed):
    report = _check(_finding("quarantine", tuple(range(bad))), rows=ROWS.head(rows)).report
    assert report.passed is passed
    assert [f.expectation for f in report.failures if f.severity == "stop"] == ([] if passed else ["quarantine_limit"])


def test_a_quarantine_without_rows_stops_the_batch():
    report = _check(_finding("quarantine")).report
    assert not report.passed
    assert "no single row can be set aside" in report.failures[0].detail
