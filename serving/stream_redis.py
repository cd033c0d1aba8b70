"""Redis Streams by FastStream: messages of a consumer group, answers under the id of their message.

An entry holds the body in `data`, and in `id` the message's id where its sender
gives one. Redis knows no duplicates, so an answer is added by a script that
also remembers the id: both happen or neither.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baton.core.errors import DependencyDown
from baton.serving.stream_scoring import Delivery
from baton.serving.stream_settings import StreamSettings

if TYPE_CHECKING:
    from faststream.redis import RedisStreamMessage

DATA, ID = b"data", b"id"
POLL_MS = 100
CONNECT_SECONDS = 5.0
STOP_SECONDS = 15.0
# KEYS: the stream, the id's mark. ARGV: window in ms, most entries, then field and value by turns.
ADD_ONCE = """
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
return 1
"""


@dataclass(slots=True, kw_only=True)
class RedisDelivery:
    """An entry of a stream, claimed for this consumer."""

    id: str
    content: bytes
    attempt: int
    _message: RedisStreamMessage
    _add_once: Any
    _settings: StreamSettings

    async def publish(self, subject: str, content: bytes, headers: Mapping[str, str]) -> bool:
        """Add an entry unless one of this id was added within the window."""
        fields = {"data": content, "id": self.id, **headers}
        settings = self._settings
        taken = await self._add_once(
            # In braces, so that a cluster keeps both keys in one place.
            keys=[subject, f"{{{subject}}}:{settings.group}:{self.id}"],
            args=[
                int(settings.window_seconds * 1e3),
                settings.keep_messages,
                *(x for pair in fields.items() for x in pair),
            ],
        )
        return bool(taken)

    async def done(self) -> None:
        """Acknowledge."""
        await self._message.ack()

    async def again(self) -> None:
        """Leave it pending; it is claimed again when it was idle for long enough."""


@asynccontextmanager
async def redis_stream(settings: StreamSettings, take: Callable[[Delivery], Awaitable[None]]) -> AsyncIterator[None]:
    """Hand each entry of the source to `take` until the context ends, which waits for those under way.

    Raises:
        DependencyDown: The broker does not answer.
    """
    from faststream import AckPolicy
    from faststream.redis import RedisBroker, StreamSub
    from redis.asyncio import Redis

    client: Any = Redis.from_url(settings.url, socket_connect_timeout=CONNECT_SECONDS)
    add_once = client.register_script(ADD_ONCE)
    await _prepare(client, settings)
    # It takes None, which its types do not say.
    quiet: dict[str, Any] = {"logger": None}
    broker = RedisBroker(settings.url, graceful_timeout=STOP_SECONDS, apply_types=False, **quiet)
    # One name for each machine: who comes back after a fall finds its own entries as well as those of others.
    reading: dict[str, Any] = {
        "group": settings.group,
        "consumer": socket.gethostname(),
        "polling_interval": POLL_MS,
        "declare": False,
    }
    handler: dict[str, Any] = {
        "ack_policy": AckPolicy.MANUAL,
        "parser": _parsed,
        "decoder": _itself,
        "no_reply": True,
        "max_workers": settings.at_once,
    }

    async def each(message: RedisStreamMessage) -> None:
        entry, fields = message.raw_message["message_ids"][0], message.raw_message["data"]
        await take(
            RedisDelivery(
                id=fields.get(ID, entry).decode("utf-8", "replace"),
                content=fields.get(DATA, b""),
                attempt=await message.get_delivery_count(),
                _message=message,
                _add_once=add_once,
                _settings=settings,
            )
        )

    idle_ms = int(settings.ack_seconds * 1e3)
    fresh = StreamSub(settings.source, last_id=">", max_records=settings.at_once, **reading)
    left = StreamSub(settings.source, min_idle_time=idle_ms, **reading)
    for stream in (fresh, left):
        broker.subscriber(stream=stream, **handler)(each)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()
        await client.aclose()


async def _parsed(raw: Any, parse: Callable[[Any], Awaitable[RedisStreamMessage]]) -> RedisStreamMessage:
    """Make a message of an entry without its content, on which FastStream's own way may fail, and then forgets it."""
    message = await parse({**raw, "data": {DATA: b"{}"}})
    message.raw_message = raw
    return message


async def _itself(message: RedisStreamMessage) -> RedisStreamMessage:
    """Hand on the message whole: its bytes are checked as a request's body is, and by nothing else before."""
    return message


async def _prepare(client: Any, settings: StreamSettings) -> None:
    """Make the consumer group at the beginning of the stream, where there is none yet."""
    from redis.exceptions import RedisError, ResponseError

    try:
        await client.xgroup_create(settings.source, settings.group, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise DependencyDown(
                what=f"{settings.source} cannot be read", why=str(error), fix="name another stream"
            ) from error
    except (RedisError, OSError) as error:
        raise DependencyDown(what="Redis does not answer", why=str(error), fix="start it, or mend the URL") from error
