"""D1, C5: kill -9 at every step of a training, ten times over; what is left ends as if nothing had happened.

A chain of runs is killed, each one step further than the one before, a few
milliseconds after the step has left its first trace; then one run is left
alone. The state has to be that of an installation where nobody was killed, and
what the dead have left in MLflow has to be tagged.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from baton.core.errors import BatonError
from baton.serving.release_file import read_release

FIRST, SECOND = "2024-02-26", "2024-04-22"
# With and without a champion: each step is killed ten times.
TIMES = int(os.environ.get("CRASHES", "5"))
# Some of the kills hit the step itself, some the moment after it.
LATEST_KILL_SECONDS = 0.06
LEDGER, MLFLOW = Path("ledger.db"), Path("mlflow/mlflow.db")
STATUS = "tags WHERE key = 'baton.status' AND value"
RUNS = """
SELECT r.run_uuid, t.value, r.status FROM runs r
LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'baton.status'
"""
MODELS = """
SELECT m.model_id, t.tag_value FROM logged_models m
LEFT JOIN logged_model_tags t ON t.model_id = m.model_id AND t.tag_key = 'baton.status'
"""

# How much of its trace each step has left, in their order: train, judge, register, promote.
STEPS: dict[str, Callable[[Path], int]] = {
    "trigger claimed": lambda folder: rows_in(folder / "triggers.db", "triggers"),
    "snapshot frozen": lambda folder: files_in(folder, "snapshots/*.parquet"),
    "bundle sealed": lambda folder: files_in(folder, "bundles/*/*.onnx"),
    "training rows kept": lambda folder: files_in(folder, "training_rows/*.parquet"),
    "training finished": lambda folder: files_in(folder, "trained/*.json"),
    "costs measured": lambda folder: files_in(folder, "costs/*.json"),
    "evidence kept": lambda folder: files_in(folder, "evidence/*/*.parquet"),
    "verdict kept": lambda folder: rows_in(folder / LEDGER, "verdicts"),
    "run being logged": lambda folder: rows_in(folder / MLFLOW, f"{STATUS} = 'logging'"),
    "version registered": lambda folder: rows_in(folder / MLFLOW, "model_versions"),
    "run closed": lambda folder: rows_in(folder / MLFLOW, f"{STATUS} = 'registered'"),
    "champion in the ledger": lambda folder: rows_in(folder / LEDGER, "entries"),
    "release written": lambda folder: epoch_released(folder),  # noqa: PLW0108 - it stands below
    "alias shown": lambda folder: rows_in(folder / LEDGER, "projections WHERE state = 'done'"),
}


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory, make_parcels: Any) -> dict[str, tuple[Any, Any]]:
    """Give, by the moment of the training, an installation before it and one after it that was left alone."""
    found, folder = {}, tmp_path_factory.mktemp("beginnings")
    before = make_parcels(home=folder / "landed")
    before.ask("ingest", "--as-of", SECOND)
    for as_of in (FIRST, SECOND):
        after = make_parcels(home=folder / as_of)
        shutil.copytree(before.home, after.home)
        after.ask("train", "--as-of", as_of)
        found[as_of] = before, after
        before = after
    return found


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("as_of", [FIRST, SECOND], ids=["without a champion", "over a champion"])
@pytest.mark.parametrize("time_over", range(TIMES))
def test_a_training_killed_at_every_step_ends_as_one_that_was_left_alone(
    beginnings: dict[str, tuple[Any, Any]], make_parcels: Any, tmp_path: Path, as_of: str, time_over: int
) -> None:
    """C5, D1, J6."""
    before, alone = beginnings[as_of]
    killed = make_parcels(home=tmp_path / "home")
    shutil.copytree(before.home, killed.home)
    chance = random.Random(f"{as_of} {time_over}")

    begun = {name: trace(killed.folder) for name, trace in STEPS.items()}
    ended = [
        name
        for name, trace in STEPS.items()
        if not killed_at(killed, lambda f, n=name, t=trace: t(f) > begun[n], as_of=as_of, chance=chance)
    ]
    # All were killed but those that a kill a little late had carried past the last steps.
    assert set(ended) <= set(list(STEPS)[-2:])

    outcome = killed.ask_json("train", "--as-of", as_of)
    assert (outcome["decision"], outcome["epoch"]) == ("PROMOTE", len(killed.ledger()))
    assert [entry[:3] for entry in killed.ledger()] == [entry[:3] for entry in alone.ledger()]
    assert read_release(killed.folder) == read_release(alone.folder)
    assert content(killed.folder / "runs") == content(alone.folder / "runs")
    assert aliases(killed) == aliases(alone)
    assert untagged(killed) == []
    assert "the same" in killed.ask("judge", outcome["version"], "--replay")
    assert "is whole" in killed.ask("audit", "verify")
    assert "LOOK" not in killed.ask("doctor")


def killed_at(parcels: Any, done: Callable[[Path], bool], *, as_of: str, chance: random.Random) -> bool:
    """Kill a training soon after a step has left its trace; False where it ended before."""
    process = parcels.start("train", "--as-of", as_of)
    deadline = time.monotonic() + 120
    while process.poll() is None and not done(parcels.folder) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(chance.random() * LATEST_KILL_SECONDS)
    process.kill()
    process.wait()
    # Prefect's temporary server outlives its parent, and holds the pipes open.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def untagged(parcels: Any) -> list[tuple[str, ...]]:
    """Give what MLflow holds that is neither registered nor tagged as abandoned."""
    with closing(sqlite3.connect(parcels.folder / MLFLOW)) as database:
        runs = list(database.execute(RUNS))
        models = list(database.execute(MODELS))
        versions = list(database.execute("SELECT version, source, run_id FROM model_versions ORDER BY version"))
        noted = database.execute("SELECT version, key, value FROM model_version_tags")
        tags = {(version, key): value for version, key, value in noted}
    registered = {run for run, state, status in runs if (state, status) == ("registered", "FINISHED")}
    found = [row for row in runs if row[0] not in registered and row[1:] != ("abandoned", "KILLED")]
    sources = " ".join(source for _, source, _ in versions)
    found += [row for row in models if row[0] not in sources and row[1] != "abandoned"]
    keys = set[str]()
    for version, _, run in versions:
        if tags.get((version, "baton.status")) == "abandoned":
            continue
        key = tags[version, "baton.key"]
        found += [("version", str(version), key)] if key in keys or run not in registered else []
        keys.add(key)
    return found


def aliases(parcels: Any) -> dict[str, str]:
    with closing(sqlite3.connect(parcels.folder / MLFLOW)) as database:
        return {a: str(v) for a, v in database.execute("SELECT alias, version FROM registered_model_aliases")}


def content(path: Path) -> dict[str, Any]:
    """Read the JSON of a folder; a measured time is the one thing that may differ.

    What a killed process had begun to write has a hidden name, and nobody reads it.
    """
    found = {file.name: json.loads(file.read_bytes()) for file in sorted(path.glob("[!.]*"))}
    for record in found.values():
        record.get("evaluation", {}).pop("latency_ms", None)
        verdict = record.get("verdict", {})
        # The evidence holds the measured cost too, so its digest differs with it.
        verdict.pop("evidence", None)
        verdict["checks"] = [check for check in verdict.get("checks", []) if not check["name"].startswith("budget")]
    return found


def epoch_released(folder: Path) -> int:
    with suppress(BatonError):
        released = read_release(folder)
        return released.epoch if released else 0
    return 0


def files_in(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def rows_in(database: Path, table: str) -> int:
    if not database.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=0.01)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0
