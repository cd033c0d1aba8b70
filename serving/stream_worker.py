"""Run a stream consumer: the service's engine without its edge, fed by a broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict

from baton.serving.engine import running
from baton.serving.serving_settings import ServingSettings
from baton.serving.stream_kafka import kafka_stream
from baton.serving.stream_nats import nats_stream
from baton.serving.stream_redis import redis_stream
from baton.serving.stream_scoring import StreamCounts, StreamScoring
from baton.serving.stream_settings import StreamSettings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
TELL_SECONDS = 10.0


async def consume(
    settings: StreamSettings,
    serving: ServingSettings,
    *,
    stopped: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
) -> StreamCounts:
    """Answer messages with the champion, swapping when it changes, until `stopped`; those under way are finished.

    Args:
        settings: The broker and its subjects.
        serving: The model's state folder and limits.
        stopped: Set by whoever wants it to end.
        ready: Called once messages are taken.

    Raises:
        DependencyDown: The broker does not answer.
    """
    async with running(serving) as engine:
        scoring = StreamScoring(engine, settings)
        # Messages that nobody can answer would be handed out in vain.
        while engine.champion.current is None and not stopped.is_set():
            await _wait(stopped, LOOK_SECONDS)
        stream = redis_stream if settings.is_redis else kafka_stream if settings.is_kafka else nats_stream
        async with stream(settings, scoring.take):
            ready()
            while not stopped.is_set():
                await _wait(stopped, TELL_SECONDS)
                log.info("stream_counts", extra=asdict(scoring.counts))
    return scoring.counts


async def _wait(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return
