"""The client against a service that fails in every way."""

import asyncio
import json
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from baton.core.errors import DependencyDown, Misuse
from baton.serving.breaker import Breaker, BreakerOpen
from baton.serving.client import PredictionClient
from baton.serving.retry_budget import RetryBudget

GOOD = {"model": "m", "version": "1", "digest": "d", "epoch": 1, "predictions": [{"id": "a", "score": 0.5}]}


@pytest.fixture
def service():
    """A server that gives one programmed answer after the other, the last one for ever."""
    script, seen, bodies = [], [], []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, headers, body = script.pop(0) if len(script) > 1 else script[0]
            seen.append((time.monotonic(), dict(self.headers)))
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.script, server.seen, server.bodies = script, seen, bodies
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def ask(url, **more):
    with PredictionClient(url, model="m", **more) as client:
        return client.predict([{"x": 1}])


def test_it_comes_back_when_the_service_says(service):
    service.script += [(503, {"Retry-After": "1"}, {"detail": "later"}), (200, {}, GOOD)]

    assert ask(service.url).scores == (0.5,)
    (first, _), (second, _) = service.seen
    assert 1.0 <= second - first < 1.5


def test_a_quota_is_waited_for_only_within_its_time(service):
    service.script += [(429, {"Retry-After": "30"}, {"detail": "too many"})]
    began = time.monotonic()

    with pytest.raises(DependencyDown, match="too many"):
        ask(service.url, timeout_seconds=3)
    assert time.monotonic() - began < 1
    assert len(service.seen) == 1


def test_what_is_refused_is_not_sent_again(service):
    service.script += [(422, {}, {"detail": "no", "errors": [{"pointer": "/rows/0/x", "detail": "wrong"}]})]

    with pytest.raises(Misuse, match="/rows/0/x wrong"):
        ask(service.url)
    assert len(service.seen) == 1


@pytest.mark.parametrize("status", [500, 504])
def test_an_error_of_the_service_is_not_sent_again(service, status):
    service.script += [(status, {}, {"detail": "sorry"})]

    with pytest.raises(DependencyDown, match="sorry"):
        ask(service.url)
    assert len(service.seen) == 1


def test_the_service_is_told_how_long_is_left_and_by_whom(service):
    service.script += [(503, {"Retry-After": "1"}, {"detail": "later"}), (200, {}, GOOD)]

    ask(service.url, timeout_seconds=4, key="baton_k")

    told = [float(headers["x-request-timeout-ms"]) for _, headers in service.seen]
    assert 3_900 <= told[0] <= 4_000
    assert told[1] < 3_100
    assert {headers["authorization"] for _, headers in service.seen} == {"Bearer baton_k"}


def test_a_hundred_failing_requests_cost_few_retries(service):
    """J5: no storm; over time one in ten is a retry."""
    service.script += [(503, {"Retry-After": "0"}, {"detail": "later"})]
    budget = RetryBudget(most=5)

    for _ in range(40):
        with pytest.raises(DependencyDown):
            ask(service.url, budget=budget, timeout_seconds=2)

    assert 45 <= len(service.seen) <= 40 + 5 + 4


def test_a_dead_service_is_left_alone_and_found_again_by_one_request():
    """J5: at most one call a pause."""
    breaker = Breaker("x", failures=3, pause_s=60)
    budget = RetryBudget(most=0)
    for _ in range(3):
        with pytest.raises(DependencyDown):
            ask("http://127.0.0.1:9", breaker=breaker, budget=budget)

    with pytest.raises(DependencyDown, match="left alone"):
        ask("http://127.0.0.1:9", breaker=breaker, budget=budget)


def test_half_open_lets_one_through():
    now = [0.0]
    breaker = Breaker("x", failures=2, pause_s=5, clock=lambda: now[0])

    def fail():
        with breaker.guarding():
            raise ConnectionResetError

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            fail()
    with pytest.raises(BreakerOpen):
        fail()

    now[0] = 5.0
    # While the probe is on its way nobody else is let through.
    with breaker.guarding(), pytest.raises(BreakerOpen):
        fail()
    with breaker.guarding():
        pass
    # One failure of a probe opens it again, for a whole pause.
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            fail()
    now[0] = 10.0
    with pytest.raises(ConnectionResetError):
        fail()
    now[0] = 14.9
    with pytest.raises(BreakerOpen):
        fail()


def test_what_was_on_its_way_before_decides_nothing():
    now = [0.0]
    breaker = Breaker("x", failures=1, pause_s=5, clock=lambda: now[0])
    late = breaker.guarding()
    late.__enter__()
    with pytest.raises(ConnectionResetError), breaker.guarding():
        raise ConnectionResetError

    now[0] = 5.0
    with breaker.guarding():
        late.__exit__(None, None, None)
        with pytest.raises(BreakerOpen), breaker.guarding():
            pass
    with breaker.guarding():
        pass


def test_a_probe_that_is_called_off_decides_nothing():
    now = [0.0]
    breaker = Breaker("x", failures=1, pause_s=5, clock=lambda: now[0])
    with pytest.raises(ConnectionResetError), breaker.guarding():
        raise ConnectionResetError
    now[0] = 5.0
    with pytest.raises(asyncio.CancelledError), breaker.guarding():
        raise asyncio.CancelledError

    # It is still half open: the next one finds out, and again it is one alone.
    with breaker.guarding(), pytest.raises(BreakerOpen), breaker.guarding():
        pass


def test_errors_of_the_caller_open_nothing():
    breaker = Breaker("x", failures=1)
    with pytest.raises(LookupError), breaker.guarding(lambda error: not isinstance(error, LookupError)):
        raise LookupError
    with breaker.guarding():
        pass


def test_what_is_odd_about_an_answer_is_told_and_what_is_unknown_is_left(service):
    odd = {"id": "a", "score": 0.5, "warnings": ["out_of_training_range"], "features": "fallback", "later": 1}
    service.script += [(200, {}, GOOD | {"degraded": "previous", "later": 1, "predictions": [odd]}), (200, {}, GOOD)]

    answer = ask(service.url)
    assert (answer.degraded, answer.warnings, answer.features) == (
        "previous",
        (("out_of_training_range",),),
        ("fallback",),
    )
    answer = ask(service.url)
    assert (answer.degraded, answer.warnings, answer.features) == ("", ((),), ())


def test_entities_alone_are_sent_as_such(service):
    service.script += [(200, {}, GOOD)]
    moment = datetime(2024, 5, 1, tzinfo=timezone.utc)

    with PredictionClient(service.url, model="m") as client:
        client.predict_entities([{"plane": "N1"}], rows=[{"x": 1}], moments=[moment])

    assert service.bodies == [{"entities": [{"plane": "N1"}], "rows": [{"x": 1}], "moments": ["2024-05-01T00:00:00Z"]}]


def test_late_labels_are_sent_and_answered_each(service):
    service.script += [(200, {}, {"results": [{"id": "a", "outcome": "accepted"}, {"id": "b", "outcome": "unknown"}]})]

    with PredictionClient(service.url, model="m") as client:
        assert client.feedback({"a": 1, "b": "late"}) == {"a": "accepted", "b": "unknown"}
