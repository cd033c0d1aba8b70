"""The edge by itself: who is let in, in which order, and how long it takes."""

import asyncio
import logging
import statistics
import time
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import pytest

from baton.core.errors import Misuse
from baton.serving.api_keys import add_key, revoke_key
from baton.serving.callers import Caller
from baton.serving.edge import Edge, Unproven
from baton.serving.refusal import Refused
from baton.serving.serving_settings import ServingSettings

PREDICT = "/v1/models/flights/predict"
JSON = (b"content-type", b"application/json")


class Clock:
    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now


def scope(*headers, path=PREDICT, method="POST", query=b"", client="10.0.0.1", port=8000):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [JSON, *headers],
        "client": (client, 5000),
        "server": ("127.0.0.1", port),
    }


def bearer(text):
    return (b"authorization", b"Bearer " + text.encode())


@asynccontextmanager
async def opened(folder, *, clock=None, calendar=None, refused=None, **settings):
    edge = Edge(
        ServingSettings(folder=folder, model="flights", **settings),
        clock=clock or time.monotonic,
        calendar=calendar or time.time,
        refused=refused or (lambda _: None),
    )
    await edge.open()
    try:
        yield edge
    finally:
        await edge.close()


async def let_in(edge, request):
    try:
        return edge.admit(request)
    except Unproven:
        return await edge.prove(request)


async def status(edge, request):
    try:
        await let_in(edge, request)
    except Refused as no:
        return no.status.value
    return 200


def statuses(folder, requests, **settings):
    async def story():
        async with opened(folder, **settings) as edge:
            return [await status(edge, request) for request in requests]

    return asyncio.run(story())


@pytest.fixture
def key(tmp_path):
    """Make a key and give its text."""

    def make(*scopes, **more):
        now = more.pop("now", datetime.now(timezone.utc))
        made, text = add_key(tmp_path / "keys.json", name="till", scopes=scopes or ("predict",), now=now, **more)
        make.id = made.id
        return text

    return make


def test_on_loopback_without_keys_everybody_is_let_in(tmp_path):
    requests = [scope(), scope(path="/metrics", method="GET"), scope(path="/v1/feedback")]
    assert statuses(tmp_path, requests) == [200] * 3


def test_no_key_wrong_keys_and_keys_in_strange_places_are_refused(tmp_path, key):
    """H1: no key, a wrong one, an empty one, two of them, one in the query."""
    text = key()
    wrong = text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB")
    refused = [
        scope(),
        scope(bearer("")),
        scope((b"authorization", b"Bearer")),
        scope((b"authorization", b"Basic " + text.encode())),
        scope(bearer("nonsense")),
        scope(bearer("baton_\xff")),
        scope(bearer(wrong)),
        scope((b"x-api-key", wrong.encode())),
        scope(bearer(text), (b"x-api-key", text.encode())),
        scope(bearer(text), bearer(text)),
        scope(query=b"api_key=" + text.encode()),
        scope(bearer(text), query=b"x=1&KEY=" + text.encode()),
    ]
    assert statuses(tmp_path, refused) == [401] * len(refused)
    assert statuses(tmp_path, [scope(bearer(text)), scope((b"x-api-key", text.encode()))]) == [200, 200]
    assert statuses(tmp_path, [scope((b"authorization", b"bEARER  " + text.encode() + b" "))]) == [200]
    assert statuses(tmp_path, [scope(bearer("x" * (10 << 20)))]) == [431]


def test_an_unknown_id_takes_as_long_as_a_wrong_secret(tmp_path, key):
    """H1: the time tells nothing of which ids there are."""
    text = key()

    async def story():
        async with opened(tmp_path) as edge:

            async def took(shown, client):
                began = time.perf_counter()
                assert await status(edge, scope(bearer(shown), client=client)) == 401
                return time.perf_counter() - began

            secrets = [text[:-4] + tail for tail in ("AAAA", "BBBB", "CCCC", "DDDD", "EEEE")]
            known = [await took(each, "10.4.0.1") for each in secrets if each != text]
            return known, [await took(f"baton_{at:016x}_{'x' * 43}", "10.5.0.1") for at in range(5)]

    known, unknown = asyncio.run(story())
    assert 0.3 < statistics.median(known) / statistics.median(unknown) < 3


