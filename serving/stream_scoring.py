"""Answer messages: whatever the broker, a body as of a predict request comes in and its answer goes out.

A message is acknowledged only after its answer, or its dead letter, is safe
with the broker, so a consumer that dies at any moment loses nothing. What it
then does again is dropped by the broker, which remembers the ids of answered
messages for a while: whoever reads the answers finds each once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from baton.core.errors import BatonError, DependencyDown
from baton.serving.answers import answers
from baton.serving.ladder import StoodIn
from baton.serving.request_body import BodyUnreadable, TooManyRows
from baton.serving.request_schema import RequestRefused
from baton.serving.served_model import served
from baton.serving.stream_settings import StreamSettings
from baton.serving.training_range import OUT_OF_RANGE
from baton.serving.turned_away import DeadlineExceeded, ModelFailed

if TYPE_CHECKING:
    from baton.serving.engine import Engine

log = logging.getLogger(__name__)

MOST_ID = 256
MOST_REASON = 500
_encode = msgspec.json.Encoder().encode


class Delivery(Protocol):
    """One message as a broker has handed it out, for the `attempt`-th time; `id` is the same each time."""

    id: str
    content: bytes
    attempt: int

    async def publish(self, subject: str, content: bytes, headers: Mapping[str, str]) -> bool:
        """Put a message under this one's id where it is safe; False if that id was there already."""

    async def done(self) -> None:
        """Tell the broker that it need not be handed out again."""

    async def again(self) -> None:
        """Have it handed out again, in a while."""


@dataclass(slots=True, kw_only=True)
class StreamCounts:
    """What became of the messages; `duplicates` were answered before, `redelivered` were handed out before."""

    answered: int = 0
    rows: int = 0
    duplicates: int = 0
    redelivered: int = 0
    dead: int = 0
    retried: int = 0


class StreamScoring:
    """Answers the messages of one stream with one engine."""

    def __init__(self, engine: Engine, settings: StreamSettings) -> None:
        self._engine = engine
        self._settings = settings
        self.counts = StreamCounts()

    async def take(self, delivery: Delivery) -> None:
        """Answer a message, or put it to the dead letters, then acknowledge it."""
        counts = self.counts
        counts.redelivered += delivery.attempt > 1
        try:
            if delivery.attempt > self._settings.most_deliveries:
                await self._bury(delivery, f"handed out {delivery.attempt} times without an answer")
                return
            if not delivery.id.isprintable() or len(delivery.id) > MOST_ID:
                await self._bury(delivery, f"its id is no printable text of at most {MOST_ID} characters")
                return
            try:
                rows, content, headers = await self._answer(delivery.content)
            except (BodyUnreadable, RequestRefused, TooManyRows, ModelFailed) as error:
                await self._bury(delivery, str(error))
                return
            new = await delivery.publish(self._settings.target, content, headers)
            await delivery.done()
            counts.answered += new
            counts.rows += rows if new else 0
            counts.duplicates += not new
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must not be lost
            counts.retried += 1
            log.warning("stream_retry", extra={"reason": _told(error), "attempt": delivery.attempt})
            await self._again(delivery)

    async def _answer(self, content: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Score the rows of a body as the service does; gives their number, the answer and its headers."""
        engine = self._engine
        settings = engine.settings
        predictor = served(engine, settings.model)
        request = predictor.reader.read(content, most_rows=settings.max_request_rows)
        outside = predictor.range.outside(request.rows)
        if outside and settings.out_of_range == "refuse":
            predictor.range.refuse(request.rows)
        shares = engine.shares(request)
        found = await asyncio.gather(*(engine.answer(each.predictor, each.request) for each in shares))
        predictions: list[dict[str, Any]] = [{}] * len(request.rows)
        for share, (ids, scored) in zip(shares, found, strict=True):
            by = engine.answered_by(share.predictor, scored)
            named = {"version": by.release.version, "digest": by.release.champion} if len(shares) > 1 else {}
            if isinstance(scored, StoodIn):
                named["degraded"] = scored.rung.value
            for place, answer in zip(share.places, answers(by.bundle, ids, scored.scores), strict=True):
                predictions[place] = answer | named
        for place in outside:
            predictions[place]["warnings"] = [OUT_OF_RANGE]
        release = engine.answered_by(shares[0].predictor, found[0][1]).release
        answer = {
            "model": release.model,
            "version": release.version,
            "digest": release.champion,
            "epoch": release.epoch,
            "predictions": predictions,
        }
        headers = {"model-version": release.version, "model-digest": release.champion}
        return len(predictions), _encode(answer), headers

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        reason = " ".join(reason.split())[:MOST_REASON]
        # Headers are ASCII on the wire.
        headers = {"reason": reason.encode("ascii", "backslashreplace").decode(), "attempts": str(delivery.attempt)}
        await delivery.publish(self._settings.dead_letters, delivery.content, headers)
        await delivery.done()
        self.counts.dead += 1
        log.warning("stream_dead_letter", extra={"attempt": delivery.attempt})

    async def _again(self, delivery: Delivery) -> None:
        try:
            await delivery.again()
        except Exception as error:  # noqa: BLE001 - a broker that is away hands it out again by itself
            log.warning("stream_broker_away", extra={"reason": type(error).__name__})


def _told(error: Exception) -> str:
    """Name an error; the text of one that is not ours may hold what was sent."""
    return str(error) if isinstance(error, BatonError | DependencyDown | DeadlineExceeded) else type(error).__name__
