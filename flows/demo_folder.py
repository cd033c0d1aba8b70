"""The folder of a demo: one telling at a time, begun anew, with what is named by its content kept."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from baton.core.errors import Conflict

# What a story writes. Landed days, snapshots and bundles are named by their content and stay.
TOLD = (
    "ledger.db",
    "ledger.db-journal",
    "ledger.db-wal",
    "ledger.db-shm",
    "mlflow",
    "predictions",
    "release.json",
    "triggers.db",
    "drift.jsonl",
    "runs",
    "reports",
    "figures",
)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for one telling; the lock goes with the process, however it ends.

    Raises:
        Conflict: Another telling is under way in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                what="a demo is running already", why=f"it holds {lock.name}", fix="wait for it, or pass another --home"
            ) from error
        yield


def begin_anew(folder: Path) -> None:
    """Remove what an earlier telling wrote."""
    for name in TOLD:
        place = folder / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
