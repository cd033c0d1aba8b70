"""Commands that start and stop servers on this machine."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from baton.cli import output
from baton.compose import platform
from baton.core.errors import Misuse
from baton.flows.programs import Program
from baton.settings import Settings

LOOK_SECONDS = 0.5
# Without it MLflow opens as its tool for language models.
MLFLOW_FOR_MODELS = "workflowType=machine_learning"


def serve(projects: Sequence[Path], *, home: Path | None, port: int | None) -> None:
    """Serve the champions of projects from one process until interrupted; the first one's limits hold for it."""
    from baton.serving.process import start

    batons = [platform(project, home=home) for project in projects]
    first, *others = batons
    serving = first.spec.serving
    beside = {each.spec.name: {"folder": str(each.folder.absolute()), **each.spec.serving.limits} for each in others}
    if len({each.spec.name for each in batons}) < len(batons):
        raise Misuse(
            what="a model is served once", why="two of the projects have one name", fix="name each project once"
        )
    limits = {**serving.limits, **({"beside": json.dumps(beside)} if beside else {})}
    service = start(first.folder, model=first.spec.name, port=port or serving.port, limits=limits)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    for baton in batons:
        released = "ready" if baton.release_file.exists() else "waiting for a first champion; run baton train"
        output.line(f"{service.url}/v1/models/{baton.spec.name} is up, {released}; Ctrl-C stops it")
    while service.running and not ended.wait(LOOK_SECONDS):
        pass
    service.stop()


def up(project: Path, *, home: Path | None, detach: bool, ports: dict[str, int]) -> None:
    """Start every server; return once healthy with `detach`, else run until interrupted."""
    from baton.flows.background import remember_programs, start_detached
    from baton.flows.installation import programs_of, servers_folder
    from baton.flows.supervisor import Supervisor

    baton = platform(project, home=home)
    programs = programs_of(baton, **ports)
    folder = servers_folder(baton.settings.home)
    output.line(f"starting {', '.join(program.name for program in programs)}; logs are in {folder}")

    def ready(program: Program, seconds: float) -> None:
        output.line(f"  {program.name:<8} {_page(program, baton.spec.name):<72} ready in {seconds:.0f} s")

    if detach:
        start_detached(folder, programs, on_ready=ready)
        output.line("all are up; baton down stops them")
        return
    remember_programs(folder, programs)
    output.line("Ctrl-C stops them")
    Supervisor(folder).run(programs, on_ready=ready)
    output.line("all are stopped")


def down(*, home: Path | None) -> None:
    """Stop every server of an installation."""
    from baton.flows.background import stop_detached
    from baton.flows.installation import servers_folder

    settings = Settings() if home is None else Settings(home=home)
    stopped = stop_detached(servers_folder(settings.home))
    output.line("all are stopped" if stopped else "nothing was running")


def _page(program: Program, model: str) -> str:
    """Give the page of a server that a person wants to open."""
    pages = {
        "mlflow": f"{program.url}/#/models/{model}?{MLFLOW_FOR_MODELS}",
        "prefect": f"{program.url}/runs",
        "runner": program.url,
        "service": f"{program.url}/v1/models/{model}",
    }
    return pages.get(program.name, program.url)
