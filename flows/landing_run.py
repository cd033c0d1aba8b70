"""Landing, step by step: read the source, test each batch, land the good rows, set the bad ones aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from baton.core.errors import DataRefused, listed
from baton.core.snapshot import DataReport

if TYPE_CHECKING:
    import pandas as pd

    from baton.compose import Platform
    from baton.features.landing import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What one ingestion added."""

    as_of: datetime
    reports: tuple[DataReport, ...]

    @property
    def rows(self) -> int:
        """Rows that were landed, over all tables."""
        return sum(report.rows - report.quarantined for report in self.reports)

    @property
    def quarantined(self) -> int:
        """Rows that were set aside, over all tables."""
        return sum(report.quarantined for report in self.reports)


def read(platform: Platform) -> dict[str, pd.DataFrame]:
    """Read every table of the source."""
    from baton.features.source import read_tables

    return read_tables(platform.spec)


def land(platform: Platform, tables: dict[str, pd.DataFrame], *, as_of: datetime) -> Landed:
    """Test and land what became known since the last time, table by table.

    Raises:
        DataRefused: A batch failed a test of severity stop; its table stays as
            it was, and the other tables are landed.
    """
    reports = []
    for batch in platform.landing.pending(tables, as_of=as_of).values():
        if batch.rows.empty:
            # Nothing to test; the watermark still moves.
            platform.landing.land(batch, batch.rows)
            continue
        checked = platform.data_tests.check(batch.table, batch.rows, batch=_named(batch))
        reports.append(checked.report)
        if checked.report.passed:
            platform.landing.quarantine(batch, checked.bad)
            platform.landing.land(batch, checked.good)
    stopped = [report for report in reports if not report.passed]
    if stopped:
        raise DataRefused(
            what=f"{listed(report.table for report in stopped)} stopped by data tests",
            why=listed(_first(report) for report in stopped),
            fix=f"open {platform.data_tests.build_docs()}, mend the source and ingest again",
        )
    return Landed(as_of=as_of, reports=tuple(reports))


def _named(batch: Batch) -> str:
    since = f"{batch.since:%Y-%m-%d} to " if batch.since else "until "
    return f"{since}{batch.until:%Y-%m-%d}"


def _first(report: DataReport) -> str:
    stops = [failure for failure in report.failures if failure.severity == "stop"]
    if not stops:
        return f"{report.table} has no expectations"
    return f"{stops[0].expectation} on {stops[0].column or report.table}: {stops[0].detail}"
