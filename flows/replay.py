"""History replayed as it would have happened: each day served, watched, and retrained on when it must be.

The clock is an argument: a day is answered with features known at each
prediction moment, watched with labels that had arrived by its end, and a
challenger is trained on what was known then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from prefect import flow, task

from baton.compose import Platform
from baton.core.digest import finite
from baton.core.errors import DependencyDown
from baton.flows.ingest import ingest_flow
from baton.flows.retrain import DRIFT, IN_MEMORY, SCHEDULE, retrain_flow, short
from baton.flows.teller import Step
from baton.flows.traffic import Callers
from baton.flows.triggers import Claim, Trigger, Triggers
from baton.flows.watching import Watched, Watcher
from baton.monitoring.drift_text import drift_line
from baton.monitoring.story import Day, Event, EventKind, Judged
from baton.registry.verdict_text import verdict_line

if TYPE_CHECKING:
    import pandas as pd

    from baton.serving.client import PredictionClient

SWAP_SECONDS = 30.0
LOGGED_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(slots=True)
class Diary:
    """What happened during a replay, in order."""

    events: list[Event] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)
    verdicts: list[Judged] = field(default_factory=list)
    swaps: int = 0

    def note(self, at: datetime, kind: EventKind, line: str, figure: str = "") -> None:
        """Write down one event."""
        self.events.append(Event(at=at, kind=kind, line=line, figure=figure))


class Replay:
    """A project's past, lived through month by month against a running service.

    `scheduled` are the months on whose first day a challenger is trained
    without being asked for.
    """

    def __init__(
        self, platform: Platform, client: PredictionClient, *, scheduled: Collection[int] = range(1, 13)
    ) -> None:
        self.platform = platform
        self.client = client
        self.callers = Callers(client, platform.spec)
        self.watcher = Watcher(platform)
        self.diary = Diary()
        self._scheduled = scheduled
        self._told: set[str] = set()
        self._triggers = Triggers(platform.folder / "triggers.db")
        self._cooldown = timedelta(days=platform.spec.retraining.cooldown_days)
        self._project = str(platform.spec.folder)
        self._home = str(platform.settings.home.absolute())

    @property
    def zone(self) -> ZoneInfo:
        """Where a day begins."""
        return ZoneInfo(self.platform.spec.prediction.timezone)

    def midnight(self, day: date) -> datetime:
        """Give the moment at which a day begins."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone)

    def land(self, *, until: datetime) -> dict[str, Any]:
        """Land everything known before a moment."""
        landed: dict[str, Any] = ingest_flow(self._project, as_of=until.isoformat(), home=self._home)
        for failure in landed["failures"]:
            rows = "1 row" if failure["rows"] == 1 else f"{failure['rows']:,} rows"
            what = f"{failure['table']}: {rows} of {failure['column']} beyond what {failure['expectation']} allows"
            self.diary.note(until, EventKind.QUARANTINED, what, str(failure["rows"]))
        return landed

    def retrain(
        self,
        trigger: str,
        *,
        as_of: datetime,
        key: str | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Run the retraining flow, and write its verdict down."""
        outcome: dict[str, Any] = retrain_flow(
            self._project, trigger=trigger, key=key, as_of=as_of.isoformat(), home=self._home, overrides=overrides
        )
        if "version" in outcome:
            verdict = self.platform.ledger.verdict(outcome["verdict"])
            assert verdict is not None  # it is stored before its version is registered
            title = f"Version {outcome['version']}: {short(trigger)}, {as_of:%-d %B}"
            self.diary.verdicts.append(Judged(title=title, verdict=verdict))
            kind = EventKind.PROMOTED if outcome["epoch"] else EventKind.REFUSED
            self.diary.note(as_of, kind, f"{title}. {verdict_line(verdict)}")
        return outcome

    def retrain_under_fire(self, trigger: str, row: pd.DataFrame, **details: Any) -> dict[str, Any]:
        """Retrain while a caller keeps asking, until the service answers with the outcome."""
        with self.callers.probing(row):
            outcome = self.retrain(trigger, **details)
            if outcome.get("epoch"):
                self.await_epoch(int(outcome["epoch"]))
                self.diary.swaps += 1
        return outcome

    def month(self, start: date, end: date, *, parts: Step) -> pd.DataFrame:
        """Live through the days from `start` up to `end`; give the rows that were asked, with their features."""
        from baton.features.snapshot import refresh, traffic

        baton = self.platform
        until = self.midnight(end) + timedelta(hours=baton.spec.label.wait_hours)
        self.land(until=until)
        refresh(baton.spec, baton.landing, baton.definitions, baton.store, as_of=until)
        tables = baton.landing.read_all(as_of=until)
        span = {"start": self.midnight(start), "end": self.midnight(end)}
        asked = traffic(baton.spec, tables, baton.definitions, baton.store, **span)
        days = [start + timedelta(days=i) for i in range((end - start).days)]
        for day in days:
            self._day(day, asked, parts)
        return asked

    def _day(self, day: date, asked: pd.DataFrame, parts: Step) -> None:
        moments = asked["moment"]
        today = asked[(moments >= self.midnight(day)) & (moments < self.midnight(day + timedelta(days=1)))]
        if self._is_due(day):
            outcome = self.retrain_under_fire(SCHEDULE, today.head(1), as_of=self.midnight(day))
            parts.say(f"{day:%-d %B}: {_told(outcome)}")
        watched = live_day(self, day, today)
        parts.advance(f"{day:%-d %B}: {drift_line(watched.drift)}")
        self._answer(watched, day, today, parts)

    def _is_due(self, day: date) -> bool:
        """Whether a scheduled retraining falls on a day; on the first champion's own it is done already."""
        if day.day != 1 or day.month not in self._scheduled:
            return False
        head = self.platform.ledger.head(self.platform.spec.name)
        return head is not None and head.at < self.midnight(day)

    def _answer(self, watched: Watched, day: date, today: pd.DataFrame, parts: Step) -> None:
        drift = watched.event
        if drift is None:
            return
        as_of = self.midnight(day + timedelta(days=1))
        alarm = drift.reason
        if drift.key not in self._told:
            self._told.add(drift.key)
            self.diary.note(as_of, EventKind.DRIFTED, alarm, f"{drift.psi:.2f}")
            parts.say(f"{day:%-d %B}: ALARM, {alarm}")
        asked = Trigger(model=drift.model, key=drift.key, reason=DRIFT, as_of=as_of)
        # The same alarm is seen every day; most days there is nothing to start.
        if self._triggers.foresee(asked, cooldown=self._cooldown) is Claim.TAKEN:
            trigger = f"{DRIFT}: {alarm}"
            outcome = self.retrain_under_fire(trigger, today.tail(1), as_of=as_of, key=drift.key)
            parts.say(f"{day:%-d %B}: {_told(outcome)}")

    def await_epoch(self, epoch: int) -> None:
        """Wait until the service answers with a champion of this epoch or a later one."""
        limit = time.monotonic() + SWAP_SECONDS
        while self.client.describe().epoch < epoch:
            if time.monotonic() > limit:
                raise DependencyDown(
                    what=f"the service does not serve epoch {epoch}",
                    why=f"it still answers with an older champion after {SWAP_SECONDS:.0f} s",
                    fix="look at the service's log",
                )
            time.sleep(POLL_SECONDS)

    def await_log(self, *, start: datetime, end: datetime, rows: int) -> None:
        """Wait until the prediction log holds a day's answers."""
        limit = time.monotonic() + LOGGED_SECONDS
        while self.watcher.logged(start=start, end=end) < rows:
            if time.monotonic() > limit:
                raise DependencyDown(
                    what=f"the prediction log holds too few of the {rows} answers of {start:%Y-%m-%d}",
                    why=f"they did not arrive in {LOGGED_SECONDS:.0f} s",
                    fix="look at the service's log and at the disk",
                )
            time.sleep(POLL_SECONDS)


@task(name="serve and watch a day", **IN_MEMORY)
def live_day(replay: Replay, day: date, today: pd.DataFrame) -> Watched:
    """Send a day's requests, then look at the champion as of the day's end."""
    start, end = replay.midnight(day), replay.midnight(day + timedelta(days=1))
    replay.callers.send(today)
    replay.await_log(start=start, end=end, rows=len(today))
    watched = replay.watcher.look(as_of=end)
    head = replay.platform.ledger.head(replay.platform.spec.name)
    score = watched.drift.score
    replay.diary.days.append(
        Day(
            day=day,
            psi=finite(score.psi) if score else None,
            level=watched.drift.level if score is None else score.level,
            version=head.version if head else "",
        )
    )
    return watched


@flow(name="replay month", flow_run_name="{label}", validate_parameters=False)
def month_flow(replay: Replay, label: str, start: date, end: date, parts: Step) -> pd.DataFrame:  # noqa: ARG001 - names the run
    """Replay one month."""
    return replay.month(start, end, parts=parts)


def _told(outcome: Mapping[str, Any]) -> str:
    if "version" not in outcome:
        return f"no retraining, {outcome['claim']}"
    verb = "promoted" if outcome["epoch"] else "held back"
    return f"version {outcome['version']} {verb}: {outcome['reason']}"
