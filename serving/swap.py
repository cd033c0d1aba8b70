"""Follow the release pointer: load what it names beside what is served, then put it in place."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from baton.core.errors import BatonError, IntegrityBroken
from baton.core.release import Release
from baton.core.whole_file import replace_file
from baton.serving.give_way import give_way
from baton.serving.metrics import Metrics
from baton.serving.predictor import Predictor, load_predictor
from baton.serving.release_file import RELEASE_FILE, read_release
from baton.serving.router import Router
from baton.serving.schema_change import check_alike, check_callers
from baton.serving.service_status import REJECTED, ServiceStatus, StatusFile, now_utc
from baton.serving.traffic import Traffic

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
SWITCH_S = 0.0001
_Mark = tuple[int, int, int]
_T = TypeVar("_T")


class Champion:
    """The predictors in service, kept equal to the release pointer.

    A release that cannot be served leaves the last good one in place. It is
    said once and tried again after a growing pause, or at once when the
    pointer changes. Where only its challenger cannot be served, its champion
    is, and has all the traffic.
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
        # One thread for all loads: each thread that has ever loaded a model keeps memory of its own.
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="swap", initializer=give_way)
        self._status = StatusFile(folder)
        self.traffic = Traffic(folder)
        self.router: Router | None = None
        self.current: Predictor | None = None
        # Stands in for the champion where it fails; loaded once callers are served.
        self.previous: Predictor | None = None
        self._previous_tried: Release | None = None
        self._replaced: Predictor | None = None
        self.failure: BatonError | None = None

    async def follow(self, *, poll_seconds: float) -> None:
        """Look at the pointer for ever, and leave the counts of a rollout behind."""
        self._status.clear_others(now_utc())
        try:
            while True:
                await asyncio.sleep(poll_seconds)
                await self.look()
                await self._keep_previous()
                self._status.touch()
                await self._leave_counts()
        finally:
            self._loader.shutdown(wait=False)
            self._status.remove()
            _leave(self.traffic.content())

    async def look(self) -> None:
        """Take the pointer's release into service if it is new and can be served."""
        mark = self._mark()
        if mark == self._seen and self._clock() < self._retry_at:
            return
        if mark != self._seen:
            self._backoff_s = FIRST_BACKOFF_S
        self._seen = mark
        usual = sys.getswitchinterval()
        # While a model is loaded beside the event loop, the loop has the interpreter back ten times as soon.
        sys.setswitchinterval(SWITCH_S)
        try:
            router, refusal = await self._aside(self._load)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the last good one stays
            await self._fail(error)
            return
        finally:
            sys.setswitchinterval(usual)
        if router is not None:
            self._put_in_place(router)
        if refusal is not None:
            await self._fail(refusal)
            return
        self._retry_at, self.failure, self._said = float("inf"), None, ""
        if router is not None:
            await self._aside(self._tell)

    async def _aside(self, work: Callable[[], _T]) -> _T:
        """Do what takes time, such as loading or a disk's sync, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, work)

    def _put_in_place(self, router: Router) -> None:
        before = self.current
        if before is not None and before.bundle.digest == router.release.previous:
            # It is loaded already, and stands in from now on.
            self._replaced = before
        # One assignment each: a batch that has started keeps the predictor it started with.
        self.router, self.current = router, router.champion
        self.traffic.follow(router.release)
        if before is not router.champion:
            self._metrics.swapped(router.champion)
        log.info("champion_swapped", extra=_facts(router.release))

    def _mark(self) -> _Mark | None:
        try:
            facts = (self._folder / RELEASE_FILE).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino, facts.st_size

    def _load(self) -> tuple[Router | None, Exception | None]:
        """Give the arms of the release where they are new, and why its challenger is not among them."""
        release, served = read_release(self._folder), self.router
        if release is None:
            return None, None
        whole = release.challenger is None or (served is not None and served.challenger is not None)
        if served and served.release == release and whole:
            return None, None
        self._check(release)
        champion = self._predictor(release)
        if served is not None:
            check_callers(served.champion.bundle, champion.bundle)
        if release.challenger is None:
            return Router(release, champion), None
        try:
            challenger = self._predictor(release.served_by_challenger)
            check_alike(champion.bundle, challenger.bundle)
        except Exception as error:  # noqa: BLE001 - a challenger that cannot be served takes nothing from the champion
            alone = Router(release, champion)
            return (None if served and served.release == release else alone), error
        return Router(release, champion, challenger), None

    def _predictor(self, release: Release) -> Predictor:
        """Give the predictor of a bundle: the one in service where it is the same, else loaded, checked and warmed."""
        served = (self.router.champion, self.router.challenger) if self.router else ()
        for predictor in served:
            if predictor is None or predictor.release.champion != release.champion:
                continue
            names = (predictor.release.epoch, predictor.release.version)
            if names == (release.epoch, release.version):
                return predictor
            # The same bundle in another epoch is warm already; its answers only name it otherwise.
            return _renamed(predictor, release)
        return load_predictor(self._folder, release, max_batch_rows=self._max_batch_rows)

    async def _keep_previous(self) -> None:
        """Have the previous champion at hand; without it the service is as well as before, only not as safe."""
        router = self.router
        if router is None or router.release.served_by_previous == self._previous_tried:
            return
        before, self.previous = self.previous, None
        # Tried once for each release: a bundle that is gone does not come back by being asked for.
        self._previous_tried = router.release.served_by_previous
        if router.release.previous:
            try:
                self.previous = await self._aside(partial(self._previous, router, self._replaced or before))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, nobody has asked for it yet
                log.warning("previous_unusable", extra={"reason": str(error)})
        self._replaced = None

    def _previous(self, router: Router, previous: Predictor | None) -> Predictor:
        release = router.release.served_by_previous
        if previous is None or previous.bundle.digest != release.champion:
            previous = load_predictor(self._folder, release, max_batch_rows=self._max_batch_rows)
        check_alike(router.champion.bundle, previous.bundle)
        return _renamed(previous, release)

    def _check(self, release: Release) -> None:
        if release.model != self._model:
            raise IntegrityBroken(
                what="the release is refused",
                why=f"it is of the model {release.model!r}, expected {self._model!r}",
                fix="point BATON_SERVING_FOLDER at this model's state",
            )
        if self.router is not None and release.order < self.router.release.order:
            raise IntegrityBroken(
                what="the release is refused",
                why=f"it is of epoch {release.epoch}, revision {release.revision}; epoch {self.router.release.epoch}, "
                f"revision {self.router.release.revision} is served",
                fix="roll back with baton rollback, which is a new epoch; start the service anew on a restored ledger",
            )

    async def _fail(self, error: Exception) -> None:
        self._retry_at = self._clock() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
        self._metrics.swap_failures.labels(type(error).__name__).inc()
        self.failure = error if isinstance(error, BatonError) else None
        if str(error) != self._said:
            self._said = str(error)
            log.error("swap_failed", extra={"reason": str(error)}, exc_info=None if self.failure else error)
            await self._aside(partial(self._tell, error))

    def _tell(self, error: Exception | None = None) -> None:
        """Write down what is served, and what was to be and is not."""
        router = self.router
        refused: dict[str, Any] = {}
        if error is not None:
            wanted = None
            with suppress(BatonError):
                wanted = read_release(self._folder)
            refused = {"refused": f"{REJECTED}: {error}", "refused_epoch": wanted.epoch if wanted else 0}
            if wanted is not None:
                champion_stands = router is not None and router.champion.bundle.digest == wanted.champion
                refused["refused_digest"] = wanted.challenger if champion_stands else wanted.champion
        served: dict[str, Any] = {}
        if router is not None:
            release = router.release
            served = {
                "version": release.version,
                "digest": release.champion,
                "epoch": release.epoch,
                "revision": release.revision,
                "mode": release.mode.value,
                "challenger": release.challenger or "" if router.challenger else "",
                "weight": router.weight,
            }
        state = ("degraded" if refused else "serving") if router else "waiting"
        self._status.write(ServiceStatus(pid=os.getpid(), since=now_utc(), state=state, **served | refused))

    async def _leave_counts(self) -> None:
        found = self.traffic.content()
        if found:
            await asyncio.to_thread(_leave, found)


def _renamed(predictor: Predictor, release: Release) -> Predictor:
    renamed = copy.copy(predictor)
    renamed.release = release
    return renamed


def _leave(found: list[tuple[Path, bytes]]) -> None:
    """Write counts; a full disk loses them, and serves on."""
    for path, content in found:
        with suppress(OSError):
            replace_file(path, content)


def _facts(release: Release) -> dict[str, object]:
    return {
        "version": release.version,
        "digest": release.champion,
        "epoch": release.epoch,
        "revision": release.revision,
        "mode": release.mode.value,
        "weight": release.weight,
    }
