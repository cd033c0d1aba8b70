"""Several models in one service: each its own release, log, metrics and limits."""

import asyncio
import json

import httpx
import pyarrow.parquet as pq
import pytest
from tritonclient.http import InferenceServerClient

from baton.core.errors import SpecInvalid
from baton.serving.process import members, start
from baton.serving.serving_settings import settings_from

PREDICT, OTHER = "/v1/models/flights/predict", "/v1/models/fares/predict"


@pytest.fixture
def ask(state, other, client_of):
    """Send requests to a service of both models, one after the other, and give the responses."""

    def ask(*requests, **limits):
        async def story():
            beside = {"fares": {"folder": other.folder, **limits}}
            async with client_of(state, beside=beside) as client:
                return [await client.request(*line, **kwargs) for *line, kwargs in requests]

        answers = asyncio.run(story())
        return answers[0] if len(answers) == 1 else answers

    return ask


def test_each_name_is_answered_by_its_own_model(ask, sealed, other, release):
    first = release(0)
    rows = {"rows": sealed.requests[:5]}

    mine, theirs, nobodys, described = ask(
        ("POST", PREDICT, {"json": rows}),
        ("POST", OTHER, {"json": rows}),
        ("POST", "/v1/models/taxis/predict", {"json": rows}),
        ("GET", "/v1/models/fares", {}),
    )

    for answer, model, digest, scores in (
        (mine.json(), "flights", first.champion, sealed.scores[first.champion]),
        (theirs.json(), "fares", other.bundle.digest, other.scores),
    ):
        assert (answer["model"], answer["digest"]) == (model, digest)
        assert [each["score"] for each in answer["predictions"]] == pytest.approx(scores[:5].tolist(), abs=1e-6)
    assert (nobodys.status_code, described.json()["version"]) == (404, "70")
    assert "flights, fares" in nobodys.json()["detail"]


def test_limits_metrics_and_documents_are_each_model_s_own(ask, sealed, other, release):
    first = release(0)
    rows = {"rows": sealed.requests[:3]}

    many, few, text, document = ask(
        ("POST", PREDICT, {"json": rows}),
        ("POST", OTHER, {"json": rows}),
        ("GET", "/metrics", {}),
        ("GET", "/openapi.json", {}),
        max_request_rows=2,
    )

    assert (many.status_code, few.status_code) == (200, 413)
    lines = text.text.splitlines()
    assert 'baton_requests_total{model="flights",status="200"} 1.0' in lines
    assert 'baton_requests_total{model="fares",status="413"} 1.0' in lines
    assert 'baton_rows_total{model="flights"} 3.0' in lines
    assert len([line for line in lines if line == "# TYPE baton_rows_total counter"]) == 1
    for model, version, digest in (("flights", "1", first.champion), ("fares", "70", other.bundle.digest)):
        info = f'baton_model_info{{digest="{digest}",epoch="1",model="{model}",version="{version}"}} 1.0'
        assert info in lines
    paths = document.json()["paths"]
    assert {PREDICT, OTHER, "/v2/models/fares/infer", "/v2/models/flights/infer"} <= paths.keys()
    names = [each["operationId"] for operations in paths.values() for each in operations.values()]
    assert len(names) == len(set(names))


def test_a_model_without_a_champion_keeps_no_other_from_answering(ask, sealed):
    ready, theirs, mine, mine_ready = ask(
        ("GET", "/readyz", {}),
        ("POST", OTHER, {"json": {"rows": sealed.requests[:1]}}),
        ("POST", PREDICT, {"json": {"rows": sealed.requests[:1]}}),
        ("GET", "/v2/models/flights/ready", {}),
    )

    assert (ready.status_code, theirs.status_code) == (200, 200)
    assert (mine.status_code, mine_ready.status_code) == (503, 503)


