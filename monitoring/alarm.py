"""When drift is worth a retraining: an alarm that lasts becomes one event.

The alarm is the score's, and the score's alone. On the flights of 2013 the
first champion's score, in windows of 28 days, stays under 0.1 for three months
and passes 0.25 for ten days in July and for eleven weeks from 20 September.
"Any feature over its limit" fires in each of the nine months and "three
features" on 50 days in a row from 2 July, since weather drifts with every
season and the model has seen that coming. Features are the explanation of an
event, not its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from baton.core.digest import digest_of
from baton.core.drift_report import DriftReport, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """A lasting alarm of one champion: the evidence on which a retraining may start.

    `since` is the first day (UTC) of the unbroken run of alarms, `at` the end
    of the newest window, `fired` what passed its limit there: the score first,
    then the features by distance.
    """

    model: str
    digest: str
    since: date
    at: datetime
    days: int
    psi: float
    limit: float
    fired: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same for the same alarm however often it is looked at, so that it starts one retraining."""
        return digest_of({"model": self.model, "champion": self.digest, "since": self.since})


def persists(reports: Sequence[DriftReport], *, days: int) -> bool:
    """Say whether the newest `days` daily reports all alarmed on the score.

    Args:
        reports: Daily reports in any order; of two for one day the later given counts.
        days: Length of the run. A missing day, a day with too few rows and a
            change of champion each break it.
    """
    return len(_run(reports)) >= days


def event(reports: Sequence[DriftReport], *, days: int) -> DriftEvent | None:
    """Give the event of a lasting alarm, or None where there is none.

    Args:
        reports: All daily reports of the champion since its promotion; with
            older ones cut off, a long alarm would seem to begin anew.
        days: See `persists`.
    """
    run = _run(reports)
    if len(run) < days or not run:
        return None
    newest = run[-1]
    score = newest.score
    assert score is not None  # an alarm on the score has one
    features = sorted((c for c in newest.columns if c.level is Level.ALARM), key=lambda c: -c.psi)
    return DriftEvent(
        model=newest.model,
        digest=newest.digest,
        since=_day(run[0]),
        at=newest.end,
        days=len(run),
        psi=score.psi,
        limit=score.limit,
        fired=(score.name, *(column.name for column in features)),
    )


def alarms(report: DriftReport) -> bool:
    """Say whether one report alarms on the score."""
    return report.score is not None and report.score.level is Level.ALARM


def _run(reports: Sequence[DriftReport]) -> list[DriftReport]:
    """Give the unbroken run of alarms that ends with the newest report, oldest first."""
    by_day = {_day(report): report for report in reports}
    run: list[DriftReport] = []
    for day in sorted(by_day, reverse=True):
        report = by_day[day]
        follows = not run or (_day(run[0]).toordinal() - day.toordinal() == 1 and run[0].digest == report.digest)
        if not (follows and alarms(report)):
            break
        run.insert(0, report)
    return run


def _day(report: DriftReport) -> date:
    return report.end.astimezone(timezone.utc).date()
