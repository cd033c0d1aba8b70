"""Who asked for a retraining, and whether it has been answered: each key starts one run, once.

Events arrive more than once, late and out of order. A retraining is claimed by
its trigger's key in SQLite, under a lease of that key: whoever holds the lease
and finds a claim that was never finished takes it over, since its process died.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from baton.core.errors import DependencyDown

BUSY_SECONDS = 10.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS triggers (
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    as_of TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT,
    PRIMARY KEY (model, key)
)
"""


class Claim(StrEnum):
    """What became of an attempt to claim a trigger."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    RUNNING = "running"
    COOLING_DOWN = "cooling down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One reason to retrain; `key` is the same for every delivery of it."""

    model: str
    key: str
    reason: str
    as_of: datetime


class Triggers:
    """The claimed triggers of an installation."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim(self, trigger: Trigger, *, now: datetime, cooldown: timedelta = timedelta(0)) -> Claim:
        """Take a trigger whose lease this process holds, unless it is answered already or too soon after another.

        Args:
            trigger: What asks for a retraining.
            now: The time of the claim.
            cooldown: Time since the newest trigger's `as_of` in which no other starts.
        """
        with self._transaction() as rows:
            answer = self._state(rows, trigger, cooldown)
            if answer is Claim.TAKEN:
                rows.execute(
                    "INSERT OR REPLACE INTO triggers (model, key, reason, as_of, claimed_at) VALUES (?, ?, ?, ?, ?)",
                    (trigger.model, trigger.key, trigger.reason, trigger.as_of.isoformat(), now.isoformat()),
                )
            return answer

    def foresee(self, trigger: Trigger, *, cooldown: timedelta = timedelta(0)) -> Claim:
        """Say what `claim` would answer, and claim nothing."""
        with self._transaction() as rows:
            return self._state(rows, trigger, cooldown)

    def finish(self, trigger: Trigger, *, outcome: str, now: datetime) -> None:
        """Record that a claimed trigger has been answered."""
        with self._transaction() as rows:
            rows.execute(
                "UPDATE triggers SET finished_at = ?, outcome = ? WHERE model = ? AND key = ?",
                (now.isoformat(), outcome, trigger.model, trigger.key),
            )

    def release(self, trigger: Trigger) -> None:
        """Give a claim back after a failure, so that the next delivery may try again."""
        with self._transaction() as rows:
            rows.execute(
                "DELETE FROM triggers WHERE model = ? AND key = ? AND finished_at IS NULL", (trigger.model, trigger.key)
            )

    def answered(self, model: str) -> tuple[Trigger, ...]:
        """Give every finished trigger of a model, oldest moment first."""
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT model, key, reason, as_of FROM triggers"
                " WHERE model = ? AND finished_at IS NOT NULL ORDER BY as_of",
                (model,),
            ).fetchall()
        return tuple(Trigger(model=m, key=k, reason=r, as_of=datetime.fromisoformat(a)) for m, k, r, a in found)

    def _state(self, rows: sqlite3.Connection, trigger: Trigger, cooldown: timedelta) -> Claim:
        held = rows.execute(
            "SELECT finished_at FROM triggers WHERE model = ? AND key = ?", (trigger.model, trigger.key)
        ).fetchone()
        if held and held[0]:
            return Claim.DUPLICATE
        if not held and self._cooling(rows, trigger, cooldown):
            return Claim.COOLING_DOWN
        return Claim.TAKEN

    def _cooling(self, rows: sqlite3.Connection, trigger: Trigger, cooldown: timedelta) -> bool:
        newest = rows.execute("SELECT max(as_of) FROM triggers WHERE model = ?", (trigger.model,)).fetchone()[0]
        return (
            cooldown > timedelta(0) and newest is not None and trigger.as_of - datetime.fromisoformat(newest) < cooldown
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._down(error) from error
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(SCHEMA)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._down(error) from error
        finally:
            connection.close()

    def _down(self, error: Exception) -> DependencyDown:
        return DependencyDown(
            what=f"the trigger table {self._path} does not answer",
            why=str(error),
            fix="free the disk or mend the file's rights",
        )
