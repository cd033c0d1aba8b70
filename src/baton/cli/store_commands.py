"""Bring what is served to other machines: push it to a store, pull it from there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, DryRun, Home, Project

storing = typer.Typer()
Url = Annotated[str, typer.Option("--store", envvar="BATON_STORE_URL", help="A folder, or s3://bucket/folder.")]


@storing.command()
def push(store: Url, project: Project = HERE, home: Home = None, dry_run: DryRun = False) -> None:
    """Put the release and its bundles into a store that other machines serve from."""
    from baton.compose import platform
    from baton.packaging.bundle_store import BundleStore
    from baton.serving.release_store import push as pushed

    baton = platform(project, home=home)
    if dry_run:
        output.line(f"would push the release of {baton.spec.name} to {store.partition('?')[0]}")
        return
    release = pushed(BundleStore(store, model=baton.spec.name), baton.folder, key=baton.settings.signing_key)
    output.line(f"{store.partition('?')[0]}: version {release.version} of {release.model}, epoch {release.epoch}")


@storing.command()
def pull(
    store: Url,
    folder: Annotated[Path, typer.Option("--folder", envvar="BATON_SERVING_FOLDER", help="The model's state folder.")],
    model: Annotated[str, typer.Option("--model", envvar="BATON_SERVING_MODEL", help="The model's name.")],
    dry_run: DryRun = False,
) -> None:
    """Fetch what a store says is served; where it cannot be had or believed, what was fetched before stays."""
    from baton.packaging.bundle_store import BundleStore
    from baton.serving.release_store import pull as pulled

    if dry_run:
        output.line(f"would pull the release of {model} from {store.partition('?')[0]} into {folder}")
        return
    release, why = pulled(BundleStore(store, model=model), folder, model=model)
    if why:
        typer.echo(f"nothing newer is pulled: {why}", err=True)
    output.line(f"{folder}: version {release.version} of {release.model}, epoch {release.epoch}")
