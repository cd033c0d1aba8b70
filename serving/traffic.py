"""Both arms counted, and the counts left in the model's folder for whoever judges the rollout.

Counts are cumulative and by release revision, so a reader never has to be in
time, and each process writes a file of its own, so nobody locks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json
from baton.core.errors import IntegrityBroken
from baton.core.release import Release
from baton.core.rollout import Arm, Stage, Sums, Tally

TRAFFIC = "rollouts"


class Traffic:
    """What one process counts of one rollout at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / TRAFFIC
        # A process that is started anew begins a file anew: the old one's counts stay as they are.
        self._name = f"{os.getpid()}-{time.time_ns():x}.json"
        self._rollout = ""
        self._stages: dict[int, Stage] = {}
        self._stage = Stage(revision=0)
        self._changed = False
        # Counts of rollouts that are over and not written yet.
        self._left: list[tuple[Path, bytes]] = []

    def follow(self, release: Release) -> None:
        """Count for the stage of a release from now on."""
        if release.rollout != self._rollout:
            self._left = self.content()
            self._rollout, self._stages = release.rollout, {}
        self._stage = self._stages.setdefault(release.revision, Stage(revision=release.revision))

    def answered(self, arm: Arm, milliseconds: float, scores: Iterable[float]) -> None:
        """Count a request that an arm has answered."""
        if self._rollout:
            self._stage.of(arm).answered(milliseconds, scores)
            self._changed = True

    def failed(self, arm: Arm) -> None:
        """Count a request that an arm has failed to answer."""
        if self._rollout:
            self._stage.of(arm).failed()
            self._changed = True

    def content(self) -> list[tuple[Path, bytes]]:
        """Give each file and its content of which something was counted since the last time."""
        found, self._left = self._left, []
        if self._changed and self._rollout:
            self._changed = False
            found.append((self._folder / self._rollout / self._name, canonical_json(list(self._stages.values()))))
        return found


def read_traffic(folder: Path, rollout: str) -> tuple[Stage, ...]:
    """Give what all processes have counted of a rollout, by stage, oldest first.

    Raises:
        IntegrityBroken: A file is not what a service writes.
    """
    stages: dict[int, Stage] = {}
    for path in sorted((folder / TRAFFIC / rollout).glob("[0-9]*.json")):
        for found in _read(path):
            known = stages.setdefault(found.revision, Stage(revision=found.revision))
            for arm in Arm:
                known.of(arm).join(found.of(arm))
    return tuple(stages[revision] for revision in sorted(stages))


def _read(path: Path) -> list[Stage]:
    try:
        return [
            Stage(revision=each["revision"], champion=_tally(each["champion"]), challenger=_tally(each["challenger"]))
            for each in json.loads(path.read_bytes())
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityBroken(
            what=f"{path} cannot be read", why=str(error), fix="remove it; its requests are not counted"
        ) from error


def _tally(fields: dict[str, Any]) -> Tally:
    return Tally(**fields | {"scores": Sums(**fields["scores"]), "losses": Sums(**fields["losses"])})
