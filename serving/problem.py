"""Errors as RFC 9457 problem documents: the one place that knows both errors and HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from baton.core.errors import BatonError, DependencyDown, SourceMissing
from baton.serving.refusal import Refused
from baton.serving.request_body import BodyUnreadable, TooManyRows
from baton.serving.request_schema import RequestRefused
from baton.serving.turned_away import ModelFailed

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
# The first kind that fits decides.
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (RequestRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooManyRows, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (BodyUnreadable, HTTPStatus.BAD_REQUEST),
    (SourceMissing, HTTPStatus.NOT_FOUND),
    (DependencyDown, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimeoutError, HTTPStatus.GATEWAY_TIMEOUT),
    (ModelFailed, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def problem(
    status: HTTPStatus | int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Give a problem document; `members` are the extra ones of RFC 9457, section 3.2.

    Its `request_id` is new and in `x-request-id` too, so that a caller can name
    the refusal without repeating what was refused.
    """
    status = HTTPStatus(status)
    request_id = uuid.uuid4().hex
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "request_id": request_id,
        # The member in which clients of the Open Inference Protocol look.
        "error": detail,
        **members,
    }
    headers = {"x-request-id": request_id, **(headers or {})}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(error: Exception) -> Response:
    """Give the problem document of an error; what is not ours is told without its text."""
    if isinstance(error, Refused):
        return problem(error.status, error.detail, headers=error.headers)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be answered")
    if isinstance(error, RequestRefused):
        errors = [{"pointer": each.pointer, "detail": each.detail} for each in error.problems]
        more: dict[str, Any] = {"more": f"and {error.at_least}{error.more} more"} if error.more else {}
        return problem(status, str(error), errors=errors, **more)
    return problem(
        status,
        str(error) if isinstance(error, BatonError) else "the answer took too long",
        headers=_wait(getattr(error, "retry_after_s", None)),
    )


async def on_http_error(_: Request, error: Exception) -> Response:
    """Turn Starlette's own refusals (404, 405) into problem documents."""
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = getattr(error, "headers", None)
    return problem(status, str(getattr(error, "detail", "")), headers=headers)


async def on_error(_: Request, error: Exception) -> Response:
    """Turn what nobody has foreseen into a problem document without its text."""
    return problem_of(error)


def _wait(seconds: float | None) -> dict[str, str]:
    """Say when to come again, where the error has computed it."""
    return {} if seconds is None else {"retry-after": str(max(1, -int(-seconds // 1)))}
