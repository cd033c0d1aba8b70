"""The service's HTTP interface.

POST /v1/models/{name}/predict   score rows
GET  /v1/models/{name}           what is served: version, digest, epoch, task, classes, fields
GET  /openapi.json               the same as an OpenAPI document, with the answers of its task
GET  /livez, /readyz, /metrics   for supervisors and Prometheus
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from baton.core.digest import plain
from baton.core.errors import BatonError, DependencyDown
from baton.serving.admin_server import admin_served
from baton.serving.engines import Engines, all_running
from baton.serving.feedback import feedback_routes
from baton.serving.guard import Guard
from baton.serving.open_inference import open_inference_routes
from baton.serving.openapi import openapi, together
from baton.serving.predict_route import PredictRoute, model_of
from baton.serving.problem import on_error, on_http_error, problem, problem_of
from baton.serving.served_model import served
from baton.serving.serving_settings import ServingSettings

log = logging.getLogger(__name__)

# No model has this name.
NOT_SERVED = ""


class ServiceApp(Starlette):
    """Starlette, with the one route that is asked thousands of times a second in front of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            model = model_of(scope)
            if model is not None:
                routes: dict[str, PredictRoute] = self.state.predict
                await routes.get(model, routes[NOT_SERVED])(scope, receive, send, model=model)
                return
        await super().__call__(scope, receive, send)


def create_app(configure: Callable[[], ServingSettings]) -> Starlette:
    """Give the service as an ASGI app; `configure` is asked for the settings when it starts, not before."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            async with all_running(configure(), spans=getattr(app.state, "spans", None)) as engines:
                app.state.engines, app.state.engine = engines, engines.first
                app.state.predict = {name: PredictRoute(engine) for name, engine in engines.by_name.items()}
                # Refuses what another name is sent, as every other request is refused.
                app.state.predict[NOT_SERVED] = PredictRoute(engines.first)
                async with admin_served(app, engines.first.settings):
                    yield
        except BatonError as error:
            # For the host, which tells a person why it did not start.
            app.state.failure = error
            raise

    app: ServiceApp = ServiceApp(
        routes=[
            # For other methods, and for hosts that match routes before they hand on a request.
            Route("/v1/models/{name}/predict", predict, methods=["POST"]),
            Route("/v1/models/{name}", describe, methods=["GET"]),
            Route("/openapi.json", document, methods=["GET"]),
            Route("/livez", livez, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            *open_inference_routes(),
            *feedback_routes(),
        ],
        middleware=[Middleware(Guard, edge=lambda: app.state.engine.edge if hasattr(app.state, "engine") else None)],
        exception_handlers={HTTPException: on_http_error, Exception: on_error},
        lifespan=lifespan,
    )
    # A path with a slash too many is another path.
    app.router.redirect_slashes = False
    return app


async def predict(_: Request) -> Response:
    """Say that there is such a route; `ServiceApp` answers what is sent to it."""
    raise HTTPException(404)


async def describe(request: Request) -> Response:
    """Say what is served and which fields it takes."""
    engines: Engines = request.app.state.engines
    name = request.path_params["name"]
    try:
        predictor = served(engines.of(name), name)
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
    engines: Engines = request.app.state.engines
    try:
        ready = engines.ready()
    except BatonError as error:
        return problem_of(error)
    documents = [
        openapi(
            predictor.bundle,
            predictor.release,
            most_rows=engine.settings.max_request_rows,
            secured=engine.edge.needs_key,
            online=engine.online.found,
        )
        for engine, predictor in ready
    ]
    return JSONResponse(together(documents))


async def livez(_: Request) -> Response:
    """Say that the event loop turns."""
    return PlainTextResponse("alive\n")


async def readyz(request: Request) -> Response:
    """Say whether there is a champion to answer with, and time left to."""
    engines: Engines = request.app.state.engines
    if engines.first.leaving.is_set():
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the service is ending")
    try:
        engines.ready()
    except DependencyDown as error:
        return problem_of(error)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Give the Prometheus metrics."""
    engines: Engines = request.app.state.engines
    content, media_type = engines.render()
    return Response(content, media_type=media_type)
