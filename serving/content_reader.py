"""Read a request's content: no more than allowed, and no longer than allowed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from baton.serving.http_protocol import received_whole
from baton.serving.refusal import Refused
from baton.serving.request_head import CLOSE


async def read_content(receive: Receive, *, most_bytes: int, seconds: float) -> bytes:
    """Read the content of a request.

    Raises:
        Refused: 413 as soon as it is too long, 408 when its time is over.
        ClientDisconnect: The caller has gone.
    """
    whole = received_whole(receive)
    if whole is not None:
        # No deadline for what is here: setting one costs more than checking a row.
        if len(whole) > most_bytes:
            raise _too_long(most_bytes)
        return whole
    try:
        async with asyncio.timeout(seconds):
            return await _pieces(receive, most_bytes)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body was not in within {seconds:g} s", CLOSE) from None


async def _pieces(receive: Receive, most_bytes: int) -> bytes:
    content = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece: bytes = message.get("body", b"")
        if len(content) + len(piece) > most_bytes:
            raise _too_long(most_bytes)
        if not message.get("more_body", False):
            # Most contents come in one piece, which needs no copy.
            return bytes(content + piece) if content else piece
        content += piece


def _too_long(most_bytes: int) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {most_bytes} bytes", CLOSE)
