"""The ingestion flow: new rows in, tested days and fresh features out."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from baton.compose import platform
from baton.core.errors import Misuse
from baton.flows import landing_run
from baton.flows.retrain import IN_MEMORY, run_name


def may_recover(_task: Any, _run: Any, state: Any) -> bool:
    """Say whether trying again can help: a missing file or column stays missing."""
    return not isinstance(state.result(raise_on_failure=False), Misuse)


# A source is often a server: try again before giving up.
read = task(
    landing_run.read,
    name="read source",
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=may_recover,
    **IN_MEMORY,
)
land = task(landing_run.land, name="test and land", **IN_MEMORY)


@flow(name="ingest", flow_run_name=run_name, validate_parameters=False)
def ingest_flow(project: str, as_of: str | None = None, home: str | None = None) -> dict[str, Any]:
    """Land everything that became known before `as_of`, and say what was set aside.

    Returns:
        Rows landed, quarantined, waiting for their known time and there twice, and the failed expectations by table.
    """
    baton = platform(Path(project), home=Path(home) if home else None)
    moment = (datetime.fromisoformat(as_of) if as_of else datetime.now(timezone.utc)).astimezone(timezone.utc)
    landed = land(baton, read(baton), as_of=moment)
    table = [
        {"table": r.table, "batch": r.batch, "rows": r.rows, "quarantined": r.quarantined, "failures": len(r.failures)}
        for r in landed.reports
    ]
    if table:
        create_table_artifact(table, key=f"{baton.spec.name}-landed", description="Landed batches")
    return {
        "rows": landed.rows,
        "quarantined": landed.quarantined,
        "waiting": landed.waiting,
        "repeated": landed.repeated,
        "failures": [
            {
                "table": report.table,
                "expectation": failure.expectation,
                "column": failure.column,
                "rows": failure.unexpected,
            }
            for report in landed.reports
            for failure in report.failures
        ],
    }
