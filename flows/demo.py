"""The story of a year, told on the flights of 2013 and the real parts: nothing is mocked and nothing is left out.

    land -> first champion -> a challenger refused -> months served and watched
         -> alarm -> retraining -> promotion -> swap -> stale and retrained side by side

Each run tells the story anew. What is named by its content (landed days,
snapshots, trained models) is kept and found again, so a second run, or one
after a kill, is quicker and ends the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from datetime import date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from baton.compose import platform
from baton.flows import landing_run
from baton.flows.demo_folder import begin_anew, only_one
from baton.flows.demo_report import publish
from baton.flows.replay import Replay, month_flow
from baton.flows.side_by_side import month_beside, refused_beside
from baton.flows.teller import Step, Teller
from baton.monitoring.story import EventKind, Month, Story, Timing
from baton.packaging.reader import open_contents

if TYPE_CHECKING:
    import pandas as pd

    from baton.packaging.reader import Contents

PROJECT = Path(__file__).resolve().parents[1] / "examples" / "flights"
YEAR = 2013
FIRST_MONTH = 4
# In the fast telling the first champion serves the month in which its score drifts most.
FAST_MONTH = 9
SHORT_MEMORY_DAYS = 7
# Besides these months' first days, a retraining is what drift asks for. The
# challenger of November is one that fresh data makes worse.
SCHEDULED = (7, 11)
# The prediction log is read back every day of the replay, so it is written at once.
LOG_SECONDS = 0.05
EVIDENTLY = "baton.monitoring.evidently_metrics"


class Demo:
    """One telling of the story."""

    def __init__(self, home: Path, teller: Teller, *, fast: bool = False, port: int | None = None) -> None:
        self.platform = platform(PROJECT, home=home)
        self._teller = teller
        self._months = [FAST_MONTH] if fast else list(range(FIRST_MONTH, 13))
        # The fast telling is about the alarm alone.
        self._scheduled = () if fast else SCHEDULED
        self._port = port or self.platform.spec.serving.port
        self._told: list[Month] = []
        self._timings: list[Timing] = []

    def tell(self) -> Story:
        """Tell it all and write the reports.

        Raises:
            PortTaken: Another program listens on the service's port.
            Conflict: Another demo is under way in the same home.
        """
        folder = self.platform.folder
        with only_one(folder), ExitStack() as at_the_end:
            begin_anew(folder)
            replay = self._start(at_the_end)
            self._first_champion(replay)
            self._refusal(replay)
            stale = self._champion()
            # The last step's Evidently takes seconds to import, and the days leave a core idle.
            threading.Thread(target=import_module, args=(EVIDENTLY,), daemon=True).start()
            for month in self._months:
                self._month(replay, stale, month)
            with self._step("Reports") as step:
                return publish(replay, months=self._told, timings=self._timings, step=step)

    def _start(self, at_the_end: ExitStack) -> Replay:
        """Start the service without a champion, so that a taken port is known at once."""
        from baton.flows.prefect_server import in_process, warm_up
        from baton.serving.client import PredictionClient
        from baton.serving.process import start

        spec = self.platform.spec
        with self._step("Service") as step:
            at_the_end.enter_context(in_process())
            # Prefect's server takes seconds to start; meanwhile the other parts get ready.
            warm = threading.Thread(target=copy_context().run, args=(warm_up,))
            warm.start()
            limits = {"max_wait_ms": spec.serving.max_wait_ms, "log_seconds": LOG_SECONDS, "poll_seconds": 0.1}
            service = start(self.platform.folder, model=spec.name, port=self._port, limits=limits)
            at_the_end.callback(service.stop)
            client = at_the_end.enter_context(PredictionClient(service.url, model=spec.name))
            self.platform.registry.prepare()
            landing_run.read(self.platform)
            self.platform.data_tests.prepare()
            warm.join()
            step.done(f"{service.url} is up, and waits for a champion")
        return Replay(self.platform, client, scheduled=self._scheduled)

    def _first_champion(self, replay: Replay) -> None:
        as_of = replay.midnight(date(YEAR, FIRST_MONTH, 1))
        with self._step("Landing") as step:
            landed = replay.land(until=as_of)
            rows = sum(len(table) for table in self.platform.landing.read_all(as_of=as_of).values())
            new = "" if landed["rows"] else ", landed before"
            step.done(f"{rows:,} rows of January to March{new}; {self._set_aside()}")
            replay.diary.note(as_of, EventKind.LANDED, "January to March landed, day by day", f"{rows:,} rows")
        with self._step("First champion") as step:
            outcome = replay.retrain("first champion", as_of=as_of)
            replay.await_epoch(outcome["epoch"])
            step.done(f"version {outcome['version']} {outcome['decision']}: {outcome['reason']}")

    def _set_aside(self) -> str:
        """Say which rows have been set aside so far, and why."""
        bad = {name: self.platform.landing.quarantined(name) for name in self.platform.spec.source.tables}
        told = [f"{len(rows)} of {name} set aside: {rows['reason'].iloc[0]}" for name, rows in bad.items() if len(rows)]
        return "; ".join(told) or "none set aside"

    def _refusal(self, replay: Replay) -> None:
        """Offer a challenger with a short memory; the gate refuses it."""
        as_of = replay.midnight(date(YEAR, FIRST_MONTH, 1))
        with self._step("A challenger with a short memory") as step:
            overrides = {"training": {"window_days": SHORT_MEMORY_DAYS}}
            outcome = replay.retrain(f"{SHORT_MEMORY_DAYS} days of memory", as_of=as_of, overrides=overrides)
            step.done(f"version {outcome['version']} {outcome['decision']}: {outcome['reason']}")

    def _month(self, replay: Replay, stale: Contents, month: int) -> None:
        start = date(YEAR, month, 1)
        end = date(YEAR + month // 12, month % 12 + 1, 1)
        days = (end - start).days
        with self._step(f"{start:%B}", parts=days) as step:
            asked = month_flow(replay, f"{start:%B %Y}", start, end, step)
            answered = replay.watcher.answered(start=replay.midnight(start), end=replay.midnight(end))
            told = self._beside(replay, stale, asked, answered, start=start, end=end)
            self._told.append(told)
            self._look_back(replay, asked, answered, start=start, end=end, step=step)
            step.done(
                f"{told.rows:,} flights by version {told.version}: AUC {told.auc_retrained:.3f}, "
                f"{told.auc_stale:.3f} never retrained; score PSI {told.score_psi or 0:.2f}"
            )

    def _beside(
        self, replay: Replay, stale: Contents, asked: pd.DataFrame, answered: pd.DataFrame, *, start: date, end: date
    ) -> Month:
        return month_beside(
            self.platform,
            stale,
            asked,
            answered,
            label=f"{start:%b}",
            as_of=self._labelled(replay, end),
            psi=replay.diary.days[-1].psi,
        )

    def _look_back(
        self, replay: Replay, asked: pd.DataFrame, answered: pd.DataFrame, *, start: date, end: date, step: Step
    ) -> None:
        """Say what the challenger that was refused on the month's first day would have answered."""
        first = replay.midnight(start)
        for judged in replay.diary.verdicts:
            verdict = judged.verdict
            # The recipe of April's refusal is not the month's.
            if verdict.judged_at != first or verdict.promotes or verdict.intent != "refresh":
                continue
            refused = open_contents(self.platform.bundles / verdict.challenger)
            had, served = refused_beside(self.platform, refused, asked, answered, as_of=self._labelled(replay, end))
            line = f"in hindsight: held back on {start:%-d %B}, the challenger has AUC {had:.3f}; served {served:.3f}"
            step.say(line)
            replay.diary.note(replay.midnight(end), EventKind.LOOKED_BACK, line, f"{had - served:+.3f}")

    def _labelled(self, replay: Replay, end: date) -> datetime:
        return replay.midnight(end) + timedelta(hours=self.platform.spec.label.wait_hours)

    def _champion(self) -> Contents:
        head = self.platform.ledger.head(self.platform.spec.name)
        assert head is not None  # the first champion was promoted, or the telling ended
        return open_contents(self.platform.bundles / head.digest)

    @contextmanager
    def _step(self, title: str, *, parts: int = 1) -> Iterator[Step]:
        begun = time.perf_counter()
        with self._teller.step(title, parts=parts) as step:
            yield step
        self._timings.append(Timing(step=title, seconds=round(time.perf_counter() - begun, 2)))
