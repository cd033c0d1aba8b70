"""The service's HTTP interface.

POST /v1/models/{name}/predict   score rows
GET  /v1/models/{name}           what is served: version, digest, epoch, task, classes, fields
GET  /openapi.json               the same as an OpenAPI document, with the answers of its task
GET  /livez, /readyz, /metrics   for supervisors and Prometheus
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from baton.core.digest import plain
from baton.core.errors import BatonError, DependencyDown, SourceMissing
from baton.serving.answers import answers
from baton.serving.engine import Engine, running
from baton.serving.openapi import openapi
from baton.serving.predictor import Predictor
from baton.serving.problem import on_http_error, problem, problem_of
from baton.serving.request_body import parse_request, read_body
from baton.serving.serving_settings import ServingSettings

log = logging.getLogger(__name__)

# A caller is watched for leaving only when its answer takes this long.
WATCH_AFTER_S = 0.05


def create_app(configure: Callable[[], ServingSettings]) -> Starlette:
    """Give the service as an ASGI app; `configure` is asked for the settings when it starts, not before."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(configure()) as engine:
            app.state.engine = engine
            yield

    return Starlette(
        routes=[
            Route("/v1/models/{name}/predict", predict, methods=["POST"]),
            Route("/v1/models/{name}", describe, methods=["GET"]),
            Route("/openapi.json", document, methods=["GET"]),
            Route("/livez", livez, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ],
        exception_handlers={HTTPException: on_http_error},
        lifespan=lifespan,
    )


async def predict(request: Request) -> Response:
    """Score the rows of the body; see `request_body` for what it may hold."""
    engine: Engine = request.app.state.engine
    try:
        response = await _predict(request, engine)
    except ClientDisconnect:
        # Nobody reads this; 499 is what proxies log for it.
        response = Response(status_code=499)
    except (BatonError, TimeoutError) as error:
        response = problem_of(error)
    except Exception as error:
        log.exception("prediction_failed")
        response = problem_of(error)
    engine.metrics.requests.labels(str(response.status_code)).inc()
    return response


async def _predict(request: Request, engine: Engine) -> Response:
    _check_name(request, engine)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    predictor = _champion(engine)
    limit = engine.settings.max_body_bytes
    content = await _read(request, limit)
    if content is None:
        return problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes", headers={"connection": "close"}
        )
    checked = parse_request(read_body(content), predictor.bundle.fields, most_rows=engine.settings.max_request_rows)
    async with _ends_when_caller_leaves(request):
        ids, scored = await engine.answer(predictor, checked)
    release = predictor.release
    return JSONResponse(
        {
            "model": release.model,
            "version": release.version,
            "digest": release.champion,
            "epoch": release.epoch,
            "predictions": answers(predictor.bundle, ids, scored.scores),
        },
        headers={"model-version": release.version, "model-digest": release.champion},
    )


async def describe(request: Request) -> Response:
    """Say what is served and which fields it takes."""
    engine: Engine = request.app.state.engine
    try:
        _check_name(request, engine)
        predictor = _champion(engine)
    except BatonError as error:
        return problem_of(error)
    release = predictor.release
    return JSONResponse(
        {
            "model": release.model,
            "version": release.version,
            "digest": release.champion,
            "epoch": release.epoch,
            "task": predictor.bundle.task,
            "classes": list(predictor.bundle.classes),
            "fields": plain(predictor.bundle.fields),
        }
    )


async def document(request: Request) -> Response:
    """Describe the interface of what is served; see `baton.serving.openapi`."""
    engine: Engine = request.app.state.engine
    try:
        predictor = _champion(engine)
    except BatonError as error:
        return problem_of(error)
    return JSONResponse(openapi(predictor.bundle, predictor.release, most_rows=engine.settings.max_request_rows))


async def livez(_: Request) -> Response:
    """Say that the event loop turns."""
    return PlainTextResponse("alive\n")


async def readyz(request: Request) -> Response:
    """Say whether there is a champion to answer with."""
    try:
        _champion(request.app.state.engine)
    except DependencyDown as error:
        return problem_of(error)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Give the Prometheus metrics."""
    engine: Engine = request.app.state.engine
    content, media_type = engine.metrics.render()
    return Response(content, media_type=media_type)


def _check_name(request: Request, engine: Engine) -> None:
    if request.path_params["name"] != engine.settings.model:
        raise SourceMissing(
            what="there is no such model", why=f"this service serves {engine.settings.model!r} alone", fix="name it"
        )


def _champion(engine: Engine) -> Predictor:
    predictor = engine.champion.current
    if predictor is None:
        failure = engine.champion.failure
        raise DependencyDown(
            what=f"{engine.settings.model} has no champion in service",
            why=str(failure) if failure else "none was promoted yet",
            fix="promote a model",
        )
    return predictor


async def _read(request: Request, limit: int) -> bytes | None:
    """Read the body, or None as soon as it is known to be too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


@asynccontextmanager
async def _ends_when_caller_leaves(request: Request) -> AsyncIterator[None]:
    """Cancel the body's work when its caller hangs up, so that nobody's rows are not scored.

    Most answers come long before `WATCH_AFTER_S`; they only pay for a timer.
    """
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    left = False
    watcher: asyncio.Task[None] | None = None

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        assert work is not None
        work.cancel()

    def start() -> None:
        nonlocal watcher
        watcher = loop.create_task(watch())

    timer = loop.call_later(WATCH_AFTER_S, start)
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        assert work is not None
        work.uncancel()
        raise ClientDisconnect from None
    finally:
        timer.cancel()
        if watcher:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
