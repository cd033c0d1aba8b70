"""Ask the service on this machine whether it lives: the health check of an image without a shell."""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from baton.serving.serving_settings import LOOPBACK, PREFIX

SECONDS = 3.0
WELL = 200


def lives(port: int, *, path: str, tls: bool) -> bool:
    """Whether the service answers a path with 200 within three seconds."""
    try:
        connection = _connection(port, tls=tls)
        connection.request("GET", path)
        return connection.getresponse().status == WELL
    except (OSError, HTTPException):
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 where it lives, else 1; with `--ready`, where it has a champion to answer with."""
    parser = argparse.ArgumentParser(prog="baton.serving.health", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready", action="store_true")
    asked = parser.parse_args(arguments)
    path = "/readyz" if asked.ready else "/livez"
    return 0 if lives(asked.port, path=path, tls=f"{PREFIX}TLS_CERTIFICATE" in os.environ) else 1


def _connection(port: int, *, tls: bool) -> HTTPConnection:
    if not tls:
        return HTTPConnection(LOOPBACK, port, timeout=SECONDS)
    # The certificate is for the name that callers use, not for loopback; nothing is told.
    context = ssl._create_unverified_context()  # noqa: S323 - as above
    return HTTPSConnection(LOOPBACK, port, timeout=SECONDS, context=context)


if __name__ == "__main__":
    sys.exit(main())
