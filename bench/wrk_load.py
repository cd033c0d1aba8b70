"""A closed loop of callers, who each send as soon as they are answered: `wrk` (Debian: `apt-get install wrk`).

It finds how much a service can do. How long callers wait in a crowd is told by
an open loop alone.
"""

from __future__ import annotations

import json
import subprocess
import tempfile

from baton.core.errors import SourceMissing

# wrk sends the same body all the time, and says at the end what it saw.
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["x-api-key"] = [[KEY]]
wrk.body = [[BODY]]
function done(summary, latency, requests)
  io.write(string.format('\\n{"requests":%d,"micros":%d,"lost":%d,"p50":%f,"p99":%f,"max":%f}\\n',
    summary.requests, summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""


def closed_loop(
    url: str, body: str, *, seconds: int, key: str = "", callers: int = 32, core: str = "1"
) -> dict[str, float]:
    """Give the good answers a second, their times in milliseconds, and how many had no good answer.

    Raises:
        SourceMissing: There was no good answer at all.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            (LUA if key else LUA.replace('wrk.headers["x-api-key"] = [[KEY]]\n', ""))
            .replace("KEY", key)
            .replace("BODY", body)
        )
        script.flush()
        load = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name, url]
        output = subprocess.run(["taskset", "-c", core, *load], check=True, capture_output=True, text=True).stdout
    seen = json.loads(output.strip().splitlines()[-1])
    if seen["requests"] <= seen["lost"]:
        raise SourceMissing(what=f"{url} answers nothing", why=f"{seen}", fix="look into its service")
    times = {name: round(seen[name], 3) for name in ("p50", "p99", "max")}
    return {"rps": (seen["requests"] - seen["lost"]) / seen["micros"] * 1e6, "lost": seen["lost"], **times}
