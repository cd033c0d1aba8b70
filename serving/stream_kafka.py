"""Kafka by FastStream: records of a consumer group, answers under the id of their record.

A record's id is its header `id`; where it has none, its place in the topic.
Kafka neither counts how often it hands a record out nor drops an answer that it
has seen, so both are read back from topics when partitions are assigned: the
ids of what was answered from the answers and dead letters, and from
`SOURCE.begun` the records that somebody began and did not finish. Those are then
taken one by one, so that a record that kills its consumer is alone in it.

Records of one id have to be in one partition, as those of one key are.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from baton.core.errors import DependencyDown
from baton.serving.stream_scoring import Delivery
from baton.serving.stream_settings import KAFKA, StreamSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from faststream.kafka import KafkaBroker, KafkaMessage

log = logging.getLogger(__name__)

ID = "id"
AGAIN_SECONDS = 1.0
FETCH_MS = 200
CONNECT_MS = 5_000
STOP_SECONDS = 15.0
# What brokers take for a session, by default.
SHORTEST_SESSION_S, LONGEST_SESSION_S = 6.0, 1_800.0
THERE_ALREADY = 36
Take = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Records of a partition that somebody has begun, from `first` to `last`; the first for the `attempt`-th time."""

    first: int
    last: int
    attempt: int


@dataclass(slots=True, kw_only=True)
class KafkaDelivery:
    """A record; it is handed out again until it is `finished`."""

    id: str
    content: bytes
    attempt: int
    _broker: KafkaBroker
    _answered: Answered
    finished: bool = False

    async def publish(self, subject: str, content: bytes, headers: Mapping[str, str]) -> bool:
        """Publish and wait until all replicas have it, unless this id is there already."""
        if not self._answered.add(subject, self.id):
            return False
        try:
            await self._broker.publish(content, subject, key=self.id.encode(), headers={ID: self.id, **headers})
        except BaseException:
            self._answered.forget(subject, self.id)
            raise
        return True

    async def done(self) -> None:
        """Say that the record needs no other turn; its offset is committed with those of its batch."""
        self.finished = True

    async def again(self) -> None:
        """Leave it for another turn."""


class Answered:
    """The ids of what was answered lately, and what was begun, read back from their topics."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.begun: dict[int, Begun] = {}
        # Whether partitions came since the topics were read.
        self.behind = True

    def add(self, subject: str, identity: str) -> bool:
        """Remember an id; False if it was known."""
        if (subject, identity) in self._known:
            return False
        self._known[subject, identity] = None
        if len(self._known) > self._settings.keep_messages:
            self._known.popitem(last=False)
        return True

    def forget(self, subject: str, identity: str) -> None:
        """Take an id back that was not answered after all."""
        self._known.pop((subject, identity), None)

    async def catch_up(self, servers: Sequence[str], topics: Sequence[str]) -> None:
        """Read what others have answered before their records are taken over; tried until it works."""
        from aiokafka.errors import KafkaError

        while self.behind:
            self.behind = False
            try:
                async with _reader(servers) as consumer:
                    await self._read(consumer, topics)
            except (KafkaError, OSError) as error:
                self.behind = True
                log.warning("stream_retry", extra={"reason": str(error), "attempt": 0})
                await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer, topics: Sequence[str]) -> None:
        """Read topics as far back as ids are remembered, to their present ends; the consumer is of no group."""
        from aiokafka import TopicPartition

        # Without it a consumer of no group knows of no topic's parts.
        await consumer.topics()
        parts = [TopicPartition(topic, at) for topic in topics for at in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        since = int((time.time() - self._settings.window_seconds) * 1e3)
        # What has no record since then has nothing to read.
        found = await consumer.offsets_for_times(dict.fromkeys(parts, since))
        for part in parts:
            consumer.seek(part, found[part].offset if found.get(part) else ends[part])
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for part, records in (await consumer.getmany(timeout_ms=FETCH_MS)).items():
                for record in records:
                    self._take(part.topic, record)

    def _take(self, topic: str, record: Any) -> None:
        if topic == begun_topic(self._settings):
            # What others have put there is no mark of ours.
            with suppress(ValueError, TypeError, KeyError):
                fields = json.loads(record.value)
                partition = fields.pop("partition")
                self.begun[partition] = Begun(**fields)
        elif identity := _id_of(record):
            self.add(topic, identity)


@asynccontextmanager
async def kafka_stream(settings: StreamSettings, take: Take) -> AsyncIterator[None]:
    """Hand each record of the source to `take` until the context ends, which waits for those under way.

    Topics are made, of one partition, where there are none of their names.

    Raises:
        DependencyDown: The broker does not answer.
    """
    from aiokafka import ConsumerRebalanceListener
    from faststream import AckPolicy
    from faststream.kafka import KafkaBroker

    servers = settings.url.removeprefix(KAFKA[0]).split(",")
    topics = [settings.target, settings.dead_letters, begun_topic(settings)]
    await _make_topics(servers, [settings.source, *topics])
    broker = KafkaBroker(servers, acks="all", graceful_timeout=STOP_SECONDS, logger=None, apply_types=False)
    answered = Answered(settings)

    class Assigned(ConsumerRebalanceListener):  # type: ignore[misc]  # the vendor has no types
        """Notices that others' records are taken over."""

        async def on_partitions_assigned(self, _: Any) -> None:
            answered.behind = True

        async def on_partitions_revoked(self, _: Any) -> None:
            """Nothing: what is under way is finished, and answered once."""

    session_s = min(max(settings.ack_seconds, SHORTEST_SESSION_S), LONGEST_SESSION_S)

    @broker.subscriber(
        settings.source,
        batch=True,
        max_records=settings.at_once,
        batch_timeout_ms=FETCH_MS,
        group_id=settings.group,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_s * 1e3),
        heartbeat_interval_ms=int(session_s * 1e3 / 3),
        listener=Assigned(),
        ack_policy=AckPolicy.MANUAL,
        decoder=_itself,
        no_reply=True,
    )
    async def _each(message: KafkaMessage) -> None:
        await answered.catch_up(servers, topics)
        await Batch(settings, broker, answered, take).work(message.consumer, message.raw_message)

    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


