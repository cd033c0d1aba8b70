"""Rows that data tests set aside: list them, and let some land after all."""

from __future__ import annotations

import getpass
import json
from typing import Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, AsOf, DryRun, Home, Json, Project, moment

quarantine = typer.Typer(help="Rows that data tests set aside.", no_args_is_help=True)

SHOWN_KEYS = 60


@quarantine.command("list")
def show(
    table: Annotated[str | None, typer.Argument(help="Table of model.yaml; all where left out.")] = None,
    most: Annotated[int, typer.Option("--most", help="Rows to show of each table, the newest.", min=1)] = 20,
    project: Project = HERE,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the rows that wait, each with its number, key and reason."""
    from baton.compose import platform

    baton = platform(project, home=home)
    for name in [table] if table else baton.spec.source.tables:
        waiting = baton.quarantine.waiting(name)
        if as_json:
            rows = json.loads(waiting.tail(most).to_json(orient="records", date_format="iso"))
            released = baton.quarantine.releases(name)
            output.machine({"table": name, "waiting": len(waiting), "rows": rows, "releases": released})
            continue
        output.line(f"{name}: {len(waiting):,} rows wait, {len(baton.quarantine.releases(name))} releases")
        key = baton.spec.source.tables[name].key
        for _, row in waiting.tail(most).iterrows():
            # A cell may hold anything; a line is one line.
            where = " ".join(" ".join(str(row[column]).split()) for column in key)[:SHOWN_KEYS]
            output.line(f"  {row['number']:>6}  {where}  {' '.join(str(row['reason']).split())}")


@quarantine.command("release")
def release(
    table: Annotated[str, typer.Argument(help="Table of model.yaml.")],
    why: Annotated[str, typer.Option("--why", help="Why they are right after all; kept with them.")],
    rows: Annotated[list[int] | None, typer.Option("--row", help="Number of a row; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every row of the table that waits.")] = False,
    who: Annotated[str | None, typer.Option("--who", help="Who decides; the user of this machine.")] = None,
    as_of: AsOf = None,
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Let rows land with the next ingestion, known from now on; no data test sets them aside again."""
    from baton.compose import platform

    baton = platform(project, home=home)
    numbers = [int(number) for number in baton.quarantine.waiting(table)["number"]] if every else rows or []
    if dry_run:
        output.line(f"would release {len(numbers)} rows of {table}")
        return
    made = baton.quarantine.release(table, numbers, who=who or getpass.getuser(), why=why, at=moment(as_of))
    output.line(f"{len(made.numbers)} rows of {table} land with the next ingestion: {made.why} ({made.who})")
