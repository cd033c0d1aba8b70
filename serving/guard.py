"""The edge as ASGI middleware: what it refuses never reaches the app, and no byte of its body is read."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from baton.serving.edge import Edge, Unproven
from baton.serving.problem import problem_of
from baton.serving.refusal import Refused

# Under this name the app finds the caller in the scope.
CALLER = "baton.caller"
# A page of the service is no place for scripts, frames or caches, whoever asks.
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """An app behind the edge; `edge` gives None until the service has started."""

    def __init__(self, app: ASGIApp, edge: Callable[[], Edge | None]) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the caller in, or answer in the app's place."""
        edge = self._edge() if scope["type"] == "http" else None
        if edge is None:
            await self._app(scope, receive, send)
            return
        try:
            scope[CALLER] = edge.admit(scope)
        except Unproven:
            try:
                scope[CALLER] = await edge.prove(scope)
            except Refused as no:
                await problem_of(no)(scope, receive, _safely(send))
                return
        except Refused as no:
            await problem_of(no)(scope, receive, _safely(send))
            return
        await self._app(scope, receive, _safely(send))


def _safely(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *SAFE_HEADERS]
        await send(message)

    return with_headers
