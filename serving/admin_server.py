"""Metrics and documents on a port of their own, which a firewall can keep to its own side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from baton.core.errors import PortTaken
from baton.serving.http_protocol import edge_protocol
from baton.serving.serving_settings import ServingSettings


class _Beside(uvicorn.Server):
    """A server in a process that another server owns, and so its signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def admin_served(app: ASGIApp, settings: ServingSettings) -> AsyncIterator[None]:
    """Serve an app on the admin port while the body runs; without such a port do nothing.

    Raises:
        PortTaken: Another program listens there.
    """
    if settings.admin_port is None:
        yield
        return
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.admin_port,
        http=edge_protocol(settings),
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    server = _Beside(config)
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        # uvicorn's way to say that it cannot bind.
        raise PortTaken(
            what=f"admin port {settings.admin_port} is taken", why="another program listens on it", fix="pick another"
        ) from error
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
