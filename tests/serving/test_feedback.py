"""Labels that come late: each kept once, whatever is sent and whatever dies."""

import asyncio
import multiprocessing
import os
import signal
import time
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from baton.core.bundle import Bundle
from baton.core.errors import DependencyDown
from baton.serving import feedback_store
from baton.serving.app import create_app
from baton.serving.feedback import label_of
from baton.serving.feedback_store import FeedbackStore, Label, Outcome, read_labels
from baton.serving.prediction_ids import made_at, new_ids
from baton.serving.serving_settings import ServingSettings

FEEDBACK = "/v1/feedback"
PREDICT = "/v1/models/flights/predict"
NOW = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def label(identity, text="1", digest="d"):
    return Label(id=identity, text=text, number=float(text), digest=digest)


@asynccontextmanager
async def service(folder, **limits):
    app = create_app(lambda: ServingSettings(folder=folder, model="flights", log_seconds=0.05, **limits))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        yield client


async def logged(client, sealed, count=3):
    """Ask for predictions and give their ids once the log holds them."""
    answer = await client.post(PREDICT, json={"rows": sealed.requests[:count]})
    ids = [each["id"] for each in answer.json()["predictions"]]
    for _ in range(100):
        told = await give(client, [(ids[0], "no class")])
        if told[0]["outcome"] != "unknown":
            return ids
        await asyncio.sleep(0.05)
    raise AssertionError("the log never held them")


async def give(client, pairs):
    response = await client.post(FEEDBACK, json={"labels": [{"id": each, "label": value} for each, value in pairs]})
    assert response.status_code == 200, response.text
    return response.json()["results"]


def test_labels_are_kept_once_corrected_and_joined_to_their_bundle(state, sealed, release):
    """F8: late, twice, and otherwise; the last one counts and the first ones are remembered."""
    first = release(0)

    async def story():
        async with service(state) as client:
            ids = await logged(client, sealed)
            unknown = new_ids(1, datetime.now(timezone.utc))[0]
            told = await give(client, [(ids[0], 1), (ids[1], 0), (ids[0], 1), (unknown, 1), ("x", 1), (ids[2], 2)])
            again = await give(client, [(ids[0], 1.0), (ids[1], 1)])
            back = await give(client, [(ids[1], 0)])
            return ids, [[each["outcome"] for each in some] for some in (told, again, back)]

    ids, outcomes = asyncio.run(story())

    assert outcomes == [
        ["accepted", "accepted", "duplicate", "unknown", "unknown", "refused"],
        ["duplicate", "corrected"],
        ["corrected"],
    ]
    assert read_labels(state, as_of=NOW).num_rows == 0
    labels = read_labels(state, as_of=datetime.now(timezone.utc)).to_pylist()
    assert [(each["id"], each["label"], each["number"], each["revision"]) for each in labels] == [
        (ids[0], "1", 1.0, 1),
        (ids[1], "0", 0.0, 3),
    ]
    assert {each["digest"] for each in labels} == {first.champion}
    kept = [row for path in sorted((state / "feedback").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [row["label"] for row in kept if row["id"] == ids[1]] == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/labels"),
        ({"labels": []}, "/labels"),
        ({"labels": [1]}, "/labels/0"),
        ({"labels": [{"id": "a", "label": 1, "at": 2}]}, "/labels/0/at"),
        ({"labels": [{"id": "a"}]}, "/labels/0/label"),
        ({"labels": [{"id": "a", "label": None}]}, "/labels/0/label"),
        ({"labels": [{"id": "a", "label": True}]}, "/labels/0/label"),
        ({"labels": [{"id": 1, "label": 1}]}, "/labels/0/id"),
        ({"labels": [{"id": "", "label": 1}]}, "/labels/0/id"),
        ({"labels": [{"id": "a\nb", "label": 1}]}, "/labels/0/id"),
        ({"labels": [{"id": "x" * 65, "label": 1}]}, "/labels/0/id"),
        ({"labels": [{"id": "a", "label": 1}], "model": "m"}, "/model"),
    ],
)
def test_what_is_no_feedback_is_refused_by_its_place(state, release, body, pointer):
    release(0)

    async def story():
        async with service(state) as client:
            return await client.post(FEEDBACK, json=body)

    response = asyncio.run(story())
    assert response.status_code == 422
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]


