"""A version as the registry knows it: what a person may have moved an alias to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """One version with what its tags name; people may edit tags, so they are claims and no proof."""

    model: str
    version: str
    verdict_id: str | None
    bundle: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
