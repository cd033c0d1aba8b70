"""A bare ASGI app on granian: msgspec, no framework, no batching, no log; what Python's part can at most do."""

from __future__ import annotations

from typing import Any

import msgspec
from model import Row, score


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Score the rows of any request."""
    if scope["type"] != "http":
        return
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    if content:
        rows = [Row.model_validate(row).__dict__ for row in msgspec.json.decode(content)["rows"]]
        content = msgspec.json.encode({"scores": score(rows)})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": content})
