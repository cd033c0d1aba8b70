"""What a person asks of the gate and the ledger: why, again, promote, roll back, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baton.cli.options import HERE, DryRun, Home, Json, Project, Reason, moment

commands = typer.Typer()
audit = typer.Typer(help="Verify the ledger.", no_args_is_help=True)
check = typer.Typer(help="Try a plug-in against its contract.", no_args_is_help=True)
commands.add_typer(audit, name="audit")
commands.add_typer(check, name="check")


@commands.command()
def why(
    version: Annotated[str | None, typer.Argument(help="Registered version; the champion where left out.")] = None,
    project: Project = HERE,
    home: Home = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the interval plot here.")] = None,
    as_json: Json = False,
) -> None:
    """Say why a version was promoted, held or left undecided, check by check; MLflow may be off."""
    from baton.cli import verdict_commands

    verdict_commands.why(version, project, home=home, html=html, as_json=as_json)


@commands.command()
def judge(
    version: Annotated[str, typer.Argument(help="Registered version.")],
    project: Project = HERE,
    home: Home = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide again from the kept evidence, byte for byte.")
    ] = False,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Judge a version against the present champion, or replay the verdict that it has."""
    from baton.cli import verdict_commands

    if replay:
        verdict_commands.replay(version, project, home=home, as_json=as_json)
    else:
        verdict_commands.judge(version, project, home=home, as_json=as_json, dry_run=dry_run)


@commands.command()
def promote(
    version: Annotated[str, typer.Argument(help="Registered version with a verdict of PROMOTE.")],
    reason: Reason = "by hand",
    override: Annotated[
        str | None, typer.Option("--override", help="Why what stands in the way is set aside; kept in the ledger.")
    ] = None,
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Make a judged version the champion."""
    from baton.cli import ledger_commands

    ledger_commands.promote(version, project, home=home, reason=reason, override=override, dry_run=dry_run)


@commands.command()
def rollback(
    reason: Reason = "by hand",
    epoch: Annotated[int | None, typer.Option("--epoch", help="Epoch to return to; the one before the head.")] = None,
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Put an earlier champion back, as a new ledger entry."""
    from baton.cli import ledger_commands

    ledger_commands.rollback(project, home=home, epoch=epoch, reason=reason, dry_run=dry_run)


@commands.command()
def reconcile(project: Project = HERE, home: Home = None, dry_run: DryRun = False) -> None:
    """Make serving, ledger and MLflow's aliases agree; what was moved by hand is adopted or put back."""
    from baton.cli import ledger_commands

    ledger_commands.reconcile(project, home=home, dry_run=dry_run)


@commands.command()
def status(
    project: Project = HERE,
    home: Home = None,
    at: Annotated[str | None, typer.Option("--at", help="Only who was champion at this moment (ISO 8601).")] = None,
    as_json: Json = False,
) -> None:
    """Show the champion, its history and what is released."""
    from baton.cli import ledger_commands

    ledger_commands.status(project, home=home, at=moment(at, option="--at") if at else None, as_json=as_json)


@commands.command()
def overrides(
    project: Project = HERE,
    home: Home = None,
    days: Annotated[int, typer.Option("--days", help="Of the last so many days.", min=1)] = 7,
    as_json: Json = False,
) -> None:
    """List the promotions that set the gate aside, with what they skipped."""
    from baton.cli import ledger_commands

    ledger_commands.overrides(project, home=home, days=days, as_json=as_json)


@commands.command()
def doctor(project: Project = HERE, home: Home = None, as_json: Json = False) -> None:
    """Look whether everything agrees, and say what to do where not; exit 1 if something does not."""
    from baton.cli import doctor_command

    doctor_command.doctor(project, home=home, as_json=as_json)


@audit.command("verify")
def audit_verify(project: Project = HERE, home: Home = None, as_json: Json = False) -> None:
    """Follow the ledger's chain of hashes; exit 5 at the first entry that does not fit, by name."""
    from baton.cli import ledger_commands

    ledger_commands.audit_verify(project, home=home, as_json=as_json)


@check.command("trainer")
def check_trainer(
    trainer: Annotated[str, typer.Argument(help="Name of a trainer, or FILE.py:NAME.")],
    as_json: Json = False,
) -> None:
    """Try a trainer on generated data against everything that Baton asks of one; exit 1 if it fails."""
    from baton.cli import check_command

    check_command.trainer(trainer, as_json=as_json)