def test_only_exact_paths_need_no_key(tmp_path, key):
    """R11: what merely looks like a health check is none."""
    key()
    paths = ("/v1/models/xready", "/predict/health", "//livez", "/livez/../predict", "/livez/", "/LIVEZ", "/docs")

    assert statuses(tmp_path, [scope(path=path, method="GET") for path in paths]) == [401] * len(paths)
    assert statuses(tmp_path, [scope(path=path, method="GET") for path in ("/livez", "/readyz")]) == [200, 200]


def test_a_key_opens_what_its_scopes_say(tmp_path, key):
    """H4: a key for predictions reads no metrics and no documents."""
    text = key()
    paths = ("/metrics", "/openapi.json", "/v1/feedback")
    requests = [scope(bearer(text), path=path, method="POST" if "v1" in path else "GET") for path in paths]

    assert statuses(tmp_path, requests) == [403, 403, 403]
    admin = key("admin", "feedback")
    requests = [scope(bearer(admin), path=path, method="POST" if "v1" in path else "GET") for path in paths]
    assert statuses(tmp_path, [*requests, scope(bearer(admin))]) == [200, 200, 200, 403]


def test_administration_keeps_to_its_port(tmp_path):
    """H4: with a port of its own, nothing else answers there and it answers nowhere else."""
    requests = [scope(path=path, port=port) for port in (8000, 9000) for path in (PREDICT, "/metrics", "/livez")]

    assert statuses(tmp_path, requests, admin_port=9000) == [200, 404, 200, 404, 200, 200]


def test_a_revoked_key_is_refused_within_five_seconds_and_an_expired_one_at_once(tmp_path, key):
    """H5: also where this process has known the key before."""
    text, dated = key(), key(expires=datetime.now(timezone.utc) + timedelta(hours=1))
    calendar = Clock(time.time())

    async def story():
        async with opened(tmp_path, calendar=calendar, keys_seconds=0.05) as edge:
            before = [await status(edge, scope(bearer(each))) for each in (text, dated)]
            calendar.now += 3_601
            expired = await status(edge, scope(bearer(dated)))
            revoked_id = text.split("_")[1]
            revoke_key(tmp_path / "keys.json", revoked_id, now=datetime.now(timezone.utc))
            began = time.monotonic()
            while await status(edge, scope(bearer(text))) != 401:
                assert time.monotonic() - began < 5
                await asyncio.sleep(0.02)
            return before, expired

    assert asyncio.run(story()) == ([200, 200], 401)


def test_a_broken_or_lost_file_opens_nothing(tmp_path, key, caplog):
    """H5: callers that were known stay, and nobody new comes in."""
    text = key()

    async def story():
        async with opened(tmp_path, keys_seconds=0.02) as edge:
            seen = [await status(edge, scope(bearer(text)))]
            (tmp_path / "keys.json").write_bytes(b"{")
            await asyncio.sleep(0.1)
            seen += [await status(edge, scope(bearer(text))), await status(edge, scope())]
            (tmp_path / "keys.json").unlink()
            await asyncio.sleep(0.1)
            return [*seen, await status(edge, scope(bearer(text))), await status(edge, scope())]

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(story()) == [200, 200, 401, 401, 401]
    assert any(record.message == "edge_alarm" for record in caplog.records)
    assert text not in caplog.text


def test_keys_are_needed_from_when_there_are_some(tmp_path, key):
    async def story():
        async with opened(tmp_path, keys_seconds=0.02) as edge:
            before = await status(edge, scope())
            key()
            await asyncio.sleep(0.2)
            return before, await status(edge, scope())

    assert asyncio.run(story()) == (200, 401)


