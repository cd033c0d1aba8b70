"""Read Feast's online store, SQLite or Redis, straight from its tables and hashes.

Either way a look-up is one trip: every view and entity of a request together.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from baton.serving.online_map import OnlineMap, OnlineView, decoded, entity_key, seconds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store holds of one entity in one view, and when that happened (seconds since 1970)."""

    values: Mapping[str, float | str | None]
    at: float


Found = dict[tuple[str, str], Stored]


class OnlineStore(Protocol):
    """An online store; whatever fails raises, and nothing is tried twice."""

    async def read(self, wanted: Sequence[tuple[OnlineView, str]]) -> Found:
        """Give what there is of views and entities, by the view's name and the entity; unknown ones are left out."""

    async def close(self) -> None:
        """Let go of connections."""


def opened(found: OnlineMap, *, url: str | None, seconds: float) -> OnlineStore:
    """Give the store of a map: its SQLite file, or Redis where the map or the setting says so."""
    if found.sqlite is not None:
        return SqliteOnlineStore(found, found.sqlite, seconds=seconds)
    if url is None:
        raise ValueError("the features are in Redis, and BATON_SERVING_ONLINE_URL is not set")
    return RedisOnlineStore(found, url, seconds=seconds)


class SqliteOnlineStore:
    """Feast's SQLite file, read in a thread of its own so that a slow disk stalls nobody."""

    def __init__(self, found: OnlineMap, path: Path, *, seconds: float) -> None:
        self._map = found
        self._path = path
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="online")
        self._connection: sqlite3.Connection | None = None
        self._waiting = False

    async def read(self, wanted: Sequence[tuple[OnlineView, str]]) -> Found:
        """See `OnlineStore.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, wanted)

    async def close(self) -> None:
        """Close the file, once nobody reads."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _read(self, wanted: Sequence[tuple[OnlineView, str]]) -> Found:
        if self._connection is None:
            # Read only: a service must not make an empty store where there is none.
            address = f"{self._path.resolve().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, timeout=self._seconds)
        by_view: dict[str, tuple[OnlineView, dict[bytes, str]]] = {}
        for view, entity in wanted:
            by_view.setdefault(view.name, (view, {}))[1][entity_key(view.entity, entity)] = entity
        found: Found = {}
        try:
            for view, keys in by_view.values():
                self._read_view(view, keys, found)
        except sqlite3.Error:
            # A file that was put in its place is opened anew.
            self._close()
            raise
        return found

    def _read_view(self, view: OnlineView, keys: Mapping[bytes, str], found: Found) -> None:
        assert self._connection is not None
        kinds = {value.name: value.kind for value in view.values}
        table = f"{self._map.project}_{view.name}".replace('"', '""')
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(
            f'SELECT entity_key, feature_name, value, event_ts FROM "{table}" WHERE entity_key IN ({marks})',  # noqa: S608 - names of our own map
            list(keys),
        )
        read: dict[str, tuple[dict[str, float | str | None], float]] = {}
        for key, name, value, at in rows.fetchall():
            if name in kinds:
                values, _ = read.setdefault(keys[key], ({}, _moment(at)))
                values[name] = decoded(value, kinds[name])
        found.update({(view.name, entity): Stored(values=values, at=at) for entity, (values, at) in read.items()})

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


class RedisOnlineStore:
    """Feast's hashes in Redis, one pipeline for each look-up."""

    def __init__(self, found: OnlineMap, url: str, *, seconds: float) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._map = found
        self._client: Any = Redis.from_url(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            # Its default waits and tries again, for seconds.
            retry=Retry(NoBackoff(), 0),
        )

    async def read(self, wanted: Sequence[tuple[OnlineView, str]]) -> Found:
        """See `OnlineStore.read`.

        Raises:
            LookupError: The store was flushed.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.exists(self._map.mark)
        for view, entity in wanted:
            key = entity_key(view.entity, entity) + self._map.project.encode()
            pipeline.hmget(key, [*(value.field for value in view.values), b"_ts:" + view.name.encode()])
        filled, *hashes = await pipeline.execute()
        if not filled:
            raise LookupError("the store was flushed")
        found: Found = {}
        for (view, entity), values in zip(wanted, hashes, strict=True):
            if values[-1] is None:
                continue
            named = zip(view.values, values, strict=False)
            found[view.name, entity] = Stored(
                values={value.name: None if raw is None else decoded(raw, value.kind) for value, raw in named},
                at=seconds_of(values[-1]),
            )
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _moment(stored: Any) -> float:
    """Read Feast's time of a value: seconds, of a UTC time that was taken for a local one."""
    local = datetime.fromtimestamp(stored) if isinstance(stored, int | float) else datetime.fromisoformat(stored)  # noqa: DTZ006 - as it was written
    return local.replace(tzinfo=timezone.utc).timestamp()
