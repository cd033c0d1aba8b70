"""Keys of a prediction service: add, list, revoke."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, DryRun, Home, Json, Project

if TYPE_CHECKING:
    from baton.serving.api_keys import ApiKey

keys = typer.Typer(help="API keys of the prediction service.", no_args_is_help=True)


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Who will hold it; shown in lists.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="predict, feedback or admin; may be repeated. predict.")
    ] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days until it expires; never.", min=1)] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", help="Requests in a window; the service's quota.", min=1)
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="Rows in a window; the service's quota.", min=1)] = None,
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Make a key and print it, once; from then on the service needs keys."""
    from baton.serving.api_keys import PREDICT, add_key

    scopes, path = tuple(scope or (PREDICT,)), _file(project, home)
    if dry_run:
        output.line(f"would add a key for {name} with {', '.join(scopes)} to {path}")
        return
    now = datetime.now(timezone.utc)
    expires = None if days is None else now + timedelta(days=days)
    made, text = add_key(path, name=name, scopes=scopes, now=now, expires=expires, requests=requests, rows=rows)
    output.line(text)
    typer.echo(f"key {made.id} of {made.name}: {', '.join(made.scopes)}; it is shown this once", err=True)


@keys.command("list")
def show(project: Project = HERE, home: Home = None, as_json: Json = False) -> None:
    """List the keys, without what makes them keys."""
    from baton.serving.api_keys import read_keys

    path = _file(project, home)
    found = read_keys(path) if path.exists() else ()
    if as_json:
        columns = ("id", "name", "scopes", "created", "expires", "revoked", "requests", "rows")
        output.machine([{name: getattr(key, name) for name in columns} for key in found])
        return
    if not found:
        output.line("there is no key; whoever reaches the service on loopback may ask it")
        return
    now = datetime.now(timezone.utc)
    rows = [
        [key.id, key.name, ", ".join(key.scopes), _day(key.created), _day(key.expires), _state(key, now)]
        for key in found
    ]
    output.table("keys", ["id", "name", "scopes", "created", "expires", "state"], rows)


@keys.command("revoke")
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, see baton key list.")],
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Revoke a key; services refuse it within five seconds."""
    from baton.serving.api_keys import revoke_key

    path = _file(project, home)
    if dry_run:
        output.line(f"would revoke key {identity} in {path}")
        return
    revoked = revoke_key(path, identity, now=datetime.now(timezone.utc))
    output.line(f"key {revoked.id} of {revoked.name} is revoked")


def _file(project: Path, home: Path | None) -> Path:
    from baton.compose import platform
    from baton.serving.serving_settings import settings_from

    baton = platform(project, home=home)
    # The service may be told of another file.
    return settings_from({"folder": baton.folder, "model": baton.spec.name}).key_file


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"


def _state(key: ApiKey, now: datetime) -> str:
    return "live" if key.lives(now) else "revoked" if key.revoked else "expired"
