"""Score the rows of concurrent requests together.

Requests that arrive while a batch is computed form the next one, so batches
grow with the load by themselves. Waiting for more pays only where another
request is expected before the computing that it would share: a lone caller
never waits. Time is the monotonic clock; a step of the wall clock means
nothing here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import DependencyDown
from baton.packaging.rows import Rows, stack
from baton.serving.predictor import Predictor

# Weight of the newest measurement in the running means.
NEWEST = 0.2
# Event loops sleep in whole milliseconds; a shorter wait would be a longer one.
SHORTEST_WAIT_MS = 1.0
# Handing a batch to the thread and back costs two switches, which is more than
# a small model takes; a batch expected to be quicker than this is computed in place.
INLINE_MS = 1.0
# Batches that may wait before new work is turned away.
QUEUED_BATCHES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one request's rows and where its time went, in milliseconds.

    `scores` has the shape `(rows,)`, of several classes `(rows, classes)`.

    `queue_ms` passed while earlier batches were computed, `batch_ms` while
    others could still join, `compute_ms` in the model; `batch_rows` shared it.
    """

    scores: NDArray[np.float64]
    queue_ms: float
    batch_ms: float
    compute_ms: float
    batch_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    predictor: Predictor
    rows: Rows
    answer: asyncio.Future[Scored]
    arrived: float


class Batcher:
    """One queue, one batch at a time, in a worker thread unless it is quick enough not to be worth the switch.

    Work whose caller has gone (its `score` was cancelled) is dropped before it
    is computed. Where a batch fails, its requests are scored one by one, so
    that only those fail that cannot be scored.
    """

    def __init__(
        self, *, max_batch_rows: int, max_wait_ms: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._most = max_batch_rows
        self._max_wait_ms = max_wait_ms
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._queued_rows = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._loop_task: asyncio.Task[None] | None = None
        self._last_arrival = float("-inf")
        self._gap_ms = float("inf")
        # Nothing is known yet: the first batch is computed in the worker thread, and nobody waits for it.
        self._compute_ms = float("inf")
        self._row_ms = float("inf")

    def start(self) -> None:
        """Start to take work; needs a running event loop."""
        self._loop_task = asyncio.get_running_loop().create_task(self._serve())

    async def stop(self) -> None:
        """Finish what is queued, then stop."""
        await self._idle.wait()
        if self._loop_task:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        self._worker.shutdown(wait=True)

    async def score(self, predictor: Predictor, rows: Rows) -> Scored:
        """Score one request's rows with the predictor that they were checked for.

        Raises:
            DependencyDown: Too much is queued already.
        """
        if self._queued_rows >= self._most * QUEUED_BATCHES:
            raise DependencyDown(
                what="the service is overloaded", why=f"{self._queued_rows} rows are queued", fix="try again later"
            )
        now = self._clock()
        self._measure_gap(now)
        job = _Job(predictor=predictor, rows=rows, answer=asyncio.get_running_loop().create_future(), arrived=now)
        self._jobs.append(job)
        self._queued_rows += len(rows)
        self._arrived.set()
        self._idle.clear()
        return await job.answer

    def patience_ms(self) -> float:
        """How long a batch stays open for others: as long as computing takes, where another is expected within."""
        if math.isinf(self._compute_ms):
            return 0.0
        window = min(self._max_wait_ms, self._compute_ms)
        return window if window >= SHORTEST_WAIT_MS and self._gap_ms <= window else 0.0

    async def _serve(self) -> None:
        while True:
            if not self._jobs:
                self._arrived.clear()
                self._idle.set()
                await self._arrived.wait()
            opened = self._clock()
            await self._wait_for_others(opened)
            batch = self._take()
            if batch:
                await self._compute(batch, opened)

    async def _wait_for_others(self, opened: float) -> None:
        # One turn of the loop lets every request in that has already been received.
        await asyncio.sleep(0)
        closes = opened + self.patience_ms() / 1e3
        while self._queued_rows < self._most and (left := closes - self._clock()) > 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrived.wait()

    def _take(self) -> list[_Job]:
        """Take the oldest jobs of one predictor, up to a batch; a larger job is a batch of its own."""
        batch: list[_Job] = []
        rows = 0
        while self._jobs:
            job = self._jobs[0]
            if batch and (rows + len(job.rows) > self._most or job.predictor is not batch[0].predictor):
                break
            self._jobs.popleft()
            self._queued_rows -= len(job.rows)
            if not job.answer.done():
                batch.append(job)
                rows += len(job.rows)
        return batch

    async def _compute(self, batch: Sequence[_Job], opened: float) -> None:
        taken = self._clock()
        parts = [job.rows for job in batch]
        rows = sum(map(len, parts))
        if self._row_ms * rows < INLINE_MS:
            results, computed_ms = self._score_all(batch[0].predictor, parts)
        else:
            loop = asyncio.get_running_loop()
            results, computed_ms = await loop.run_in_executor(self._worker, self._score_all, batch[0].predictor, parts)
        self._compute_ms = _mean(self._compute_ms, computed_ms)
        self._row_ms = _mean(self._row_ms, computed_ms / rows)
        for job, result in zip(batch, results, strict=True):
            if job.answer.done():
                continue
            if isinstance(result, Exception):
                job.answer.set_exception(result)
                continue
            joined = max(opened, job.arrived)
            job.answer.set_result(
                Scored(
                    scores=result,
                    queue_ms=(joined - job.arrived) * 1e3,
                    batch_ms=(taken - joined) * 1e3,
                    compute_ms=computed_ms,
                    batch_rows=rows,
                )
            )

    def _score_all(
        self, predictor: Predictor, parts: Sequence[Rows]
    ) -> tuple[list[NDArray[np.float64] | Exception], float]:
        started = self._clock()
        results: list[NDArray[np.float64] | Exception]
        try:
            scores = predictor.score(stack(parts))
            ends = np.cumsum([len(part) for part in parts])[:-1]
            results = list(np.split(scores, ends))
        except Exception:  # noqa: BLE001 - whatever fails a batch must not fail its neighbours
            results = [_score_alone(predictor, part) for part in parts]
        return results, (self._clock() - started) * 1e3

    def _measure_gap(self, now: float) -> None:
        gap = (now - self._last_arrival) * 1e3
        self._last_arrival = now
        self._gap_ms = _mean(self._gap_ms, gap)


def _mean(mean: float, newest: float) -> float:
    """Move a running mean; the first measurement is the mean."""
    return newest if math.isinf(mean) else mean + NEWEST * (newest - mean)


def _score_alone(predictor: Predictor, rows: Rows) -> NDArray[np.float64] | Exception:
    try:
        return predictor.score(rows)
    except Exception as error:  # noqa: BLE001 - handed to its own caller
        return error
