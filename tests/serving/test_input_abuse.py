"""What callers send that they should not, and what may never come out again."""

import asyncio
import json
import logging
import re
import sys
from datetime import datetime, timezone
from urllib.parse import unquote

import pytest

from baton.serving.api_keys import add_key
from baton.serving.app import create_app
from baton.serving.serving_settings import ServingSettings

PREDICT = "/v1/models/flights/predict"
JSON = {"content-type": "application/json"}
ROW = {"carrier": "AA", "distance": 100, "delay": 3}


async def as_written(folder, method, paths):
    """Give the statuses of requests whose paths nobody tidies up, as any client in the way would."""
    app = create_app(lambda: ServingSettings(folder=folder, model="flights"))
    found = []

    async def send(message):
        if message["type"] == "http.response.start":
            found.append(message["status"])

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    scope = {"type": "http", "method": method, "query_string": b"", "headers": [(b"content-type", b"application/json")]}
    scope |= {"client": ("10.0.0.1", 1), "server": ("service", 80), "scheme": "http", "root_path": ""}
    async with app.router.lifespan_context(app):
        for path in paths:
            await app({**scope, "path": unquote(path, errors="replace"), "raw_path": path.encode()}, receive, send)
    return found


@pytest.fixture
def ask(state, release, client_of):
    """Send requests to a fresh service and give the answers."""
    release(0)

    def ask(*requests, **settings):
        async def story():
            async with client_of(state, **settings) as client:
                return [await client.request(method, path, **more) for method, path, more in requests]

        return asyncio.run(story())

    return ask


def post(content, **headers):
    return ("POST", PREDICT, {"content": content, "headers": JSON | headers})


def row(**changes):
    return json.dumps({"rows": [ROW | changes]}).encode()


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b'{"rows":[{"carrier":"AA","distance":NaN,"delay":3}]}', {400}),
        (b'{"rows":[{"carrier":"AA","distance":Infinity,"delay":3}]}', {400}),
        (b'{"rows":[{"carrier":"AA","distance":-Infinity,"delay":3}]}', {400}),
        (b'{"rows":[{"carrier":"AA","distance":1e400,"delay":3}]}', {422}),
        (b'{"rows":[{"carrier":"AA","distance":' + b"9" * 400 + b',"delay":3}]}', {422}),
        (b'{"rows":[{"carrier":"AA","distance":' + b"9" * 5_000 + b',"delay":3}]}', {400, 422}),
        (row(distance="1"), {422}),
        (row(distance=True), {422}),
        (row(distance=[]), {422}),
        (row(distance={}), {422}),
        (row(distance=1e39), {422}),
        (row(carrier=1), {422}),
        (b"[" * 100_000, {400}),
        (b'{"a":' * 100_000, {400}),
        (row(carrier="x" * 900_000), {200}),
        (json.dumps({"rows": [dict.fromkeys((f"k{at}" for at in range(50_000)), 1)]}).encode(), {422}),
        (json.dumps(dict.fromkeys((f"{at}" for at in range(80_000)), 1)).encode(), {422}),
        (json.dumps({"columns": dict.fromkeys((f"{at}" for at in range(80_000)), 1)}).encode(), {422}),
        (json.dumps({"entities": [1] * 300_000}).encode(), {422}),
        (json.dumps({"rows": [{}] * 1_024}).encode(), {422}),
        (b'{"rows":[{"carrier":"AA","carrier":"UA","distance":1,"delay":3}]}', {400}),
        (b'{"rows":[],"rows":[' + json.dumps(ROW).encode() + b"]}", {400}),
        (row(carrier="\ud800"), {422}),
        (row(carrier="a\0b"), {422}),
        (row(carrier="\u202egnp.exe"), {200}),
        (row(carrier="\u0410A"), {200}),
        (b'{"rows":[{"carrier":"\xff","distance":1,"delay":3}]}', {400}),
        (b'{"rows":[{"carrier":"\xed\xa0\x80","distance":1,"delay":3}]}', {400}),
        (b"\xef\xbb\xbf" + row(), {400}),
        (row().decode().encode("utf-16"), {400}),
        (b'{"rows":[{"carrier":"AA","distance":1}]}', {422}),
        (row(extra=1), {422}),
        (b'{"rows":[{"Carrier":"AA","distance":1,"delay":3}]}', {422}),
        (b'{"rows":[]}', {422}),
        (b'{"columns":{"carrier":[],"distance":[],"delay":[]}}', {422}),
        (b'{"columns":{"carrier":["AA"],"distance":[1,2],"delay":[3]}}', {422}),
        (b'{"columns":{"carrier":"AA","distance":[1],"delay":[3]}}', {422}),
        (b"null", {422}),
        (b"", {400}),
        (b"{}", {422}),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