def test_guessing_is_slowed_down_and_costs_nobody_else(tmp_path, key):
    """H2: from one address, and from many; who holds a key is let in all the while."""
    text, late = key(), key()
    clock = Clock()

    async def story():
        async with opened(tmp_path, clock=clock) as edge:
            assert await status(edge, scope(bearer(text), client="10.9.9.9")) == 200
            one = [await status(edge, scope(bearer(f"baton_{at:016x}_{'x' * 43}"))) for at in range(12)]
            many = [
                await status(edge, scope(bearer(f"baton_{at:016x}_{'y' * 43}"), client=f"10.1.{at}.1"))
                for at in range(40)
            ]
            # Known before, and not yet known; from the guessers' own address too.
            good = [await status(edge, scope(bearer(each))) for each in (text, late)]
            with pytest.raises(Refused) as refusal:
                await let_in(edge, scope(bearer("baton_" + "f" * 16 + "_" + "z" * 43)))
            return one, many, good, refusal.value

    one, many, good, refusal = asyncio.run(story())
    assert one[:5] == [401] * 5
    assert set(one[7:]) == {429}
    # All addresses together have 20 proofs at once, and 2 a second.
    assert many.count(401) <= 20
    assert set(many[25:]) == {429}
    assert good == [200, 200]
    assert int(refusal.headers["retry-after"]) >= 1


def test_ten_thousand_guesses_cost_a_few_proofs_and_valid_callers_nothing(tmp_path, key, caplog):
    """H2: half from one address, half from as many addresses; at every hundredth a caller with a key comes."""
    text, late = key(), key()

    async def story():
        async with opened(tmp_path, clock=Clock()) as edge:
            assert await status(edge, scope(bearer(text))) == 200
            guessed, good = [], []
            for at in range(10_000):
                address = "10.9.9.9" if at % 2 else f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"
                guess = f"baton_{at:016x}_{'x' * 43}"
                guessed.append(await status(edge, scope(bearer(guess), client=address)))
                if at % 100 == 0:
                    good.append(await status(edge, scope(bearer(text), client="10.9.9.9")))
            return guessed, good, await status(edge, scope(bearer(late), client="10.9.9.9"))

    with caplog.at_level(logging.WARNING):
        guessed, good, unproven = asyncio.run(story())
    # All strangers together have 20 proofs at once, and the clock stands still.
    assert (guessed.count(401), guessed.count(429)) == (20, 9_980)
    assert (set(good), unproven) == ({200}, 200)
    assert "edge_alarm" in {record.message for record in caplog.records}


def test_guesses_at_a_known_id_slow_down_that_id_alone(tmp_path, key):
    """H2: many addresses that know an id."""
    text, other = key(), key()
    guesses = [text[:-4] + f"{at:04d}" for at in range(12)]

    async def story():
        async with opened(tmp_path, clock=Clock()) as edge:
            guessed = [
                await status(edge, scope(bearer(each), client=f"10.2.{at}.1")) for at, each in enumerate(guesses)
            ]
            return guessed, await status(edge, scope(bearer(other)))

    guessed, unharmed = asyncio.run(story())
    assert guessed[:5] == [401] * 5
    assert set(guessed[7:]) == {429}
    assert unharmed == 200


def test_a_caller_over_its_quota_waits_and_others_do_not(tmp_path, key):
    """A2: 429 with when to come again."""
    greedy, modest = key(requests=3, rows=10), key()
    clock = Clock()

    async def story():
        async with opened(tmp_path, clock=clock) as edge:
            got = [await status(edge, scope(bearer(greedy))) for _ in range(5)]
            others = [await status(edge, scope(bearer(modest))) for _ in range(5)]
            caller = Caller(id="key-x", scopes=frozenset(), rows=10)
            edge.charge(caller, 8)
            with pytest.raises(Refused) as refusal:
                edge.charge(caller, 8)
            clock.now += int(refusal.value.headers["retry-after"])
            edge.charge(caller, 8)
            return got, others, refusal.value

    got, others, refusal = asyncio.run(story())
    assert got == [200, 200, 200, 429, 429]
    assert others == [200] * 5
    assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"} < set(refusal.headers)


