"""The real servers of `baton up`: MLflow, Prefect, the runner of the deployments, started from the repository root."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from baton.flows import prefect_server
from baton.flows.background import start_detached, stop_detached
from baton.flows.ports import healthy, require_free
from baton.flows.process_file import marked
from baton.flows.programs import HOST, Program, deployment_runner, mlflow_server
from baton.flows.programs import prefect_server as prefect_program
from baton.flows.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "flights"
MODEL = "flights"

# Stands in for the retraining, so that what is measured is the servers.
TINY = """
import json, os, sys, time
from pathlib import Path
from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

@flow(name="retrain", validate_parameters=False)
def retrain_flow(project: str, trigger: str = "schedule", key: str | None = None, as_of: str | None = None) -> dict:
    seen = {"project": project, "trigger": trigger, "key": key, "as_of": as_of, "path": sys.path, "cwd": os.getcwd()}
    Path(os.environ["SEEN"]).joinpath(f"{key}.json").write_text(json.dumps(seen))
    if key == "artifacts":
        create_markdown_artifact("# Verdict\\nPROMOTE", key="flights-verdict", description="Gate verdict")
        create_table_artifact([{"carrier": "UA", "rows": 10, "auc": 0.71}], key="flights-slices")
        create_link_artifact("http://127.0.0.1:5000", key="flights-version", link_text="version 1 in MLflow")
    if key == "slow":
        time.sleep(120)
    return {"key": key}

@flow(name="watch")
def watch_flow(project: str, as_of: str | None = None) -> dict:
    return {}
