"""The story of a run: one value with everything that its report shows, and its canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from baton.core.digest import canonical_json
from baton.core.drift_report import Level
from baton.core.verdict import Verdict, verdict_from_json


class EventKind(StrEnum):
    """What happened on the way."""

    LANDED = "landed"
    QUARANTINED = "quarantined"
    DRIFTED = "drifted"
    RETRAINED = "retrained"
    PROMOTED = "promoted"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"
    SERVED = "served"
    LOOKED_BACK = "looked back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month, answered by the retrained line of champions and by the first one, never retrained.

    `gain` is the log loss of the stale champion minus that of the retrained,
    with its interval over days; the version is the one that served longest.
    """

    label: str
    rows: int
    late_rate: float
    auc_retrained: float | None
    auc_stale: float | None
    log_loss_retrained: float | None
    log_loss_stale: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    score_psi: float | None
    version: str

    @property
    def lost(self) -> bool:
        """Whether retraining cost log loss, which is what the gate judges by."""
        return self.gain is not None and self.gain < 0

    @property
    def ranked_worse(self) -> bool:
        """Whether the stale champion ranked the month's rows better than the retrained."""
        return None not in (self.auc_retrained, self.auc_stale) and (self.auc_stale or 0) > (self.auc_retrained or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One daily look at the score of the champion that served; no PSI where there were too few rows."""

    day: date
    psi: float | None
    level: Level
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, as a line that a person reads; `figure` is its number, written out."""

    at: datetime
    kind: EventKind
    line: str
    figure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One challenger's verdict under a title."""

    title: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the service did; times are milliseconds per request, `lost` requests had no answer."""

    requests: int
    rows: int
    lost: int
    p50_ms: float | None
    p99_ms: float | None
    swaps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where to look further: an address, a file or a command."""

    title: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a step took."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A demo run from the first landing to the last verdict, in the order in which it is told.

    `stale_label` names the champion that was never retrained; `warn` and
    `alarm` are the limits of the score's PSI.
    """

    project: str
    question: str
    outcome: str
    stale_label: str
    as_of: datetime
    warn: float
    alarm: float
    months: tuple[Month, ...]
    days: tuple[Day, ...]
    verdicts: tuple[Judged, ...]
    events: tuple[Event, ...]
    service: Service | None
    links: tuple[Link, ...]
    timings: tuple[Timing, ...]


def story_to_json(story: Story) -> bytes:
    """Render the canonical JSON, the same bytes on every run."""
    return canonical_json(story)


def story_from_json(content: bytes | str) -> Story:
    """Read a story back from its canonical JSON."""
    fields = json.loads(content)
    service = fields["service"]
    read = {
        "as_of": datetime.fromisoformat(fields["as_of"]),
        "months": tuple(Month(**month) for month in fields["months"]),
        "days": tuple(_day(day) for day in fields["days"]),
        "verdicts": tuple(_judged(judged) for judged in fields["verdicts"]),
        "events": tuple(_event(event) for event in fields["events"]),
        "service": None if service is None else Service(**service),
        "links": tuple(Link(**link) for link in fields["links"]),
        "timings": tuple(Timing(**timing) for timing in fields["timings"]),
    }
    return Story(**{**fields, **read})


def _day(fields: Mapping[str, Any]) -> Day:
    return Day(**{**fields, "day": date.fromisoformat(fields["day"]), "level": Level(fields["level"])})


def _event(fields: Mapping[str, Any]) -> Event:
    return Event(**{**fields, "at": datetime.fromisoformat(fields["at"]), "kind": EventKind(fields["kind"])})


def _judged(fields: Mapping[str, Any]) -> Judged:
    return Judged(title=fields["title"], verdict=verdict_from_json(json.dumps(fields["verdict"])))
