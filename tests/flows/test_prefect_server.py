"""Prefect without a server of its own: what runs in-process costs little, and what needs a server says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from baton.core.errors import DependencyDown, SourceMissing
from baton.flows import prefect_server
from baton.flows.deployments import RETRAIN, WATCH, flow_at, main
from baton.flows.programs import deployment_runner, environment_of, mlflow_server
from baton.flows.programs import prefect_server as prefect_program

NOWHERE = "http://127.0.0.1:9/api"

# A process of its own: Prefect's in-process server is one for the whole process.
IN_PROCESS = """
import json, threading, time
from prefect import flow
from baton.flows.prefect_server import in_process, warm_up

@flow(name="nothing")
def nothing() -> int:
    return 1

with in_process():
    warm = threading.Thread(target=warm_up)
    warm.start()
    warm.join()
    nothing()
    took = []
    for _ in range(10):
        started = time.perf_counter()
        nothing()
        took.append(time.perf_counter() - started)
print(json.dumps(sorted(took)))
"""


def test_a_flow_run_in_process_takes_a_fraction_of_a_second(tmp_path: Path) -> None:
    environment = environment_of(prefect_program(tmp_path), mark="test")
    # Without a server, and without anybody's own.
    environment.pop("PREFECT_API_URL")
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS],
        env=environment | {"PREFECT_LOGGING_LEVEL": "ERROR"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    took = json.loads(done.stdout.splitlines()[-1])
    # With the heartbeat every single one takes more than a second.
    assert took[len(took) // 2] < 0.8


def test_a_server_that_is_down_is_said_to_be_down() -> None:
    from prefect.settings import temporary_settings

    with temporary_settings({"api.url": NOWHERE, "client.max_retries": 0}):
        with pytest.raises(DependencyDown, match="Prefect's server"):
            prefect_server.emit_drift("flights", key="k", as_of="2013-11-30", reason="drift")
        with pytest.raises(DependencyDown, match="baton up"):
            prefect_server.flow_runs("00000000-0000-0000-0000-000000000000")


def test_an_own_server_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import get_current_settings, temporary_settings

    monkeypatch.setattr(prefect_server, "_healthy", lambda _: True)
    with temporary_settings({"api.url": NOWHERE}), prefect_server.in_process():
        assert get_current_settings().flows.heartbeat_frequency


def test_an_event_that_is_never_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def request(self, *_: object, **__: object) -> SimpleNamespace:
            return SimpleNamespace(json=lambda: {"events": []})

    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: Forgetful())
    monkeypatch.setattr(prefect_server, "WRITTEN_SECONDS", 0.1)
    with pytest.raises(DependencyDown, match="event of flights was not written"):
        prefect_server.emit_drift("flights", key="k", as_of="2013-11-30", reason="drift")


@pytest.mark.parametrize("path", ["no.such.module:flow", "json:no_such_name", "json", ":"])
def test_a_flow_that_cannot_be_imported_is_named(path: str) -> None:
    with pytest.raises(SourceMissing, match="module:function"):
        flow_at(path)


def test_the_runner_refuses_a_folder_without_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--project", str(tmp_path)]) == 2
    assert "no project file" in capsys.readouterr().err


@pytest.mark.parametrize("path", [RETRAIN, WATCH])
def test_the_runner_serves_flows_that_exist(path: str) -> None:
    flow = flow_at(path)
    assert flow.name in {"retrain", "watch"}
    assert "project" in flow.parameters.properties


def test_every_program_stays_on_this_machine(tmp_path: Path) -> None:
    programs = (
        mlflow_server(tmp_path / "mlflow"),
        prefect_program(tmp_path),
        deployment_runner(tmp_path, tmp_path, prefect_url=NOWHERE),
    )
    assert len({program.port for program in programs}) == len(programs)
    for program in programs:
        assert program.url.startswith("http://127.0.0.1:")
        assert "0.0.0.0" not in program.command
        assert environment_of(program, mark="m")["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert environment_of(program, mark="m")["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
