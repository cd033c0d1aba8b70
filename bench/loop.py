"""The whole loop, orchestrated, beside a bare script that does the same work.

Both replay the flights of 2013 in a folder of their own: land a month, freeze
a snapshot, fit, seal, judge, register, promote; nine times, April to December.
The orchestrated one runs as Prefect flows in a fresh process, server start
included; the bare one calls the same steps in a plain loop. The monthly AUC is
that of the champion in force on the first of the month, beside the first
champion's, on the flights of that month.

    make bench-loop            a table
    make bench-loop JSON=1     one JSON object a line
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

PROJECT = Path(__file__).parents[1] / "examples" / "flights"
ZONE = ZoneInfo("America/New_York")
MOMENTS = [datetime(2013, month, 1, tzinfo=ZONE) for month in range(4, 13)]
END = datetime(2014, 1, 1, tzinfo=ZONE)
REPEATS = int(os.environ.get("REPEATS", "1"))


def bare(home: Path) -> None:
    """Do the loop's work in a plain script."""
    from baton.compose import platform
    from baton.flows import challenge, landing_run, trained
    from baton.flows.run_record import run_key

    baton = platform(PROJECT, home=home)
    for as_of in MOMENTS:
        landing_run.land(baton, landing_run.read(baton), as_of=as_of)
        snapshot = challenge.freeze(baton, as_of=as_of)
        key = run_key(baton.spec, snapshot, as_of=as_of)
        challenger = trained.train(baton, baton.spec, snapshot, key=key, as_of=as_of)
        judgement = challenge.judge(baton, baton.spec, challenger, as_of=as_of)
        version = challenge.register(
            baton,
            baton.spec,
            snapshot=snapshot,
            trained=challenger,
            judgement=judgement,
            key=key,
            trigger="schedule",
            as_of=as_of,
        )
        challenge.settle(baton, baton.spec, judgement.verdict, version=version, reason="bare", now=as_of)


def flows(home: Path) -> None:
    """Do the loop's work as flows."""
    from baton.compose import platform

    # Prefect makes its own folder only inside one that is there.
    home.mkdir(parents=True)
    platform(PROJECT, home=home)
    from baton.flows.ingest import ingest_flow
    from baton.flows.prefect_server import in_process
    from baton.flows.retrain import retrain_flow

    with in_process():
        for as_of in MOMENTS:
            ingest_flow(str(PROJECT), as_of=as_of.isoformat(), home=str(home))
            retrain_flow(str(PROJECT), as_of=as_of.isoformat(), home=str(home))


def monthly_auc(home: Path) -> list[dict[str, object]]:
    """Measure the champion in force and the first champion on each month's flights."""
    from sklearn.metrics import roc_auc_score

    from baton.compose import platform
    from baton.features.snapshot import frame
    from baton.flows import challenge, landing_run
    from baton.flows.sealed_model import score
    from baton.packaging.reader import open_contents

    baton = platform(PROJECT, home=home)
    end = END + timedelta(days=2)
    landing_run.land(baton, landing_run.read(baton), as_of=end)
    rows = frame(challenge.freeze(baton, as_of=end))
    history = baton.ledger.history(baton.spec.name)
    first = open_contents(baton.bundles / history[0].digest)
    months = []
    for start, until in zip(MOMENTS, [*MOMENTS[1:], END], strict=True):
        part = rows[(rows["moment"] >= start) & (rows["moment"] < until)]
        in_force = next(entry for entry in reversed(history) if entry.at <= start)
        champion = open_contents(baton.bundles / in_force.digest)
        months.append(
            {
                "month": f"{start:%Y-%m}",
                "rows": len(part),
                "version": in_force.version,
                "auc_retrained": round(float(roc_auc_score(part["label"], score(champion, part))), 4),
                "auc_stale": round(float(roc_auc_score(part["label"], score(first, part))), 4),
            }
        )
    return months


def timed(kind: str, home: Path) -> float:
    """Run one kind in a process of its own and give its wall time in seconds."""
    begun = time.perf_counter()
    quiet = os.environ | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, __file__, kind, str(home)], check=True, stdout=subprocess.DEVNULL, env=quiet)
    return time.perf_counter() - begun


def main() -> None:
    """Measure both in turn, side by side in one run, and print the figures."""
    machine = bool(os.environ.get("JSON"))
    with tempfile.TemporaryDirectory(prefix="bench-loop-") as folder:
        walls: dict[str, list[float]] = {"bare": [], "flows": []}
        for repeat in range(REPEATS):
            for kind in ("bare", "flows"):
                walls[kind].append(timed(kind, Path(folder) / f"{kind}-{repeat}"))
                print(f"{kind}: {walls[kind][-1]:.1f} s", file=sys.stderr, flush=True)
        months = monthly_auc(Path(folder) / "flows-0")
    bare_s, flows_s = (statistics.median(walls[kind]) for kind in ("bare", "flows"))
    total = {
        "bench": "loop",
        "wall_s_flows": round(flows_s, 1),
        "wall_s_bare": round(bare_s, 1),
        "overhead_ratio": round(flows_s / bare_s, 3),
        "auc_retrained": round(statistics.mean(float(str(m["auc_retrained"])) for m in months), 4),
        "auc_stale": round(statistics.mean(float(str(m["auc_stale"])) for m in months), 4),
        "months": len(months),
        "promotions": len({m["version"] for m in months}),
    }
    for line in [*({"bench": "loop-month", **month} for month in months), total] if machine else []:
        print(json.dumps(line))
    if not machine:
        show(months, total)


def show(months: list[dict[str, object]], total: dict[str, object]) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("month", "flights", "version", "AUC retrained", "AUC stale", title="Flights of 2013")
    for month in months:
        table.add_row(*(str(month[key]) for key in ("month", "rows", "version", "auc_retrained", "auc_stale")))
    table.add_section()
    table.add_row("mean", "", "", str(total["auc_retrained"]), str(total["auc_stale"]))
    console = Console()
    console.print(table)
    console.print(
        f"nine months as flows {total['wall_s_flows']} s, as a bare script {total['wall_s_bare']} s: "
        f"ratio {total['overhead_ratio']}"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", home]:
            bare(Path(home))
        case ["flows", home]:
            flows(Path(home))
        case _:
            main()