def test_what_is_no_row_is_refused_quickly(ask, content, statuses):
    """G1-G6: numbers that are none, depth, size, doubles, half characters, names, shapes."""
    warm, answer = ask(post(row()), post(content))

    assert warm.status_code == 200
    assert answer.status_code in statuses, answer.text[:300]
    # Some take 40 ms, on a machine that does nothing else.
    assert answer.elapsed.total_seconds() < 0.5
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) < 20_000


def test_problems_are_named_up_to_twenty_and_then_counted(ask):
    """G5."""
    (answer,) = ask(post(json.dumps({"rows": [{"carrier": 1}] * 30}).encode()))

    assert len(answer.json()["errors"]) == 20
    assert answer.json()["more"] == "and 70 more"


def test_so_many_problems_are_looked_for_and_no_more(ask):
    """G3: a body of a few kilobytes has 100,000 mistakes in it, whichever way in it takes."""
    tensor = {"name": "x", "shape": [0], "datatype": "FP64", "data": []}
    labels = [dict.fromkeys(map(str, range(100)), 1)] * 900
    answers = ask(
        post(json.dumps({"rows": [{}] * 1_024}).encode()),
        ("POST", "/v2/models/flights/infer", {"json": {"inputs": [tensor] * 10_000}}),
        ("POST", "/v2/models/flights/infer", {"json": {"inputs": [3] * 300_000}}),
        ("POST", "/v1/feedback", {"json": {"labels": labels}}),
    )

    for answer in answers:
        assert answer.status_code == 422
        assert answer.json()["more"] == "and at least 980 more"
        assert answer.elapsed.total_seconds() < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE models; --",
        "$(touch /tmp/owned)",
        "{{7*7}}",
        "%s%s%n",
        "a\r\nset-cookie: x=1",
        "${jndi:ldap://127.0.0.1:1/x}",
        "<script>alert(1)</script>",
        "../../etc/passwd",
    ],
)
def test_hostile_text_is_text(ask, text):
    """G9: in every field, and in what a row is about, where it is refused as unprintable or kept as it is."""
    body = {"rows": [ROW | {"carrier": text}], "entities": [text]}
    (plain, about) = ask(post(row(carrier=text)), post(json.dumps(body).encode()))

    assert plain.status_code == 200
    assert plain.json()["predictions"][0].keys() == {"id", "score"}
    assert about.status_code == (200 if text.isprintable() else 422)
    assert "set-cookie" not in {name.lower() for name in about.headers}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/{}/predict",
        "/v1/models/{}",
        "/v2/models/{}",
        "/v2/models/flights/versions/{}",
        "/v2/models/{}/infer",
    ],
)
def test_no_name_or_version_reaches_a_file(state, release, path):
    """H9, R6: 200 spellings on each route; an audit hook sees every file that is opened."""
    names = [
        "..", "../..", "..%2f..", "%2e%2e%2f", "%252e%252e%252f", "..\\..", "%5c..", "a%00", "%c0%ae%c0%ae",
        "%ef%bc%8e%ef%bc%8e", "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "bundles", "release.json",
        "x" * 300, "%0d%0aX: y", "flights%20", "flights/", "FLIGHTS",
    ]  # fmt: skip
    dots = ["..", "%2e%2e", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "%ef%bc%8e%ef%bc%8e", "....", "..%00"]
    between = ["%2f", "%252f", "\\", "%5c", "%255c", "%c0%af", "%ef%bc%8f", "%e2%88%95"]
    names += [
        f"{up}{slash}{up}{slash}{what}" for up in dots for slash in between for what in ("release.json", "bundles", "x")
    ]
    assert len(names) > 200
    release(0)
    opened = []
    watching = [True]

    def hook(event, arguments):
        if watching[0] and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(hook)
    method = "POST" if path.endswith(("predict", "infer")) else "GET"
    try:
        statuses = asyncio.run(as_written(state, method, [path.format(name) for name in names]))
    finally:
        watching[0] = False

    # What is refused before there is a route is refused for its form.
    assert set(statuses) <= {400, 404, 405}
    assert not [each for each in opened if "passwd" in each or ".." in each]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/livez/", 404),
        ("GET", "//livez", 404),
        ("POST", PREDICT + "/", 404),
        ("GET", PREDICT, 405),
        ("DELETE", "/v1/models/flights", 405),
        ("POST", "/metrics", 405),
        ("GET", "/v1/feedback", 405),
        ("BREW", "/v2", 405),
    ],
)
def test_wrong_paths_and_methods_say_so_in_one_shape(ask, method, path, status):
    """A14: 404, and 405 with what is allowed."""
    (answer,) = ask((method, path, {"headers": JSON}))

    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("allow" in answer.headers) == (status == 405)


