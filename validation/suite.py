"""What data tests mean for a batch: which rows may go on, which are set aside, and whether the batch stops here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.snapshot import DataReport, Failure
from baton.core.spec import TableSpec

if TYPE_CHECKING:
    import pandas as pd

REASON = "reason"
EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one expectation found in a batch; `places` are the positions of the rows that it did not expect."""

    expectation: str
    column: str | None
    severity: str
    met: bool
    unexpected: int = 0
    places: NDArray[np.int64] | tuple[int, ...] = ()
    examples: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A batch after its data tests: the report, the rows that may go on and those set aside with their `reason`.

    Where the report has not passed, nothing may go on, whatever `good` holds.
    """

    report: DataReport
    good: pd.DataFrame
    bad: pd.DataFrame


def sort_out(
    table: str, spec: TableSpec, rows: pd.DataFrame, findings: Sequence[Finding], *, batch: str, suite: str
) -> Checked:
    """Apply each finding's severity to a batch.

    `warn` is noted, `quarantine` sets the unexpected rows aside, `stop` stops
    the batch. A quarantine without rows to set aside (a mean, a row count, an
    expectation that could not be computed) stops too, and so does a batch of
    which more than `quarantine_limit` would be set aside, at least one row.
    """
    failures = [_failure(finding) for finding in findings if not finding.met]
    found = [f for f in findings if not f.met and f.severity == "quarantine"]
    marked = np.zeros(len(rows), dtype=np.bool_)
    for each in found:
        marked[np.asarray(each.places, dtype=np.int64)] = True
    count, allowed = int(marked.sum()), max(1, math.floor(spec.quarantine_limit * len(rows)))
    if count > allowed:
        failures.append(_too_many(count, len(rows), allowed, spec.quarantine_limit))
    # Of a batch that stops for its bad rows some are shown, since none of them lands.
    places = np.flatnonzero(marked)[:allowed]
    bad = rows.iloc[places].assign(**{REASON: _reasons(found, places)})
    report = DataReport(
        table=table,
        batch=batch,
        suite=suite,
        rows=len(rows),
        expectations=len(findings),
        failures=tuple(failures),
        quarantined=count,
    )
    return Checked(report=report, good=rows.iloc[~marked] if count else rows, bad=bad)


def with_unreadable(checked: Checked, bad: pd.DataFrame | None, spec: TableSpec) -> Checked:
    """Add the rows of a batch that could not be read, each with its `reason`, under the same limit.

    Args:
        checked: The batch's other rows after their data tests.
        bad: Rows with a value that is none of its column's kind; none where left out.
        spec: The table.
    """
    import pandas as pd

    if bad is None or bad.empty:
        return checked
    report = checked.report
    rows, aside = report.rows + len(bad), report.quarantined + len(bad)
    allowed = max(1, math.floor(spec.quarantine_limit * rows))
    reasons = bad[REASON].to_numpy()[:EXAMPLES]
    failures = [
        Failure(
            expectation="values_can_be_read",
            column=None,
            severity="quarantine",
            unexpected=len(bad),
            examples=tuple(reasons),
            detail=f"such as: {reasons[0]}",
        )
    ]
    if aside > allowed:
        failures.append(_too_many(aside, rows, allowed, spec.quarantine_limit))
    return replace(
        checked,
        report=replace(report, rows=rows, quarantined=aside, failures=(*failures, *report.failures)),
        bad=pd.concat([checked.bad, bad], ignore_index=True) if len(checked.bad) else bad,
    )


def drop_repeated(rows: pd.DataFrame, spec: TableSpec, table: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Drop the rows that are there twice to the last value, and say how many; two that differ are left as they are."""
    identity = [*spec.key, spec.known_time]
    # Whole rows are compared only where their key says that they may be one.
    if not set(identity) <= set(rows) or not rows.duplicated(identity).any():
        return rows, []
    again = rows.duplicated()
    count = int(again.sum())
    told = f"{count} rows of {table} are there again, to the last value, and are dropped"
    found = Finding(expectation="rows_once", column=None, severity="warn", met=not count, unexpected=count, detail=told)
    return rows[~again], [found]


def _failure(finding: Finding) -> Failure:
    helpless = finding.severity == "quarantine" and len(finding.places) == 0
    return Failure(
        expectation=finding.expectation,
        column=finding.column,
        severity="stop" if helpless else finding.severity,
        unexpected=finding.unexpected,
        examples=finding.examples,
        detail=f"{finding.detail}; no single row can be set aside" if helpless else finding.detail,
    )


def _reasons(findings: Sequence[Finding], places: NDArray[np.int64]) -> list[str]:
    """Give, for each row to set aside, why."""
    reasons: list[list[str]] = [[] for _ in places]
    for finding in findings:
        hit = np.isin(places, np.asarray(finding.places, dtype=np.int64))
        for at in np.flatnonzero(hit):
            reasons[at].append(finding.detail)
    return ["; ".join(each) for each in reasons]


def _too_many(bad: int, rows: int, allowed: int, limit: float) -> Failure:
    return Failure(
        expectation="quarantine_limit",
        column=None,
        severity="stop",
        unexpected=bad,
        examples=(),
        detail=f"{bad} of {rows} rows would be set aside, {allowed} are allowed (quarantine_limit {limit})",
    )
