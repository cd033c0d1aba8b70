"""The `baton` command: what a person or a job types, and how it ends.

Exit codes: 0 done, 1 refused or drifted, 2 misuse, 3 conflict, 4 dependency
down, 5 integrity. An error is one line on standard error; `--debug` adds the
traceback.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from baton.cli.endings import ended_in_one_line
from baton.cli.key_commands import keys
from baton.cli.ledger_app import commands
from baton.cli.options import HERE, MOST_PORT, AsOf, DryRun, Home, Json, Project, moment
from baton.cli.package_commands import packages
from baton.cli.quarantine_commands import quarantine
from baton.cli.rollout_commands import rollout
from baton.cli.score_commands import scoring
from baton.cli.signer_commands import signer
from baton.cli.store_commands import storing

app = typer.Typer(
    name="baton",
    help="Keep a tabular model good after it has shipped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
watching = typer.Typer(help="Compare what was served with the champion's reference; exit 1 if it drifted.")
app.add_typer(watching, name="watch")
app.add_typer(commands)
app.add_typer(keys, name="key")
app.add_typer(scoring)
app.add_typer(signer, name="signer")
app.add_typer(storing)
app.add_typer(rollout, name="rollout")
app.add_typer(quarantine, name="quarantine")
app.add_typer(packages, name="package")


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """Keep a tabular model good after it has shipped."""
    if debug:
        os.environ["BATON_DEBUG"] = "1"
        return
    # A person reads our lines; what vendors deprecate is for --debug.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    # Vendors put their own filters back; nobody's warnings are shown.
    warnings.showwarning = lambda *_, **__: None
    logging.getLogger("py.warnings").disabled = True


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Two months instead of nine, within a minute.")] = False,
    home: Home = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the prediction service.", min=1, max=MOST_PORT)
    ] = None,
) -> None:
    """Show the whole loop on the flights of 2013, from raw rows to a retrained, served champion."""
    from baton.cli import demo_command

    demo_command.show(home=home, fast=fast, port=port)


@app.command()
def init(
    name: Annotated[Path, typer.Argument(help="Folder of the new project; its name is the model's.")],
    source: Annotated[
        str,
        typer.Option("--from", help="CSV or Parquet file, folder, s3://, postgresql://...?table=T, F.duckdb?table=T."),
    ],
    label: Annotated[str | None, typer.Option("--label", help="Column to predict.")] = None,
    event_time: Annotated[
        str | None, typer.Option("--event-time", help="Column that says when a row happened.")
    ] = None,
    known_time: Annotated[
        str | None, typer.Option("--known-time", help="Column that says when its label came.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Column that identifies a row.")] = None,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", help="Column whom a row is about; repeatable.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Zone of times that name none.")] = None,
    no_time: Annotated[bool, typer.Option("--no-time", help="Rows have no time, whatever columns there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take the best guess where nothing was said.")] = False,
) -> None:
    """Begin a project from a table: looks at it, asks, and writes one that trains and serves."""
    from baton.cli import init_command

    words = {"label": label, "event_time": event_time, "known_time": known_time, "key": key, "task": task}
    said = {**words, "timezone": timezone, "entities": tuple(entity or ()), "timeless": no_time}
    init_command.init(name, source=source, said=said, yes=yes, now=moment(None))


@app.command()
def ingest(project: Project = HERE, as_of: AsOf = None, home: Home = None, dry_run: DryRun = False) -> None:
    """Land new rows, test them, set bad ones aside, and refresh the features."""
    from baton.cli import loop_commands

    loop_commands.ingest(project, home=home, as_of=moment(as_of), dry_run=dry_run)


@app.command()
def snapshot(project: Project = HERE, as_of: AsOf = None, home: Home = None, as_json: Json = False) -> None:
    """Freeze a training table: labelled rows with their features as known at each prediction."""
    from baton.cli import loop_commands

    loop_commands.snapshot(project, home=home, as_of=moment(as_of), as_json=as_json)


@app.command()
def train(
    project: Project = HERE,
    as_of: AsOf = None,
    home: Home = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    trigger: Annotated[str, typer.Option("--trigger", help="What asked for it.")] = "by hand",
) -> None:
    """Train a challenger, judge it against the champion, and promote it if the verdict says so."""
    from baton.cli import loop_commands

    loop_commands.train(project, home=home, as_of=moment(as_of), trigger=trigger, as_json=as_json, dry_run=dry_run)


@watching.callback(invoke_without_command=True)
def watch(
    context: typer.Context, project: Project = HERE, as_of: AsOf = None, home: Home = None, as_json: Json = False
) -> None:
    """Compare what was served with the champion's reference; exit 1 if it drifted."""
    if context.invoked_subcommand is not None:
        return
    from baton.cli import loop_commands

    loop_commands.watch(project, home=home, as_of=moment(as_of), as_json=as_json)


