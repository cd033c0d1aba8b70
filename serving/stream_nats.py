"""NATS JetStream by FastStream: messages of a durable consumer, answers under the id of their message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from baton.core.errors import DependencyDown
from baton.serving.stream_scoring import Delivery
from baton.serving.stream_settings import StreamSettings

if TYPE_CHECKING:
    from faststream.nats import NatsBroker, NatsMessage

ID = "Nats-Msg-Id"
FETCH_SECONDS = 1.0
AGAIN_SECONDS = 1.0
PUBLISH_SECONDS = 5.0
CONNECT_SECONDS = 5.0
STOP_SECONDS = 15.0


@dataclass(slots=True, kw_only=True)
class NatsDelivery:
    """A message of JetStream."""

    id: str
    content: bytes
    attempt: int
    _message: NatsMessage
    _broker: NatsBroker
    _streams: Mapping[str, str]

    async def publish(self, subject: str, content: bytes, headers: Mapping[str, str]) -> bool:
        """Publish and wait until the stream has it; JetStream drops an id that it has seen within its window."""
        taken = await self._broker.publish(
            content, subject, headers={ID: self.id, **headers}, stream=self._streams[subject], timeout=PUBLISH_SECONDS
        )
        return not taken.duplicate

    async def done(self) -> None:
        """Acknowledge."""
        await self._message.ack()

    async def again(self) -> None:
        """Ask for it again, in a while."""
        await self._message.nack(delay=AGAIN_SECONDS)


@asynccontextmanager
async def nats_stream(settings: StreamSettings, take: Callable[[Delivery], Awaitable[None]]) -> AsyncIterator[None]:
    """Hand each message of the source to `take` until the context ends, which waits for those under way.

    Streams are made where no stream has the subject yet.

    Raises:
        DependencyDown: The broker does not answer.
    """
    from faststream import AckPolicy
    from faststream.nats import JStream, NatsBroker, PullSub
    from nats.js.api import ConsumerConfig

    streams = await _streams(settings)
    broker = NatsBroker(settings.url, graceful_timeout=STOP_SECONDS, logger=None, apply_types=False)

    @broker.subscriber(
        settings.source,
        stream=JStream(streams[settings.source], declare=False),
        durable=settings.group,
        # A pull takes what is there up to so many, and works on them together.
        pull_sub=PullSub(batch_size=settings.at_once, timeout=FETCH_SECONDS),
        config=ConsumerConfig(ack_wait=settings.ack_seconds, max_ack_pending=settings.at_once * 2),
        ack_policy=AckPolicy.MANUAL,
        decoder=_itself,
        no_reply=True,
    )
    async def _each(message: NatsMessage) -> None:
        raw = message.raw_message
        seen = raw.metadata
        await take(
            NatsDelivery(
                id=(raw.headers or {}).get(ID) or f"{seen.stream}-{seen.sequence.stream}",
                content=raw.data,
                attempt=seen.num_delivered or 1,
                _message=message,
                _broker=broker,
                _streams=streams,
            )
        )

    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


async def _itself(message: NatsMessage) -> NatsMessage:
    """Hand on the message whole: its bytes are checked as a request's body is, and by nothing else before."""
    return message


async def _streams(settings: StreamSettings) -> dict[str, str]:
    """Find the stream of each subject, or make it."""
    import nats
    from nats.errors import Error
    from nats.js.api import StreamConfig
    from nats.js.errors import NotFoundError

    try:
        client = await nats.connect(
            settings.url,
            connect_timeout=CONNECT_SECONDS,
            allow_reconnect=False,
            # It would try for two minutes before it says that there is nobody.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.05,
            error_cb=_ignored,
        )
    except (OSError, Error, TimeoutError) as error:
        raise DependencyDown(
            what="NATS does not answer", why=str(error) or type(error).__name__, fix="start it, or mend the URL"
        ) from error
    try:
        jetstream, found = client.jetstream(), {}
        for subject in (settings.source, settings.target, settings.dead_letters):
            try:
                found[subject] = await jetstream.find_stream_name_by_subject(subject)
            except NotFoundError:
                config = StreamConfig(
                    # Names of streams have no dots.
                    name=subject.replace(".", "_"),
                    subjects=[subject],
                    duplicate_window=settings.window_seconds,
                    # Rows are kept until they are answered, however many; answers only so many.
                    max_msgs=-1 if subject == settings.source else settings.keep_messages,
                )
                await jetstream.add_stream(config)
                found[subject] = subject.replace(".", "_")
    except (Error, TimeoutError) as error:
        raise DependencyDown(
            what="NATS has no JetStream that can be used", why=str(error), fix="start it with -js and room on disk"
        ) from error
    else:
        return found
    finally:
        await client.close()


async def _ignored(_: Exception) -> None:
    """The error is raised as well; the client would print it."""
