"""Whom a service can be reached by, and whether that was said."""

from __future__ import annotations

from baton.core.errors import Misuse
from baton.serving.serving_settings import ServingSettings


def check_exposure(settings: ServingSettings, *, needs_key: bool) -> None:
    """Refuse to listen on another address than loopback without keys or TLS, unless the settings say so.

    Raises:
        Misuse: They do not.
    """
    if settings.loopback:
        return
    if not needs_key and not settings.anonymous:
        raise Misuse(
            what=f"the service does not listen on {settings.host} for everybody",
            why=f"there is no key at {settings.key_file}",
            fix="baton key add NAME, or set BATON_SERVING_ANONYMOUS=true",
        )
    if not settings.tls_certificate and not settings.plain_http:
        raise Misuse(
            what=f"the service does not listen on {settings.host} without TLS",
            why="keys and rows would cross the network in the clear",
            fix="set BATON_SERVING_TLS_CERTIFICATE and _TLS_KEY, or BATON_SERVING_PLAIN_HTTP=true behind a proxy",
        )
