"""The demo tells its story to the end, again, and after a kill at any moment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BATON = Path(sys.executable).parent / "baton"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo(home: Path, port: int) -> subprocess.CompletedProcess[str]:
    command = [str(BATON), "demo", "--fast", "--home", str(home), "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(home: Path) -> subprocess.CompletedProcess[str]:
    return demo(home, free_port())


def story(home: Path) -> dict:
    return json.loads((home / "flights" / "reports" / "story.json").read_text())


def test_it_ends_with_a_report_and_no_request_lost(told: subprocess.CompletedProcess[str], home: Path) -> None:
    assert told.returncode == 0, told.stderr[-2000:]
    assert "Traceback" not in told.stderr
    service = story(home)["service"]
    assert service["lost"] == 0
    assert service["rows"] > 25_000
    assert (home / "flights" / "reports" / "story.html").stat().st_size < 2_000_000


def test_a_challenger_with_a_short_memory_is_refused_with_its_interval(
    told: subprocess.CompletedProcess[str], home: Path
) -> None:
    refused = [judged for judged in story(home)["verdicts"] if "memory" in judged["title"]]
    (verdict,) = [judged["verdict"] for judged in refused]
    assert verdict["intent"] == "replace"
    assert any(check["outcome"] == "failed" and check["low"] is not None for check in verdict["checks"])


def test_the_alarm_starts_one_retraining_whose_champion_takes_over(
    told: subprocess.CompletedProcess[str], home: Path
) -> None:
    told_story = story(home)
    drifted = [event for event in told_story["events"] if event["kind"] == "drifted"]
    promoted = [event for event in told_story["events"] if event["kind"] == "promoted"]
    assert len(drifted) >= 1
    assert len(promoted) == 2, "the first champion, and the one that drift called for"
    assert "drift" in promoted[1]["line"]
    assert told_story["service"]["swaps"] == 1
    assert [day["version"] for day in told_story["days"]] == sorted(day["version"] for day in told_story["days"])
    assert {day["version"] for day in told_story["days"]} == {"1", "3"}
    (month,) = told_story["months"]
    assert month["auc_retrained"] > month["auc_stale"]


def test_nothing_is_left_running(told: subprocess.CompletedProcess[str], home: Path) -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        assert str(home).encode() not in environment


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(8, marks=pytest.mark.long, id="while it begins"),
        pytest.param(18, marks=pytest.mark.long, id="while it trains"),
        pytest.param(30, id="while it serves"),
    ],
)
def test_killed_and_told_again_it_completes(told: subprocess.CompletedProcess[str], home: Path, seconds: int) -> None:
    before, port = story(home), free_port()
    command = [str(BATON), "demo", "--fast", "--home", str(home), "--port", str(port)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(seconds)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = demo(home, port)
    assert again.returncode == 0, again.stderr[-2000:]
    after = story(home)
    verdicts = [[judged["verdict"] for judged in told_story["verdicts"]] for told_story in (before, after)]
    assert verdicts[0] == verdicts[1]
    assert after["service"]["lost"] == 0
