"""Serve one model in seven ways under the same load, each way on one core and the load on another.

    python bench/serving.py              # a table; JSON=1 for one JSON object of Baton's own figures
    SECONDS=3 PEERS=fastapi,bentoml python bench/serving.py   # shorter, and of fewer peers
    REQUESTS=1000000 python bench/serving.py                  # the memory's bound over more requests
    TREES=2500 python bench/serving.py                        # a model ten times as large
    PLOT=serving.png python bench/serving.py                  # a picture too

The same ONNX graph and the same rows. Baton has its checks, batching, metrics
and prediction log on, and a key is asked for; the peers check rows with
pydantic and do nothing else. Load comes from `wrk` (Debian: `apt-get install
wrk`), a closed loop, which finds how much a service can do; what waits in a
crowd is told by `bench/overload.py`, an open one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
from served_model import MODEL, example_rows, free_port, sealed, wait_until_up
from serving_plots import draw_services
from wrk_load import closed_loop

from baton.core.bundle import Bundle
from baton.core.errors import SourceMissing
from baton.packaging.manifest import MODEL as GRAPH
from baton.packaging.reader import open_contents
from baton.packaging.scorer import Scorer
from baton.serving.api_keys import PREDICT, add_key
from baton.serving.process import members, start
from baton.serving.request_schema import parse_rows
from baton.serving.serving_settings import KEY_FILE

SECONDS = int(os.environ.get("SECONDS", "10"))
REQUESTS = int(os.environ.get("REQUESTS", "200000"))
TREES = int(os.environ.get("TREES", "250"))
CALLERS = 32
MANY = 64
SERVER_CORE, LOAD_CORE = "0", "1"
PEERS = Path(__file__).parent / "peers"
PYTHON = sys.executable
# Out of reach, so that they are counted and refuse nobody.
QUOTAS = {"request_quota": 10**9, "row_quota": 10**9}


def main() -> None:
    """Measure Baton and the peers that are asked for, and print."""
    if not shutil.which("wrk"):
        raise SourceMissing(what="the benchmark cannot run", why="wrk is not on PATH", fix="apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / MODEL
        bundle = sealed(state, trees=TREES)
        rows = example_rows(bundle, MANY)
        one, many = json.dumps({"rows": rows[:1]}), json.dumps({"rows": rows})
        columns = json.dumps({"columns": {name: [row[name] for row in rows] for name in rows[0]}})
        alone = _rows_alone(bundle)
        peers = {name: _peer(name, bundle, one, many) for name in _asked()}
        figures = _baton(state, one, many, columns) | {"onnxruntime_rows_per_second": round(alone)}
    figures["share_of_onnxruntime"] = round(figures["many_rows_per_second"] / alone, 3)
    for name, measured in peers.items():
        figures[f"ratio_to_{name}"] = round(figures["requests_per_second"] / measured["rps"], 2)
    single = [measured["single_p50"] for measured in peers.values()]
    if single:
        figures["single_p50_over_best_peer_ms"] = round(figures["single_p50_ms"] - min(single), 3)
    if os.environ.get("PLOT"):
        ours = {"rps": figures["requests_per_second"], "p99": figures["p99_ms"], "max": figures["max_stall_ms"]}
        draw_services(peers | {"baton": ours}, path=Path(os.environ["PLOT"]))
    if os.environ.get("JSON"):
        print(json.dumps(figures | {"peers": peers}))
        return
    for name, measured in peers.items():
        _tell(name, measured["rps"], measured["p50"], measured["p99"], measured["max"])
    _tell("baton", figures["requests_per_second"], figures["p50_ms"], figures["p99_ms"], figures["max_stall_ms"])
    for name, value in figures.items():
        print(f"  {name:32} {value}")


def _asked() -> Sequence[str]:
    known = ("bentoml", "fastapi", "litserve", "mosec", "granian")
    asked = os.environ.get("PEERS", ",".join(known))
    return [name for name in asked.split(",") if name]


def _tell(name: str, rps: float, p50: float, p99: float, longest: float) -> None:
    print(
        f"{name:10} {rps:8.0f} requests/s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   longest {longest:7.1f} ms",
        flush=True,
    )


def _baton(state: Path, one: str, many: str, columns: str) -> dict[str, Any]:
    key = _key(state)
    began = time.monotonic()
    with _on_core(SERVER_CORE):
        service = start(state, model=MODEL, port=free_port(), limits=QUOTAS)
    try:
        path = f"/v1/models/{MODEL}/predict"
        start_s = _until_ready(service.url, began)
        resident = [_resident(state)]
        closed_loop(service.url + path, one, seconds=3, key=key)
        crowd = closed_loop(service.url + path, one, seconds=SECONDS, key=key)
        single = closed_loop(service.url + path, one, seconds=max(2, SECONDS // 3), key=key, callers=1)
        big = closed_loop(service.url + path, many, seconds=max(3, SECONDS // 2), key=key, callers=8)
        wide = closed_loop(service.url + path, columns, seconds=max(3, SECONDS // 2), key=key, callers=8)
        resident += _grown(service.url, path, one, key, state, rps=crowd["rps"])
    finally:
        code = service.stop()
    return {
        "requests_per_second": round(crowd["rps"]),
        "p50_ms": crowd["p50"],
        "p99_ms": crowd["p99"],
        "max_stall_ms": crowd["max"],
        "single_p50_ms": single["p50"],
        "many_rows_per_second": round(wide["rps"] * MANY),
        "many_as_objects_rows_per_second": round(big["rps"] * MANY),
        "memory_growth_mb": round(resident[-1] - resident[1], 1),
        "memory_mb": round(max(resident), 1),
        "start_seconds": round(start_s, 2),
        "lost": crowd["lost"] + single["lost"] + big["lost"] + wide["lost"] + (code != 0),
    }


def _grown(url: str, path: str, body: str, key: str, state: Path, *, rps: float) -> Iterator[float]:
    """Give resident megabytes after a first fifth of the requests, and after the others."""
    for share in (0.2, 0.8):
        closed_loop(url + path, body, seconds=max(1, round(REQUESTS * share / rps)), key=key)
        # What is on its way to the log is not kept.
        time.sleep(3)
        yield _resident(state)


def _peer(name: str, bundle: Bundle, one: str, many: str) -> dict[str, float]:
    with _served(name, bundle) as url:
        path = "/inference" if name == "mosec" else "/predict"
        # Singles first: a batcher that adapts has to have seen something.
        for _ in range(50):
            httpx.post(url + path, content=one, headers={"content-type": "application/json"}).raise_for_status()
        closed_loop(url + path, one, seconds=3)
        crowd = closed_loop(url + path, one, seconds=SECONDS)
        single = closed_loop(url + path, one, seconds=max(2, SECONDS // 3), callers=1)
        big = closed_loop(url + path, many, seconds=max(3, SECONDS // 2), callers=8)
    return {**crowd, "single_p50": single["p50"], "many_as_objects_rows_per_second": round(big["rps"] * MANY)}


@contextmanager
def _served(name: str, bundle: Bundle) -> Iterator[str]:
    port = free_port()
    where = ["--host", "127.0.0.1", "--port", str(port)]
    commands: Mapping[str, list[str]] = {
        "bentoml": ["-m", "bentoml", "serve", "bento_service:BentoBatching", "--working-dir", str(PEERS), *where],
        "fastapi": [
            "-m",
            "uvicorn",
            "fastapi_service:app",
            "--no-access-log",
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            *where,
        ],
        "litserve": [str(PEERS / "litserve_service.py"), str(port)],
        "mosec": [str(PEERS / "mosec_service.py"), "--address", "127.0.0.1", "--port", str(port)],
        "granian": [
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--loop",
            "uvloop",
            "--no-access-log",
            "granian_service:app",
            *where,
        ],
    }
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, PYTHON, *commands[name]],
        env=os.environ | {"BENCH_BUNDLE": str(bundle.path), "BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"},
        cwd=PEERS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            # Whatever processes it has left behind are in the session that began with it.
            _end_session(process.pid)


def _end_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _rows_alone(bundle: Bundle) -> float:
    """Count how many rows a second ONNX Runtime scores by itself on the service's core, in batches of 64."""
    contents = open_contents(bundle.path)
    scorer, rows = Scorer(contents.files[GRAPH]), parse_rows(example_rows(bundle, MANY), bundle.fields)
    with _on_core(SERVER_CORE):
        batches, began = 0, time.perf_counter()
        while time.perf_counter() - began < max(2, SECONDS // 3):
            scorer.score(rows)
            batches += 1
        return batches * MANY / (time.perf_counter() - began)


@contextmanager
def _on_core(core: str) -> Iterator[None]:
    """Stay on one core; what is started from there inherits it."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _key(state: Path) -> str:
    """Give the service a key, so that the edge has something to check."""
    _, key = add_key(state / KEY_FILE, name="bench", scopes=[PREDICT], now=datetime.now(timezone.utc))
    return key


def _resident(state: Path) -> float:
    """Sum what the service's processes hold, in megabytes."""
    pages = 0
    for pid in members(state):
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _until_ready(url: str, began: float) -> float:
    while httpx.get(f"{url}/readyz").status_code != 200:
        time.sleep(0.02)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
