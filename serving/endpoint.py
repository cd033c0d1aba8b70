"""What every route does around its own work: errors become problem documents, and are counted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from baton.core.errors import BatonError
from baton.serving.callers import Caller, anonymous
from baton.serving.content_reader import read_content
from baton.serving.guard import CALLER
from baton.serving.problem import problem_of

if TYPE_CHECKING:
    from baton.packaging.rows import Rows
    from baton.serving.engine import Engine
    from baton.serving.engines import Engines
    from baton.serving.predictor import Predictor

log = logging.getLogger(__name__)

# What proxies log where a caller has gone.
GONE = 499


def endpoint(work: Callable[[Request, Engine], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of what answers a request with the engine."""

    async def answer(request: Request) -> Response:
        engines: Engines = request.app.state.engines
        engine = engines.of(request.path_params.get("name"))
        try:
            response = await work(request, engine)
        except ClientDisconnect:
            response = Response(status_code=GONE)
        except (BatonError, TimeoutError) as error:
            response = problem_of(error)
        except Exception as error:
            log.exception("request_failed")
            response = problem_of(error)
        engine.metrics.request(response.status_code)
        return response

    return answer


async def read_request(request: Request, engine: Engine) -> bytes:
    """Read a request's body within the service's limits; see `read_content`."""
    settings = engine.settings
    return await read_content(request.receive, most_bytes=settings.max_body_bytes, seconds=settings.body_seconds)


def caller_of(request: Request) -> Caller:
    """Give who was admitted."""
    found: Caller | None = request.scope.get(CALLER)
    return found or anonymous("unknown")


def take_rows_of(request: Request, engine: Engine, predictor: Predictor, rows: Rows) -> list[int]:
    """Take a request's rows from its caller's quota and look at them; see `Engine.look_at`.

    Raises:
        Refused: 429.
        RequestRefused: They are beyond the training range, and that is refused.
    """
    caller = caller_of(request)
    engine.edge.charge(caller, len(rows))
    return engine.look_at(caller.id, predictor, rows)