def test_no_disguise_gets_a_second_quota(tmp_path, key):
    """H3: other headers, another spelling of the path, another address: the same bucket."""
    text = key(requests=2)
    disguised = [
        scope(bearer(text)),
        scope(bearer(text), (b"x-forwarded-for", b"1.2.3.4")),
        scope(bearer(text), (b"x-forwarded-for", b"5.6.7.8"), client="10.0.0.9"),
        scope((b"x-api-key", text.encode())),
        scope(bearer(text), path="/v1/models/FLIGHTS/predict"),
        scope(bearer(text), path="//v1/models/flights/predict"),
    ]
    assert statuses(tmp_path, disguised) == [200, 200, 429, 429, 429, 429]


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(tmp_path):
    """H3: an address in a header is what a caller says of itself."""
    forwarded = (b"x-forwarded-for", b"6.6.6.6, 7.7.7.7")

    async def story():
        async with opened(tmp_path, trusted_proxies="10.0.0.1, 10.0.0.2") as edge:
            return [edge.address(scope(forwarded, client=each)) for each in ("10.0.0.1", "10.0.0.3")]

    assert asyncio.run(story()) == ["7.7.7.7", "10.0.0.3"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-length", b"2000001")], 413),
        ([(b"content-length", b"1")] * 2, 400),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"content-length", b"+1")], 400),
        ([(b"content-length", b"-1")], 400),
        ([(b"content-length", "\u0661".encode())], 400),
        ([(b"content-encoding", b"gzip")], 415),
        ([(b"content-encoding", b"identity")], 200),
        ([(b"x-%d" % at, b"y") for at in range(10_000)], 431),
        ([(b"x", b"y" * 65_536)], 431),
    ],
    ids=[
        "too long a body",
        "two lengths",
        "a length and chunks",
        "a signed length",
        "a negative length",
        "another alphabet's digit",
        "a compressed body",
        "an uncompressed body",
        "10,000 headers",
        "a header of 64 KiB",
    ],
)
def test_what_the_headers_say_is_checked_before_the_body(tmp_path, headers, expected):
    """A5, A13: nothing of the body is read, and the connection is closed."""
    assert statuses(tmp_path, [scope(*headers)], max_body_bytes=2_000_000) == [expected]


@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.bentoml+pickle", "Application/X-Pickle", "multipart/form-data; boundary=x", "text/plain", ""],
)
def test_only_json_is_read(tmp_path, media_type):
    """R3, R14: by a list of what is read, not of what is refused."""
    request = scope()
    request["headers"] = [(b"content-type", media_type.encode())]
    assert statuses(tmp_path, [request]) == [415]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "no key"),
        ({"anonymous": True}, "without TLS"),
        ({"anonymous": True, "plain_http": True}, None),
    ],
    ids=["nothing said", "no TLS", "both said"],
)
def test_other_addresses_need_keys_and_tls_unless_said_so(tmp_path, settings, match):
    """R4: a laptop's default is no server's."""

    async def story():
        async with opened(tmp_path, host="0.0.0.0", **settings):
            return True

    if match is None:
        assert asyncio.run(story())
    else:
        with pytest.raises(Misuse, match=match):
            asyncio.run(story())


def test_letting_a_known_caller_in_takes_microseconds(tmp_path, key):
    text = key()

    async def story():
        async with opened(tmp_path, request_quota=10_000_000) as edge:
            request = scope(bearer(text), (b"host", b"x"), (b"user-agent", b"y"), (b"content-length", b"700"))
            await let_in(edge, request)
            took = []
            for _ in range(2_000):
                began = time.perf_counter()
                edge.charge(edge.admit(request), 1)
                took.append(time.perf_counter() - began)
            return statistics.median(took)

    assert asyncio.run(story()) < 100e-6


def test_refusals_are_counted_by_a_few_words(tmp_path, key):
    """K3: a counter's labels are never a caller's words."""
    key()
    seen = []
    requests = [scope(bearer(f"x{at}"), path=f"/p{at}", client=f"10.3.{at % 250}.{at // 250}") for at in range(2_000)]

    assert set(statuses(tmp_path, requests, refused=seen.append)) == {401}
    assert set(seen) == {"key"}
