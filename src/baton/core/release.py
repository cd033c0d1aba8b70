"""What serving serves: a small pointer that needs no registry to be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Mode(StrEnum):
    """How champion and challenger share the traffic."""

    CHAMPION = "champion"
    SHADOW = "shadow"
    CANARY = "canary"
    BLUE_GREEN = "blue-green"
    AB = "ab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The bundles in force for a model.

    `epoch` is the ledger's; `revision` orders the releases of one epoch, each
    step of a rollout being one more. `weight` is the challenger's share, 0-1,
    and `salt` says which entities that share is made of. `rollout` is the id
    under which the arms are counted, empty outside of one. `previous` is the
    bundle that stands in where the champion fails, empty where none may.
    """

    model: str
    epoch: int
    version: str
    champion: str
    challenger: str | None = None
    mode: Mode = Mode.CHAMPION
    weight: float = 0.0
    challenger_version: str = ""
    revision: int = 0
    salt: str = ""
    rollout: str = ""
    previous: str = ""
    previous_version: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """What a later release has more of."""
        return self.epoch, self.revision

    @property
    def served_by_challenger(self) -> Release:
        """The release as an answer of the challenger names it: its own version and digest, in the same epoch."""
        assert self.challenger is not None
        return replace(self, version=self.challenger_version, champion=self.challenger)

    @property
    def served_by_previous(self) -> Release:
        """The release as an answer of the previous champion names it: alone, in the same epoch."""
        return Release(model=self.model, epoch=self.epoch, version=self.previous_version, champion=self.previous)
