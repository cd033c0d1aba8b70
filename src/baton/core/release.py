"""What serving serves: a small pointer that needs no registry to be read."""

from __future__ import annotations

from dataclasses import dataclass
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
    """The bundles in force for a model at one epoch; `weight` is the challenger's share, 0-1."""

    model: str
    epoch: int
    version: str
    champion: str
    challenger: str | None = None
    mode: Mode = Mode.CHAMPION
    weight: float = 0.0
