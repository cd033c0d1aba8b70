"""The loop on real servers, as `baton up` starts them: drift becomes an event, the event a retraining, once."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from baton.flows import prefect_server
from baton.flows.ports import require_free
from baton.flows.programs import Program
from baton.serving.client import PredictionClient

FIRST, SECOND = "2024-02-26", "2024-04-22"
DRIFT = {"key": "parcels drifted", "as_of": f"{SECOND}T00:00:00+00:00", "reason": "drift: score PSI 0.31 over 0.25"}
NAMES = ("port", "mlflow-port", "prefect-port", "runner-port")


class Installation:
    """The servers of one home, and where they listen."""

    def __init__(self, parcels: Any, ports: list[int]) -> None:
        self.parcels = parcels
        self.ports = ports
        self.service, self.mlflow, prefect, self.runner = (f"http://127.0.0.1:{port}" for port in ports)
        self.api = f"{prefect}/api"

    def up(self) -> str:
        options = [word for name, port in zip(NAMES, self.ports, strict=True) for word in (f"--{name}", str(port))]
        return str(self.parcels.ask("up", "--detach", *options))

    def registered(self) -> list[dict[str, Any]]:
        """Give the versions on the MLflow server, newest last."""
        url = f"{self.mlflow}/api/2.0/mlflow/model-versions/search?filter=name%3D%27parcels%27"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return sorted(json.load(answer).get("model_versions", []), key=lambda each: int(each["version"]))

    def champion(self) -> str:
        """Give the version that MLflow's alias names."""
        url = f"{self.mlflow}/api/2.0/mlflow/registered-models/alias?name=parcels&alias=champion"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(json.load(answer)["model_version"]["version"])

    def triggers(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.parcels.folder / "triggers.db")) as table:
            return list(table.execute("SELECT key, outcome FROM triggers WHERE key = ?", (DRIFT["key"],)))


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, make_parcels: Any, four_ports: list[int]
) -> Iterator[Installation]:
    """A first champion, trained by hand, and then every server."""
    from prefect.settings import temporary_settings

    parcels = make_parcels(home=tmp_path_factory.mktemp("servers") / "home")
    # Through the second date: the retraining sees what has landed by its own moment.
    parcels.ask("ingest", "--as-of", SECOND)
    parcels.ask("train", "--as-of", FIRST)
    found = Installation(parcels, four_ports)
    found.up()
    try:
        with temporary_settings({"api.url": found.api}):
            yield found
    finally:
        parcels.ask("down")


def test_the_retraining_has_its_schedule(installation: Installation) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrain/parcels")
    assert [(one.schedule.cron, one.active) for one in deployment.schedules] == [("0 6 1 * *", True)]


def test_the_service_answers_with_the_champion_of_before(installation: Installation) -> None:
    with PredictionClient(installation.service, model="parcels") as client:
        assert (client.describe().version, client.describe().epoch) == ("1", 1)


def test_drift_retrains_once_and_the_service_answers_with_the_new_champion(
    installation: Installation, wait_until: Any
) -> None:
    deployment = prefect_server.deployment_id_of("retrain/parcels")
    prefect_server.emit_drift("parcels", **DRIFT)
    run = prefect_server.wait_for_run(deployment, key=DRIFT["key"], timeout_seconds=120)
    assert run.state == "COMPLETED"

    (_, _, digest, _), newest = installation.parcels.ledger()
    assert (newest[0], newest[2] != digest) == (2, True)
    assert newest[1] == installation.registered()[-1]["version"] == installation.champion()
    assert installation.triggers() == [(DRIFT["key"], "PROMOTE")]
    with PredictionClient(installation.service, model="parcels") as client:
        wait_until(lambda: client.describe().epoch == 2, 10)
        assert client.describe().digest == newest[2]

    before = installation.registered()
    prefect_server.emit_drift("parcels", **DRIFT)
    wait_until(lambda: len(finished(deployment)) == 2, 60)
    assert [run.state for run in finished(deployment)] == ["COMPLETED", "COMPLETED"]
    assert installation.registered() == before
    assert len(installation.parcels.ledger()) == 2
    assert installation.triggers() == [(DRIFT["key"], "PROMOTE")]


def finished(deployment: str) -> list[prefect_server.FlowRunSeen]:
    return [run for run in prefect_server.flow_runs(deployment) if run.finished]


def test_a_second_start_is_a_conflict(installation: Installation) -> None:
    process = installation.parcels.start("up", "--detach")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (3, 1)
    assert "already running" in err


def test_down_leaves_no_process_and_no_port(installation: Installation) -> None:
    assert "all are stopped" in installation.parcels.ask("down")
    require_free([Program(name=str(port), command=(), url=f"http://127.0.0.1:{port}") for port in installation.ports])
    assert processes_of(installation.parcels.home) == []
    assert "nothing was running" in installation.parcels.ask("down")


def processes_of(home: Path) -> list[str]:
    """Name every process that knows the home."""
    found = []
    for process in psutil.process_iter():
        try:
            known = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != psutil.Process().pid and any(str(home) in value for value in known):
            found.append(process.name())
    return found
