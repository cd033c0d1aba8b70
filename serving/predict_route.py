"""POST /v1/models/{name}/predict: the route that all others give way to.

A plain ASGI callable: routing, request and response objects would cost more
than scoring a row does. What it does is one page, from the edge to the last
byte, and every refusal is a problem document as everywhere else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from baton.core.errors import BatonError
from baton.serving.answers import answers
from baton.serving.batcher import Scored
from baton.serving.callers import Caller
from baton.serving.content_reader import read_content
from baton.serving.edge import Unproven
from baton.serving.engine import Engine, Share
from baton.serving.guard import SAFE_HEADERS
from baton.serving.http_protocol import send_whole
from baton.serving.ladder import StoodIn
from baton.serving.predictor import Predictor
from baton.serving.problem import problem, problem_of
from baton.serving.refusal import Refused
from baton.serving.request_body import PredictionRequest
from baton.serving.served_model import served
from baton.serving.training_range import OUT_OF_RANGE
from baton.serving.turned_away import ModelFailed

log = logging.getLogger(__name__)

PREFIX, SUFFIX = "/v1/models/", "/predict"
TIMEOUT = b"x-request-timeout-ms"
# What proxies log where a caller has gone.
GONE = 499
_encode = msgspec.json.Encoder().encode
_Answered = tuple[Share, tuple[str, ...], Scored]


def model_of(scope: Scope) -> str | None:
    """Give the model that a request for predictions names, or None where it is another request."""
    path = scope["path"]
    if scope["method"] != "POST" or not path.startswith(PREFIX) or not path.endswith(SUFFIX):
        return None
    name: str = path[len(PREFIX) : -len(SUFFIX)]
    return name if name and "/" not in name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What every answer of a predictor begins with, and its headers: as pairs, and as the lines that are sent."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    lines: bytes


class PredictRoute:
    """Answers requests for predictions with one engine, on the event loop that it is made on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._heads: WeakKeyDictionary[Predictor, _Head] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, model: str) -> None:
        """Score the rows of the body; see `request_body` for what it may hold."""
        started = time.perf_counter()
        engine = self._engine
        watch = _Watch(receive, self._loop)
        try:
            caller = await self._admitted(scope)
            deadline = started + _seconds(scope, engine.settings.timeout_seconds)
            predictor = served(engine, model)
            content = await read_content(
                receive, most_bytes=engine.settings.max_body_bytes, seconds=engine.settings.body_seconds
            )
            engine.turn_away(predictor, deadline=deadline)
            if engine.online.asked(content):
                request = await engine.online.request(content, predictor)
            else:
                request = predictor.reader.read(content, most_rows=engine.settings.max_request_rows)
            engine.edge.charge(caller, len(request.rows))
            outside = engine.look_at(caller.id, predictor, request.rows)
            found = await self._answers(request, started, deadline, watch)
        except asyncio.CancelledError:
            if not watch.left:
                raise
            watch.forgive()
            refusal = Response(status_code=GONE)
        except ClientDisconnect:
            refusal = Response(status_code=GONE)
        except Exception as error:  # noqa: BLE001 - whatever happens, the caller gets an answer
            refusal = _refusal(error)
        else:
            await self._send(send, found, request, outside=outside, started=started)
            return
        finally:
            watch.end()
        engine.metrics.request(refusal.status_code)
        refusal.raw_headers = [*refusal.raw_headers, *SAFE_HEADERS, *self._closing()]
        await refusal(scope, receive, send)

    async def _admitted(self, scope: Scope) -> Caller:
        edge = self._engine.edge
        try:
            return edge.admit(scope)
        except Unproven:
            return await edge.prove(scope)

    async def _answers(
        self, request: PredictionRequest, started: float, deadline: float, watch: _Watch
    ) -> Sequence[_Answered]:
        engine = self._engine
        shares = engine.shares(request)
        if len(shares) == 1:
            share = shares[0]
            ids, scored = await engine.answer(
                share.predictor, share.request, started=started, deadline=deadline, watch=watch.begin
            )
            return [(share, ids, scored)]
        # Two arms are two jobs: a batch never mixes predictors.
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(
                    engine.answer(each.predictor, each.request, started=started, deadline=deadline, watch=watch.begin)
                )
                for each in shares
            ]
        return [(share, *task.result()) for share, task in zip(shares, work, strict=True)]

    async def _send(
        self,
        send: Send,
        found: Sequence[_Answered],
        request: PredictionRequest,
        *,
        outside: Sequence[int],
        started: float,
    ) -> None:
        engine = self._engine
        share, ids, scored = found[0]
        predictor = engine.answered_by(share.predictor, scored)
        head = self._head(predictor)
        start = head.start
        if len(found) == 1:
            predictions: list[dict[str, Any]] = answers(predictor.bundle, ids, scored.scores)
            if isinstance(scored, StoodIn):
                start = b'{"degraded":' + _encode(scored.rung.value) + b"," + start[1:]
        else:
            predictions = _together(engine, found, len(request.rows))
        for at in outside:
            predictions[at]["warnings"] = [OUT_OF_RANGE]
        for answer, flags in zip(predictions, request.flags, strict=False):
            answer.update(flags)
        content = start + _encode(predictions) + b"}"
        closing = self._closing()
        if closing or not send_whole(send, head.lines, content):
            length = (b"content-length", str(len(content)).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [length, *head.headers, *closing]})
            await send({"type": "http.response.body", "body": content})
        engine.metrics.request(HTTPStatus.OK)
        for share, _, scored in found:
            engine.sent(engine.answered_by(share.predictor, scored), scored, started=started)

    def _head(self, predictor: Predictor) -> _Head:
        head = self._heads.get(predictor)
        if head is None:
            release = predictor.release
            named = {
                "model": release.model,
                "version": release.version,
                "digest": release.champion,
                "epoch": release.epoch,
            }
            headers = [
                (b"content-type", b"application/json"),
                (b"model-version", release.version.encode()),
                (b"model-digest", release.champion.encode()),
                *SAFE_HEADERS,
            ]
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            head = _Head(start=_encode(named)[:-1] + b',"predictions":', headers=headers, lines=lines)
            self._heads[predictor] = head
        return head

    def _closing(self) -> list[tuple[bytes, bytes]]:
        """While the service ends, callers are moved off their connections, none of which is then cut."""
        return [(b"connection", b"close")] if self._engine.leaving.is_set() else []


