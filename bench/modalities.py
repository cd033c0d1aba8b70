"""Score the same rows by REST, the v2 protocol, batch and stream, and compare the predictions bit by bit.

    python bench/modalities.py            # a table; JSON=1 for one JSON line
    ROWS=2000 python bench/modalities.py  # fewer rows

Each way runs as it is used: a service process, `baton score`, and a consumer on
a NATS JetStream server of its own. Rates include reading, checking and writing,
and that of a batch the start of the command, which is most of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from served_model import MODEL, example_rows, free_port, sealed

from baton.core.bundle import Bundle
from baton.serving.process import start

ROWS = int(os.environ.get("ROWS", "10000"))
PER_REQUEST = 100
WAIT_S = 300.0
BIN = Path(sys.executable).parent
CONSUMER = """
import asyncio, json, resource, signal, sys
from baton.serving.serving_settings import ServingSettings
from baton.serving.stream_settings import stream_settings
from baton.serving.stream_worker import consume

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    serving = ServingSettings(folder=sys.argv[1], model=sys.argv[2])
    settings = stream_settings(json.loads(sys.argv[3]))
    await consume(settings, serving, stopped=stopped, ready=lambda: print("ready", flush=True))

asyncio.run(main())
"""
Scores = NDArray[np.float64]


def main() -> None:
    """Score by every way and print how they compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = folder / MODEL
        bundle = sealed(state)
        rows = _varied(example_rows(bundle, ROWS))
        found: dict[str, tuple[Scores, float]] = {}
        peaks: dict[str, float] = {}
        service = start(state, model=MODEL, port=free_port())
        try:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                found["rest"] = _timed(lambda: _rest(client, rows))
                found["v2"] = _timed(lambda: _v2(client, bundle, rows))
            peaks["service"] = _peak_mb(service.process.pid)
        finally:
            service.stop()
        found["batch"] = _timed(lambda: _batch(folder, bundle, rows, peaks))
        found["stream"] = _stream(folder, state, rows, peaks)
    first = found["rest"][0]
    differing = {
        way: int((scores.view(np.uint64) != first.view(np.uint64)).sum()) for way, (scores, _) in found.items()
    }
    report = {
        "rows": ROWS,
        "differing": sum(differing.values()),
        "rows_per_second": {way: round(ROWS / seconds) for way, (_, seconds) in found.items()},
        "peak_rss_mb": round(max(peaks.values())),
        "peak_rss_mb_each": {way: round(peak) for way, peak in peaks.items()},
    }
    if os.environ.get("JSON"):
        print(json.dumps(report))
        return
    print(f"{ROWS:,} rows, {report['differing']} predictions differ")
    for way, (_, seconds) in found.items():
        print(f"  {way:<8} {ROWS / seconds:>10,.0f} rows/s   {differing[way]} differ from REST")
    print(f"  peak resident memory: {', '.join(f'{way} {peak:.0f} MB' for way, peak in peaks.items())}")


def _varied(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make every row another: numbers are moved a little, some are left out."""
    rng = np.random.default_rng(3)
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float):
                row[name] = None if rng.random() < 0.02 else round(value * rng.uniform(0.8, 1.2), 3)
    return rows


def _timed(work: Any) -> tuple[Scores, float]:
    started = time.perf_counter()
    scores = work()
    return scores, time.perf_counter() - started


def _chunks(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(rows), PER_REQUEST):
        yield rows[at : at + PER_REQUEST]


def _rest(client: httpx.Client, rows: list[dict[str, Any]]) -> Scores:
    scores: list[float] = []
    for chunk in _chunks(rows):
        response = client.post(f"/v1/models/{MODEL}/predict", json={"rows": chunk}).raise_for_status()
        scores += [each["score"] for each in response.json()["predictions"]]
    return np.array(scores)


def _v2(client: httpx.Client, bundle: Bundle, rows: list[dict[str, Any]]) -> Scores:
    scores: list[float] = []
    for chunk in _chunks(rows):
        inputs = [
            {
                "name": field.name,
                "datatype": "FP64" if field.kind == "number" else "BYTES",
                "shape": [len(chunk), 1],
                "data": [row[field.name] for row in chunk],
            }
            for field in bundle.fields
        ]
        response = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs}).raise_for_status()
        (output,) = [each for each in response.json()["outputs"] if each["name"] == "score"]
        scores += output["data"]
    return np.array(scores)


def _batch(folder: Path, bundle: Bundle, rows: list[dict[str, Any]], peaks: dict[str, float]) -> Scores:
    source, target = folder / "in.parquet", folder / "out.parquet"
    pq.write_table(pa.Table.from_pylist(rows), source)
    command: list[str | Path] = [BIN / "baton", "score", source, target, "--bundle", bundle.path, "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks["batch"] = _watched(child)
    return np.array(pq.read_table(target)["score"])


def _stream(folder: Path, state: Path, rows: list[dict[str, Any]], peaks: dict[str, float]) -> tuple[Scores, float]:
    """Have a consumer that already listens answer the rows; gives the scores and from first message to last answer."""
    with _nats(folder) as url:
        settings = {"url": url, "source": "rows", "target": "scores"}
        command = [sys.executable, "-c", CONSUMER, str(state), MODEL, json.dumps(settings)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            child.stdout.readline()
            messages = [json.dumps({"rows": chunk}).encode() for chunk in _chunks(rows)]
            answers, seconds = asyncio.run(_exchange(url, messages))
            peaks["stream"] = _peak_mb(child.pid)
        finally:
            child.terminate()
            child.wait()
    return np.array([each["score"] for answer in answers for each in answer["predictions"]]), seconds


async def _exchange(url: str, messages: list[bytes]) -> tuple[list[dict[str, Any]], float]:
    """Send messages and gather their answers, in the order of the messages; says how long that took."""
    import nats

    client = await nats.connect(url)
    answers: dict[str, dict[str, Any]] = {}
    complete = asyncio.Event()

    async def take(message: Any) -> None:
        answers[message.headers["Nats-Msg-Id"]] = json.loads(message.data)
        if len(answers) == len(messages):
            complete.set()

    await client.subscribe("scores", cb=take)
    jetstream = client.jetstream()
    started = time.perf_counter()
    for at, message in enumerate(messages):
        await jetstream.publish("rows", message, headers={"Nats-Msg-Id": str(at)})
    async with asyncio.timeout(WAIT_S):
        await complete.wait()
    seconds = time.perf_counter() - started
    await client.close()
    return [answers[str(at)] for at in range(len(messages))], seconds


@contextmanager
def _nats(folder: Path) -> Iterator[str]:
    port = free_port()
    command: list[str | Path] = [
        BIN / "nats-server",
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        "-js",
        "-sd",
        folder / "jetstream",
    ]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _watched(child: subprocess.Popen[bytes]) -> float:
    """Wait for a process and give its peak resident memory in MB."""
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, _peak_mb(child.pid))
        time.sleep(0.02)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return peak


def _peak_mb(pid: int) -> float:
    """Read the peak resident memory of a process and its children in MB, where /proc tells."""
    peak = 0.0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = float(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return max([peak, *(_peak_mb(int(each)) for each in children)])


if __name__ == "__main__":
    main()
