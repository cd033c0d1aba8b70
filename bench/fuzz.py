"""Send what nobody should send: generated inputs, in three kinds, against a real service.

    make bench-fuzz            a table
    make bench-fuzz JSON=1     one JSON object
    INPUTS=5000                fewer inputs; SEED=7 other ones

`grammar` are requests built from the fields with wrong values, names, shapes and
extremes in them; `bytes` are good requests with bytes flipped, cut, doubled and
put in; `schema` comes from schemathesis by the service's own document. Each
answer is checked against the document: its status, its media type and its body.
A hang is an answer that takes over a second, and lost is a request without one. Every tenth request is a good
one, which must be answered with 200 whatever was sent before it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from served_model import MODEL, example_rows, free_port, sealed

from baton.serving.openapi_schemas import example_tensors
from baton.serving.process import start

INPUTS = int(os.environ.get("INPUTS", "100000"))
SEED = int(os.environ.get("SEED", "1"))
CALLERS = 8
HANG_S = 1.0
ONE_IN = 10
# Schemathesis needs milliseconds for each of its inputs.
SCHEMA_SHARE = 0.02
PREDICT, INFER, FEEDBACK = f"/v1/models/{MODEL}/predict", f"/v2/models/{MODEL}/infer", "/v1/feedback"
JSON = "application/json"

NUMBERS: tuple[Any, ...] = (
    0, -1, 1.5, 1e39, -1e39, 3.4028235677973366e38, 5e-324, 1e308, 10**400, 2**63, True, "1", "", None, [], {}, [1],
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "", "a", "a" * 100_000, "\0", "a\0b", "\ud800", "\u202egnp.exe", "e\u0301", "\u00e9", "\u0410A", "\u2028",
    "' OR 1=1 --", "$(reboot)", "{{7*7}}", "%s%n%x", "${jndi:ldap://x/y}", "a\r\nset-cookie: x", "<script>", "../..",
    1, None, True, [], {}, "\U0001f600" * 50,
)  # fmt: skip
NAMES = ("", "id", "__proto__", "rows", "Carrier", "carrier ", "a" * 2_000, "\ud800", "\0", "~/", "number_0")
PATHS = (
    PREDICT, INFER, FEEDBACK, f"/v1/models/{MODEL}", "/v1/models/other/predict", "/v2/models/%2e%2e%2fetc/infer",
    f"/v1/models/{MODEL}%00/predict", f"/v1//models/{MODEL}/predict", PREDICT + "/",
    "/v2/models/" + "a" * 300 + "/infer",
)  # fmt: skip
KINDS = (JSON, "Application/JSON; charset=utf-8", "application/octet-stream", "text/plain", "application/x-pickle", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One request."""

    kind: str
    path: str
    content: bytes
    headers: dict[str, str]
    good: bool = False


@dataclass(slots=True, kw_only=True)
class Found:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    five_hundreds: int = 0
    violations: int = 0
    hangs: int = 0
    lost: int = 0
    refused_good: int = 0
    slowest_ms: float = 0.0
    examples: list[str] = field(default_factory=list)

    def flaw(self, what: str, sent: Input, answer: bytes) -> None:
        """Keep the first few for whoever reads this."""
        if len(self.examples) < 20:
            self.examples.append(f"{what}: {sent.path} {sent.content[:200]!r} -> {answer[:200]!r}")