class _Watch:
    """Ends a request's work when its caller hangs up, so that nobody's rows are not scored.

    Most answers come long before anybody begins to watch.
    """

    __slots__ = ("_loop", "_receive", "_task", "_work", "left")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._loop = loop
        # Asking for the running loop asks the kernel which process this is, up to Python 3.11.
        self._work: asyncio.Task[Any] | None = asyncio.current_task(loop)
        self._task: asyncio.Task[None] | None = None
        self.left = False

    def begin(self) -> None:
        """Watch from now on."""
        if self._task is None:
            self._task = self._loop.create_task(self._wait())

    def end(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()

    def forgive(self) -> None:
        """Let the work go on to its end after it was cancelled."""
        if self._work is not None:
            self._work.uncancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        assert self._work is not None
        self._work.cancel()


def _together(engine: Engine, found: Sequence[_Answered], rows: int) -> list[dict[str, Any]]:
    """Put the answers of two arms in the order of the request's rows; each names who gave it."""
    ordered: list[dict[str, Any]] = [{}] * rows
    for share, ids, scored in found:
        predictor = engine.answered_by(share.predictor, scored)
        named = {"version": predictor.release.version, "digest": predictor.release.champion}
        if isinstance(scored, StoodIn):
            named["degraded"] = scored.rung.value
        for place, answer in zip(share.places, answers(predictor.bundle, ids, scored.scores), strict=True):
            ordered[place] = answer | named
    return ordered


def _seconds(scope: Scope, most: float) -> float:
    """Read how long the caller waits; never longer than the service does.

    Raises:
        Refused: It is no positive number.
    """
    for name, value in scope["headers"]:
        if name == TIMEOUT:
            try:
                seconds = float(value) / 1e3
            except ValueError:
                seconds = math.nan
            if not seconds > 0:
                raise Refused(HTTPStatus.BAD_REQUEST, "X-Request-Timeout-Ms is no positive number", reason="header")
            return min(seconds, most)
    return most


def _refusal(error: BaseException) -> Response:
    # A task group's errors come in a group; one of them is the reason.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ModelFailed):
        log.error("model_failed", extra={"reason": error.why})
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error), code="model_error")
    if not isinstance(error, BatonError | TimeoutError):
        log.error("prediction_failed", exc_info=error)
    return problem_of(error if isinstance(error, Exception) else Exception())
