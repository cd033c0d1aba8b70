"""Champions are swapped under load on a real service: nothing lost, nothing mixed, nothing grown."""

import importlib.util
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from baton.core.release import Mode
from baton.serving.client import PredictionClient
from baton.serving.process import start
from baton.serving.release_file import read_release, write_release
from baton.serving.service_status import now_utc, read_statuses
from baton.serving.traffic import read_traffic

BENCH = Path(__file__).parents[2] / "bench" / "swap.py"


@pytest.fixture(scope="module")
def bench():
    specified = importlib.util.spec_from_file_location("bench_swap", BENCH)
    module = importlib.util.module_from_spec(specified)
    with pytest.MonkeyPatch.context() as patch:
        # Where a script finds the modules beside it.
        patch.syspath_prepend(str(BENCH.parent))
        patch.setitem(sys.modules, "bench_swap", module)
        specified.loader.exec_module(module)
        yield module


def test_twenty_swaps_lose_and_mix_nothing(bench, tmp_path):
    """B1."""
    found = bench.measured(tmp_path / "bench", count=20, rate=100, calm_seconds=1.0)

    assert (found["lost"], found["mixed"], found["without_version"]) == (0, 0, 0)
    assert found["versions"] == 2


@pytest.mark.long
def test_a_thousand_swaps_leave_no_trace(bench, tmp_path):
    """B2: memory and latency; make bench-swap says the figures on an idle machine."""
    found = bench.measured(tmp_path / "bench", count=1_000, rate=200, calm_seconds=10.0)

    assert (found["lost"], found["mixed"], found["without_version"]) == (0, 0, 0)
    assert found["memory_growth_mb"] < 5
    assert found["threads_growth"] <= 0
    assert found["descriptors_growth"] <= 0
    assert found["p99_ratio"] <= 1.5


def test_a_canary_is_sticky_counted_and_gone_within_two_seconds(state, port, release, sealed):
    """B8, B14: on a real service; from the command to the last answer of the challenger."""
    canary = release(
        0,
        challenger=sealed.bundles[1].digest,
        challenger_version="2",
        mode=Mode.CANARY,
        weight=0.5,
        salt="s",
        rollout="r",
        revision=1,
    )
    service = start(state, model="flights", port=port, limits={"poll_seconds": 0.5})
    entities = [f"N{at}" for at in range(40)]
    try:
        with PredictionClient(service.url, model="flights") as client:

            def answered():
                return [client.predict(sealed.requests[:1], entities=[entity]).version for entity in entities]

            first = answered()
            assert (set(first), answered()) == ({"1", "2"}, first)
            # Rows of both arms in one request: each in its place, each by its own model.
            mixed = _post(service.url, sealed.requests[:1] * 40, entities)
            assert [row["version"] for row in mixed["predictions"]] == first

            begun = time.monotonic()
            write_release(state, replace(canary, epoch=2, challenger=None, mode=Mode.CHAMPION, rollout="", revision=0))
            last = begun
            while time.monotonic() < begun + 3.0:
                if "2" in answered():
                    last = time.monotonic()
            assert last - begun < 2.0
        (stage,) = read_traffic(state, "r")
        assert stage.champion.requests + stage.challenger.requests >= 80
        assert stage.challenger.errors == 0
        assert [status.mode for status in read_statuses(state, now_utc())] == ["champion"]
    finally:
        service.stop()
    assert read_release(state).epoch == 2


def test_a_shadow_is_paired_and_shown_to_nobody(state, port, release, sealed):
    release(0, challenger=sealed.bundles[1].digest, challenger_version="2", mode=Mode.SHADOW, rollout="r", revision=1)
    service = start(state, model="flights", port=port, limits={"poll_seconds": 0.05})
    try:
        with PredictionClient(service.url, model="flights") as client:
            assert {client.predict(sealed.requests[at : at + 1]).version for at in range(20)} == {"1"}
        deadline = time.monotonic() + 10
        while not list((state / "shadow" / "r").glob("*.parquet")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        service.stop()
    import pyarrow.parquet as pq

    rows = [row for file in (state / "shadow" / "r").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert rows
    expected = {digest: scores[:20] for digest, scores in sealed.scores.items()}
    for row in rows[:5]:
        assert min(abs(expected[row["champion_digest"]] - row["champion"])) < 1e-6
        assert min(abs(expected[row["challenger_digest"]] - row["challenger"])) < 1e-6


def _post(url, rows, entities):
    answer = httpx.post(f"{url}/v1/models/flights/predict", json={"rows": rows, "entities": entities})
    assert answer.status_code == 200, answer.text
    return answer.json()
