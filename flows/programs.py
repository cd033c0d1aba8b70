"""What `baton up` starts: each server as a command, an environment and an address to ask whether it is ready.

Every program binds loopback only. `PYTHONSAFEPATH` keeps the working directory
off `sys.path` in the program and in all that it starts itself, so that the
repository's folders never stand in for a vendor's module of the same name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from baton.settings import IMPATIENT, QUIET

HOST = "127.0.0.1"
MLFLOW_PORT = 5000
PREFECT_PORT = 4200
RUNNER_PORT = 4201
# Seconds between two looks for due runs; Prefect's own 10 make a person wait.
POLL_SECONDS = 2
# A cold start imports hundreds of modules and migrates a new database, on a busy machine.
READY_SECONDS = 120.0
LOOPBACK = "127.0.0.1,localhost"
# Name of the environment variable that every supervised process carries.
MARK = "BATON_SUPERVISED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One server to keep running, and how to tell that it is ready.

    `url` is what a person opens and decides the port, `health` is the path
    that answers 200 once ready, `setting` is what changes the port. `after`
    names a program that has to be ready before this one is started.
    """

    name: str
    command: tuple[str, ...]
    url: str
    health: str = "/health"
    setting: str = "another port"
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = READY_SECONDS
    after: str | None = None

    @property
    def port(self) -> int:
        """The port that the program listens on."""
        port = urlsplit(self.url).port
        assert port is not None, f"{self.name} has no port in {self.url}"
        return port

    @property
    def probe(self) -> str:
        """The address that is asked whether the program is ready."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{self.health}"


def mlflow_server(store: Path, *, port: int = MLFLOW_PORT) -> Program:
    """MLflow over the store that Baton writes without a server; `store` holds mlflow.db and artifacts/."""
    store = store.absolute()
    store.mkdir(parents=True, exist_ok=True)
    hosts = (f"{HOST}:{port}", f"localhost:{port}")
    return Program(
        name="mlflow",
        command=(
            *(sys.executable, "-m", "mlflow", "server"),
            *("--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"),
            *("--artifacts-destination", str(store / "artifacts")),
            *("--host", HOST, "--port", str(port), "--workers", "1"),
            *("--allowed-hosts", ",".join(hosts)),
            *("--cors-allowed-origins", ",".join(f"http://{host}" for host in hosts)),
            *("--uvicorn-opts", "--log-level=warning"),
        ),
        url=f"http://{HOST}:{port}",
        setting="--mlflow-port",
        environment={**QUIET},
    )


def prefect_server(home: Path, *, port: int = PREFECT_PORT) -> Program:
    """Prefect's server and UI, with its database under Baton's home."""
    url = f"http://{HOST}:{port}"
    return Program(
        name="prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)),
        url=url,
        health="/api/health",
        setting="--prefect-port",
        environment={
            **QUIET,
            "PREFECT_HOME": str(home.absolute() / "prefect"),
            "PREFECT_API_URL": f"{url}/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # The API asks nobody who they are: at least no other web page may use it.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{url},http://localhost:{port}",
        },
    )


def deployment_runner(
    project: Path,
    home: Path,
    *,
    prefect_url: str,
    mlflow_url: str | None = None,
    port: int = RUNNER_PORT,
    flows: Mapping[str, str] | None = None,
) -> Program:
    """The process that registers the deployments and runs what is due.

    Args:
        project: Folder with model.yaml.
        home: Folder for all state.
        prefect_url: Prefect's API, ending in /api.
        mlflow_url: MLflow server that the flows log to; its store where left out.
        port: Port of the health endpoint.
        flows: Other flows to serve than Baton's own, as `module:function` by `retrain` and `watch`.
    """
    chosen = [part for name, path in (flows or {}).items() for part in (f"--{name}", path)]
    servers = {"BATON_PREFECT_URL": prefect_url} | ({"BATON_MLFLOW_URL": mlflow_url} if mlflow_url else {})
    return Program(
        name="runner",
        command=(
            *(sys.executable, "-m", "baton.flows.deployments"),
            *("--project", str(project.absolute()), "--port", str(port), *chosen),
        ),
        url=f"http://{HOST}:{port}",
        setting="--runner-port",
        environment={
            **QUIET,
            **IMPATIENT,
            **servers,
            "BATON_HOME": str(home.absolute()),
            "PREFECT_HOME": str(home.absolute() / "prefect"),
            "PREFECT_API_URL": prefect_url,
            "PREFECT_RUNNER_POLL_FREQUENCY": str(POLL_SECONDS),
        },
        after="prefect",
    )


def environment_of(program: Program, *, mark: str) -> dict[str, str]:
    """Give the whole environment of a program; `mark` tells its processes from a stranger's later."""
    direct = ",".join(part for part in (os.environ.get("NO_PROXY", ""), LOOPBACK) if part)
    # Loopback is never asked for through a proxy.
    own = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "NO_PROXY": direct, "no_proxy": direct, MARK: mark}
    return {**os.environ, **own, **program.environment}
