"""The rollout in force, in one file of the model's folder, and a line for each that is over.

The file is written before serving is told, so whoever comes after a kill knows
what had been decided and tells it again: a step up is taken once, and what was
ended stays ended.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json
from baton.core.errors import Conflict, IntegrityBroken
from baton.core.release import Mode
from baton.core.whole_file import replace_file
from baton.registry.rollout_plan import Rollout, Status, Step

ROLLOUT_FILE = "rollout.json"
HISTORY_FILE = "rollouts.jsonl"
LOCK_FILE = ".rollout.lock"


class RolloutStore:
    """One model's rollouts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[None]:
        """Be the only controller; the lock goes with the process, however it ends.

        Raises:
            Conflict: Another controller is at work and is not to be waited for.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / LOCK_FILE).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise Conflict(
                    what="another rollout controller is at work", why=f"it holds {lock.name}", fix="try again"
                ) from error
            yield

    def load(self) -> Rollout | None:
        """Give the newest rollout, over or not, or None.

        Raises:
            IntegrityBroken: The file cannot be read.
        """
        path = self._folder / ROLLOUT_FILE
        try:
            return _from(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise IntegrityBroken(
                what=f"{path} cannot be read", why=str(error), fix="remove it; serving goes on as it is released"
            ) from error

    def save(self, rollout: Rollout) -> None:
        """Keep a rollout, whole or not at all; one that is over gets its line in the history."""
        replace_file(self._folder / ROLLOUT_FILE, canonical_json(rollout))
        if rollout.over and rollout.id not in {each["id"] for each in self.history()}:
            with (self._folder / HISTORY_FILE).open("ab") as stream:
                # Whoever was killed while writing has left half a line.
                stream.write(b"\n" * (stream.tell() > 0) + canonical_json(rollout))
                stream.flush()
                os.fsync(stream.fileno())

    def history(self) -> list[dict[str, Any]]:
        """Give every rollout that is over, oldest first; a line cut short by a kill is left out."""
        path = self._folder / HISTORY_FILE
        found = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def _from(fields: dict[str, Any]) -> Rollout:
    times = {
        name: datetime.fromisoformat(fields[name]) if fields[name] else None
        for name in ("started_at", "step_since", "ended_at")
    }
    plan = tuple(Step(mode=Mode(step["mode"]), weight=step["weight"]) for step in fields["plan"])
    return Rollout(**fields | times | {"plan": plan, "status": Status(fields["status"])})