def test_too_many_labels_are_refused_by_their_number(state, release):
    release(0)

    async def story():
        async with service(state, max_request_rows=2) as client:
            return await client.post(FEEDBACK, json={"labels": [{"id": "a", "label": 1}] * 3})

    assert asyncio.run(story()).status_code == 413


def bundle(task, *classes):
    return Bundle(path=Path(), digest="d", model="m", model_digest="m", fields=(), task=task, classes=classes)


@pytest.mark.parametrize(
    ("made", "given", "meant"),
    [
        (bundle("binary"), 1, ("1", 1.0)),
        (bundle("binary"), 0.0, ("0", 0.0)),
        (bundle("binary"), "1", ("1", 1.0)),
        (bundle("binary"), 2, None),
        (bundle("binary"), 0.5, None),
        (bundle("binary"), "yes", None),
        (bundle("binary", "no", "yes"), "yes", ("yes", 1.0)),
        (bundle("binary", "no", "yes"), 1, ("yes", 1.0)),
        (bundle("binary", "no", "yes"), "YES", None),
        (bundle("multiclass", "a", "b", "c"), "b", ("b", None)),
        (bundle("multiclass", "a", "b", "c"), "d", None),
        (bundle("multiclass", "a", "b", "c"), 1, None),
        (bundle("regression"), 3, ("3.0", 3.0)),
        (bundle("regression"), 10**400, None),
        (bundle("regression"), "3", None),
    ],
)
def test_a_label_is_read_as_the_model_means_it(made, given, meant):
    assert label_of(made, given) == meant


def test_ids_say_when_they_were_made():
    ids = new_ids(2, NOW)

    assert made_at(ids[0]) == made_at(ids[1]) == NOW
    assert len({*new_ids(3, NOW), *ids}) == 5
    assert ids < new_ids(1, NOW + timedelta(milliseconds=1))
    for wrong in ("", "x", ids[0][:-3], ids[0] + "0000000", "../../etc/passwd", ids[0].upper() + "Z", "é" * 32):
        assert made_at(wrong) is None


def _kill_while_writing(folder, before):
    """Write a file of labels and die just before or just after it is renamed."""
    real = feedback_store.replace_file

    def dying(path, content, **kwargs):
        if not before:
            real(path, content, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    feedback_store.replace_file = dying
    FeedbackStore(folder).write()


@pytest.mark.parametrize("before", [True, False], ids=["before the file", "after the file"])
def test_a_crash_while_writing_loses_and_doubles_nothing(tmp_path, before):
    store = FeedbackStore(tmp_path)
    store.add([label(f"p{at}") for at in range(10)], caller="c", now=NOW)
    process = multiprocessing.get_context("fork").Process(target=_kill_while_writing, args=(tmp_path, before))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    # Between the crash and the next writing, more comes in and the same again.
    outcomes = store.add([label("p1"), label("p10")], caller="c", now=NOW)
    store.write()

    assert outcomes == [Outcome.DUPLICATE, Outcome.ACCEPTED]
    kept = [row["id"] for path in (tmp_path / "feedback").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert sorted(kept) == sorted(f"p{at}" for at in range(11))


def _send(folder, start):
    store = FeedbackStore(folder)
    for at in range(200):
        store.add([label(f"p{at}")], caller=f"c{start}", now=NOW)
        if at % 50 == start:
            store.write()


def test_processes_that_send_the_same_labels_keep_each_once(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_send, args=(tmp_path, start)) for start in range(3)]
    for process in processes:
        process.start()
    time.sleep(0.3)
    processes[0].kill()
    for process in processes:
        process.join()
    FeedbackStore(tmp_path).write()

    kept = [row["id"] for path in (tmp_path / "feedback").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert sorted(kept) == sorted(f"p{at}" for at in range(200))


def test_where_too_much_waits_or_the_disk_fails_nothing_is_acknowledged(tmp_path, monkeypatch):
    store = FeedbackStore(tmp_path)
    monkeypatch.setattr(feedback_store, "MOST_WAITING", 3)
    store.add([label("a"), label("b")], caller="c", now=NOW)
    with pytest.raises(DependencyDown, match="wait to be written"):
        store.add([label("c"), label("d")], caller="c", now=NOW)
    assert store.add([label("c")], caller="c", now=NOW) == [Outcome.ACCEPTED]

    (tmp_path / "blocked").write_text("a file where the folder should be")
    with pytest.raises(DependencyDown, match="not kept"):
        FeedbackStore(tmp_path / "blocked").add([label("a")], caller="c", now=NOW)
