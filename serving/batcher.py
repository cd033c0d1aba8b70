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
from dataclasses import dataclass

from baton.packaging.rows import Rows
from baton.serving.batch_job import Job
from baton.serving.batch_scoring import Scores, score_parts
from baton.serving.compute_cost import Expectation
from baton.serving.predictor import Predictor
from baton.serving.turned_away import DeadlineExceeded, Overloaded

# Weight of the newest gap between arrivals.
NEWEST = 0.2
# Event loops sleep in whole milliseconds; a shorter wait would be a longer one.
SHORTEST_WAIT_MS = 1.0
# Handing a batch to the thread and back costs two switches, which is more than
# a small model takes; a batch expected to be quicker than this is computed in place.
INLINE_MS = 1.0
# Batches that may wait before new work is turned away, and rows that always may, however small the batches are.
QUEUED_BATCHES, QUEUED_ROWS = 16, 1_024
# How often those that wait are looked at for a deadline that has passed; one timer for all costs less than one each.
SWEEP_S = 0.005
# A caller is watched for leaving only when its answer takes this long.
WATCH_AFTER_S = 0.05
# Share of the time left that may be waiting and computing; the rest is for reading, writing and error.
USABLE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one request's rows and where its time went, in milliseconds.

    `scores` has the shape `(rows,)`, of several classes `(rows, classes)`.

    `queue_ms` passed while earlier batches were computed, `batch_ms` while
    others could still join, `compute_ms` in the model; `batch_rows` shared it.
    It was handed in at `arrived`, by the batcher's clock.
    """

    scores: Scores
    queue_ms: float
    batch_ms: float
    compute_ms: float
    batch_rows: int
    arrived: float = 0.0


class Batcher:
    """One queue, one batch at a time, in a worker thread unless it is quick enough not to be worth the switch.

    Work whose caller has gone (its `score` was cancelled) or whose deadline
    has passed, or will have when it is computed, is dropped before. Where a
    batch fails, its requests are scored one by one, so that only those fail
    that cannot be scored.
    """

    def __init__(
        self,
        *,
        max_batch_rows: int,
        max_wait_ms: float,
        max_queued_rows: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare a batcher.

        Args:
            max_batch_rows: Most rows that are scored together.
            max_wait_ms: Longest that a batch stays open for others.
            max_queued_rows: Most rows that wait; sixteen batches if not said, and never few.
            clock: Seconds that never go back.
        """
        self._most = max_batch_rows
        self._most_queued = max_queued_rows or max(max_batch_rows * QUEUED_BATCHES, QUEUED_ROWS)
        self._max_wait_ms = max_wait_ms
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._queued_rows = 0
        self._running: Sequence[Job] = ()
        self._runs_until = -math.inf
        self._opened = 0.0
        self._turn_due: asyncio.Handle | None = None
        self._sweep_due: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._last_arrival = float("-inf")
        self._gap_ms = float("inf")
        self._expectation = Expectation()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start to take work; needs a running event loop."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Finish what is queued, then stop."""
        await self._idle.wait()
        if self._sweep_due:
            self._sweep_due.cancel()
        self._worker.shutdown(wait=True)

    async def score(
        self,
        predictor: Predictor,
        rows: Rows,
        *,
        deadline: float = math.inf,
        watch: Callable[[], None] | None = None,
    ) -> Scored:
        """Score one request's rows with the predictor that they were checked for.

        Args:
            predictor: What scores them.
            rows: One request's rows.
            deadline: When the answer is of no more use, by the batcher's clock.
            watch: Called once if the answer takes longer than most.

        Raises:
            Overloaded: Too much is queued, or more than can be done by the deadline.
            DeadlineExceeded: It has passed.
            ModelFailed: The model cannot score these rows.
        """
        assert self._loop, "start() comes first"
        now = self._clock()
        expected_ms = self.admit(predictor, len(rows), now=now, deadline=deadline)
        gap = (now - self._last_arrival) * 1e3
        self._last_arrival = now
        self._gap_ms = gap if math.isinf(self._gap_ms) else self._gap_ms + NEWEST * (gap - self._gap_ms)
        answer = self._loop.create_future()
        job = Job(
            predictor=predictor,
            rows=rows,
            answer=answer,
            arrived=now,
            deadline=deadline,
            expected_ms=expected_ms,
            watch=watch,
        )
        if not self._jobs and not self._running:
            self._opened = now
            self._idle.clear()
        self._jobs.append(job)
        self._queued_rows += len(rows)
        if not self._running and (self._turn_due is None or self._queued_rows >= self._most):
            self._turn_soon()
        if self._sweep_due is None:
            self._sweep_due = self._loop.call_later(SWEEP_S, self._sweep)
        scored: Scored = await answer
        return scored

    def expected_ms(self, predictor: Predictor, rows: int) -> float:
        """How long so many rows more are expected to take until they are scored."""
        left = max(self._runs_until - self._clock(), 0.0) * 1e3 if self._running else 0.0
        cost = self._expectation.of(predictor)
        return left + cost.expect_all(self._queued_rows + rows, most=self._most) if cost.known else left

    def patience_ms(self) -> float:
        """How long a batch stays open for others: as long as computing takes, where another is expected within."""
        if not self._jobs:
            return 0.0
        cost = self._expectation.of(self._jobs[0].predictor)
        if not cost.known:
            return 0.0
        window = min(self._max_wait_ms, cost.expect(self._queued_rows))
        return window if window >= SHORTEST_WAIT_MS and self._gap_ms <= window else 0.0

    def admit(self, predictor: Predictor, rows: int, *, now: float, deadline: float) -> float:
        """Let work in that can be done in time, or raise as `score` does; gives the milliseconds that it may take."""
        if now >= deadline:
            raise DeadlineExceeded(waited_ms=0.0)
        full = self._queued_rows >= self._most_queued
        # Nothing waits, nothing to work out: the common case.
        if not full and not self._running and not self._jobs:
            return 0.0
        expected_ms = self.expected_ms(predictor, rows)
        longer_ms = expected_ms * self._expectation.slowness
        left_ms = (deadline - now) * 1e3 * USABLE
        if full or longer_ms > left_ms:
            # Half of the queue gone is soon enough to come again when it is full.
            wait_ms = longer_ms / 2 if full else longer_ms - left_ms
            raise Overloaded(queued_rows=self._queued_rows, retry_after_s=wait_ms / 1e3)
        return expected_ms

    def _turn_soon(self) -> None:
        if self._turn_due is not None:
            self._turn_due.cancel()
        assert self._loop
        # One turn of the loop lets every request in that has already been received.
        self._turn_due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Compute the next batch, or wait for others to join it."""
        assert self._loop
        self._turn_due = None
        closes = self._opened + self.patience_ms() / 1e3
        if self._queued_rows < self._most and (left := closes - self._clock()) > 0:
            self._turn_due = self._loop.call_later(left, self._close)
            return
        self._close()

    def _close(self) -> None:
        assert self._loop
        self._turn_due = None
        batch = self._take()
        if not batch:
            self._next()
            return
        rows = sum([len(job.rows) for job in batch])
        taken = self._clock()
        expected_ms = self._expectation.of(batch[0].predictor).expect(rows)
        if expected_ms < INLINE_MS:
            self._hand_out(batch, taken, *self._score_all(batch))
            self._next()
            return
        self._running = batch
        self._runs_until = taken + (0.0 if math.isinf(expected_ms) else expected_ms / 1e3)
        done = self._loop.run_in_executor(self._worker, self._score_all, batch)
        done.add_done_callback(lambda ended: self._ended(batch, taken, ended.result()))

    def _ended(self, batch: Sequence[Job], taken: float, found: tuple[list[Scores | Exception], float]) -> None:
        self._running = ()
        self._hand_out(batch, taken, *found)
        self._next()

    def _next(self) -> None:
        if self._jobs:
            self._opened = self._clock()
            self._turn_soon()
        else:
            self._idle.set()

    def _take(self) -> list[Job]:
        """Take the oldest jobs of one predictor, up to a batch; a larger job is a batch of its own.

        Those that cannot be answered in time give way to those that can. One
        is computed always: else a wrong expectation would never be put right.
        """
        batch: list[Job] = []
        rows = 0
        now = self._clock()
        answered = now
        if self._jobs:
            expected_ms = self._expectation.of(self._jobs[0].predictor).expect(min(self._queued_rows, self._most))
            answered += 0.0 if math.isinf(expected_ms) else expected_ms / 1e3
        while self._jobs:
            job = self._jobs[0]
            if batch and (rows + len(job.rows) > self._most or job.predictor is not batch[0].predictor):
                break
            self._jobs.popleft()
            self._queued_rows -= len(job.rows)
            job.expire(now, answered=answered if batch or self._jobs else now)
            if not job.answer.done():
                batch.append(job)
                rows += len(job.rows)
        return batch

    def _hand_out(
        self,
        batch: Sequence[Job],
        taken: float,
        results: Sequence[Scores | Exception],
        computed_ms: float,
    ) -> None:
        rows = sum([len(job.rows) for job in batch])
        self._expectation.of(batch[0].predictor).learn(rows, computed_ms)
        self._expectation.judge(batch[0].expected_ms, (self._clock() - batch[0].arrived) * 1e3)
        for job, result in zip(batch, results, strict=True):
            if job.answer.done():
                continue
            if isinstance(result, Exception):
                job.answer.set_exception(result)
                continue
            joined = max(self._opened, job.arrived)
            job.answer.set_result(
                Scored(
                    scores=result,
                    queue_ms=(joined - job.arrived) * 1e3,
                    batch_ms=(taken - joined) * 1e3,
                    compute_ms=computed_ms,
                    batch_rows=rows,
                    arrived=job.arrived,
                )
            )

    def _score_all(self, batch: Sequence[Job]) -> tuple[list[Scores | Exception], float]:
        started = self._clock()
        results = score_parts(batch[0].predictor, [job.rows for job in batch])
        return results, (self._clock() - started) * 1e3

    def _sweep(self) -> None:
        """End the waits whose deadline has passed, and have those watched that take long."""
        assert self._loop
        now = self._clock()
        for job in (*self._running, *self._jobs):
            job.expire(now)
            if job.watch and now - job.arrived > WATCH_AFTER_S and not job.answer.done():
                job.watch()
                job.watch = None
        again = self._running or self._jobs
        self._sweep_due = self._loop.call_later(SWEEP_S, self._sweep) if again else None
