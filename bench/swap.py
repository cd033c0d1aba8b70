"""Swap the champion again and again under load: what is lost, mixed or grown, and what callers notice.

    make bench-swap                one table
    make bench-swap JSON=1         one JSON object
    COUNT=50 RATE=200              swaps, and requests a second

Two bundles take turns, each loaded, verified, checked against its golden
requests and warmed beside the other. Requests come at a constant rate, whether
or not earlier ones are answered, and each latency counts from when its request
was due. An answer is *lost* where there is none or it is no 200, and *mixed*
where its scores are not those of the one bundle that it names. Memory is the
service's resident size at the end less that after the first swaps.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from served_model import free_port

from baton.core.bundle import Bundle, Field
from baton.core.profile import profile
from baton.core.release import Release
from baton.packaging.seal import seal
from baton.serving.process import start
from baton.serving.release_file import write_release
from baton.serving.service_status import now_utc, read_statuses

MODEL = "bench"
COUNT = int(os.environ.get("COUNT", "1000"))
RATE = int(os.environ.get("RATE", "200"))
# The first swaps fill what is filled once: allocators, caches, threads.
SETTLED = 50
CALM_SECONDS = 10.0
CONNECTIONS = 32
TOLERANCE = 1e-6
PATIENCE_S = 30.0
POLL_S = 0.05
# Between one swap's end and the next one's beginning.
PAUSE_S = 0.1


@dataclass(slots=True, kw_only=True)
class Load:
    """What callers saw."""

    sent: int = 0
    lost: int = 0
    mixed: int = 0
    unnamed: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the latencies."""
        return float(np.quantile(self.latencies_ms, 0.99)) if self.latencies_ms else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A sealed bundle, and what it answers to each request."""

    bundle: Bundle
    version: str
    scores: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The process that serves after a swap, and how long the swap took."""

    took_s: float
    resident_mb: float
    threads: int
    descriptors: int


def main() -> None:
    """Measure, and print what was found."""
    with tempfile.TemporaryDirectory(prefix="bench-swap-") as folder:
        line = measured(Path(folder) / MODEL, count=COUNT, rate=RATE, calm_seconds=CALM_SECONDS)
    if os.environ.get("JSON"):
        print(json.dumps(line))
        return
    for name, value in line.items():
        print(f"{name:20} {value}")


def measured(state: Path, *, count: int, rate: int, calm_seconds: float) -> dict[str, Any]:
    """Give the figures of so many swaps at so many requests a second.

    Args:
        state: An empty folder.
        count: Number of swaps.
        rate: Requests a second.
        calm_seconds: How long callers are measured without swaps, for comparison.
    """
    rows, models = sealed(state)
    write_release(state, _release(models[0], epoch=1))
    # Who swaps and looks at memory has a process of its own, and is not what the callers wait for.
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as beside:
        beside.submit(os.getpid).result()
        service = start(state, model=MODEL, port=free_port(), limits={"poll_seconds": POLL_S})
        try:
            story = _story(service.url, state, rows, models, beside, count=count, rate=rate, calm=calm_seconds)
            return asyncio.run(story)
        finally:
            service.stop()


