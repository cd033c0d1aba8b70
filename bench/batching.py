"""Compare three ways to serve one model under 32 callers: BentoML's batching, FastAPI without, and ours.

    python bench/batching.py            # a table; JSON=1 for one JSON line each
    SECONDS=3 python bench/batching.py  # shorter runs

Every way has one process, the same ONNX graph, the same checks of a row, and
single-row requests from a closed loop of 32 connections (`wrk`; from Debian:
`apt-get install wrk`). A second run sends 2 % bad rows: whoever of the others
does not get 200 was harmed by its neighbours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from served_model import free_port, wait_until_up

from baton.core.bundle import Bundle, Field
from baton.core.errors import SourceMissing
from baton.core.profile import profile
from baton.core.release import Release
from baton.packaging.reader import open_contents
from baton.packaging.seal import seal
from baton.serving.process import start
from baton.serving.release_file import write_release

MODEL = "bench"
CALLERS = 32
SECONDS = int(os.environ.get("SECONDS", "10"))
BENCH = Path(__file__).parent
TEXTS = ("carrier", "origin", "dest")
NUMBERS = tuple(f"number_{at}" for at in range(26))
ONE_IN = 50

# wrk runs one copy of this in each thread; `done` sums over them.
LUA = """
local threads = {}
function setup(thread) thread:set("bad", 0); table.insert(threads, thread) end
function init(args) sent = 0 end
function request()
  sent = sent + 1
  local body = GOOD
  if ONE_IN > 0 and sent % ONE_IN == 0 then body = BAD; bad = bad + 1 end
  return wrk.format("POST", PATH, {["content-type"] = "application/json"}, body)
end
function done(summary, latency, requests)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("bad") end
  io.write(string.format('\\n{"requests":%d,"micros":%d,"failed":%d,"lost":%d,"bad":%d,"p50":%f,"p99":%f}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    bad, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def main() -> None:
    """Run every way after another and print what was measured."""
    if not shutil.which("wrk"):
        raise SourceMissing(what="the benchmark cannot run", why="wrk is not on PATH", fix="apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / MODEL
        bundle = _sealed(state)
        ways = (
            ("BentoML batchable, defaults", "/predict", _bento(bundle)),
            ("FastAPI + uvicorn, unbatched", "/predict", _fastapi(bundle)),
            ("Baton", f"/v1/models/{MODEL}/predict", _baton(state)),
        )
        for name, path, service in ways:
            with service as url:
                good = _measure(url, path, bundle, one_in=0)
                mixed = _measure(url, path, bundle, one_in=ONE_IN)
            _print(name, good, mixed)


def _measure(url: str, path: str, bundle: Bundle, *, one_in: int) -> dict[str, Any]:
    row = dict(open_contents(bundle.path).golden.rows[0])
    good, bad = json.dumps({"rows": [row]}), json.dumps({"rows": [row | {NUMBERS[0]: "bad"}]})
    # Long enough to leave start-up behind, for the way that adapts as for the others.
    for _ in range(50):
        httpx.post(url + path, content=good, headers={"content-type": "application/json"}).raise_for_status()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"PATH = '{path}'\nGOOD = [[{good}]]\nBAD = [[{bad}]]\nONE_IN = {one_in}\n{LUA}")
        script.flush()
        command = ["wrk", "-t1", f"-c{CALLERS}", f"-d{SECONDS}s", "--timeout", "10s", "-s", script.name, url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def _print(name: str, good: Mapping[str, Any], mixed: Mapping[str, Any]) -> None:
    # A bad row that was sent as the clock ran out has no answer, so this can be below 0 by one for each caller.
    harmed = max(0, mixed["failed"] - mixed["bad"])
    line = {
        "way": name,
        "rps": round(good["requests"] / good["micros"] * 1e6),
        "p50_ms": round(good["p50"], 2),
        "p99_ms": round(good["p99"], 2),
        "failed": good["failed"] + good["lost"],
        "neighbours_harmed": harmed,
        "good_rows_beside_bad": mixed["requests"] - mixed["bad"],
    }
    if os.environ.get("JSON"):
        print(json.dumps(line), flush=True)
        return
    share = harmed / max(1, line["good_rows_beside_bad"])
    print(
        f"{name:30} {line['rps']:6} requests/s  p50 {line['p50_ms']:7.2f} ms  p99 {line['p99_ms']:7.2f} ms  "
        f"failed {line['failed']}  harmed by 2 % bad rows: {harmed} ({share:.1%})",
        flush=True,
    )


@contextmanager
def _bento(bundle: Bundle) -> Iterator[str]:
    arguments = ["bentoml", "serve", "batching_bento:BentoBatching", "--working-dir", str(BENCH), "--host", "127.0.0.1"]
    with _subprocess(arguments, bundle) as url:
        yield url


@contextmanager
def _fastapi(bundle: Bundle) -> Iterator[str]:
    arguments = ["uvicorn", "batching_fastapi:app", "--app-dir", str(BENCH), "--no-access-log"]
    with _subprocess(arguments, bundle) as url:
        yield url


@contextmanager
def _baton(state: Path) -> Iterator[str]:
    service = start(state, model=MODEL, port=free_port())
    try:
        yield service.url
    finally:
        service.stop()


@contextmanager
def _subprocess(arguments: list[str], bundle: Bundle) -> Iterator[str]:
    port = free_port()
    environment = os.environ | {"BENCH_BUNDLE": str(bundle.path), "BENTOML_DO_NOT_TRACK": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments, "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _sealed(state: Path) -> Bundle:
    """Seal a model of the size of the flights one: 250 trees of 15 leaves on 3 texts and 26 numbers."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    rng = np.random.default_rng(0)
    texts = {name: rng.choice([f"{name}_{at}" for at in range(30)], size=5_000) for name in TEXTS}
    numbers = {name: rng.normal(size=5_000).astype("float32").astype("float64") for name in NUMBERS}
    frame = pd.DataFrame(texts | numbers)
    label = (frame[list(NUMBERS[:5])].sum(axis=1) + rng.normal(size=5_000) > 1).astype(int)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("text", ordinal, list(TEXTS)), ("number", "passthrough", list(NUMBERS))])
    trees = LGBMClassifier(n_estimators=250, num_leaves=15, learning_rate=0.05, random_state=0, n_jobs=1, verbose=-1)
    pipeline = Pipeline([("encode", encode), ("model", trees)]).fit(frame, label)
    bundle = seal(
        state,
        model=MODEL,
        pipeline=pipeline,
        model_digest="0" * 64,
        fields=[Field(name=name, kind="text" if name in TEXTS else "number") for name in frame.columns],
        profile=profile(frame, pipeline.predict_proba(frame)[:, 1], text=TEXTS),
        holdout=frame.iloc[:1_000],
        golden=frame.iloc[:16],
        facts={},
    )
    write_release(state, Release(model=MODEL, epoch=1, version="1", champion=bundle.digest))
    return bundle


if __name__ == "__main__":
    main()
