"""The worker is kept alive, and ends in order."""

import json
import os
import signal
import threading
import time

import httpx
import pytest

from baton.serving.process import members, serve_command, start
from baton.serving.worker import WithoutPandas

MODEL = "flights"


@pytest.fixture
def service(state, port, release):
    release(0)
    service = start(state, model=MODEL, port=port)
    _until(lambda: _ready(service.url))
    yield service
    service.stop()


def test_a_killed_worker_is_replaced(service, state, sealed):
    """A15: callers who come meanwhile wait in the socket's queue."""
    worker = _worker(service, state)
    with httpx.Client(timeout=30) as client:
        os.kill(worker, signal.SIGKILL)
        answer = client.get(f"{service.url}/livez")
        _until(lambda: _ready(service.url))
        answered = client.post(
            f"{service.url}/v1/models/{MODEL}/predict", json={"rows": sealed.requests[:1]}, timeout=30
        )

    assert answer.status_code == answered.status_code == 200
    assert _worker(service, state) != worker
    assert any(event["event"] == "worker_replaced" for event in _events(state))


@pytest.mark.long
def test_a_frozen_worker_is_replaced(service, state):
    """A16: within ten seconds, and the time that another takes to start."""
    worker = _worker(service, state)
    os.kill(worker, signal.SIGSTOP)

    _until(lambda: _worker(service, state) not in (worker, None), seconds=30)
    _until(lambda: _ready(service.url), seconds=30)


def test_who_is_in_flight_at_the_end_is_answered(service, state, sealed):
    """A17: not ready first, every call answered, code 0."""
    lost, answered, ended = [], [], threading.Event()

    def caller():
        body = {"rows": sealed.requests[:1]}
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                try:
                    response = client.post(f"{service.url}/v1/models/{MODEL}/predict", json=body)
                except httpx.ConnectError:
                    # The socket is closed: nobody was promised anything.
                    return
                except httpx.TransportError as error:
                    lost.append(error)
                    return
                (answered if response.status_code == 200 else lost).append(response.status_code)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    _until(lambda: len(answered) > 20)
    service.process.send_signal(signal.SIGTERM)
    _until(lambda: not _ready(service.url))
    code = service.process.wait(30)
    ended.set()
    for thread in threads:
        thread.join()

    assert (code, lost) == (0, [])
    assert [event["event"] for event in _events(state)][-1] == "service_ended"


def test_two_signals_end_it_sooner_and_as_well(service):
    """A18."""
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    service.process.send_signal(signal.SIGTERM)

    assert service.process.wait(30) == 0


def test_a_signal_while_loading_ends_it(state, port, release):
    """A18: and leaves nothing behind."""
    import subprocess

    from baton.serving.process import serve_environment

    release(0)
    process = subprocess.Popen(
        serve_command(port=port), env=os.environ | serve_environment(state, model=MODEL), stderr=subprocess.DEVNULL
    )
    _until(lambda: len(members(state)) == 2)
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    assert members(state) == []


def test_what_serves_does_without_pandas():
    with pytest.raises(ModuleNotFoundError):
        WithoutPandas.find_spec("pandas")
    assert WithoutPandas.find_spec("pandas_of_others") is None


def _worker(service, state):
    return next((pid for pid in members(state) if pid != service.process.pid), None)


def _events(state):
    lines = (state / "service.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _ready(url):
    try:
        return httpx.get(f"{url}/readyz", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def _until(met, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)
