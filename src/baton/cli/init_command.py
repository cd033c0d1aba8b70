"""Begin a project from a table: look, ask, write."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import typer

from baton.cli import output
from baton.core.errors import Misuse, listed
from baton.core.policy import METRICS
from baton.features.guess import Guess, Wishes, guess
from baton.features.look import Looked, looked_at
from baton.flows.new_project import begin

NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")
NONE = "none"


def init(folder: Path, *, source: str, said: Mapping[str, Any], yes: bool, now: datetime) -> None:
    """Look at a source, say what was found and why, ask unless told not to, and write the project."""
    wishes = _wishes(said)
    if not NAME.match(folder.name):
        raise Misuse(
            what=f"{folder.name!r} cannot name a model",
            why="a name is small letters, digits, dots, dashes and underscores",
            fix="choose another",
        )
    if not yes and not sys.stdin.isatty():
        raise Misuse(what="nobody can be asked", why="the input is no terminal", fix="pass --yes to take the guesses")
    with looked_at(source, Path.cwd()) as looked:
        output.line(f"{looked.rows:,} rows of {len(looked.columns)} columns in {source.rpartition('@')[2]}")
        plan = guess(looked, wishes)
        if not yes:
            wishes, plan = _asked(looked, wishes, plan)
        for reason in plan.reasons:
            output.line(f"  {reason}")
        if plan.naive and wishes.timezone is None:
            output.line("  times that name no zone: taken for UTC; pass --timezone, or correct timezone in model.yaml")
        begun = begin(looked, plan, folder, timezone=wishes.timezone, now=now)
    for reason in begun.reasons:
        output.line(f"  {reason}")
    output.line(f"{begun.folder} is a project. Next: cd {begun.folder} && baton ingest && baton train && baton serve")


def _wishes(said: Mapping[str, Any]) -> Wishes:
    zone, task = said["timezone"], said["task"]
    if task is not None and task not in METRICS:
        raise Misuse(what=f"there is no task {task!r}", why=f"there are {listed(METRICS)}", fix="name one of them")
    if zone is not None and zone not in available_timezones():
        raise Misuse(what=f"there is no zone {zone!r}", why="it is not in the time zone database", fix="Europe/Berlin")
    return Wishes(**said)


def _asked(looked: Looked, wishes: Wishes, plan: Guess) -> tuple[Wishes, Guess]:
    """Ask for what matters, each with the guess as the answer to a bare return."""
    event = typer.prompt("When does a row happen? A column, or none", default=plan.event_time or NONE)
    key = typer.prompt("What identifies a row? A column, or none", default=plan.key or NONE)
    label = typer.prompt("What is predicted?", default=plan.label)
    wishes = dataclasses.replace(
        wishes,
        label=label,
        event_time=None if event == NONE else event,
        timeless=event == NONE,
        key=None if key == NONE else key,
    )
    if event != NONE:
        known = typer.prompt("When is that known? A column, or none for at once", default=plan.known_time or NONE)
        wishes = dataclasses.replace(wishes, known_time=None if known == NONE else known)
        about = typer.prompt(
            "Whom is a row about? Columns with commas, or none", default=",".join(plan.entities) or NONE
        )
        wishes = dataclasses.replace(wishes, entities=() if about == NONE else tuple(about.split(",")))
    plan = guess(looked, wishes)
    task = typer.prompt("Which task? binary, multiclass or regression", default=plan.task)
    wishes = _wishes({**dataclasses.asdict(wishes), "task": task})
    plan = guess(looked, wishes)
    if plan.naive and wishes.timezone is None:
        zone = typer.prompt("Of which zone are times that name none?", default="UTC")
        wishes = _wishes({**dataclasses.asdict(wishes), "timezone": zone})
    return wishes, plan
