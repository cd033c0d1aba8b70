"""Follow the release pointer: load what it names beside what is served, then put it in place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from baton.core.errors import BatonError, IntegrityBroken
from baton.core.release import Release
from baton.serving.metrics import Metrics
from baton.serving.predictor import Predictor, load_predictor
from baton.serving.release_file import RELEASE_FILE, read_release

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
_Mark = tuple[int, int, int]


class Champion:
    """The predictor in service, kept equal to the release pointer.

    A release that cannot be served leaves the last good one in place. It is
    said once and tried again after a growing pause, or at once when the
    pointer changes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str,
        max_batch_rows: int,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._model = model
        self._max_batch_rows = max_batch_rows
        self._metrics = metrics
        self._clock = clock
        self._seen: _Mark | None = None
        self._retry_at = float("inf")
        self._backoff_s = FIRST_BACKOFF_S
        self._said = ""
        self.current: Predictor | None = None
        self.failure: BatonError | None = None

    async def follow(self, *, poll_seconds: float) -> None:
        """Look at the pointer for ever."""
        while True:
            await asyncio.sleep(poll_seconds)
            await self.look()

    async def look(self) -> None:
        """Take the pointer's release into service if it is new and can be served."""
        mark = self._mark()
        if mark == self._seen and self._clock() < self._retry_at:
            return
        if mark != self._seen:
            self._backoff_s = FIRST_BACKOFF_S
        self._seen = mark
        try:
            predictor = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the last good one stays
            self._fail(error)
            return
        self._retry_at, self.failure, self._said = float("inf"), None, ""
        if predictor is not None:
            # One assignment: a batch that has started keeps the predictor it started with.
            self.current = predictor
            self._metrics.swapped(predictor)
            log.info("champion_swapped", extra=_facts(predictor.release))

    def _mark(self) -> _Mark | None:
        try:
            facts = (self._folder / RELEASE_FILE).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino, facts.st_size

    def _load(self) -> Predictor | None:
        release = read_release(self._folder)
        if release is None or (self.current and self.current.release == release):
            return None
        if release.model != self._model:
            raise IntegrityBroken(
                what="the release is refused",
                why=f"it is of the model {release.model!r}, expected {self._model!r}",
                fix="point BATON_SERVING_FOLDER at this model's state",
            )
        return load_predictor(self._folder, release, max_batch_rows=self._max_batch_rows)

    def _fail(self, error: Exception) -> None:
        self._retry_at = self._clock() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
        self._metrics.swap_failures.labels(type(error).__name__).inc()
        self.failure = error if isinstance(error, BatonError) else None
        if str(error) != self._said:
            self._said = str(error)
            log.error("swap_failed", extra={"reason": str(error)}, exc_info=None if self.failure else error)


def _facts(release: Release) -> dict[str, object]:
    return {"version": release.version, "digest": release.champion, "epoch": release.epoch}
