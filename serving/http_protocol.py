"""The first lines of a connection: headers that come too slowly, are too long or contradict themselves.

A server that waits for headers for ever is held by anybody who opens a few
hundred connections and says nothing. This is uvicorn's own protocol with a
deadline and a limit; pass it as `uvicorn.Config(http=edge_protocol(settings))`.

A caller who is refused while still sending would be cut off by a reset that
overtakes the refusal. So where a connection ends before its request has, what
still comes is thrown away for a moment, and only then is the socket closed
(RFC 9112, section 9.6).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from baton.serving.serving_settings import ServingSettings

INVALID = "the request is no valid HTTP/1.1"
# How long, and how much, is thrown away of what a refused caller still sends.
LINGER_S, LINGER_BYTES = 2.0, 16 << 20
# Bodies up to this size are read before anybody answers, so nothing of them is left.
SMALL_BODY = 16 << 10


class EdgeProtocol(HttpToolsProtocol):
    """One connection; the limits are its class's, see `edge_protocol`."""

    header_seconds = 10.0
    most_header_bytes = 16 << 10

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _refused = False
    _lingers = False
    _thrown_away = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for the first headers."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes of the headers, and hand it on."""
        if self._lingers:
            self._throw_away(len(data))
            return
        if self._timer is None and self._answered():
            self._begin()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._refused and self._in_head and self._head_bytes > self.most_header_bytes:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers are over {self.most_header_bytes} bytes"
            )

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin its body, for which the app has a deadline of its own."""
        self._in_head, self._head_bytes = False, 0
        self._end()
        flaw = None if self._refused else self._flaw()
        if flaw:
            self._refuse(*flaw)
        if not self._refused:
            super().on_headers_complete()
            if self._may_be_left():
                self.cycle.transport = cast("asyncio.Transport", _Lingering(self.transport, self))

    def on_message_complete(self) -> None:
        """Wait for the next request; idle connections are uvicorn's own affair."""
        if not self._refused:
            super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if not self._refused:
            super().on_body(body)

    def linger(self) -> None:
        """Close the connection, after a moment where its request is still coming in."""
        if self._lingers or self.transport.is_closing():
            return
        if not self._in_head and self.cycle is not None and not self.cycle.more_body:
            self.transport.close()
            return
        self._lingers = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._end()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > LINGER_BYTES:
            self.transport.close()

    def _may_be_left(self) -> bool:
        """Whether something of a body may be on its way when it is answered."""
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and int(value) > SMALL_BODY):
                return True
        return False

    def _flaw(self) -> tuple[HTTPStatus, str] | None:
        """Say what is wrong with a head that the parser takes."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.most_header_bytes:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers are over {self.most_header_bytes} bytes"
        encodings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if self.parser.get_http_version() not in {"1.0", "1.1"} or encodings not in ([], [b"chunked"]):
            return HTTPStatus.BAD_REQUEST, INVALID
        return None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; `msg` is uvicorn's and says no more."""
        del msg
        self._refuse(HTTPStatus.BAD_REQUEST, INVALID)

    def _begin(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._late)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the headers were not in within {self.header_seconds:g} s")
        # Whoever is slow has had the time.
        self.transport.close()

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _free_to_answer(self) -> bool:
        """Whether an answer written now would not be read as part of another one."""
        return self._answered() or not (self.pipeline or self.cycle.response_started)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self._end()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self._free_to_answer():
            self.transport.write(_answer(status, detail))
            if self.cycle is not None:
                # The app may be at work on it still; what it says now goes nowhere.
                self.cycle.disconnected = True
        self.linger()


class _Lingering:
    """A connection whose end is put off while its request is still coming in; for all else the transport."""

    def __init__(self, transport: asyncio.Transport, protocol: EdgeProtocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def close(self) -> None:
        self._protocol.linger()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def received_whole(receive: object) -> bytes | None:
    """Take a content that is in already, as nearly all are; None where it has to be waited for.

    Args:
        receive: What the server has given the app to receive with.
    """
    cycle = getattr(receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.more_body or cycle.disconnected:
        return None
    content, cycle.body = bytes(cycle.body), bytearray()
    return content


def send_whole(send: object, head: bytes, content: bytes) -> bool:
    """Send a whole 200 in one piece, as uvicorn would, where nothing about it is unusual; says whether it was sent.

    uvicorn looks at each header of each answer for characters that no header may have, which takes a tenth of
    the time that a small answer takes; the headers of one model are always the same.

    Args:
        send: What the server has given the app to send with.
        head: Lines of headers, each with its end, without the content's length.
        content: The body.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.response_started or cycle.disconnected:
        return False
    if not cycle.keep_alive or cycle.access_log or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return False
    always = [part for name, value in cycle.default_headers for part in (name, b": ", value, b"\r\n")]
    length = b"content-length: %d\r\n\r\n" % len(content)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((b"HTTP/1.1 200 OK\r\n", *always, head, length, content)))
    cycle.message_event.set()
    cycle.on_response()
    return True


def edge_protocol(settings: ServingSettings) -> type[EdgeProtocol]:
    """Give the protocol with a service's limits."""
    limits = {"header_seconds": settings.header_seconds, "most_header_bytes": settings.max_header_bytes}
    return type("LimitedProtocol", (EdgeProtocol,), limits)


def _answer(status: HTTPStatus, detail: str) -> bytes:
    identity = uuid.uuid4().hex
    members = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    content = json.dumps({**members, "request_id": identity, "error": detail}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/problem+json\r\n"
        f"content-length: {len(content)}\r\nx-request-id: {identity}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content
