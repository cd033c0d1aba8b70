"""The rollout flow: look at both arms again and again, until the challenger is champion or out of the traffic.

Prefect is imported here at once, since decorators need it; whoever imports
this module is about to run a flow.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from baton.compose import Platform, platform
from baton.core.rollout import Judgement
from baton.flows.retrain import IN_MEMORY
from baton.flows.rolling_out import Seen, tick

EVERY_SECONDS = 10.0


def look_once(baton: Platform) -> Seen | None:
    """Look once; a task needs a function of its own."""
    return tick(baton, now=datetime.now(timezone.utc))


look_task = task(look_once, name="look at both arms", **IN_MEMORY)


@flow(name="rollout", validate_parameters=False)
def rollout_flow(
    project: str, home: str | None = None, every_seconds: float = EVERY_SECONDS, most_looks: int | None = None
) -> dict[str, Any]:
    """Follow the rollout that is under way to its end.

    Started again after a kill it goes on from what was written down. A look is
    a task only where it moves something, since there may be thousands.

    Args:
        project: Folder with model.yaml.
        home: Folder for all state.
        every_seconds: Time between two looks; each may decide.
        most_looks: Looks after which the flow returns, however it stands.

    Returns:
        Status, step, weight and reason; empty where no rollout was ever started.
    """
    baton = platform(Path(project), home=Path(home) if home else None)
    seen, looks = look_task(baton), 1
    while seen is not None and not seen.rollout.over and (most_looks is None or looks < most_looks):
        time.sleep(every_seconds)
        seen, looks = look_once(baton), looks + 1
    if seen is None:
        return {}
    rollout = seen.rollout
    create_markdown_artifact(
        markdown(seen.judgement), key=f"{rollout.model}-rollout", description=f"Rollout: {rollout.status.value}"
    )
    return {
        "rollout": rollout.id,
        "version": rollout.challenger_version,
        "status": rollout.status.value,
        "step": rollout.step,
        "weight": rollout.release.weight,
        "said": rollout.said,
    }


def markdown(judgement: Judgement) -> str:
    """Show every sign as a table."""
    rows = [
        f"| {sign.name} | {sign.champion:.4g} | {sign.challenger:.4g} | {sign.low:.3g} to {sign.high:.3g} "
        f"| {sign.limit:g} | {sign.says.value} |"
        for sign in judgement.signs
    ]
    head = "| sign | champion | challenger | excess, whenever one looks | limit | says |"
    return "\n".join([f"**{judgement.decision.value}**: {judgement.reason}", "", head, "|" + " --- |" * 6, *rows])
