"""When drift is worth a retraining: an alarm that lasts becomes one event.

Whose alarm counts is the project's to say. With calibrated limits a false
alarm of any column is rare, and any may ask. Where the year has seasons that
the reference has not seen, only the score's should: on the flights of 2013 the
first champion's score, in windows of 28 days, passes a PSI of 0.25 for ten
days in July and for eleven weeks from 20 September, while features move in
each of the nine months, as the weather does. Then features are the explanation
of an event, not its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from baton.core.digest import digest_of
from baton.core.drift_report import DriftReport, Level
from baton.core.policy import DriftSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """A lasting alarm of one champion: the evidence on which a retraining may start.

    `since` is the first day (UTC) of the run of alarms, `at` the end of the
    newest window, `fired` what passed its limit there: the score first, then
    the features by distance. `psi` and `limit` are those of the first of them.
    """

    model: str
    digest: str
    since: date
    at: datetime
    days: int
    psi: float
    limit: float
    why: str
    fired: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Say in a few words what fired."""
        days = "1 day" if self.days == 1 else f"{self.days} days"
        more = f", and {len(self.fired) - 1} more" if len(self.fired) > 1 else ""
        # A share that has grown may be clear long before the whole distribution is.
        how = f" PSI {self.psi:.2f} over {self.limit:.2f}" if self.psi >= self.limit else f": {self.why}"
        return f"{self.fired[0]}{how} for {days}{more}"

    @property
    def key(self) -> str:
        """The same for the same alarm however often it is looked at, so that it starts one retraining."""
        return digest_of({"model": self.model, "champion": self.digest, "since": self.since})


def persists(reports: Sequence[DriftReport], policy: DriftSpec) -> bool:
    """Say whether the newest daily report alarmed, and enough of those just before it.

    Args:
        reports: Daily reports in any order; of two for one day the later given counts.
        policy: How many of how many days, and whose alarm counts. A missing
            day and a day with too few rows are days without one, and a new
            champion begins anew.
    """
    run = _run(reports, policy)
    if not run:
        return False
    newest = _day(run[-1]).toordinal()
    return sum(newest - _day(report).toordinal() < policy.persistence_of for report in run) >= policy.persistence_days


def event(reports: Sequence[DriftReport], policy: DriftSpec) -> DriftEvent | None:
    """Give the event of a lasting alarm, or None where there is none.

    Args:
        reports: All daily reports of the champion since its promotion; with
            older ones cut off, a long alarm would seem to begin anew.
        policy: See `persists`.
    """
    if not persists(reports, policy):
        return None
    run = _run(reports, policy)
    newest = run[-1]
    return DriftEvent(
        model=newest.model,
        digest=newest.digest,
        since=_day(run[0]),
        at=newest.end,
        days=(_day(newest) - _day(run[0])).days + 1,
        psi=newest.moved[0].psi,
        limit=newest.moved[0].limit,
        why=newest.moved[0].why,
        fired=tuple(column.name for column in newest.moved),
    )


def alarms(report: DriftReport, policy: DriftSpec) -> bool:
    """Say whether one report alarms on what the project retrains on."""
    if policy.retrain_on == "any":
        return report.drifted
    return report.score is not None and report.score.level is Level.ALARM


def _run(reports: Sequence[DriftReport], policy: DriftSpec) -> list[DriftReport]:
    """Give the alarms that end with the newest report, oldest first, with no longer gap than the policy lets pass."""
    by_day = {_day(report): report for report in reports}
    gap = policy.persistence_of - policy.persistence_days + 1
    run: list[DriftReport] = []
    for day in sorted(by_day, reverse=True):
        report = by_day[day]
        if run and ((_day(run[0]) - day).days > gap or run[0].digest != report.digest):
            break
        if alarms(report, policy):
            run.insert(0, report)
        elif not run:
            break
    return run


def _day(report: DriftReport) -> date:
    return report.end.astimezone(timezone.utc).date()
