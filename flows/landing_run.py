"""Landing, step by step: read the source, test each batch, land the good rows, set the bad ones aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from baton.core.errors import DataRefused, listed
from baton.core.snapshot import DataReport
from baton.features.arrivals import Arrivals, Arrived, arrivals
from baton.validation.suite import with_unreadable

if TYPE_CHECKING:
    import pandas as pd

    from baton.compose import Platform
    from baton.features.landing import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What one ingestion added; `waiting` rows of inputs are from the future, `repeated` ones were there twice."""

    as_of: datetime
    reports: tuple[DataReport, ...]
    waiting: int = 0
    repeated: int = 0

    @property
    def rows(self) -> int:
        """Rows that were landed, over all tables."""
        return sum(report.rows - report.quarantined for report in self.reports)

    @property
    def quarantined(self) -> int:
        """Rows that were set aside, over all tables."""
        return sum(report.quarantined for report in self.reports)


def read(platform: Platform) -> dict[str, pd.DataFrame]:
    """Read every table that the source's reader gives."""
    from baton.features.source import read_tables

    return read_tables(platform.spec)


def foreseen(platform: Platform, *, as_of: datetime) -> list[tuple[str, datetime | None, int]]:
    """Say of each table from when on and how many rows would land, and land none; one that is ahead is left out."""
    pending = platform.landing.pending(read(platform), as_of=as_of)
    found = [(name, batch.since, len(batch.rows)) for name, batch in pending.items()]
    for table in platform.spec.source.by_input:
        with arrivals(platform.spec, platform.landing, table, folder=platform.landing_folder, as_of=as_of) as arriving:
            if arriving is not None:
                found.append((table, platform.landing.landed_through(table), arriving.rows))
    return found


def land(platform: Platform, tables: dict[str, pd.DataFrame], *, as_of: datetime) -> Landed:
    """Test and land what became known since the last time, table by table.

    Raises:
        DataRefused: A batch failed a test of severity stop; its table stays as
            it was, and the other tables are landed.
    """
    pending = platform.landing.pending(tables, as_of=as_of).values()
    reports = [report for batch in pending for report in _land(platform, Arrived(batch=batch))]
    waiting = repeated = 0
    for table in platform.spec.source.by_input:
        with arrivals(platform.spec, platform.landing, table, folder=platform.landing_folder, as_of=as_of) as arriving:
            if arriving is not None:
                reports += _land_input(platform, arriving)
                waiting, repeated = waiting + arriving.waiting, repeated + arriving.repeated
    stopped = [report for report in reports if not report.passed]
    if stopped:
        raise DataRefused(
            what=f"{listed(report.table for report in stopped)} stopped by data tests",
            why=listed(_first(report) for report in stopped),
            fix=f"open {platform.data_tests.build_docs()}, mend the source and ingest again",
        )
    return Landed(as_of=as_of, reports=tuple(reports), waiting=waiting, repeated=repeated)


def _land_input(platform: Platform, arriving: Arrivals) -> list[DataReport]:
    """Land an input's batches in order of known time, up to the first that is stopped."""
    reports: list[DataReport] = []
    for arrived in arriving.batches():
        found = _land(platform, arrived, note=arriving.note)
        reports += found
        if not all(report.passed for report in found):
            return reports
    arriving.finish()
    return reports


def _land(platform: Platform, arrived: Arrived, *, note: Callable[[Batch], None] | None = None) -> list[DataReport]:
    """Test one batch and land it, unless it is stopped; `note` is told before the watermark moves."""
    batch = arrived.batch
    back = platform.data_tests.looks_back(batch.table)
    if batch.rows.empty and arrived.bad is None and back is None:
        # Nothing to test; the watermark still moves.
        platform.landing.land(batch, _with_released(platform, batch, batch.rows))
        return []
    tested = platform.data_tests.check(
        batch.table,
        batch.rows,
        batch=_named(batch),
        before=_before(platform, batch, back),
        since=batch.since,
        until=batch.until,
    )
    checked = with_unreadable(tested, arrived.bad, platform.spec.source.tables[batch.table])
    if checked.report.passed:
        platform.landing.quarantine(batch, checked.bad)
        if note is not None:
            note(batch)
        platform.landing.land(batch, _with_released(platform, batch, checked.good))
    return [checked.report]


def _with_released(platform: Platform, batch: Batch, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that somebody released from quarantine: they have been judged already."""
    import pandas as pd

    released = platform.quarantine.released(batch)
    if released.empty:
        return rows
    return released if rows.empty else pd.concat([rows, released], ignore_index=True)


def _before(platform: Platform, batch: Batch, back: timedelta | None) -> pd.DataFrame | None:
    """Give the landed rows that a batch's days are compared with."""
    if back is None or batch.since is None:
        return None
    landed = platform.landing.read(batch.table, as_of=batch.since)
    if landed.empty:
        return None
    return landed[landed[platform.spec.source.tables[batch.table].known_time] >= batch.since - back]


def _named(batch: Batch) -> str:
    since = f"{batch.since:%Y-%m-%d} to " if batch.since else "until "
    return f"{since}{batch.until:%Y-%m-%d}"


def _first(report: DataReport) -> str:
    stops = [failure for failure in report.failures if failure.severity == "stop"]
    if not stops:
        return f"{report.table} has no expectations"
    return f"{stops[0].expectation} on {stops[0].column or report.table}: {stops[0].detail}"
