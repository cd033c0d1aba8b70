"""Everything that one service runs: the champion, the batcher, the log and the metrics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from baton.serving.batcher import Batcher, Scored
from baton.serving.metrics import Metrics
from baton.serving.prediction_log import Answered, PredictionLog
from baton.serving.predictor import Predictor
from baton.serving.request_body import PredictionRequest
from baton.serving.serving_settings import ServingSettings
from baton.serving.swap import Champion


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The running parts of one service."""

    settings: ServingSettings
    metrics: Metrics
    champion: Champion
    batcher: Batcher
    log: PredictionLog

    async def answer(self, predictor: Predictor, request: PredictionRequest) -> tuple[tuple[str, ...], Scored]:
        """Score a checked request and remember it; gives the ids of its rows and their scores.

        Raises:
            DependencyDown: Too much is queued.
            TimeoutError: The answer took longer than `timeout_seconds`.
        """
        async with asyncio.timeout(self.settings.timeout_seconds):
            scored = await self.batcher.score(predictor, request.rows)
        now = datetime.now(timezone.utc)
        ids = _ids(len(request.rows))
        self.metrics.answered(scored)
        self.log.add(
            Answered(
                ids=ids,
                entities=request.entities or ("",) * len(ids),
                served_at=now,
                moments=request.moments or (now,) * len(ids),
                rows=request.rows,
                scored=scored,
                predictor=predictor,
            )
        )
        return ids, scored


@asynccontextmanager
async def running(settings: ServingSettings) -> AsyncIterator[Engine]:
    """Start all parts, with the champion loaded if there is one; stop them in reverse and flush the log."""
    metrics = Metrics()
    engine = Engine(
        settings=settings,
        metrics=metrics,
        champion=Champion(
            settings.folder, model=settings.model, max_batch_rows=settings.max_batch_rows, metrics=metrics
        ),
        batcher=Batcher(max_batch_rows=settings.max_batch_rows, max_wait_ms=settings.max_wait_ms),
        log=PredictionLog(settings.folder, metrics=metrics, flush_seconds=settings.log_seconds),
    )
    engine.log.start()
    engine.batcher.start()
    await engine.champion.look()
    following = asyncio.create_task(engine.champion.follow(poll_seconds=settings.poll_seconds))
    try:
        yield engine
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await engine.batcher.stop()
        await asyncio.to_thread(engine.log.stop)


def _ids(count: int) -> tuple[str, ...]:
    request = uuid.uuid4().hex
    return (request,) if count == 1 else tuple(f"{request}-{at}" for at in range(count))
