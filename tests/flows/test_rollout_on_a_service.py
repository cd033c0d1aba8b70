"""Rollouts from start to end on a real service: to champion step by step, and back at once; whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from baton.core.policy import RolloutSpec
from baton.flows import rolling_out
from baton.flows.run_record import records
from baton.packaging.reader import open_contents
from baton.registry.rollout_plan import Status
from baton.registry.rollout_store import RolloutStore
from baton.serving.process import ServiceProcess, start
from baton.serving.release_file import read_release
from baton.serving.service_status import assessed, read_statuses

# Wide limits: what is shown is the carrying out; that the limits hold their error rates has tests of its own.
POLICY = RolloutSpec(
    mode="canary",
    steps=[0.2, 0.5, 1.0],
    minimum_requests=60,
    errors=0.3,
    slow=0.6,
    latency_ratio=20,
    score_shift=3.0,
)
PATIENCE_S = 60.0
# Three steps need a few rounds of requests each.
MOST_ROUNDS = 30
# Entities of one request: enough that rows of it fall on both sides.
ENTITIES = [f"N{at}" for at in range(16)]


@dataclass
class Callers:
    """Callers of one service, each time with other rows."""

    url: str
    rows: list[dict[str, Any]]
    drawn: random.Random
    # Entities that always send the same row.
    fixed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, requests: int = 1) -> set[str]:
        """Send requests of sixteen entities each; gives the versions that answered rows."""
        versions: set[str] = set()
        with httpx.Client(base_url=self.url, timeout=PATIENCE_S) as client:
            for _ in range(requests):
                drawn = self.drawn.choices(self.rows, k=len(ENTITIES))
                rows = [self.fixed.get(who, row) for who, row in zip(ENTITIES, drawn, strict=True)]
                body = {"rows": rows, "entities": ENTITIES}
                answer = client.post("/v1/models/parcels/predict", json=body)
                assert answer.status_code == 200, answer.text
                found = answer.json()
                versions |= {each.get("version", found["version"]) for each in found["predictions"]}
        return versions


@pytest.fixture
def service(place: Any) -> Iterator[ServiceProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = start(place.folder, model="parcels", port=port, limits={"poll_seconds": 0.05})
    yield started
    started.stop()


@pytest.fixture
def callers(place: Any, service: ServiceProcess) -> Callers:
    golden = open_contents(place.bundles / place.ledger.head("parcels").digest).golden
    return Callers(service.url, [dict(row) for row in golden.rows], random.Random(0))


def begin(place: Any, policy: RolloutSpec = POLICY) -> Any:
    verdict = {record.version: record.verdict for record in records(place)}["2"]
    return rolling_out.start(place, verdict, version="2", reason="better", actor="ann", now=now(), policy=policy)


def now() -> datetime:
    return datetime.now(timezone.utc)


def follow(place: Any, policy: RolloutSpec = POLICY) -> Any:
    seen = rolling_out.tick(place, now=now(), policy=policy)
    assert seen is not None
    return seen.rollout


def until(met: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_worker(place: Any) -> None:
    (status,) = read_statuses(place.folder, now())
    os.kill(status.pid, signal.SIGKILL)


def arrived(place: Any) -> None:
    """Wait until every process serves the release in force."""
    release = read_release(place.folder)
    assert release is not None
    until(lambda: {(each.epoch, each.revision) for each in read_statuses(place.folder, now())} == {release.order})


def test_a_challenger_comes_to_be_champion_on_a_real_service(place: Any, service: Any, callers: Callers) -> None:
    """B16, J6: the service is killed at a step, the controller looks after every kill, and nothing jumps."""
    begin(place)
    weights: list[float] = []
    killed = 0
    rollout: Any = RolloutStore(place.folder).load()
    for _ in range(MOST_ROUNDS):
        if rollout.over:
            break
        released = read_release(place.folder)
        assert released is not None
        if released.weight not in weights:
            weights.append(released.weight)
        arrived(place)
        if released.weight == 0.5 and not killed:
            killed += 1
            kill_worker(place)
            assert follow(place).step == 1
            until(lambda: httpx.get(f"{service.url}/readyz", timeout=PATIENCE_S).status_code == 200)
        callers.ask(80)
        # Counts are left behind at every look of the service.
        time.sleep(0.3)
        rollout = follow(place)

    seen = rolling_out.look(place, now=now(), policy=POLICY)
    assert rollout.status is Status.PASSED, seen
    assert (weights, killed) == ([0.2, 0.5, 1.0], 1)
    arrived(place)
    assert callers.ask() == {"2"}
    head, released = place.ledger.head("parcels"), read_release(place.folder)
    assert (head.epoch, head.version, head.actor) == (2, "2", "ann")
    assert released is not None
    assert (released.champion, released.challenger, released.previous_version) == (head.digest, None, "1")
    assert assessed(released, read_statuses(place.folder, now()), now())[0]


def test_a_challenger_that_answers_otherwise_is_out_within_two_seconds(
    place: Any, service: Any, callers: Callers
) -> None:
    """B8, B12: the judge sees the shift in real answers, and the last old answer comes soon after."""
    strict = POLICY.model_copy(update={"score_shift": 0.2})
    begin(place, strict)
    arrived(place)
    assert callers.ask(10) == {"1", "2"}
    # The challenger's entities ask for what scores highest, which looks like a model of another scale.
    with httpx.Client(base_url=callers.url, timeout=PATIENCE_S) as client:
        rows = callers.rows[: len(ENTITIES)]
        body = {"rows": rows, "entities": ENTITIES[: len(rows)]}
        answers = client.post("/v1/models/parcels/predict", json=body).json()["predictions"]
    highest = max(zip(answers, rows, strict=True), key=lambda pair: pair[0]["score"])[1]
    theirs = [who for who, each in zip(ENTITIES, answers, strict=False) if each["version"] == "2"]
    callers.fixed = dict.fromkeys(theirs, highest)
    rollout: Any = None
    for _ in range(MOST_ROUNDS):
        callers.ask(20)
        time.sleep(0.1)
        rollout = follow(place, strict)
        if rollout.over:
            break

    begun = time.monotonic()
    last = begun
    while time.monotonic() < begun + 3.0:
        if "2" in callers.ask():
            last = time.monotonic()
    assert (rollout.status, rollout.said.partition(":")[0]) == (Status.ROLLED_BACK, "score")
    assert last - begun < 2.0
    assert callers.ask() == {"1"}
    assert place.ledger.head("parcels").epoch == 1


def test_a_challenger_that_cannot_be_loaded_takes_no_traffic_and_is_rolled_back(
    place: Any, service: Any, callers: Callers
) -> None:
    """B3: from the service's own words to the end of the rollout."""
    rollout = begin(place)
    model = place.bundles / rollout.challenger / "model.onnx"
    rolling_out.abort(place, reason="to break it first", now=now())
    content = model.read_bytes()
    rollout = begin(place)
    model.write_bytes(content[:-1] + b"!")
    # Whether it was loaded before the bytes broke is the service's luck; started anew it reads them again.
    kill_worker(place)
    until(lambda: any(each.refused for each in read_statuses(place.folder, now())))
    assert callers.ask(5) == {"1"}

    ended = follow(place)
    assert ended.status is Status.ROLLED_BACK
    assert ended.said.startswith("rejected-by-serving")
    assert not place.ledger.find("parcels", digest=rollout.challenger)
