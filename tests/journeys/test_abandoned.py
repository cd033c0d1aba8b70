"""C5: a run that is killed while it is logged is tagged by whoever trains or reconciles next."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

FIRST, SECOND = "2024-02-26", "2024-04-22"
RUNS = """
SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid
WHERE t.key = 'baton.status' ORDER BY r.start_time
"""


def runs(folder: Path) -> list[tuple[str, str]]:
    """Give what became of each run that MLflow knows, oldest first."""
    file = folder / "mlflow" / "mlflow.db"
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=0.01)) as database:
            return list(database.execute(RUNS))
    except sqlite3.Error:
        return []


def test_a_run_that_was_killed_while_it_was_logged_is_tagged_by_the_next(parcels: Any, wait_until: Any) -> None:
    """C5, D1, D3: kill -9; another training, of other rows, finds what is left."""
    parcels.ask("ingest", "--as-of", SECOND)
    process = parcels.start("train", "--as-of", FIRST)
    wait_until(lambda: process.poll() is not None or runs(parcels.folder) == [("logging", "RUNNING")], 180)
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.communicate()
    assert runs(parcels.folder) == [("logging", "RUNNING")]

    assert parcels.ask_json("train", "--as-of", SECOND)["version"] == "1"
    assert runs(parcels.folder) == [("abandoned", "KILLED"), ("registered", "FINISHED")]
