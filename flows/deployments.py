"""The process that runs what is due: registers the deployments, ties drift to retraining, reconciles, and waits.

Started by `baton up` as `python -m baton.flows.deployments --project FOLDER`,
with `PREFECT_API_URL` set. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from baton.compose import platform
from baton.core.errors import BatonError, DependencyDown, SourceMissing
from baton.core.spec import ModelSpec, load_spec
from baton.flows.prefect_server import ensure_automation, orphans_crashed
from baton.flows.programs import HOST, RUNNER_PORT
from baton.flows.reconciling import in_background

RETRAIN = "baton.flows.retrain:retrain_flow"
WATCH = "baton.flows.watch:watch_flow"
WATCH_SCHEDULE = "0 5 * * *"
# Two trainings at once take each other's cores, and each judges against a champion that the other may replace.
RUNS_AT_ONCE = 1
# A runner that has not asked for work for so long is stuck.
LONGEST_SILENCE = timedelta(seconds=60)
OK, UNAVAILABLE = 200, 503


def serve(project: Path, *, port: int, retrain: str = RETRAIN, watch: str = WATCH) -> None:
    """Serve a project's deployments until SIGTERM.

    Args:
        project: Folder with model.yaml; its name is the deployments' name.
        port: Port of `/health`, which answers 200 while the runner asks for work.
        retrain: Flow that takes project, trigger, key and as_of, as `module:function`.
        watch: Flow that takes project, likewise.

    Raises:
        SpecInvalid: The project file is missing or refused.
        SourceMissing: A flow cannot be imported.
        DependencyDown: Prefect's server does not answer.
    """
    from prefect.runner import Runner

    spec = load_spec(project)
    # What fell due while nothing ran is run once the runner is back, hence no pause.
    runner = Runner(name=f"baton-{spec.name}", pause_on_shutdown=False, limit=RUNS_AT_ONCE)
    retraining, watching = register(runner, spec, retrain=retrain, watch=watch)
    for deployment_id in (retraining, watching):
        orphans_crashed(deployment_id)
    ensure_automation(retraining, spec.name)
    _answer_health(runner, port)
    # Beside the runs, what people do in MLflow: a champion moved there is served within seconds.
    stop = in_background(platform(project))
    try:
        asyncio.run(runner.start())
    finally:
        stop.set()


def register(runner: Any, spec: ModelSpec, *, retrain: str, watch: str) -> tuple[str, str]:
    """Register the two deployments with their schedules and give their ids; the same names are updated."""
    project = str(spec.folder)
    plans = (
        (retrain, spec.retraining.schedule, {"project": project, "trigger": "schedule"}),
        (watch, WATCH_SCHEDULE, {"project": project}),
    )
    first, second = (_register(runner, spec.name, *plan) for plan in plans)
    return first, second


def _register(runner: Any, name: str, path: str, schedule: str, parameters: dict[str, str]) -> str:
    from prefect.deployments.runner import EntrypointType
    from prefect.exceptions import PrefectException

    flow = flow_at(path)
    try:
        # A module path: the file's own would be loaded outside its package.
        deployment = flow.to_deployment(
            name, cron=schedule, parameters=parameters, tags=["baton"], entrypoint_type=EntrypointType.MODULE_PATH
        )
        return str(runner.add_deployment(deployment))
    except (PrefectException, OSError, RuntimeError) as error:
        raise DependencyDown(
            what=f"the deployment {flow.name}/{name} cannot be registered",
            why=str(error) or type(error).__name__,
            fix="start the servers with `baton up`",
        ) from error


def flow_at(path: str) -> Any:
    """Import a flow by `module:function`.

    Raises:
        SourceMissing: There is no such module or function.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SourceMissing(
            what=f"no flow at {path}", why=str(error), fix="name it as module:function, importable from here"
        ) from error


def _answer_health(runner: Any, port: int) -> None:
    """Answer `/health` from a thread of its own.

    Prefect's own runner server would do, but for its `/shutdown`, which any
    web page may post to.
    """

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            well = runner.started and _recent(runner.last_polled)
            body = b"ok\n" if well else b"not asking for work\n"
            self.send_response(OK if well else UNAVAILABLE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the log for the runs."""

    server = ThreadingHTTPServer((HOST, port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _recent(polled: datetime | None) -> bool:
    return polled is not None and datetime.now(timezone.utc) - polled < LONGEST_SILENCE


def main(arguments: Sequence[str]) -> int:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(prog="baton.flows.deployments", description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True, help="folder with model.yaml")
    parser.add_argument("--port", type=int, default=RUNNER_PORT, help="port of /health")
    parser.add_argument("--retrain", default=RETRAIN, help="flow that retrains, as module:function")
    parser.add_argument("--watch", default=WATCH, help="flow that watches, as module:function")
    chosen = parser.parse_args(arguments)
    try:
        serve(chosen.project, port=chosen.port, retrain=chosen.retrain, watch=chosen.watch)
    except BatonError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201  # into the supervisor's log
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
