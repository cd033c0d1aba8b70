"""OpenTelemetry spans of requests and their parts, sent over OTLP/HTTP where the environment names a collector.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or its form for traces) is set, and
then the app is not even wrapped. A request's span is a child of its caller's
`traceparent`; its parts are those of the metrics, made from the same times once
the answer is written. Attributes are a route, a status and what was served:
nothing that a caller has sent, for which reason `tracestate` is not passed on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from baton.core.errors import DependencyDown
from baton.serving.api_keys import ADMIN
from baton.serving.batcher import Scored
from baton.serving.callers import needed
from baton.serving.predictor import Predictor

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# OpenTelemetry's own switch.
OFF = "OTEL_SDK_DISABLED"
TRACEPARENT = b"traceparent"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PARTS = ("parse", "queue", "batch", "compute", "write")
ERRORS = 500
# A collector that does not answer must not hold up the service's end.
LAST_S = 2.0


class Spans:
    """Makes the spans of one process and sends them in the background."""

    def __init__(self) -> None:
        """Prepare the exporter, which OpenTelemetry's own variables configure.

        Raises:
            DependencyDown: The exporter is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise DependencyDown(
                what="spans cannot be sent", why=str(error), fix="install baton[tracing], or unset " + ENDPOINTS[1]
            ) from error
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = Resource({"service.name": "baton", "service.version": version("baton")})
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("baton.serving")
        self._parent = TraceContextTextMapPropagator()

    def around(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> ASGIApp:
        """Give the app with a span for each request but those of health and administration."""
        return _Traced(app, self, [(each.path_regex, each.path) for each in routes if isinstance(each, Route)])

    def begin(self, scope: Scope, route: str) -> Any:
        """Start a request's span, as its caller's child where it names one."""
        from opentelemetry.trace import SpanKind

        parents = [value.decode("latin-1") for name, value in scope["headers"] if name == TRACEPARENT]
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        return self._tracer.start_span(
            f"{method} {route}",
            context=self._parent.extract({"traceparent": parents[0]} if parents else {}),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
        )

    def parts(self, scored: Scored, predictor: Predictor, *, cohort: str, started: float, ended: float) -> None:
        """Add what was served, and where the time has gone, to the request that this task answers.

        Args:
            scored: The scores, with their times.
            predictor: Whose they are.
            cohort: The side of a rollout.
            started: When the request came in, by `time.perf_counter`.
            ended: When its answer was written.
        """
        from opentelemetry.trace import get_current_span

        span = get_current_span()
        if not span.is_recording():
            return
        span.set_attributes(_facts(scored, predictor, cohort))
        # The parts were timed by another clock than spans are.
        epoch = time.time() - time.perf_counter()
        at = scored.arrived
        times = [started, at]
        for took_ms in (scored.queue_ms, scored.batch_ms, scored.compute_ms):
            at += took_ms / 1e3
            times.append(at)
        times.append(max(at, ended))
        for part, begins, ends in zip(PARTS, times, times[1:], strict=False):
            child = self._tracer.start_span(part, start_time=int((epoch + begins) * 1e9))
            child.end(end_time=int((epoch + max(begins, ends)) * 1e9))

    def end(self) -> None:
        """Send what is left; a collector that does not answer is given up soon."""
        last = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        last.start()
        last.join(LAST_S)


def spans_from_environment(environment: Mapping[str, str] = os.environ) -> Spans | None:
    """Give the spans where OpenTelemetry's variables name a collector, else None.

    Raises:
        DependencyDown: The exporter is not installed.
    """
    wanted = any(environment.get(name) for name in ENDPOINTS)
    return Spans() if wanted and environment.get(OFF, "").lower() != "true" else None


class _Traced:
    """An app whose requests have spans."""

    def __init__(self, app: ASGIApp, spans: Spans, routes: list[tuple[Any, str]]) -> None:
        self._app = app
        self._spans = spans
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or needed(scope["path"]) in {None, ADMIN}:
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import StatusCode, use_span

        span = self._spans.begin(scope, self._route(scope["path"]))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= ERRORS:
                    span.set_status(StatusCode.ERROR)
            await send(message)

        # An exception's text may hold what a caller has sent.
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            await self._app(scope, receive, told)

    def _route(self, path: str) -> str:
        """Give the pattern of a path: the path itself is the caller's."""
        return next((template for pattern, template in self._routes if pattern.match(path)), "unknown")


def _facts(scored: Scored, predictor: Predictor, cohort: str) -> dict[str, str | int]:
    release = predictor.release
    return {
        "baton.model": release.model,
        "baton.version": release.version,
        "baton.digest": release.champion,
        "baton.epoch": release.epoch,
        "baton.cohort": cohort,
        "baton.rows": len(scored.scores),
        "baton.batch_rows": scored.batch_rows,
    }
