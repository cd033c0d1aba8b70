"""Spans of a real service, as a real OTLP receiver gets them."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from baton.serving.otel_spans import Spans, spans_from_environment
from baton.serving.process import start

PREDICT = "/v1/models/flights/predict"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARTS = ("parse", "queue", "batch", "compute", "write")


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        self.server.taken.append((self.path, content))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def _collector():
    """An OTLP/HTTP receiver, and what it has taken."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.taken = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _spans(taken):
    found = []
    for path, content in taken:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            assert {(each.key, each.value.string_value) for each in resource.resource.attributes} >= {
                ("service.name", "flights-at-gate-b")
            }
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def _attributes(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.fixture
def told(state, port, release, sealed, monkeypatch):
    """What a collector was told of a few requests, and the release that answered them."""
    first = release(0)
    with _collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "flights-at-gate-b")
        service = start(state, model="flights", port=port)
        try:
            with httpx.Client(base_url=service.url) as client:
                rows = {"rows": [*sealed.requests[:2], sealed.requests[0] | {"carrier": "Ada Canary"}]}
                parent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "canary=ada"}
                assert client.post(PREDICT, json=rows, headers=parent).status_code == 200
                wrong = {"rows": [sealed.requests[0] | {"distance": "canary@example.org"}]}
                assert client.post(PREDICT, json=wrong, headers={"x-api-key": "canary"}).status_code == 422
                assert client.get("/v1/models/canary-model", params={"canary": 1}).status_code == 404
                named = sealed.requests[0]
                tensors = [
                    {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["canary"]},
                    {"name": "distance", "datatype": "FP64", "shape": [1], "data": [named["distance"]]},
                    {"name": "delay", "datatype": "FP64", "shape": [1], "data": [5.0]},
                ]
                assert client.post("/v2/models/flights/infer", json={"inputs": tensors}).status_code == 200
                client.get("/readyz")
                client.get("/metrics")
        finally:
            assert service.stop() == 0
        return collector.taken, first


def test_a_request_and_its_parts_are_told_and_nothing_that_callers_sent(told):
    """K2: one service for several facts, since a start takes seconds."""
    taken, first = told
    spans = _spans(taken)
    roots = [span for span in spans if span.name not in PARTS]

    # Health and administration have none, and paths are patterns.
    assert sorted(span.name for span in roots) == [
        "GET /v1/models/{name}",
        "POST /v1/models/{name}/predict",
        "POST /v1/models/{name}/predict",
        "POST /v2/models/{name}/infer",
    ]
    statuses = sorted(_attributes(span)["http.response.status_code"] for span in roots)
    assert statuses == [200, 200, 404, 422]

    # The caller's trace goes on, with the parts of the request inside of it and in their order.
    (ours,) = [span for span in roots if span.trace_id.hex() == TRACE]
    assert ours.parent_span_id.hex() == PARENT
    facts = _attributes(ours)
    assert (facts["baton.digest"], facts["baton.version"], facts["baton.rows"]) == (first.champion, "1", 3)
    parts = [span for span in spans if span.parent_span_id == ours.span_id]
    assert {span.trace_id.hex() for span in parts} == {TRACE}
    assert [span.name for span in sorted(parts, key=lambda span: PARTS.index(span.name))] == list(PARTS)
    ordered = sorted(parts, key=lambda span: PARTS.index(span.name))
    assert all(a.end_time_unix_nano <= b.start_time_unix_nano + 1_000 for a, b in pairwise(ordered))
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in parts)

    # The other protocol has its parts too; a refusal has none.
    (infer,) = [span for span in roots if span.name.startswith("POST /v2")]
    assert {span.name for span in spans if span.parent_span_id == infer.span_id} == set(PARTS)
    (refused,) = [span for span in roots if _attributes(span)["http.response.status_code"] == 422]
    assert [span for span in spans if span.parent_span_id == refused.span_id] == []

    everything = b"".join(content for _, content in taken).lower()
    assert [word for word in (b"canary", b"ada", b"example.org", b"x-api-key") if word in everything] == []


def test_without_a_collector_there_are_no_spans():
    assert spans_from_environment({}) is None
    assert spans_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"}) is None


def test_a_collector_that_does_not_answer_holds_nobody_up(port, monkeypatch):
    """J5: what cannot be sent is given up at the end, whatever the exporter would still wait for."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    spans = Spans()
    for _ in range(100):
        spans.begin({"headers": [], "method": "GET"}, "/v2").end()

    spans.end()

    # The exporter itself goes on trying for half a minute, in a thread that ends with the process.
    assert [each.daemon for each in threading.enumerate() if each.name == "spans"] == [True]
