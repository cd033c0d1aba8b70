"""The process that answers: BentoML's service on uvloop and httptools, without what costs and leaks.

`baton.serving.host` starts it. BentoML starts and ends the service's parts
(its lifespan); requests go to the service's app directly. BentoML's own
middlewares stay outside of that way: the one for timeouts leaves a timer for
every request, which keeps the request alive for a minute, about 5 kB each, and
the collector of garbage stalls everybody while it walks over them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from baton.core.errors import BatonError
from baton.serving.host import BEAT_S
from baton.serving.http_protocol import edge_protocol
from baton.serving.json_log import log_as_json
from baton.serving.otel_spans import spans_from_environment
from baton.serving.serving_settings import ServingSettings, settings_from_environment

log = logging.getLogger(__name__)

# Without a request for so long, nobody is left who has not noticed that the service ends.
QUIET_S = 0.5
# Who has connected and said nothing yet is given so long for a request, and everybody at least the shorter time.
FIRST_WORD_S, LAST_S = 2.0, 0.2
# What is in flight is answered within its own deadline; this is for what has none.
IN_FLIGHT_S = 20
# Idle connections are kept longer than by the proxies before the service, so that these close them first.
KEEP_ALIVE_S = 75
# A request leaves next to nothing for the collector of garbage, which would else look seventy times as often.
YOUNG_OBJECTS = 50_000
# A thread that writes the log gives way to the event loop after so long; by default five times as late.
SWITCH_S = 0.001


class WithoutPandas:
    """Keeps pyarrow from importing pandas with the first row that it is given: 60 MB and a second for nothing.

    Nothing that serves uses pandas, and where only serving is installed it is
    not there.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Say that there is no pandas; of other modules, nothing."""
        del path, target
        if name == "pandas":
            raise ModuleNotFoundError("serving does without pandas", name=name)


class Hosted:
    """BentoML's app for the service's start and end, and the service's own for its requests."""

    def __init__(self, bento: ASGIApp, app: ASGIApp) -> None:
        self._bento = bento
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on to the one or the other."""
        await (self._bento if scope["type"] == "lifespan" else self._app)(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn's server with a heartbeat, and an end in order."""

    def __init__(self, config: uvicorn.Config, *, state: Any, beat: int | None, grace_s: float) -> None:
        super().__init__(config)
        self._state = state
        self._beat = beat
        self._grace_s = grace_s
        self._hurry = False
        self._leaving_at: float | None = None
        self._seen = 0
        self._seen_at = 0.0
        self._beat_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends the waiting."""
        del sig, frame
        self._hurry = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the service, then make what is there now exempt from the collector of garbage."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 20)
        self._say_alive()
        log.info("service_started", extra={"pid": os.getpid()})

    async def on_tick(self, counter: int) -> bool:
        """Say that the loop turns, and whether it is time to end; called ten times a second."""
        self._say_alive()
        return await super().on_tick(counter) and self._may_end(time.monotonic())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, answer what is in flight, and end."""
        copies = [each.dup() for each in sockets or ()]
        for server in self.servers:
            server.close()
        # A connection that was made and not taken yet would be reset with the socket that it was made on.
        made = [connection for copy in copies for connection in _taken(copy)]
        for connection in made:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        await asyncio.sleep(LAST_S)
        until = time.monotonic() + FIRST_WORD_S
        while self._somebody_is_silent() and time.monotonic() < until and not self._hurry:  # noqa: ASYNC110 - uvicorn tells of no connection
            await asyncio.sleep(LAST_S / 10)
        await super().shutdown(sockets)
        log.info("service_ended", extra={"pid": os.getpid()})

    def _may_end(self, now: float) -> bool:
        requests = self.server_state.total_requests
        if self._leaving_at is None:
            self._leaving_at = self._seen_at = now
            self._seen = requests
            self._state.engine.leaving.set()
            log.info("service_leaving", extra={"grace_s": self._grace_s})
        if requests != self._seen:
            self._seen, self._seen_at = requests, now
        return self._hurry or now - self._leaving_at >= self._grace_s or now - self._seen_at >= QUIET_S

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _somebody_is_silent(self) -> bool:
        """Whether a connection was made on which no request has begun."""
        return any(getattr(connection, "cycle", None) is None for connection in self.server_state.connections)

    def _say_alive(self) -> None:
        now = time.monotonic()
        if self._beat is None or now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        try:
            os.write(self._beat, b".")
        except BlockingIOError:
            # Nobody has read for a while; the pipe is full of words like this one.
            pass
        except OSError:
            # Whoever watches over this process is gone, and nobody would ever end it.
            self._beat = None
            self.should_exit = True


def _taken(listening: socket.socket) -> Iterator[socket.socket]:
    """Take the connections that wait in a socket, and close it."""
    with listening:
        listening.setblocking(False)
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.setblocking(False)
            yield connection


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve on a socket that is listened on already."""
    parser = argparse.ArgumentParser(prog="baton.serving.worker", description=__doc__)
    parser.add_argument("--listening", type=int, required=True)
    parser.add_argument("--beat", type=int)
    parser.add_argument("--grace-seconds", type=float, default=5.0)
    asked = parser.parse_args(arguments)
    log_as_json()
    sys.setswitchinterval(SWITCH_S)
    sys.meta_path.insert(0, WithoutPandas())
    try:
        settings, spans = settings_from_environment(), spans_from_environment()
    except BatonError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who has just started it
        return error.exit_code
    from baton.serving.bento_service import PredictionService, app

    app.state.spans = spans
    if asked.beat is not None:
        os.set_blocking(asked.beat, False)
    service: Any = PredictionService
    hosted = Hosted(service.to_asgi(is_main=False), spans.around(app, app.routes) if spans else app)
    server = Server(uvicorn_config(hosted, settings), state=app.state, beat=asked.beat, grace_s=asked.grace_seconds)
    try:
        server.run(sockets=[socket.socket(fileno=asked.listening)])
    except SystemExit:
        # uvicorn's way to say that the app did not start.
        failure = getattr(app.state, "failure", None)
        if failure is None:
            raise
        print(failure, file=sys.stderr)  # noqa: T201 - as above
        code: int = failure.exit_code
        return code
    finally:
        if spans:
            spans.end()
    return 0


def uvicorn_config(app: ASGIApp, settings: ServingSettings) -> uvicorn.Config:
    """Say how uvicorn serves: quick parts, our limits on headers, and no log line for each request."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=edge_protocol(settings),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=IN_FLIGHT_S,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


if __name__ == "__main__":
    sys.exit(main())
