"""The real service, started as `baton serve` starts it, on a real socket."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from baton.core.errors import BatonError, DependencyDown, Misuse, PortTaken, SpecInvalid
from baton.serving.client import PredictionClient
from baton.serving.process import PID_FILE, members, start

LIMITS = {"poll_seconds": 0.05}


@pytest.fixture
def service(state, port, release):
    """A service of the first bundle."""
    release(0)
    service = start(state, model="flights", port=port, limits=LIMITS)
    yield service
    service.stop()


def test_the_life_of_a_service(service, state, sealed, release):
    """One process for several facts, since a start takes seconds."""
    first, second = (bundle.digest for bundle in sealed.bundles)
    with PredictionClient(service.url, model="flights") as client:
        # It answers, and refuses a bad row by its field.
        moment = datetime(2013, 4, 1, tzinfo=timezone.utc)
        answer = client.predict(sealed.requests[:2], entities=["a", "b"], moments=[moment, moment])
        assert answer.scores == pytest.approx(sealed.scores[first][:2].tolist(), abs=1e-6)
        with pytest.raises(Misuse, match="/rows/0/delay"):
            client.predict([sealed.requests[0] | {"delay": "late"}])

        # A corrupt bundle keeps the last good one.
        graph = state / "bundles" / second / "model.onnx"
        content = graph.read_bytes()
        graph.write_bytes(content[:-1] + b"!")
        release(1)
        _until(lambda: "baton_swap_failures_total{" in httpx.get(f"{service.url}/metrics").text)
        assert client.predict(sealed.requests[:1]).digest == first
        graph.write_bytes(content)

        # Under load, champions are swapped to and fro: no request is lost, each answer is one version's.
        def swaps():
            for epoch in range(10, 16):
                _swap(client, sealed, release, epoch)

        answers, errors = _load(service.url, sealed, during=swaps)
    assert errors == []
    for digest, at, scores in answers:
        assert scores == pytest.approx(sealed.scores[digest][at : at + 3].tolist(), abs=1e-6)
    assert set(Counter(digest for digest, _, _ in answers)) == {first, second}

    # It stops in order, and remembers everything that it answered.
    assert service.stop() == 0
    rows = [row for path in (state / "predictions").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    answered = [row for row in rows if row["entity"]]
    assert len([row for row in rows if row["entity"] == "load"]) == 3 * len(answers)
    assert {(row["entity"], row["moment"]) for row in answered if row["entity"] in "ab"} == {
        ("a", moment),
        ("b", moment),
    }


def test_what_a_killed_run_left_behind_is_stopped(state, port, release, sealed):
    release(0)
    killed = start(state, model="flights", port=port, limits=LIMITS)
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()

    service = start(state, model="flights", port=port, limits=LIMITS)
    try:
        assert len(members(state)) == 2
        with PredictionClient(service.url, model="flights") as client:
            assert client.predict(sealed.requests[:1]).epoch == 1
    finally:
        assert service.stop() == 0
    assert not (state / PID_FILE).exists()


def test_a_taken_port_is_named_with_its_owner(state, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()

        with pytest.raises(PortTaken, match=rf"port {port} is taken: process {os.getpid()} listens on it"):
            start(state, model="flights", port=port)


def test_a_service_that_cannot_start_says_its_last_line(state, port, monkeypatch):
    monkeypatch.setenv("BENTOML_CONFIG", "/nowhere/bentoml.yaml")

    with pytest.raises(DependencyDown, match=r"did not start: it ended with code \d+; its last line is: .*nowhere"):
        start(state, model="flights", port=port)


def test_an_impossible_limit_is_refused_before_anything_starts(state, port):
    with pytest.raises(SpecInvalid, match=r"BATON_SERVING_MAX_BATCH_ROWS: .*greater than or equal to 1"):
        start(state, model="flights", port=port, limits={"max_batch_rows": 0})

    assert not (state / PID_FILE).exists()


def test_a_client_without_a_service_says_so():
    with (
        PredictionClient("http://127.0.0.1:9", model="flights") as client,
        pytest.raises(DependencyDown, match="does not answer"),
    ):
        client.predict([{}])


def test_serving_needs_nothing_of_the_pipeline():
    heavy = "{'pandas', 'sklearn', 'lightgbm', 'mlflow', 'onnx', 'prefect', 'feast', 'evidently'}"
    modules = "baton.serving.bento_service, onnxruntime, pyarrow.parquet"
    code = f"import sys, {modules}; sys.exit(str({heavy} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]

    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)

    assert result.stderr.strip() == "set()"


def _load(url, sealed, *, during):
    answers, errors, ended = [], [], threading.Event()

    def caller(seed):
        with PredictionClient(url, model="flights") as client:
            at = seed
            while not ended.is_set():
                at = (at + 7) % 190
                try:
                    answer = client.predict(sealed.requests[at : at + 3], entities=["load"] * 3)
                    answers.append((answer.digest, at, list(answer.scores)))
                except BatonError as error:
                    errors.append(error)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    try:
        during()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return answers, errors


def _swap(client, sealed, release, epoch):
    release(epoch % 2, epoch=epoch)
    _until(lambda: client.predict(sealed.requests[:1]).epoch == epoch)


def _until(met, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)
