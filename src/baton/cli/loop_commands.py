"""Commands that run one turn of the loop, or a part of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

from baton.cli import output
from baton.compose import Platform, platform
from baton.core.errors import DataRefused

DRIFTED = 1
# What Prefect's database and one small run take; without it Prefect tries to start for two minutes.
LEAST_ROOM_BYTES = 32 * 2**20


def ingest(project: Path, *, home: Path | None, as_of: datetime, dry_run: bool) -> None:
    """Land new rows, or say which would be."""
    baton = platform(project, home=home)
    if dry_run:
        from baton.flows.landing_run import foreseen

        rows = [
            [name, f"{since:%Y-%m-%d}" if since else "the first", f"{as_of:%Y-%m-%d}", f"{count:,}"]
            for name, since, count in foreseen(baton, as_of=as_of)
        ]
        output.table("would land", ["table", "from", "until", "rows"], rows)
        return
    _make_room(baton)
    from baton.flows.ingest import ingest_flow
    from baton.flows.prefect_server import in_process

    with in_process():
        landed = ingest_flow(str(project), as_of=as_of.isoformat(), home=_text(home))
    output.line(f"{landed['rows']:,} rows landed, {landed['quarantined']} set aside")
    if landed["waiting"]:
        output.line(f"  {landed['waiting']:,} rows wait: they become known after {as_of:%Y-%m-%d %H:%M}")
    if landed["repeated"]:
        output.line(f"  {landed['repeated']:,} rows were the same as another, and landed once")
    for failure in landed["failures"]:
        output.line(
            f"  {failure['table']}: {failure['rows']} rows fail {failure['expectation']} on {failure['column']}"
        )


def snapshot(project: Path, *, home: Path | None, as_of: datetime, as_json: bool) -> None:
    """Freeze a training table."""
    from baton.flows.challenge import freeze

    frozen = freeze(platform(project, home=home), as_of=as_of)
    if as_json:
        output.machine(frozen)
        return
    output.line(f"{frozen.rows:,} rows from {frozen.start:%Y-%m-%d} to {frozen.end:%Y-%m-%d}: {frozen.path}")


def train(project: Path, *, home: Path | None, as_of: datetime, trigger: str, as_json: bool, dry_run: bool) -> None:
    """Train and judge a challenger; exit 0 whatever the verdict, since a refusal is a result."""
    baton = platform(project, home=home)
    if dry_run:
        head = baton.ledger.head(baton.spec.name)
        against = f"version {head.version}" if head else "a constant, since there is no champion"
        output.line(
            f"{baton.spec.name} ({baton.settings.environment}): "
            f"would train {baton.spec.training.trainer} as of {as_of:%Y-%m-%d %H:%M} and judge it against {against}"
        )
        return
    _make_room(baton)
    from baton.flows.prefect_server import in_process
    from baton.flows.retrain import retrain_flow

    with in_process():
        # A person who asks again means it, also after a run that was killed;
        # the same rows at the same moment give the same version all the same.
        outcome = retrain_flow(
            str(project),
            trigger=trigger,
            key=f"{trigger} {datetime.now(timezone.utc).isoformat()}",
            as_of=as_of.isoformat(),
            home=_text(home),
        )
    if as_json:
        output.machine(outcome)
    elif "version" in outcome:
        verb = f"was promoted, epoch {outcome['epoch']}" if outcome["epoch"] else "was not promoted"
        if outcome["rollout"]:
            verb = "is rolled out, see baton rollout status"
        where = f"{baton.spec.name} ({baton.settings.environment})"
        output.line(f"{where}: version {outcome['version']} {verb}. {outcome['decision']}: {outcome['reason']}")
    else:
        output.line(f"nothing to do: this trigger is {outcome['claim']}")


def watch(project: Path, *, home: Path | None, as_of: datetime, as_json: bool) -> None:
    """Look at the champion; exit 1 if it drifted."""
    from baton.flows.watching import Watcher
    from baton.monitoring.drift_text import drift_line
    from baton.monitoring.performance_text import estimate_line, realised_line

    watched = Watcher(platform(project, home=home)).look(as_of=as_of)
    if as_json:
        found = {"drift": watched.drift, "performance": watched.performance, "estimate": watched.estimate}
        output.machine({**found, "level": watched.drift.level})
    else:
        for each in (drift_line(watched.drift), realised_line(watched.performance), estimate_line(watched.estimate)):
            output.line(each)
    if watched.drift.drifted:
        sys.exit(DRIFTED)


def skew(project: Path, *, home: Path | None, as_of: datetime, requests: int, as_json: bool) -> None:
    """Replay requests; exit 1 if a feature was served otherwise than training sees it."""
    from baton.flows.skew_replay import replay_skew

    report = replay_skew(platform(project, home=home), as_of=as_of, requests=requests)
    if as_json:
        output.machine(report)
    elif report.skewed:
        rows = [[s.feature, s.fault.value, f"{s.differing:,} of {s.rows:,}", s.detail] for s in report.skews]
        output.table(f"{report.requests:,} requests replayed", ["feature", "fault", "differ", "served were"], rows)
    else:
        output.line(f"{report.requests:,} requests replayed, no feature was served otherwise")
    if report.unknown and not as_json:
        output.line(f"{report.unknown:,} requests name nothing that has landed, and were not replayed")
    if report.skewed:
        sys.exit(DRIFTED)


def clean(project: Path, *, home: Path | None, dry_run: bool) -> None:
    """Remove a project's state."""
    folder = platform(project, home=home).folder
    if not folder.exists():
        output.line(f"nothing at {folder}")
        return
    if (folder / "service.pid").exists():
        raise DataRefused(what=f"{folder} is in use", why="its service is running", fix="stop it with baton down first")
    output.line(f"{'would remove' if dry_run else 'removed'} {folder}")
    if not dry_run:
        shutil.rmtree(folder)


def schema(out: Path | None, *, markdown: bool) -> None:
    """Write the JSON Schema of model.yaml, or its reference page."""
    from baton.cli.schema_text import reference
    from baton.core.spec import ModelSpec

    content = reference() if markdown else json.dumps(ModelSpec.model_json_schema(), indent=2) + "\n"
    if out is None:
        sys.stdout.write(content)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(content, encoding="utf-8")


def _make_room(baton: Platform) -> None:
    """Make the folder of all state, before Prefect is imported: it makes its own only inside one that is there."""
    baton.folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(baton.folder).free < LEAST_ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(baton.folder))
    if not os.environ.get("BATON_DEBUG"):
        # Prefect tells an error with its traceback on the terminal; ours is one line.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def _text(home: Path | None) -> str | None:
    return None if home is None else str(home)
