"""Whose bundles a project takes: list, trust, revoke."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, DryRun, Home, Json, Project

signer = typer.Typer(help="Whose bundles are served here.", no_args_is_help=True)


@signer.command("list")
def show(project: Project = HERE, home: Home = None, as_json: Json = False) -> None:
    """List the keys whose bundles are served, and the revoked ones."""
    from baton.packaging.signing_key import signers

    found = signers(_folder(project, home))
    if as_json:
        output.machine([{"fingerprint": each.fingerprint, "revoked": each.revoked} for each in found])
        return
    if not found:
        output.line("there is no signer yet; the first seal makes a key")
        return
    rows = [[each.fingerprint, "revoked" if each.revoked else "trusted"] for each in found]
    output.table("signers", ["fingerprint", "state"], rows)


@signer.command("trust")
def trust(
    file: Annotated[Path, typer.Argument(help="Public key in PEM, on an elliptic curve.", dir_okay=False, exists=True)],
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Serve what the holder of a key has sealed."""
    from baton.packaging.signing_key import trust as trusted

    folder = _folder(project, home)
    if dry_run:
        output.line(f"would trust {file} in {folder}")
        return
    output.line(f"trusted: {trusted(folder, file.read_bytes())}")


@signer.command("revoke")
def revoke(
    fingerprint: Annotated[str, typer.Argument(help="The key's name, or its beginning.")],
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Serve nothing more that a key has signed; the next seal makes another one."""
    from baton.packaging.signing_key import revoke as revoked

    folder = _folder(project, home)
    if dry_run:
        output.line(f"would revoke {fingerprint} in {folder}")
        return
    output.line(f"revoked: {revoked(folder, fingerprint)}; seal again what it has signed")


def _folder(project: Path, home: Path | None) -> Path:
    from baton.compose import platform

    return platform(project, home=home).folder