"""


class Servers:
    """Where the servers of one module run, and how long they took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "servers"
        self.seen = folder / "seen"
        self.seen.mkdir()
        (folder / "tiny_flows.py").write_text(TINY)
        flows, prefect = free_ports(3), prefect_program
        home = folder / "home"
        self.prefect = prefect(home, port=flows[0])
        self.mlflow = mlflow_server(home / MODEL / "mlflow", port=flows[1])
        self.api = f"{self.prefect.url}/api"
        runner = deployment_runner(
            PROJECT,
            home,
            prefect_url=self.api,
            mlflow_url=self.mlflow.url,
            port=flows[2],
            flows={"retrain": "tiny_flows:retrain_flow", "watch": "tiny_flows:watch_flow"},
        )
        own = {"PYTHONPATH": str(folder), "SEEN": str(self.seen)}
        self.runner = Program(
            **{name: getattr(runner, name) for name in Program.__slots__ if name != "environment"},
            environment={**runner.environment, **own},
        )
        self.took: dict[str, float] = {}

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.mlflow, self.prefect, self.runner)

    def start(self) -> int:
        return start_detached(self.folder, self.programs, on_ready=lambda p, s: self.took.update({p.name: s}))

    def pid(self, program: Program) -> int | None:
        return Supervisor(self.folder).status([program])[0].pid

    def left(self) -> list[psutil.Process]:
        return marked(f"{self.folder}:")


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_until(true, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All three, started from the repository root, where a folder called packaging/ lies."""
    from prefect.settings import temporary_settings

    folder, before = tmp_path_factory.mktemp("up"), Path.cwd()
    os.chdir(ROOT)
    found = Servers(folder)
    found.start()
    print(f"ready after {found.took}")  # noqa: T201
    try:
        with temporary_settings({"api.url": found.api}):
            yield found
    finally:
        os.chdir(before)
        stop_detached(found.folder)


@pytest.fixture
def deployment(servers: Servers) -> str:
    return prefect_server.deployment_id_of(f"retrain/{MODEL}")


def test_the_servers_are_ready_and_answer_people(servers: Servers) -> None:
    assert all(status.healthy for status in Supervisor(servers.folder).status(servers.programs))
    assert "<title>MLflow" in get(servers.mlflow.url)
    assert "Prefect" in get(servers.prefect.url)


def test_the_deployments_have_their_schedules(servers: Servers) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        retrain = client.read_deployment_by_name(f"retrain/{MODEL}")
        watch = client.read_deployment_by_name(f"watch/{MODEL}")
    assert [(one.schedule.cron, one.active) for one in retrain.schedules] == [("0 6 1 * *", True)]
    assert [(one.schedule.cron, one.active) for one in watch.schedules] == [("0 5 * * *", True)]
    assert retrain.parameters == {"project": str(PROJECT), "trigger": "schedule"}
    assert retrain.entrypoint == "tiny_flows.retrain_flow"


def test_drift_starts_a_retraining_with_the_events_facts(servers: Servers, deployment: str) -> None:
    started = time.monotonic()
    prefect_server.emit_drift(MODEL, key="artifacts", as_of="2013-11-30T00:00:00+00:00", reason="drift: score PSI 0.31")
    told = time.monotonic()
    run = prefect_server.wait_for_run(deployment, key="artifacts", timeout_seconds=60)
    ended = time.monotonic()
    print(f"event written {told - started:.1f} s, run ended {ended - started:.1f} s, ran {run.seconds:.1f} s")  # noqa: T201
    assert run.state == "COMPLETED"
    seen = json.loads((servers.seen / "artifacts.json").read_text())
    assert seen["project"] == str(PROJECT)
    assert seen["trigger"] == "drift: score PSI 0.31"
    assert seen["as_of"] == "2013-11-30T00:00:00+00:00"
    assert str(ROOT) not in seen["path"]
    assert "" not in seen["path"]
    assert Path(seen["cwd"]) == servers.folder


def test_drift_of_another_model_starts_nothing(servers: Servers, deployment: str) -> None:
    before = len(prefect_server.flow_runs(deployment))
    prefect_server.emit_drift("another", key="other", as_of="2013-11-30", reason="drift")
    assert len(prefect_server.flow_runs(deployment)) == before


def test_the_automation_is_never_doubled_nor_written_for_nothing(servers: Servers, deployment: str) -> None:
    first = automations(servers)
    prefect_server.ensure_automation(deployment, MODEL)
    assert automations(servers) == first
    assert len(first) == 1


def test_an_automation_that_was_changed_is_mended_and_a_paused_one_stays_paused(
    servers: Servers, deployment: str
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    ((automation_id, before),) = automations(servers).items()
    with get_client(sync_client=True) as client:
        changed = AutomationCore.model_validate(prefect_server._automation(deployment, MODEL))
        changed.trigger.threshold = 5
        client.update_automation(automation_id, changed)
        client.pause_automation(automation_id)
        assert prefect_server.ensure_automation(deployment, MODEL) == automation_id
        (after,) = automations(servers).values()
        client.resume_automation(automation_id)
    assert (after["trigger"]["threshold"], after["enabled"]) == (1, False)
    assert after["actions"] == before["actions"]


def automations(servers: Servers) -> dict[str, dict[str, Any]]:
    request = urllib.request.Request(f"{servers.api}/automations/filter", data=b"{}", method="POST")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return {found["id"]: found for found in json.load(answer)}


def test_a_killed_runner_comes_back_and_its_run_is_crashed(servers: Servers, deployment: str) -> None:
    prefect_server.emit_drift(MODEL, key="slow", as_of="2013-12-01", reason="drift")
    wait_until((servers.seen / "slow.json").exists)
    first = servers.pid(servers.runner)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: servers.pid(servers.runner) not in (None, first) and healthy(servers.runner), 60)
    run = prefect_server.wait_for_run(deployment, key="slow", timeout_seconds=20)
    assert run.state == "CRASHED"
    prefect_server.emit_drift(MODEL, key="after", as_of="2013-12-02", reason="drift")
    assert prefect_server.wait_for_run(deployment, key="after", timeout_seconds=60).state == "COMPLETED"


def test_a_killed_supervisor_is_followed_by_a_clean_start_and_a_clean_stop(servers: Servers) -> None:
    pid = psutil.Process(json.loads((servers.folder / "supervisor.json").read_text())["pid"])
    orphans = servers.left()
    pid.kill()
    wait_until(lambda: not Supervisor(servers.folder).supervised)
    assert all(healthy(program) for program in servers.programs)
    servers.start()
    print(f"ready again after {servers.took}")  # noqa: T201
    assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)
    started = time.monotonic()
    assert stop_detached(servers.folder)
    print(f"stopped in {time.monotonic() - started:.1f} s")  # noqa: T201
    assert not servers.left()
    require_free(servers.programs)