def test_labels_find_the_model_that_predicted(state, other, sealed, release, client_of):
    release(0)

    async def story():
        async with client_of(state, beside={"fares": {"folder": other.folder, "log_seconds": 0.05}}) as client:
            ids = []
            for path in (PREDICT, OTHER):
                answer = await client.post(path, json={"rows": sealed.requests[:1]})
                ids.append(answer.json()["predictions"][0]["id"])
            labels = [{"id": identity, "label": 1} for identity in [*ids, "no-such-id"]]
            while True:
                found = (await client.post("/v1/feedback", json={"labels": labels})).json()["results"]
                if all(each["outcome"] != "unknown" for each in found[:2]):
                    return [each["outcome"] for each in found]
                await asyncio.sleep(0.1)

    *known, unknown = asyncio.run(asyncio.wait_for(story(), 60))
    assert set(known) <= {"accepted", "duplicate"}
    assert unknown == "unknown"
    assert list((state / "feedback").rglob("*.parquet"))
    assert list((other.folder / "feedback").rglob("*.parquet"))


def test_one_process_serves_both_and_a_swap_of_one_is_nothing_to_the_other(state, other, port, sealed, release):
    """B1: champions of one model change under load of both; no answer is lost or mixed."""
    first, second = (bundle.digest for bundle in sealed.bundles)
    release(0)
    beside = json.dumps({"fares": {"folder": str(other.folder), "poll_seconds": 0.05}})
    service = start(state, model="flights", port=port, limits={"poll_seconds": 0.05, "beside": beside})
    scores = {**sealed.scores, other.bundle.digest: other.scores}

    async def caller(client, path, ended, seen):
        at = 0
        while not ended.is_set():
            at = (at + 7) % 190
            answer = (await client.post(path, json={"rows": sealed.requests[at : at + 3]})).raise_for_status().json()
            told = [each["score"] for each in answer["predictions"]]
            assert told == pytest.approx(scores[answer["digest"]][at : at + 3].tolist(), abs=1e-6)
            seen.setdefault(path, set()).add((answer["model"], answer["digest"]))

    async def story():
        ended, seen = asyncio.Event(), {}
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client, asyncio.TaskGroup() as group:
            for at in range(6):
                group.create_task(caller(client, (PREDICT, OTHER)[at % 2], ended, seen))
            for epoch in range(10, 20):
                wanted = release(epoch % 2, epoch=epoch).epoch
                while (await client.get("/v1/models/flights")).json()["epoch"] != wanted:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            ended.set()
        return seen

    try:
        seen = asyncio.run(story())
        # A supervisor and one worker, for both.
        assert len(members(state)) == 2
        triton = InferenceServerClient(service.url.removeprefix("http://"))
        assert all(triton.is_model_ready(name) for name in ("flights", "fares"))
        assert triton.get_model_metadata("fares")["versions"] == ["70"]
    finally:
        assert service.stop() == 0
    assert seen == {PREDICT: {("flights", first), ("flights", second)}, OTHER: {("fares", other.bundle.digest)}}
    logged = {
        digest
        for path in (other.folder / "predictions").glob("*.parquet")
        for digest in pq.read_table(path, columns=["digest"]).column("digest").to_pylist()
    }
    assert logged == {other.bundle.digest}


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"flights": {"folder": "/b"}}, "a name and a folder of its own"),
        ({"fares": {"folder": "/a"}}, "a name and a folder of its own"),
        ({"fares": {}}, "needs a name of a model, a folder"),
        ({"../fares": {"folder": "/b"}}, "needs a name of a model"),
        ({"fares": {"folder": "/b", "admin_port": 1}}, "needs a name of a model, a folder, and of the limits only"),
        ({"fares": {"folder": "/b", "max_wait_ms": -1}}, "max_wait_ms: Input should be greater"),
    ],
    ids=["the same name", "the same folder", "no folder", "no name", "a setting of the service", "an impossible limit"],
)
def test_models_that_cannot_be_together_are_refused(beside, said):
    with pytest.raises(SpecInvalid, match=said):
        settings_from({"folder": "/a", "model": "flights", "beside": json.dumps(beside)})
