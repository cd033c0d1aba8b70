"""What one training leaves behind, for the tracking server and for whoever asks later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton.core.bundle import Bundle
from baton.core.evaluation import Evaluation
from baton.core.snapshot import Snapshot
from baton.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One trained, judged and sealed challenger, ready to be logged and registered.

    `key` is the digest of (data, code, configuration); the same key makes no
    second version. `figures` are PNG files by title, `tables` rows by title,
    each with the same columns; `tags` say what started the run and from which
    commit.
    """

    key: str
    name: str
    snapshot: Snapshot
    evaluation: Evaluation
    verdict: Verdict
    bundle: Bundle
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    figures: Mapping[str, Path] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
