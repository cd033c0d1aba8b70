"""Errors as RFC 9457 problem documents: the one place that knows both errors and HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from baton.core.errors import BatonError, DependencyDown, SourceMissing
from baton.serving.request_body import BodyUnreadable, TooManyRows
from baton.serving.request_schema import RequestRefused

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
# The first kind that fits decides.
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (RequestRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooManyRows, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (BodyUnreadable, HTTPStatus.BAD_REQUEST),
    (SourceMissing, HTTPStatus.NOT_FOUND),
    (DependencyDown, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimeoutError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def problem(
    status: HTTPStatus | int, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> Response:
    """Give a problem document; `members` are the extra ones of RFC 9457, section 3.2."""
    status = HTTPStatus(status)
    content = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    headers = dict(headers or {})
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(error: Exception) -> Response:
    """Give the problem document of an error; what is not ours is told without its text."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be answered")
    if isinstance(error, RequestRefused):
        errors = [{"pointer": each.pointer, "detail": each.detail} for each in error.problems]
        if error.more:
            return problem(status, str(error), errors=errors, more=f"and {error.more} more")
        return problem(status, str(error), errors=errors)
    return problem(status, str(error) if isinstance(error, BatonError) else "the answer took too long")


async def on_http_error(_: Request, error: Exception) -> Response:
    """Turn Starlette's own refusals (404, 405) into problem documents."""
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = getattr(error, "headers", None)
    return problem(status, str(getattr(error, "detail", "")), headers=headers)
