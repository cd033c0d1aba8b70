"""Commands that bring a challenger into traffic step by step, and take it out at once."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, DryRun, Home, Json, Project, Reason

if TYPE_CHECKING:
    from baton.core.policy import RolloutSpec

rollout = typer.Typer(help="Bring a challenger into traffic step by step.", no_args_is_help=True)
Mode = Annotated[
    str | None, typer.Option("--mode", help="shadow, canary, blue-green or ab; the project file's where left out.")
]


@rollout.command()
def start(
    version: Annotated[str, typer.Argument(help="Registered version with a verdict of PROMOTE.")],
    mode: Mode = None,
    reason: Reason = "by hand",
    project: Project = HERE,
    home: Home = None,
    dry_run: DryRun = False,
) -> None:
    """Bring a judged version into traffic beside the champion."""
    from baton.cli.ledger_commands import verdict_on
    from baton.compose import platform
    from baton.flows.rolling_out import planned
    from baton.flows.rolling_out import start as begin

    baton = platform(project, home=home)
    made = (planned if dry_run else begin)(
        baton,
        verdict_on(baton, version),
        version=version,
        reason=reason,
        actor="person",
        now=datetime.now(timezone.utc),
        policy=_policy(baton.spec.rollout, mode),
    )
    steps = ", ".join(f"{step.mode.value} {step.weight:.0%}" for step in made.plan)
    output.line(
        f"{'would roll' if dry_run else 'rolling'} out version {version} beside {made.champion_version}: {steps}"
    )


@rollout.command()
def status(project: Project = HERE, home: Home = None, as_json: Json = False) -> None:
    """Show the newest rollout: its step, who answered what, and what that says."""
    from baton.compose import platform
    from baton.flows.rolling_out import look
    from baton.serving.service_status import assessed, read_statuses

    baton, now = platform(project, home=home), datetime.now(timezone.utc)
    seen = look(baton, now=now)
    if seen is None:
        output.machine(None) if as_json else output.line(f"{baton.spec.name} has had no rollout")
        return
    found, judged = seen.rollout, seen.judgement
    if as_json:
        signs = [{"name": sign.name, "says": sign.says, "said": sign.said} for sign in judged.signs]
        output.machine({"rollout": found, "decision": judged.decision, "reason": judged.reason, "signs": signs})
        return
    place = f"step {found.step + 1} of {len(found.plan)}, {found.present.mode.value} {found.release.weight:.0%}"
    output.line(f"version {found.challenger_version} beside {found.champion_version}: {found.status.value}, {place}")
    output.line(found.said or found.reason)
    rows = [[sign.name, sign.says.value, sign.said] for sign in judged.signs]
    output.table(f"{judged.decision.value}", ["sign", "says", "because"], rows)
    output.line(assessed(found.release if not found.over else None, read_statuses(baton.folder, now), now)[1])


@rollout.command()
def step(
    project: Project = HERE,
    home: Home = None,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Move on without asking the evidence.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Move one step back, which needs no evidence.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Look once at the evidence and do what it asks for; or move one step by hand."""
    from baton.compose import platform
    from baton.flows.rolling_out import look, tick
    from baton.flows.rolling_out import step as move

    baton, now = platform(project, home=home), datetime.now(timezone.utc)
    if dry_run:
        seen = look(baton, now=now)
        said = f"{seen.judgement.decision.value}: {seen.judgement.reason}" if seen else "there is no rollout"
        output.line(
            f"would move {'back' if back else 'on'} by hand" if by_hand or back else f"the evidence says {said}"
        )
        return
    if by_hand or back:
        found = move(baton, back=back, now=now)
    else:
        ticked = tick(baton, now=now)
        if ticked is None:
            output.line(f"{baton.spec.name} has had no rollout")
            return
        found = ticked.rollout
    output.line(
        f"{found.status.value}, {found.present.mode.value} at {found.release.weight:.0%}: {found.said or 'waiting'}"
    )


@rollout.command()
def follow(
    project: Project = HERE,
    home: Home = None,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.", min=0.1)] = 10.0,
) -> None:
    """Follow the rollout to its end; exit 1 where the challenger did not pass."""
    from baton.flows.prefect_server import in_process
    from baton.flows.rollout import rollout_flow

    with in_process():
        ended = rollout_flow(str(project), home=str(home) if home else None, every_seconds=every)
    output.line(f"{ended['status']}: {ended['said']}" if ended else "there is no rollout")
    if ended and ended["status"] != "passed":
        sys.exit(1)


@rollout.command()
def abort(reason: Reason = "by hand", project: Project = HERE, home: Home = None, dry_run: DryRun = False) -> None:
    """Take the challenger out of the traffic at once."""
    from baton.compose import platform
    from baton.flows.rolling_out import abort as end

    baton = platform(project, home=home)
    if dry_run:
        output.line("would give all traffic to the champion")
        return
    ended = end(baton, reason=reason, now=datetime.now(timezone.utc))
    output.line(f"version {ended.challenger_version} is out; version {ended.champion_version} answers alone")


def _policy(policy: RolloutSpec, mode: str | None) -> RolloutSpec:
    """Give the project's policy in another mode, checked like the file itself."""
    from baton.core.errors import Misuse

    if mode is None:
        return policy
    try:
        return type(policy).model_validate(policy.model_dump() | {"mode": mode})
    except ValueError as error:
        raise Misuse(
            what=f"--mode {mode!r} is none", why="it is not among the modes", fix="say shadow, canary, blue-green or ab"
        ) from error
