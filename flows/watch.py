"""The watching flow: one look at the champion, and a retraining where drift has lasted."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from baton.compose import Platform, platform
from baton.core.digest import finite
from baton.flows.retrain import DRIFT, IN_MEMORY, retrain_flow, run_name
from baton.flows.watching import Watched, Watcher
from baton.monitoring.drift_text import drift_markdown


def look(watcher: Watcher, as_of: datetime) -> Watched:
    """Take one look; a task needs a function of its own."""
    return watcher.look(as_of=as_of)


look_task = task(look, name="look", **IN_MEMORY)


@flow(name="watch", flow_run_name=run_name, validate_parameters=False)
def watch_flow(project: str, as_of: str | None = None, home: str | None = None) -> dict[str, Any]:
    """Look at the champion; where its score has drifted for long enough, have it retrained, once.

    With a Prefect server the drift becomes an event, and the server's
    automation starts the retraining; without one it starts here.

    Returns:
        Level, score PSI, labelled metrics, and what the retraining did.
    """
    baton = platform(Path(project), home=Path(home) if home else None)
    moment = (datetime.fromisoformat(as_of) if as_of else datetime.now(timezone.utc)).astimezone(timezone.utc)
    watched = look_task(Watcher(baton), moment)
    create_markdown_artifact(drift_markdown(watched.drift), key=f"{baton.spec.name}-drift", description="Drift report")
    return {
        "level": watched.drift.level.value,
        "rows": watched.drift.rows,
        "score_psi": finite(watched.drift.score.psi) if watched.drift.score else None,
        "auc": watched.performance.auc,
        "log_loss": watched.performance.log_loss,
        "metrics": dict(watched.performance.metrics),
        "maturity": watched.performance.maturity,
        "retraining": _answer(baton, watched, project=project, home=home),
    }


def _answer(baton: Platform, watched: Watched, *, project: str, home: str | None) -> dict[str, Any] | None:
    drift = watched.event
    if drift is None:
        return None
    reason = f"{DRIFT}: {drift.reason}"
    as_of = drift.at.isoformat()
    if baton.settings.prefect_url:
        from baton.flows.prefect_server import emit_drift

        emit_drift(baton.spec.name, key=drift.key, as_of=as_of, reason=reason)
        return {"event": drift.key, "reason": reason}
    return dict(retrain_flow(project, trigger=reason, key=drift.key, as_of=as_of, home=home))
