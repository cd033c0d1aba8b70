"""D2: a Prefect server that is away before, during or at the end of a run costs nothing but its page."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from baton.flows.programs import environment_of, prefect_server

FIRST = "2024-02-26"


class Server:
    """A real Prefect server that can be killed and started again on its port."""

    def __init__(self, home: Path, port: int) -> None:
        self.program = prefect_server(home, port=port)
        self.api = f"{self.program.url}/api"
        self._log = home / "prefect.log"
        (home / "prefect").mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                env=environment_of(self.program, mark="outages"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_health(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.program.probe, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(self._log.read_text()[-2000:])

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def runs(self) -> list[str]:
        with closing(sqlite3.connect(self.program.environment["PREFECT_HOME"] + "/prefect.db")) as database:
            return [
                str(row[0])
                for row in database.execute("SELECT state_type FROM flow_run WHERE parent_task_run_id IS NULL")
            ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, four_ports: list[int]) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"), four_ports[0])
    try:
        yield found
    finally:
        found.kill()


@pytest.fixture
def landed(parcels: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    parcels.ask("ingest", "--as-of", FIRST)
    monkeypatch.setenv("BATON_PREFECT_URL", server.api)
    return parcels


def in_ledger(folder: Path) -> bool:
    if not (folder / "ledger.db").exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True, timeout=0.01)) as database:
            return bool(database.execute("SELECT count(*) FROM entries").fetchone()[0])
    except sqlite3.Error:
        return False


STEPS: dict[str, Callable[[Path], bool]] = {
    "while it trains": lambda folder: any((folder / "snapshots").glob("*.parquet")),
    "after the promotion": in_ledger,
}


def train(parcels: Any, *, until: Callable[[Path], bool], then: Callable[[], object]) -> tuple[int, str]:
    """Train, and do something to the server as soon as a step has left its trace."""
    process = parcels.start("train", "--as-of", FIRST)
    while process.poll() is None and not until(parcels.folder):
        time.sleep(0.005)
    assert process.poll() is None, process.stderr.read()
    then()
    _, err = process.communicate(timeout=400)
    return process.returncode, err


def one_promotion(parcels: Any) -> None:
    """The next run is clean: one champion, the same however often it is asked for."""
    again = [parcels.ask_json("train", "--as-of", FIRST) for _ in range(2)]
    assert [(each["version"], each["epoch"]) for each in again] == [("1", 1)] * 2
    assert [entry[:2] for entry in parcels.ledger()] == [(1, "1")]
    assert "is whole" in parcels.ask("audit", "verify")
    assert "version 1, epoch 1" in parcels.ask("reconcile")


def test_a_server_that_is_down_before_the_run_is_done_without(landed: Any, server: Server) -> None:
    server.kill()
    process = landed.start("train", "--as-of", FIRST)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert "version 1 was promoted, epoch 1" in out
    assert f"warning: Prefect at {server.api} does not answer" in err
    one_promotion(landed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_dies_during_the_run_is_said_and_the_promotion_stands(
    landed: Any, server: Server, step: str
) -> None:
    server.start()
    server.await_health()
    code, err = train(landed, until=STEPS[step], then=server.kill)
    assert code == 4, err
    assert f"error: Prefect at {server.api} went away during this run" in err
    assert "run the same command again" in err
    assert [entry[:2] for entry in landed.ledger()] == [(1, "1")]
    one_promotion(landed)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_server_that_is_started_again_during_the_run_is_told_late(landed: Any, server: Server) -> None:
    server.start()
    server.await_health()
    before = len(server.runs())

    def restart() -> None:
        server.kill()
        server.start()

    code, err = train(landed, until=STEPS["after the promotion"], then=restart)
    assert code == 0, err
    server.await_health()
    assert len(server.runs()) == before + 1
    assert server.runs()[-1] == "COMPLETED"
    one_promotion(landed)
