"""Ask a heavy model for less than it can do, and for twice as much: what is answered, what is turned away, and how.

    python bench/overload.py             # a table; JSON=1 for one JSON object
    SECONDS=60 python bench/overload.py  # as long as the published figures
    PLOT=overload.png python bench/overload.py  # more rates, and a picture of them

The model takes 5 ms for any batch and 0.1 ms for each row. Its capacity is
what 64 callers in a closed loop (`wrk`; Debian: `apt-get install wrk`) get of
16 rows a request. Then `k6` sends requests at 0.8 and at 2 times that rate, at
their due moments whether or not answers have come (an open loop), each with a
deadline of half a second. Only an answer within the deadline is a good one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from served_model import MODEL, example_rows, sealed, wait_until_ready
from serving_plots import draw_load
from wrk_load import closed_loop

from baton.core.errors import SourceMissing
from baton.serving.process import serve_environment

SECONDS = int(os.environ.get("SECONDS", "20"))
ROWS = 16
CALLERS = 64
DEADLINE_MS = 500
# Of the capacity. The whole curve is for the picture; the figures are of two of them.
SHARES = (0.4, 0.8, 1.0, 1.2, 1.5, 2.0) if os.environ.get("PLOT") else (0.8, 2.0)
SERVER_CORE, LOAD_CORE = "0", "1"
# Callers that may wait at once: more than the deadline lets through at any rate that is tried.
MOST_WAITING = 800
QUOTAS: dict[str, int | float] = {"request_quota": 10**9, "row_quota": 10**9}

SCRIPT = """
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
const count = { 200: new Counter('answered'), 503: new Counter('shed'), 429: new Counter('shed'),
                504: new Counter('late'), 0: new Counter('lost') };
const other = new Counter('other'), unsaid = new Counter('unsaid'), good = new Counter('good');
const admitted = new Trend('admitted', true), refused = new Trend('refused', true);
export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ['p(50)', 'p(99)', 'max'],
  scenarios: { open: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: 'SECONDSs',
                       preAllocatedVUs: WAITING, maxVUs: WAITING } },
};
const body = open('BODY');
const asked = { headers: { 'content-type': 'application/json', 'x-request-timeout-ms': 'DEADLINE' }, timeout: '30s' };
export default function () {
  const answer = http.post('URL', body, asked);
  (count[answer.status] || other).add(1);
  if (answer.status === 200) {
    admitted.add(answer.timings.duration);
    if (answer.timings.duration <= DEADLINE) good.add(1);
  } else if (answer.status === 503 || answer.status === 429) {
    refused.add(answer.timings.duration);
    if (!(Number(answer.headers['Retry-After']) >= 1)) unsaid.add(1);
  }
}
"""


def main() -> None:
    """Measure, and print."""
    if not shutil.which("wrk"):
        raise SourceMissing(what="the benchmark cannot run", why="wrk is not on PATH", fix="apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / MODEL
        bundle = sealed(state)
        one, some = (json.dumps({"rows": example_rows(bundle, count)}) for count in (1, ROWS))
        with _heavy(state, max_batch_rows=1) as url:
            alone = closed_loop(url, one, seconds=max(3, SECONDS // 4), callers=32, core=LOAD_CORE)
        with _heavy(state) as url:
            shared = closed_loop(url, one, seconds=max(3, SECONDS // 4), callers=32, core=LOAD_CORE)
            full = closed_loop(url, some, seconds=max(5, SECONDS // 2), callers=CALLERS, core=LOAD_CORE)
            loops = {share: _open_loop(url, some, rate=share * full["rps"], folder=Path(folder)) for share in SHARES}
    under, over = loops[0.8], loops[2.0]
    figures = {
        "unbatched_rps": round(alone["rps"]),
        "batched_rps": round(shared["rps"]),
        "ratio_to_unbatched": round(shared["rps"] / alone["rps"], 2),
        "capacity_rps": round(full["rps"]),
        "rows_per_request": ROWS,
        "deadline_ms": DEADLINE_MS,
        "shed_at_80_percent": under["shed"] + under["late"] + under["other"],
        "p99_at_80_percent_ms": under["admitted_p99"],
        "goodput_share": round(over["good"] / SECONDS / full["rps"], 3),
        "admitted_p99_ms": over["admitted_p99"],
        "refused_p99_ms": over["refused_p99"],
        "shed": over["shed"],
        "late": over["late"],
        "without_retry_after": over["unsaid"],
        "other_statuses": under["other"] + over["other"],
        "not_sent": under["dropped_iterations"] + over["dropped_iterations"],
        "lost": alone["lost"] + shared["lost"] + full["lost"] + under["lost"] + over["lost"],
    }
    if os.environ.get("PLOT"):
        points = [
            {"rate": share * full["rps"], "good": loop["good"] / SECONDS, "p99": loop["admitted_p99"]}
            for share, loop in loops.items()
        ]
        draw_load(points, capacity=full["rps"], deadline_ms=DEADLINE_MS, path=Path(os.environ["PLOT"]))
    if os.environ.get("JSON"):
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"  {name:24} {value}")


@contextmanager
def _heavy(state: Path, **limits: float) -> Iterator[str]:
    """Serve the heavy model with default settings, but for `limits`, on one core."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    worker = [sys.executable, str(Path(__file__).with_name("heavy_worker.py")), "--listening", str(listening.fileno())]
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, *worker],
        env=os.environ | serve_environment(state, model=MODEL, limits=QUOTAS | limits),
        pass_fds=(listening.fileno(),),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()
    try:
        wait_until_ready(url)
        yield f"{url}/v1/models/{MODEL}/predict"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _open_loop(url: str, body: str, *, rate: float, folder: Path) -> dict[str, Any]:
    (folder / "body.json").write_text(body)
    values = {
        "URL": url,
        "BODY": str(folder / "body.json"),
        "RATE": str(round(rate)),
        "SECONDS": str(SECONDS),
        "WAITING": str(MOST_WAITING),
        "DEADLINE": str(DEADLINE_MS),
    }
    script = SCRIPT
    for name, value in values.items():
        script = script.replace(name, value)
    (folder / "load.js").write_text(script)
    summary = folder / "summary.json"
    k6 = [str(Path(sys.executable).with_name("k6")), "run", "--quiet", "--no-usage-report"]
    subprocess.run(
        ["taskset", "-c", LOAD_CORE, *k6, f"--summary-export={summary}", str(folder / "load.js")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = json.loads(summary.read_text())["metrics"]
    counts = ("answered", "good", "shed", "late", "lost", "other", "unsaid", "dropped_iterations")
    return {name: int(seen.get(name, {}).get("count", 0)) for name in counts} | {
        f"{name}_p99": round(seen.get(name, {}).get("p(99)", 0.0), 1) for name in ("admitted", "refused")
    }


if __name__ == "__main__":
    main()
