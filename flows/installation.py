"""The servers of one installation: which there are, and whether they run now."""

from __future__ import annotations

from pathlib import Path

from baton.compose import Platform
from baton.flows.programs import (
    HOST,
    MLFLOW_PORT,
    PREFECT_PORT,
    RUNNER_PORT,
    Program,
    deployment_runner,
    mlflow_server,
    prefect_server,
)
from baton.serving.process import serve_command, serve_environment

SERVERS = "servers"


def programs_of(
    platform: Platform,
    *,
    port: int | None = None,
    mlflow_port: int = MLFLOW_PORT,
    prefect_port: int = PREFECT_PORT,
    runner_port: int = RUNNER_PORT,
) -> tuple[Program, ...]:
    """Give the programs that `baton up` starts for a project: MLflow, Prefect, its deployments and the service."""
    home, spec = platform.settings.home.absolute(), platform.spec
    mlflow = mlflow_server(platform.folder / "mlflow", port=mlflow_port)
    prefect = prefect_server(home, port=prefect_port)
    runner = deployment_runner(
        spec.folder, home, prefect_url=f"{prefect.url}/api", mlflow_url=mlflow.url, port=runner_port
    )
    return mlflow, prefect, runner, _service(platform, port or spec.serving.port)


def servers_folder(home: Path) -> Path:
    """The folder of the supervisor's records and logs."""
    return home.absolute() / SERVERS


def _service(platform: Platform, port: int) -> Program:
    spec = platform.spec
    platform.folder.mkdir(parents=True, exist_ok=True)
    return Program(
        name="service",
        command=tuple(serve_command(host=HOST, port=port)),
        url=f"http://{HOST}:{port}",
        health="/livez",
        setting="--port",
        environment=serve_environment(platform.folder, model=spec.name, limits=spec.serving.limits),
    )