class Batch:
    """The records of one fetch."""

    def __init__(self, settings: StreamSettings, broker: KafkaBroker, answered: Answered, take: Take) -> None:
        self._settings = settings
        self._broker = broker
        self._answered = answered
        self._take = take

    async def work(self, consumer: Any, records: Sequence[Any]) -> None:
        """Finish records together, or one by one where somebody has begun them before, and commit."""
        if all(self._attempt(record) == 1 for record in records):
            await self._finish(consumer, records)
            return
        for record in records:
            await self._finish(consumer, [record])

    def _attempt(self, record: Any) -> int:
        begun = self._answered.begun.get(record.partition)
        if begun is None or not begun.first <= record.offset <= begun.last:
            return 1
        return begun.attempt + 1 if begun.first == record.offset else 2

    async def _finish(self, consumer: Any, records: Sequence[Any]) -> None:
        deliveries = [self._delivery(record) for record in records]
        await self._begin(records)
        while left := [each for each in deliveries if not each.finished]:
            await asyncio.gather(*(self._take(each) for each in left))
            for each in left:
                each.attempt += 1
            if not all(each.finished for each in left):
                await asyncio.sleep(AGAIN_SECONDS)
        await _commit(consumer, records)

    def _delivery(self, record: Any) -> KafkaDelivery:
        return KafkaDelivery(
            id=_id_of(record) or f"{record.topic}-{record.partition}-{record.offset}",
            content=record.value or b"",
            attempt=self._attempt(record),
            _broker=self._broker,
            _answered=self._answered,
        )

    async def _begin(self, records: Iterable[Any]) -> None:
        """Say which records are begun, before anything can happen to whoever works on them."""
        spans: dict[int, list[Any]] = {}
        for record in records:
            spans.setdefault(record.partition, []).append(record)
        for partition, part in spans.items():
            before = self._answered.begun.get(partition)
            last = max(part[-1].offset, before.last if before else 0)
            begun = Begun(first=part[0].offset, last=last, attempt=self._attempt(part[0]))
            told = json.dumps({"partition": partition, **asdict(begun)}).encode()
            await self._broker.publish(told, begun_topic(self._settings), key=str(partition).encode())
            self._answered.begun[partition] = begun


def begun_topic(settings: StreamSettings) -> str:
    """Name the topic that says which records were begun."""
    return f"{settings.source}.begun"


async def _commit(consumer: Any, records: Iterable[Any]) -> None:
    from aiokafka import TopicPartition
    from aiokafka.errors import KafkaError

    ends = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
    try:
        await consumer.commit(ends)
    except KafkaError as error:
        # Others have the partition now; they know the answers.
        log.warning("stream_not_committed", extra={"reason": str(error)})


@asynccontextmanager
async def _reader(servers: Sequence[str]) -> AsyncIterator[AIOKafkaConsumer]:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _make_topics(servers: Sequence[str], topics: Sequence[str]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaError, for_code

    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=CONNECT_MS)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        made = await admin.create_topics([NewTopic(each, 1, 1) for each in topics if each not in there])
        for topic, code, *_ in made.topic_errors:
            # Another consumer may have made it this moment.
            if code not in {0, THERE_ALREADY}:
                raise for_code(code)(topic)
    except (KafkaError, OSError, TimeoutError) as error:
        raise DependencyDown(what="Kafka does not answer", why=str(error), fix="start it, or mend the URL") from error
    finally:
        await admin.close()


def _id_of(record: Any) -> str:
    return next((value.decode("utf-8", "replace") for name, value in record.headers or () if name == ID), "")


async def _itself(message: KafkaMessage) -> KafkaMessage:
    """Hand on the message whole: its bytes are checked as a request's body is, and by nothing else before."""
    return message