def test_pages_are_for_nobody_s_browser(ask):
    """H10: no CORS, no frames, no caches, no sniffing."""
    requests = [
        ("GET", "/openapi.json", {"headers": {"origin": "https://evil.example"}}),
        ("OPTIONS", PREDICT, {"headers": {"origin": "https://evil.example", "access-control-request-method": "POST"}}),
        ("GET", "/docs", {}),
        post(row()),
    ]
    answers = ask(*requests)

    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
    assert [answer.status_code for answer in answers] == [200, 405, 404, 200]


def test_what_callers_send_is_in_no_log_metric_or_refusal(state, release, caplog, client_of):
    """K2: names, addresses, cards and keys as canaries, everywhere that one can put them."""
    release(0)
    canaries = ["Ada-Canary", "canary@example.org", "4111111111111111", "baton_canary", "CANARYKEY"]
    _, key = add_key(state / "keys.json", name="till", scopes=["predict", "admin"], now=datetime.now(timezone.utc))

    async def story():
        texts = []
        async with client_of(state) as client:
            for canary in canaries:
                for headers in ({"x-api-key": key}, {"x-api-key": canary}, {"authorization": f"Bearer {canary}"}):
                    bodies = (
                        {"rows": [ROW | {"carrier": canary}]},
                        {"rows": [ROW | {"distance": canary}]},
                        {"rows": [ROW], "entities": [canary + "\n"]},
                        {"rows": [ROW], "moments": [canary]},
                        {"rows": canary},
                    )
                    texts += [await client.post(PREDICT, json=body, headers=headers) for body in bodies]
                texts.append(await client.post(PREDICT, content=canary.encode(), headers=JSON | {"x-api-key": key}))
                texts.append(await client.get(f"/v1/models/{canary}", headers={"x-api-key": key}))
                texts.append(await client.get("/v2", headers={"x-api-key": key}, params={"api_key": canary}))
            texts.append(await client.get("/metrics", headers={"x-api-key": key}))
        return [text.text + str(text.headers) for text in texts]

    with caplog.at_level(logging.DEBUG, logger="baton"):
        answers = asyncio.run(story())

    everything = "".join(answers) + caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    logged = [record for record in caplog.records if record.name.startswith("baton")]
    assert logged or answers
    assert [canary for canary in [*canaries, key] if canary in everything] == []


def test_ten_thousand_paths_and_keys_make_no_series(state, release, client_of):
    """K3: labels are of a few words, whatever is asked and by whom."""
    release(0)
    add_key(state / "keys.json", name="till", scopes=["predict"], now=datetime.now(timezone.utc))
    _, admin = add_key(state / "keys.json", name="ops", scopes=["admin"], now=datetime.now(timezone.utc))

    async def story():
        async with client_of(state) as client:
            for at in range(2_000):
                await client.get(f"/v1/models/m{at}", headers={"x-api-key": f"k{at}"})
                await client.request(f"M{at % 50}", f"/p{at}", headers={"x-request-id": f"r{at}"})
                await client.post(f"/v1/models/m{at}/predict", content=b"{}", headers=JSON)
            return (await client.get("/metrics", headers={"x-api-key": admin})).text

    series = [line for line in asyncio.run(story()).splitlines() if line and not line.startswith("#")]
    assert len(series) < 2_000
    assert not [line for line in series if re.search(r"m1999|p1999|k1999|r1999", line)]