class Inputs:
    """An endless supply of inputs, the same for the same seed."""

    def __init__(self, rows: list[dict[str, Any]], tensors: list[dict[str, Any]], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing is kept secret by it
        self._rows = rows
        self._tensors = tensors

    def make(self, at: int) -> Input:
        """Make the next one."""
        if at % ONE_IN == 0:
            return Input(kind="good", path=PREDICT, content=self._good(), headers={"content-type": JSON}, good=True)
        kind = self._random.choice(("grammar", "grammar", "bytes"))
        path = self._random.choice(PATHS) if self._random.random() < 0.1 else self._random.choice(PATHS[:3])
        content = self._content(path) if kind == "grammar" else self._bytes(path)
        return Input(kind=kind, path=path, content=content, headers=self._headers(content))

    def _good(self) -> bytes:
        return json.dumps({"rows": self._random.sample(self._rows, self._random.randint(1, 4))}).encode()

    def _headers(self, content: bytes) -> dict[str, str]:
        draw = self._random.random()
        headers = {"content-type": self._random.choice(KINDS) if draw < 0.05 else JSON}
        if draw > 0.97:
            headers["x-request-timeout-ms"] = self._random.choice(("60000", "0", "-1", "nan", "inf", "x", "1e400"))
        if 0.9 < draw < 0.93:
            headers["inference-header-content-length"] = self._random.choice(
                (str(len(content)), "3", "-1", "x", "9" * 40)
            )
        return headers

    def _content(self, path: str) -> bytes:
        made = {INFER: self._infer, FEEDBACK: self._feedback}.get(path, self._predict)()
        text = json.dumps(made)
        if self._random.random() < 0.03:
            text = "[" * self._random.choice((10, 1_000, 100_000)) + text
        if self._random.random() < 0.03:
            text = text.replace("{", '{"rows":1,"rows":2,', 1)
        return text.encode("utf-8", "surrogatepass")

    def _predict(self) -> Any:
        rows = [
            self._row()
            for _ in range(self._random.choice((0, 1, 1, 2, 2, 3, 5, 70)) if self._random.random() > 0.002 else 2_000)
        ]
        body: dict[str, Any] = {"rows": rows}
        if self._random.random() < 0.4:
            body = {"columns": {name: [row.get(name) for row in rows] for name in self._rows[0]}}
        for name in ("entities", "moments", "rows", self._random.choice(NAMES)):
            if self._random.random() < 0.1:
                body[name] = self._random.choice(([], None, ["x"] * len(rows), 1, ["2013-01-01T00:00:00Z"], ["\n"]))
        return body if self._random.random() > 0.03 else self._random.choice(NUMBERS + TEXTS)

    def _row(self) -> dict[str, Any]:
        row = dict(self._random.choice(self._rows))
        for _ in range(self._random.choice((0, 1, 1, 3))):
            name = self._random.choice((*row, self._random.choice(NAMES)))
            row[name] = self._random.choice(NUMBERS + TEXTS)
        if self._random.random() < 0.1:
            row.pop(self._random.choice(list(row)))
        return row

    def _infer(self) -> Any:
        tensors = [dict(each) for each in self._tensors]
        for _ in range(self._random.choice((0, 1, 2))):
            tensor = self._random.choice(tensors)
            key = self._random.choice(("name", "shape", "datatype", "data", "parameters", "x"))
            tensor[key] = self._random.choice(
                (*NUMBERS, *TEXTS, [1], [0], [2, 2], [10**30], "INT64", "BYTES", "BOOL", {"binary_data_size": 8}, ["x"])
            )
        body: dict[str, Any] = {"inputs": tensors}
        for name in ("id", "outputs", "parameters", self._random.choice(NAMES)):
            if self._random.random() < 0.1:
                body[name] = self._random.choice((1, "x", [], {}, [{"name": "score"}], [{"name": "no"}], None, "\n"))
        return body

    def _feedback(self) -> Any:
        labels: list[Any] = [
            {"id": self._random.choice((*TEXTS, "0" * 32)), "label": self._random.choice(NUMBERS + TEXTS)}
            for _ in range(self._random.choice((0, 1, 3)))
        ]
        if self._random.random() < 0.1:
            labels.append(self._random.choice(NUMBERS + TEXTS))
        return {"labels": labels, **({self._random.choice(NAMES): 1} if self._random.random() < 0.1 else {})}

    def _bytes(self, path: str) -> bytes:
        made = {INFER: lambda: json.dumps({"inputs": self._tensors}).encode()}.get(path, self._good)()
        content = bytearray(made)
        for _ in range(self._random.randint(1, 8)):
            at = self._random.randrange(len(content) + 1)
            match self._random.randrange(5):
                case 0:
                    content[at : at + 1] = bytes([self._random.randrange(256)])
                case 1:
                    del content[at : at + self._random.randint(1, 50)]
                case 2:
                    content[at:at] = content[at : at + 20]
                case 3:
                    content[at:at] = struct.pack("<I", self._random.getrandbits(32))
                case _:
                    content[at:at] = self._random.choice(
                        (b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\u0000", b"NaN", b"1e999")
                    )
        return bytes(content)


def main() -> None:
    """Send everything and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / MODEL
        bundle = sealed(state, trees=50)
        service = start(state, model=MODEL, port=free_port())
        try:
            found = Found()
            began = time.monotonic()
            document = httpx.get(f"{service.url}/openapi.json").json()
            supply = Inputs(example_rows(bundle, 16), example_tensors(bundle), SEED)
            share = int(INPUTS * SCHEMA_SHARE)
            asyncio.run(_send(service.url, supply, INPUTS - share, Checker(document), found))
            _send_by_schema(service.url, document, share, Checker(document), found)
            seconds = time.monotonic() - began
            alive = httpx.get(f"{service.url}/readyz").status_code == 200
        finally:
            code = service.stop()
    _print(found, seconds=seconds, alive=alive and code == 0)


class Checker:
    """Compares answers with the document."""

    def __init__(self, document: dict[str, Any]) -> None:
        import jsonschema_rs

        self._paths = document["paths"]
        self._document = document
        self._validators: dict[str, Any] = {}
        self._of: Callable[[Any], Any] = jsonschema_rs.validator_for

    def flaw(self, path: str, status: int, media_type: str, content: bytes) -> str | None:
        """Say what about an answer is not as documented."""
        # What has no page of its own is refused as everything is.
        operation = self._paths.get(path, {}).get("post", self._paths["/v2"]["get"])
        # A path that takes no POST says so as everything else is refused.
        other = status == 405 and "post" not in self._paths.get(path, {})
        response = operation["responses"].get("404" if other else str(status))
        if response is None:
            return f"status {status} is not documented"
        if media_type not in response["content"]:
            return f"{media_type} is not documented for {status}"
        schema = response["content"][media_type].get("schema")
        if not schema or media_type == "application/octet-stream":
            return None
        key = f"{path} {status}"
        if key not in self._validators:
            self._validators[key] = self._of({**schema, "components": self._document["components"]})
        try:
            return None if self._validators[key].is_valid(json.loads(content)) else "the body is not as documented"
        except ValueError:
            return "the body is no JSON"


async def _send(url: str, supply: Inputs, count: int, checker: Checker, found: Found) -> None:
    numbers = iter(range(count))

    async def caller(client: httpx.AsyncClient) -> None:
        for at in numbers:
            sent = supply.make(at)
            began = time.monotonic()
            try:
                answer = await client.post(sent.path, content=sent.content, headers=sent.headers)
            except httpx.TimeoutException:
                found.hangs += 1
                found.flaw("hang", sent, b"")
                continue
            except httpx.TransportError as error:
                # Whoever is refused while still sending hears why all the same.
                found.lost += 1
                found.flaw(f"no answer ({type(error).__name__})", sent, b"")
                continue
            media_type = answer.headers.get("content-type", "").partition(";")[0]
            _judge(found, sent, answer.status_code, media_type, answer.content, time.monotonic() - began, checker)

    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        await asyncio.gather(*(caller(client) for _ in range(CALLERS)))


def _judge(  # noqa: PLR0917 - one answer and where it goes
    found: Found, sent: Input, status: int, media_type: str, content: bytes, seconds: float, checker: Checker
) -> None:
    found.statuses[status] += 1
    found.kinds[sent.kind] += 1
    found.slowest_ms = max(found.slowest_ms, seconds * 1e3)
    if status >= 500:
        found.five_hundreds += 1
        found.flaw("five hundred", sent, content)
    if seconds > HANG_S:
        found.hangs += 1
        found.flaw("hang", sent, content)
    if sent.good and status != 200:
        found.refused_good += 1
        found.flaw("good one refused", sent, content)
    if why := checker.flaw(sent.path, status, media_type, content):
        found.violations += 1
        found.flaw(why, sent, content)


def _send_by_schema(url: str, document: dict[str, Any], count: int, checker: Checker, found: Found) -> None:
    """Let schemathesis generate the rest, valid and invalid by the document."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        for path, content in _cases(schema, count):
            sent = Input(kind="schema", path=path, content=content, headers={"content-type": JSON})
            began = time.monotonic()
            answer = client.post(path, content=content, headers=sent.headers)
            media_type = answer.headers.get("content-type", "").partition(";")[0]
            _judge(found, sent, answer.status_code, media_type, answer.content, time.monotonic() - began, checker)


def _cases(schema: Any, count: int) -> Iterator[tuple[str, bytes]]:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis import GenerationMode

    made: list[tuple[str, bytes]] = []
    operations = [each for each in (found.ok() for found in schema.get_all_operations()) if each.body]
    each_count = max(1, count // (len(operations) * len(GenerationMode)))
    for operation in operations:
        for mode in GenerationMode:

            @seed(SEED)
            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=each_count,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def keep(case: Any) -> None:
                body = case.body
                content = (
                    body if isinstance(body, bytes) else json.dumps(body, default=str).encode("utf-8", "surrogatepass")
                )
                made.append((case.operation.path, content))

            keep()
            yield from made
            made.clear()


def _print(found: Found, *, seconds: float, alive: bool) -> None:
    line = {
        "bench": "fuzz",
        "inputs": sum(found.statuses.values()),
        "five_hundreds": found.five_hundreds,
        "violations": found.violations,
        "hangs": found.hangs,
        "lost": found.lost,
        "refused_good": found.refused_good,
        "slowest_ms": round(found.slowest_ms, 1),
        "seconds": round(seconds, 1),
        "alive": alive,
        "statuses": {str(status): count for status, count in sorted(found.statuses.items())},
        "kinds": dict(found.kinds),
    }
    if os.environ.get("JSON"):
        print(json.dumps(line))
    else:
        for name, value in line.items():
            print(f"{name:<14} {value}")
    for example in found.examples:
        print(example)
    if found.five_hundreds or found.violations or found.hangs or found.lost or found.refused_good or not alive:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
