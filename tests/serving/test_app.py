"""The HTTP interface, in process."""

import asyncio
import json
import re
import time

import pytest

from baton.serving.app import create_app
from baton.serving.predictor import Predictor
from baton.serving.serving_settings import ServingSettings

PREDICT = "/v1/models/flights/predict"


@pytest.fixture
def ask(state, client_of):
    """Send requests to a fresh app, in order, and give the responses."""

    def ask(*requests, **limits):
        async def story():
            async with client_of(state, **limits) as client:
                return [await client.request(*line, **kwargs) for *line, kwargs in requests]

        answers = asyncio.run(story())
        return answers[0] if len(answers) == 1 else answers

    return ask


def test_rows_are_answered_with_scores_and_version(ask, sealed, release):
    first = release(0)

    response = ask(("POST", PREDICT, {"json": {"rows": sealed.requests[:3]}}))

    answer = response.json()
    assert response.status_code == 200
    assert [each["score"] for each in answer["predictions"]] == pytest.approx(
        sealed.scores[first.champion][:3].tolist(), abs=1e-6
    )
    assert len({each["id"] for each in answer["predictions"]}) == 3
    assert {name: answer[name] for name in ("model", "version", "digest", "epoch")} == {
        "model": "flights",
        "version": "1",
        "digest": first.champion,
        "epoch": 1,
    }
    assert (response.headers["model-version"], response.headers["model-digest"]) == ("1", first.champion)


def test_the_model_says_what_it_takes(ask, release):
    release(0)

    answer = ask(("GET", "/v1/models/flights", {})).json()

    assert [(field["name"], field["kind"]) for field in answer["fields"]] == [
        ("carrier", "text"),
        ("distance", "number"),
        ("delay", "number"),
    ]


def test_the_document_describes_the_champion(ask, release):
    absent = ask(("GET", "/openapi.json", {}))
    release(0)

    operation = ask(("GET", "/openapi.json", {})).json()["paths"][PREDICT]["post"]

    assert absent.status_code == 503
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"]["predictions"]["items"]["required"] == ["id", "score"]


@pytest.mark.parametrize(
    ("line", "kwargs", "status"),
    [
        (("POST", "/v1/models/taxis/predict"), {"json": {}}, 404),
        (("GET", "/v1/models/taxis"), {}, 404),
        (("GET", "/nowhere"), {}, 404),
        (("GET", PREDICT), {}, 405),
        (("POST", PREDICT), {"content": b"{}", "headers": {"content-type": "application/vnd.pickle"}}, 415),
        (("POST", PREDICT), {"content": b"{}"}, 415),
        (("POST", PREDICT), {"content": b"{", "headers": {"content-type": "Application/JSON; charset=utf-8"}}, 400),
        (("POST", PREDICT), {"json": {"rows": [{}]}}, 422),
        (
            ("POST", PREDICT),
            {"content": b'{"rows":[{"\\ud800":1}]}', "headers": {"content-type": "application/json"}},
            422,
        ),
        (("POST", PREDICT), {"json": {"rows": [{}] * 5}}, 413),
        (("POST", PREDICT), {"json": {"rows": ["x" * 3000]}}, 413),
    ],
    ids=[
        "another model",
        "another model's description",
        "an unknown path",
        "the wrong method",
        "a pickle",
        "no media type",
        "broken JSON",
        "an empty row",
        "half a character as a name",
        "too many rows",
        "too long a body",
    ],
)
def test_a_refusal_is_a_problem_document(ask, release, line, kwargs, status):
    release(0)

    response = ask((*line, kwargs), max_request_rows=4, max_body_bytes=2_000)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["detail"]


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(ask, release):
    release(0)

    async def endless():
        sent = 0
        while True:
            sent += 1
            assert sent < 10, "the service reads on"
            yield b"x" * 1_000

    headers = {"content-type": "application/json"}
    response = ask(("POST", PREDICT, {"content": endless(), "headers": headers}), max_body_bytes=2_000)

    assert response.status_code == 413


def test_every_wrong_field_is_named(ask, release):
    release(0)

    response = ask(("POST", PREDICT, {"json": {"rows": [{"carrier": 1, "distance": "x", "dely": 5}]}}))

    assert {each["pointer"]: each["detail"] for each in response.json()["errors"]} == {
        "/rows/0/carrier": "expected text or null, found a number",
        "/rows/0/distance": "expected number or null, found text",
        "/rows/0/dely": "unknown field, did you mean 'delay'?",
        "/rows/0/delay": "field is missing",
    }