@watching.command()
def skew(
    project: Project = HERE,
    as_of: AsOf = None,
    home: Home = None,
    as_json: Json = False,
    requests: Annotated[int, typer.Option("--requests", help="Most requests that are replayed.", min=1)] = 1_000,
) -> None:
    """Replay requests from what had landed by their moment, and name what was served otherwise; exit 1 if any."""
    from baton.cli import loop_commands

    loop_commands.skew(project, home=home, as_of=moment(as_of), requests=requests, as_json=as_json)


@app.command()
def serve(
    project: Annotated[
        list[Path] | None, typer.Option("--project", "-p", help="Folder with model.yaml; several serve several.")
    ] = None,
    home: Home = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port; the project file's where left out.", min=1, max=MOST_PORT)
    ] = None,
) -> None:
    """Serve the champion on loopback until interrupted, swapping when it changes; several projects, each its own."""
    from baton.cli import service_commands

    service_commands.serve(project or [HERE], home=home, port=port)


@app.command()
def up(
    project: Project = HERE,
    home: Home = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is healthy.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the service; the project file's.", min=1, max=MOST_PORT)
    ] = None,
    mlflow_port: Annotated[int, typer.Option("--mlflow-port", help="Port of MLflow.", min=1, max=MOST_PORT)] = 5000,
    prefect_port: Annotated[int, typer.Option("--prefect-port", help="Port of Prefect.", min=1, max=MOST_PORT)] = 4200,
    runner_port: Annotated[
        int, typer.Option("--runner-port", help="Port of the deployments' health.", min=1, max=MOST_PORT)
    ] = 4201,
) -> None:
    """Start MLflow, Prefect with its deployments, and the service, on loopback."""
    from baton.cli import service_commands

    ports = {"mlflow_port": mlflow_port, "prefect_port": prefect_port, "runner_port": runner_port}
    service_commands.up(project, home=home, detach=detach, ports=ports | ({"port": port} if port else {}))


@app.command()
def down(home: Home = None) -> None:
    """Stop what `baton up` started."""
    from baton.cli import service_commands

    service_commands.down(home=home)


@app.command()
def clean(project: Project = HERE, home: Home = None, dry_run: DryRun = False) -> None:
    """Remove a project's state: landed rows, snapshots, versions and logs."""
    from baton.cli import loop_commands

    loop_commands.clean(project, home=home, dry_run=dry_run)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option("--out", help="File; standard output where left out.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page for people instead of JSON Schema.")] = False,
) -> None:
    """Write the JSON Schema of model.yaml, or its reference page."""
    from baton.cli import loop_commands

    loop_commands.schema(out, markdown=markdown)


def run() -> None:
    """Run the command line: every error ends as one line and a documented exit code."""
    words = sys.argv[1:] or ["--help"]
    ended_in_one_line(lambda: _invoke(words))


def _invoke(words: list[str]) -> None:
    """Run one command without Typer's own endings, which are several lines long and swallow Ctrl-C and closed pipes."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("baton", words) as context:
            command.invoke(context)
    finally:
        # A pipe that was closed shows here at the latest, not while Python ends.
        sys.stdout.flush()
