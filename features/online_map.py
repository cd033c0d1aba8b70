"""Tell serving where the values are that it fetches by entity: the map beside the online store."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from baton.core.spec import ModelSpec, ViewSpec
from baton.features.durable import write_json

# `baton.serving.online_map` reads this file; both sides name its version.
MAP_FILE = "online.json"
FORMAT = 1
SECONDS = 5


def write_map(folder: Path, spec: ModelSpec, *, project: str, as_of: datetime, sqlite: str | None) -> None:
    """Write the map of a store that was filled.

    Args:
        folder: The feature store's folder.
        spec: The project, for its views.
        project: The project's name as Feast takes it.
        as_of: What the values were known at.
        sqlite: The SQLite file in the folder, or None for Redis.
    """
    views = [_view(name, view, spec.features.text) for name, view in spec.features.views.items()]
    write_json(
        folder / MAP_FILE, {"format": FORMAT, "project": project, "as_of": as_of, "sqlite": sqlite, "views": views}
    )


def connection_string(url: str) -> str:
    """Put a Redis URL the way Feast takes it, with time limits: without them a silent server hangs it for ever."""
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "db": parts.path.strip("/") or "0",
        "socket_timeout": SECONDS,
        "socket_connect_timeout": SECONDS,
    }
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme == "rediss":
        options["ssl"] = "true"
    return ",".join([f"{parts.hostname}:{parts.port or 6379}", *(f"{key}={value}" for key, value in options.items())])


def mark_filled(url: str, *, project: str, as_of: datetime) -> None:
    """Leave a mark in Redis by which an empty store is told from unknown entities."""
    from redis import Redis

    client = Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    try:
        client.set(f"baton:{project}:as_of", as_of.isoformat())
    finally:
        client.close()


def _view(name: str, view: ViewSpec, text: list[str]) -> dict[str, Any]:
    import mmh3

    values = [
        {
            "name": value,
            "kind": "text" if value in text else "number",
            # Feast's name of a value in a Redis hash.
            "field": struct.pack("<I", mmh3.hash(f"{name}:{value}", signed=False)).hex(),
        }
        for value in view.values
    ]
    ttl = view.ttl.total_seconds() if view.ttl else None
    fresh = view.fresh.total_seconds() or None
    return {"name": name, "entity": view.entity, "ttl_seconds": ttl, "fresh_seconds": fresh, "values": values}
