"""One look at the champion: what it was asked lately, beside what it learnt from, and how right it was.

The window holds the newest served rows, whichever version answered them. Rows
that an earlier champion answered are scored again by the present one, from the
features in the log, so that a new champion is watched from its first day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.errors import EmptyWindow
from baton.flows.sealed_model import score

if TYPE_CHECKING:
    import pandas as pd

    from baton.compose import Platform
    from baton.core.drift_report import DriftReport, Estimate, PerformanceReport
    from baton.core.profile import Profile
    from baton.monitoring.alarm import DriftEvent
    from baton.packaging.reader import Contents

MONTH = timedelta(days=31)
# Labels that take longer than this part of a window are known from windows before it.
SLOW_LABELS = 0.25
HISTORY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one look found, each on its own; `event` is there when drift has lasted long enough to retrain."""

    drift: DriftReport
    performance: PerformanceReport
    estimate: Estimate
    event: DriftEvent | None


class Watcher:
    """Looks at a project's champion day after day, remembering what it has read and scored."""

    def __init__(self, platform: Platform) -> None:
        from baton.monitoring.drift_history import DriftHistory
        from baton.monitoring.prediction_window import PredictionLog

        self._platform = platform
        self._log = PredictionLog(platform.predictions)
        self._history = DriftHistory(platform.folder / "drift.jsonl")
        self._champion: tuple[Contents, Profile] | None = None
        self._again: dict[str, Any] = {}

    def look(self, *, as_of: datetime) -> Watched:
        """Judge the window that ends at `as_of`, and remember the report.

        Raises:
            EmptyWindow: There is no champion yet.
        """
        from baton.monitoring.alarm import event
        from baton.monitoring.drift import judge
        from baton.monitoring.performance import measure
        from baton.serving.feedback_store import read_labels

        spec = self._platform.spec
        champion, profile = self._in_force()
        digest = champion.bundle.digest
        start = as_of - timedelta(days=spec.drift.window_days)
        before = self._history_start(start)
        rows = self._scored(self._log.read(start=before, end=as_of), champion)
        window = rows[rows["moment"] >= start]
        # The next look begins later, but a day's or a month's rows may be asked for.
        self._log.forget(before=min(before, as_of - MONTH))
        zone = spec.prediction.timezone
        drift = judge(window, profile, spec.drift, model=spec.name, digest=digest, start=start, end=as_of, zone=zone)
        labels = self._labels(since=before, as_of=as_of)
        performance = measure(
            rows,
            labels,
            key=spec.prediction.id,
            label=spec.label.column,
            as_of=as_of,
            model=spec.name,
            digest=digest,
            start=start,
            end=as_of,
            task=spec.task,
            classes=spec.label.classes,
            quantile=spec.gate.quantile,
            told=read_labels(self._platform.folder, as_of=as_of).to_pandas(),
        )
        self._history.add(drift)
        reports = self._history.of(digest)
        estimate = self._estimate(window, profile, drift, performance)
        return Watched(drift=drift, performance=performance, estimate=estimate, event=event(reports, spec.drift))

    def _estimate(
        self, window: pd.DataFrame, profile: Profile, drift: DriftReport, performance: PerformanceReport
    ) -> Estimate:
        """Estimate how good the window's answers are likely to be, whether or not labels have come."""
        from baton.core.profile import SCORE
        from baton.monitoring.estimate import judged

        zone = self._platform.spec.prediction.timezone
        days = window["moment"].dt.tz_convert(zone).dt.tz_localize(None).to_numpy().astype("datetime64[D]")
        scores = window[SCORE].to_numpy(dtype=np.float64) if SCORE in window else np.zeros(0)
        return judged(scores, days, profile.outlook, drift=drift, realised=performance)

    def _history_start(self, start: datetime) -> datetime:
        """Give the first moment that is read: earlier where labels take long, so that it is known how long."""
        spec = self._platform.spec
        slow = spec.label.wait_hours > SLOW_LABELS * 24 * spec.drift.window_days
        return start - HISTORY * timedelta(days=spec.drift.window_days) if slow else start

    def _labels(self, *, since: datetime, as_of: datetime) -> pd.DataFrame:
        """Give the labels that can belong to predictions since a moment: none is known before it is predicted."""
        spec = self._platform.spec
        labels = self._platform.landing.read(spec.label.table, as_of=as_of)
        return labels[labels[spec.source.tables[spec.label.table].known_time] >= since]

    def window(self, *, as_of: datetime) -> pd.DataFrame:
        """Give the served rows of the window that ends at `as_of`, scored by the champion."""
        champion, _ = self._in_force()
        start = as_of - timedelta(days=self._platform.spec.drift.window_days)
        return self._scored(self._log.read(start=start, end=as_of), champion)

    def answered(self, *, start: datetime, end: datetime) -> pd.DataFrame:
        """Give the log's rows for moments of a span, each with the score that was answered."""
        return self._log.read(start=start, end=end)

    def newest(self) -> DriftReport:
        """Give the newest report.

        Raises:
            EmptyWindow: Nobody has looked yet.
        """
        reports = self._history.all()
        if not reports:
            raise EmptyWindow(what="no drift report", why="nobody has looked yet", fix="run baton watch first")
        return reports[-1]

    def champion(self) -> Contents:
        """Give the champion's bundle."""
        return self._in_force()[0]

    def logged(self, *, start: datetime, end: datetime) -> int:
        """Count the answers in the log for moments of a span."""
        return self._log.count(start=start, end=end)

    def _in_force(self) -> tuple[Contents, Profile]:
        from baton.core.profile import profile_from_json
        from baton.packaging.manifest import PROFILE
        from baton.packaging.reader import open_contents

        head = self._platform.ledger.head(self._platform.spec.name)
        if head is None:
            raise EmptyWindow(what="nothing to watch", why="there is no champion yet", fix="run baton train first")
        if self._champion is None or self._champion[0].bundle.digest != head.digest:
            champion = open_contents(self._platform.bundles / head.digest)
            self._champion = (champion, profile_from_json(champion.files[PROFILE]))
            self._again = {}
        return self._champion

    def _scored(self, window: pd.DataFrame, champion: Contents) -> pd.DataFrame:
        """Give the window with every score the champion's own."""
        from baton.monitoring.prediction_window import answers_of, features_of, with_answers

        classes = champion.bundle.classes
        foreign = (window["digest"] != champion.bundle.digest).to_numpy()
        others = window[foreign]
        fresh = others[~others["id"].isin(self._again.keys())]
        if len(fresh):
            self._again.update(zip(fresh["id"], score(champion, features_of(fresh)), strict=True))
        if not foreign.any():
            return window
        answers = answers_of(window, classes=classes).copy()
        answers[foreign] = np.stack([self._again[i] for i in others["id"]])
        return with_answers(window, answers, classes=classes)
