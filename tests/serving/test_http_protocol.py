"""Real connections that are slow, too long or ambiguous."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from baton.serving.http_protocol import LINGER_S, edge_protocol
from baton.serving.serving_settings import ServingSettings

GOOD = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serving(port, folder, app=None, **settings):
    """Serve an app that counts requests, or another one, behind the protocol."""
    seen = []

    async def counting(scope, receive, send):
        seen.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    protocol = edge_protocol(ServingSettings(folder=folder, model="m", **settings))
    server = uvicorn.Server(
        uvicorn.Config(
            app or counting, port=port, http=protocol, lifespan="off", log_config=None, ws="none", timeout_keep_alive=1
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield seen
    finally:
        server.should_exit = True
        thread.join(10)


def say(port, *pieces, pause=0.0, seconds=3.0):
    """Send pieces and give everything that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while chunk := connection.recv(65_536):
                answer += chunk
        except (ConnectionError, TimeoutError):
            pass
        return answer


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GET /ok HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65_536 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 65_536, 431),
        (b"GET /ok HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % at for at in range(10_000)), 431),
        (b"GET /ok\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc" + GOOD, 400),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GOOD,
            400,
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + GOOD,
            400,
        ),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + GOOD, 400),
        (b"GET /ok HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /ok HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /ok HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8_000_000 + b"\r\n\r\n", 431),
    ],
    ids=[
        "a header of 64 KiB",
        "a path of 64 KiB",
        "10,000 headers",
        "HTTP/0.9",
        "TLS where there is none",
        "two lengths",
        "a length, then chunks",
        "chunks, then a length",
        "an unknown encoding",
        "a space before the colon",
        "a bare line feed",
        "no ASCII",
        "a header of 8 MB",
    ],
)
def test_what_contradicts_itself_is_refused_and_the_connection_closed(port, tmp_path, message, status):
    """A13: and no second request is read out of the first."""
    with serving(port, tmp_path) as seen:
        answer = say(port, message)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer
    assert "/ok" not in seen


def test_who_is_refused_while_still_sending_hears_why(port, tmp_path):
    """A5: no reset overtakes the answer, and what is thrown away ends."""

    async def app(scope, receive, send):
        status = 413 if scope["path"] == "/long" else 200
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    head = b"POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with serving(port, tmp_path, app=app):
        for size in (100_000, 8_000_000):
            assert say(port, head % size + b"x" * size).startswith(b"HTTP/1.1 413")
        began = time.monotonic()
        assert say(port, head % 8_000_000, seconds=10).startswith(b"HTTP/1.1 413")
        assert time.monotonic() - began < LINGER_S + 3
        with socket.create_connection(("127.0.0.1", port), timeout=20) as endless:
            endless.sendall(head % 10**12)
            with pytest.raises(ConnectionError):
                endless.sendall(b"x" * 100_000_000)


def test_requests_in_a_row_are_answered_in_a_row(port, tmp_path):
    """A13: honest pipelining is HTTP."""
    with serving(port, tmp_path) as seen:
        answer = say(port, GOOD + GOOD + b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200") == 3
    assert seen == ["/ok", "/ok", "/last"]


def test_hundreds_that_send_half_a_head_are_closed_and_harm_nobody(port, tmp_path):
    """A3: 300 connections that say nothing more."""
    with serving(port, tmp_path, header_seconds=1.0):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for at, connection in enumerate(slow):
            connection.sendall(b"GET /ok HTTP/1.1\r\nHost: x\r\n" if at % 2 else b"")
        began = time.monotonic()
        good = [say(port, GOOD[:-2] + b"Connection: close\r\n\r\n") for _ in range(20)]
        closed = 0
        for connection in slow:
            connection.settimeout(5)
            answer = b""
            while chunk := connection.recv(4_096):
                answer += chunk
            closed += b"408" in answer
            connection.close()
        took = time.monotonic() - began

    assert all(b"200 OK" in each for each in good)
    assert closed == 300
    assert took < 4


def test_a_head_that_drips_is_closed_at_the_deadline(port, tmp_path):
    """A3: a byte now and then buys no time, on a fresh connection and on a used one."""
    with serving(port, tmp_path, header_seconds=0.5) as seen:
        for first in ([], [GOOD]):
            began = time.monotonic()
            say(port, *first, b"GET /slow HTTP/1.1\r\nX: ", *[b"y"] * 60, pause=0.05)
            assert time.monotonic() - began < 2.5
    assert seen == ["/ok"]