async def _story(
    url: str,
    state: Path,
    rows: Sequence[dict[str, Any]],
    models: Sequence[Model],
    beside: Executor,
    *,
    count: int,
    rate: int,
    calm: float,
) -> dict[str, Any]:
    port = int(url.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    _until_epoch(state, 1)
    # Callers that warm up count for nothing.
    await _loaded(port, rows, models, rate=rate, during=asyncio.sleep(2.0))
    before = _seen(state)
    quiet = await _loaded(port, rows, models, rate=rate, during=asyncio.sleep(calm))
    after = _seen(state)
    swapping = loop.run_in_executor(beside, _swaps, state, models, count)
    busy = await _loaded(port, rows, models, rate=rate, during=swapping)
    swaps = await swapping
    settled, last = swaps[min(SETTLED, count // 2)], swaps[-1]
    return {
        "bench": "swap",
        "swaps": count,
        "rate": rate,
        "requests": quiet.sent + busy.sent,
        "lost": quiet.lost + busy.lost,
        "mixed": quiet.mixed + busy.mixed,
        "without_version": quiet.unnamed + busy.unnamed,
        "memory_growth_mb": round(last.resident_mb - settled.resident_mb, 2),
        "memory_growth_calm_mb": round(after.resident_mb - before.resident_mb, 2),
        "memory_mb": round(last.resident_mb, 1),
        "threads_growth": last.threads - settled.threads,
        "descriptors_growth": last.descriptors - settled.descriptors,
        "p99_calm_ms": round(quiet.p99_ms, 2),
        "p99_swapping_ms": round(busy.p99_ms, 2),
        "p99_ratio": round(busy.p99_ms / quiet.p99_ms, 2),
        "swap_p50_ms": round(float(np.median([each.took_s for each in swaps])) * 1e3, 1),
        "versions": len(busy.versions),
    }


def _swaps(state: Path, models: Sequence[Model], count: int) -> list[Seen]:
    """Swap so often, and look at the service after each."""
    seen = []
    for swap in range(1, count + 1):
        begun = time.perf_counter()
        write_release(state, _release(models[swap % 2], epoch=swap + 1, previous=models[(swap - 1) % 2]))
        _until_epoch(state, swap + 1)
        seen.append(_seen(state, took_s=time.perf_counter() - begun))
        time.sleep(PAUSE_S)
    return seen


async def _loaded(
    port: int, rows: Sequence[dict[str, Any]], models: Sequence[Model], *, rate: int, during: Any
) -> Load:
    """Send requests at a constant rate while something happens."""
    load, ended = Load(), asyncio.Event()
    known = {model.bundle.digest: model for model in models}
    due: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    callers = [asyncio.create_task(_caller(port, rows, known, due, load)) for _ in range(CONNECTIONS)]
    clock = asyncio.create_task(_clock(rate, due, ended))
    try:
        await during
    finally:
        ended.set()
        await clock
        await due.join()
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    return load


async def _clock(rate: int, due: asyncio.Queue[tuple[int, float]], ended: asyncio.Event) -> None:
    begun, at = time.perf_counter(), 0
    while not ended.is_set():
        moment = begun + at / rate
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        due.put_nowait((at, moment))
        at += 1


async def _caller(
    port: int,
    rows: Sequence[dict[str, Any]],
    known: Mapping[str, Model],
    due: asyncio.Queue[tuple[int, float]],
    load: Load,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            number, moment = await due.get()
            at = number % len(rows)
            load.sent += 1
            try:
                status, headers, content = await _ask(reader, writer, json.dumps({"rows": [rows[at]]}).encode())
            except (OSError, asyncio.IncompleteReadError, ValueError):
                load.lost += 1
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            else:
                load.latencies_ms.append((time.perf_counter() - moment) * 1e3)
                _check(load, known, at, status, headers, content)
            finally:
                due.task_done()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> tuple[int, dict[str, str], bytes]:
    head = f"POST /v1/models/{MODEL}/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def _check(  # noqa: PLR0917 - what was asked, and what came
    load: Load, known: Mapping[str, Model], at: int, status: int, headers: Mapping[str, str], content: bytes
) -> None:
    if status != 200:
        load.lost += 1
        return
    answer = json.loads(content)
    model = known.get(answer.get("digest", ""))
    named = {(answer.get("version"), answer.get("digest")), (headers.get("model-version"), headers.get("model-digest"))}
    if model is None or len(named) != 1 or not answer.get("version"):
        load.unnamed += 1
        return
    load.versions.add(answer["version"])
    right = (
        model.version == answer["version"] and abs(answer["predictions"][0]["score"] - model.scores[at]) <= TOLERANCE
    )
    load.mixed += not right


def _until_epoch(state: Path, epoch: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _epoch(state) != epoch:
        if time.monotonic() > deadline:
            raise TimeoutError("the service did not follow the release")
        time.sleep(0.02)


def _epoch(state: Path) -> int:
    return max((status.epoch for status in read_statuses(state, now_utc())), default=0)


def _release(model: Model, *, epoch: int, previous: Model | None = None) -> Release:
    return Release(
        model=MODEL,
        epoch=epoch,
        version=model.version,
        champion=model.bundle.digest,
        previous=previous.bundle.digest if previous else "",
        previous_version=previous.version if previous else "",
    )


def _seen(state: Path, *, took_s: float = 0.0) -> Seen:
    """Look at the process that serves."""
    (status,) = read_statuses(state, now_utc())
    own = Path("/proc") / str(status.pid)
    pages = int((own / "statm").read_text().split()[1])
    return Seen(
        took_s=took_s,
        resident_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        threads=len(list((own / "task").iterdir())),
        descriptors=len(list((own / "fd").iterdir())),
    )


def sealed(state: Path) -> tuple[list[dict[str, Any]], list[Model]]:
    """Seal two models of different sizes that take the same six numbers; give requests with both answers."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    rng = np.random.default_rng(0)
    names = [f"number_{at}" for at in range(6)]
    frame = pd.DataFrame({name: rng.normal(size=3_000).astype("float32").astype("float64") for name in names})
    label = (frame.sum(axis=1) + rng.normal(size=3_000) > 0).astype(int)
    models = []
    for number, trees in enumerate((60, 90), start=1):
        fit = LGBMClassifier(n_estimators=trees, num_leaves=15, n_jobs=1, random_state=0, verbose=-1)
        encode = ColumnTransformer([("number", "passthrough", names)])
        pipeline = Pipeline([("encode", encode), ("model", fit)]).fit(frame, label)
        scores = pipeline.predict_proba(frame)[:, 1]
        bundle = seal(
            state,
            model=MODEL,
            pipeline=pipeline,
            model_digest=f"{number}" * 64,
            fields=[Field(name=name, kind="number") for name in names],
            profile=profile(frame, scores, text=()),
            holdout=frame.iloc[:1_000],
            golden=frame.iloc[:16],
            facts={},
        )
        models.append(Model(bundle=bundle, version=str(number), scores=scores[:200].tolist()))
    return [dict(zip(names, row, strict=True)) for row in frame[names].head(200).to_numpy().tolist()], models


if __name__ == "__main__":
    main()