def test_without_a_champion_the_service_lives_but_is_not_ready(ask):
    live, ready, answer = ask(
        ("GET", "/livez", {}), ("GET", "/readyz", {}), ("POST", PREDICT, {"json": {"rows": [{}]}})
    )

    assert (live.status_code, ready.status_code, answer.status_code) == (200, 503, 503)
    assert answer.headers["retry-after"] == "1"
    assert "no champion" in answer.json()["detail"]


def test_metrics_say_what_is_served_and_how_fast(ask, sealed, release):
    first = release(0)

    _, refused, text = ask(
        ("POST", PREDICT, {"json": {"rows": sealed.requests[:3]}}),
        ("POST", PREDICT, {"json": {"rows": [{}]}}),
        ("GET", "/metrics", {}),
    )

    lines = text.text.splitlines()
    assert refused.status_code == 422
    assert 'baton_requests_total{status="200"} 1.0' in lines
    assert 'baton_requests_total{status="422"} 1.0' in lines
    assert "baton_rows_total 3.0" in lines
    assert 'baton_compute_milliseconds_count{cohort="champion",version="1"} 1.0' in lines
    assert f'baton_model_info{{digest="{first.champion}",epoch="1",model="flights",version="1"}} 1.0' in lines


def test_the_parts_of_the_time_sum_to_the_whole(ask, sealed, release):
    release(0)
    body = {"json": {"rows": sealed.requests[:3]}}

    *_, text = ask(*[("POST", PREDICT, body)] * 30, ("GET", "/metrics", {}))

    found = re.findall(
        r'^baton_(\w+)_milliseconds_sum\{cohort="champion",version="1"\} (\S+)$', text.text, re.MULTILINE
    )
    sums = {part: float(total) for part, total in found}
    whole = sums.pop("total")
    assert sums.keys() == {"parse", "queue", "batch", "compute", "serialisation"}
    assert sum(sums.values()) == pytest.approx(whole, rel=0.01)


def test_bad_neighbours_change_no_answer(state, sealed, release, client_of):
    first = release(0)
    good = {"rows": sealed.requests[:1]}
    bad = {"rows": [sealed.requests[0] | {"delay": "x"}]}

    async def story():
        async with client_of(state) as client:
            return await asyncio.gather(*(client.post(PREDICT, json=bad if at % 3 == 0 else good) for at in range(150)))

    answers = asyncio.run(story())

    assert {each.status_code for each in answers[::3]} == {422}
    scores = {each.json()["predictions"][0]["score"] for at, each in enumerate(answers) if at % 3}
    assert len(scores) == 1
    assert scores.pop() == pytest.approx(sealed.scores[first.champion][0], abs=1e-6)


@pytest.fixture
def slow(monkeypatch):
    """Make every model take 0.3 s a batch."""
    score = Predictor.score

    def slowly(self, rows):
        time.sleep(0.3)
        return score(self, rows)

    monkeypatch.setattr(Predictor, "score", slowly)


def test_an_answer_that_takes_too_long_is_given_up(ask, sealed, release, slow):
    """A8: the caller's own deadline, or the service's."""
    release(0)
    body = {"json": {"rows": sealed.requests[:1]}}
    patience = {"headers": {"x-request-timeout-ms": "400"}}
    late = {"headers": {"x-request-timeout-ms": "50"}}

    answered, given_up, text = ask(
        ("POST", PREDICT, body | patience), ("POST", PREDICT, body | late), ("GET", "/metrics", {}), max_batch_rows=1
    )

    assert answered.status_code == 200
    assert given_up.status_code == 504
    assert given_up.json()["detail"] == "the answer took too long"
    assert "baton_deadline_exceeded_total 1.0" in text.text.splitlines()


@pytest.mark.parametrize("wrong", ["soon", "0", "-5", "nan", ""])
def test_a_deadline_that_is_no_positive_number_is_refused(ask, sealed, release, wrong):
    release(0)

    response = ask(
        ("POST", PREDICT, {"json": {"rows": sealed.requests[:1]}, "headers": {"x-request-timeout-ms": wrong}})
    )

    assert response.status_code == 400


def test_a_caller_that_hangs_up_ends_its_work(state, sealed, release, slow):
    """A7: its rows leave the batch, and no slot stays taken."""
    release(0)
    sent = []

    async def story():
        app = create_app(lambda: ServingSettings(folder=state, model="flights", max_batch_rows=1))
        async with app.router.lifespan_context(app):
            body = json.dumps({"rows": sealed.requests[:1]}).encode()
            messages = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])

            async def receive():
                return next(messages)

            async def send(message):
                sent.append(message)

            headers = [(b"content-type", b"application/json")]
            scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": headers, "query_string": b""}
            started = time.monotonic()
            await app(scope, receive, send)
            return time.monotonic() - started

    assert asyncio.run(story()) < 0.25
    assert sent[0]["status"] == 499
