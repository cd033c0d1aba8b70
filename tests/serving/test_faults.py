"""Faults around a service: too much work, odd clocks, no memory, no files, a dead registry."""

import asyncio
import resource
import signal
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from baton.serving.predictor import Predictor
from baton.serving.process import members, start

MODEL = "flights"
PREDICT = "/v1/models/flights/predict"
LIMITS = {"poll_seconds": 0.05}


def _until(met, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def _answers(url):
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def slow(monkeypatch):
    """Make the model take so many seconds a batch."""
    quick = Predictor.score

    def make(seconds):
        monkeypatch.setattr(Predictor, "score", lambda self, rows: time.sleep(seconds) or quick(self, rows))

    return make


@pytest.fixture
def service(state, port, release):
    release(0)
    service = start(state, model=MODEL, port=port, limits=LIMITS)
    _until(lambda: _answers(service.url))
    yield service
    service.stop()


def test_a_burst_is_answered_or_turned_away_with_when_to_come_again(state, release, sealed, client_of, slow):
    """A1, J7: a hundred times what fits; each is 200, 503 or 504, none is 500, and then all is as before."""
    release(0)

    async def story():
        async with client_of(state, max_batch_rows=4, timeout_seconds=20) as client:
            engine = client._transport.app.state.engine
            slow(0.02)
            body = {"rows": sealed.requests[:4]}
            assert (await client.post(PREDICT, json=body)).status_code == 200
            burst = await asyncio.gather(*(client.post(PREDICT, json=body) for _ in range(600)))
            return burst, engine.batcher._queued_rows, await client.post(PREDICT, json=body)

    burst, left, after = asyncio.run(story())
    statuses = Counter(each.status_code for each in burst)
    assert statuses.keys() <= {200, 503, 504}
    assert statuses[200] >= 4
    assert statuses[503] > 100
    assert all(int(each.headers["retry-after"]) >= 1 for each in burst if each.status_code == 503)
    assert (left, after.status_code) == (0, 200)


@pytest.fixture
def off(monkeypatch):
    """Seconds that the wall clock is wrong by, in a list of one."""
    real, off = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + off[0])
    return off


def test_a_step_of_the_wall_clock_turns_nobody_away(state, release, sealed, client_of, slow, off):  # noqa: PLR0917 - fixtures
    """J2: an hour forward, back, and forward again, while callers wait."""
    release(0)

    async def story():
        async with client_of(state, row_quota=10_000) as client:
            slow(0.01)
            waiting = [asyncio.create_task(client.post(PREDICT, json={"rows": sealed.requests[:1]})) for _ in range(60)]
            for step in (3_600.0, -3_600.0, 86_400.0, 0.0):
                await asyncio.sleep(0.005)
                off[0] = step
            return await asyncio.gather(*waiting)

    answers = asyncio.run(story())
    assert Counter(each.status_code for each in answers) == {200: 60}


def test_a_champion_that_memory_has_no_room_for_leaves_the_last_good_one(
    state, release, sealed, client_of, monkeypatch
):
    """J3: the load fails, callers are answered, and the failure is counted."""
    from baton.serving import swap

    first = release(0)

    def refuse(*_, **__):
        raise MemoryError

    async def story():
        async with client_of(state, poll_seconds=0.02) as client:
            monkeypatch.setattr(swap, "load_predictor", refuse)
            release(1)
            while "baton_swap_failures_total{" not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.02)
            return await client.post(PREDICT, json={"rows": sealed.requests[:1]}), await client.get("/readyz")

    answer, ready = asyncio.run(story())
    assert (answer.json()["digest"], ready.status_code) == (first.champion, 200)


def test_connections_without_end_leave_a_service_that_recovers(service, state, sealed):
    """J4: the process has no file descriptor left; once callers go, it answers again, the same process."""
    pids = sorted(members(state))
    worker = next(pid for pid in pids if pid != service.process.pid)
    files = Path(f"/proc/{worker}/fd")
    used = len(list(files.iterdir()))
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 10, before[1]))
    address = ("127.0.0.1", int(service.url.rsplit(":", 1)[1]))
    idle = [socket.create_connection(address) for _ in range(60)]
    _until(lambda: len(list(files.iterdir())) >= used + 10)
    for each in idle:
        each.close()

    answer = httpx.post(f"{service.url}{PREDICT}", json={"rows": sealed.requests[:1]}, timeout=60)

    assert answer.status_code == 200
    assert sorted(members(state)) == pids


def test_serving_never_asks_the_registry(state, port, release, sealed, monkeypatch):
    """C1-C4: whatever MLflow does, a service that starts, answers and swaps does not so much as connect to it."""
    called = []
    with socket.create_server(("127.0.0.1", 0)) as registry:
        registry.settimeout(0.1)
        url = f"http://127.0.0.1:{registry.getsockname()[1]}"
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "BATON_MLFLOW_URL"):
            monkeypatch.setenv(name, url)
        release(0)
        service = start(state, model=MODEL, port=port, limits=LIMITS)
        try:
            second = release(1).champion
            with httpx.Client(base_url=service.url, timeout=30) as client:
                body = {"rows": sealed.requests[:1]}
                _until(lambda: client.post(PREDICT, json=body).json()["digest"] == second)
                client.get("/metrics")
        finally:
            assert service.stop() == 0
        with suppress(TimeoutError):
            called.append(registry.accept())
    assert called == []


def test_a_signal_while_swapping_ends_it_in_order(service, state, release):
    """A18: code 0, and nothing half-written is left."""
    release(1)
    service.process.send_signal(signal.SIGTERM)

    assert service.process.wait(60) == 0
    assert members(state) == []
    assert [path for path in state.rglob("*") if path.name.endswith(".tmp") or ".draft" in path.name] == []
