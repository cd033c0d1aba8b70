"""How a run ended, written down once, so that the same key is never run again.

The key is the digest of (data, code, configuration, moment): law 7.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import baton
from baton.core.digest import canonical_json, digest_of, digest_of_file
from baton.core.evaluation import Evaluation, Measure, Slice
from baton.core.verdict import Verdict, verdict_from_json
from baton.features.durable import write_json

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.snapshot import Snapshot
    from baton.core.spec import ModelSpec

# The stages whose code decides what a model is; flows only order them.
DECISIVE = ("core", "features", "validation", "training", "registry", "packaging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a run ended; the same key gives the same record."""

    key: str
    version: str
    digest: str
    verdict: Verdict
    evaluation: Evaluation
    rows: int
    as_of: datetime
    trigger: str
    epoch: int | None

    @property
    def promoted(self) -> bool:
        """Whether the challenger became champion."""
        return self.epoch is not None


def run_key(spec: ModelSpec, snapshot: Snapshot, *, as_of: datetime) -> str:
    """Name a run by its data, its code, its configuration and its moment."""
    from baton.training.trainer import trainer_code

    return digest_of([snapshot.digest, code_digest(spec.folder), trainer_code(spec), spec.digest, as_of])


@lru_cache(maxsize=8)
def code_digest(project: Path) -> str:
    """Give the SHA-256 of the code that decides what a model is: the stages' and the project's own."""
    package = Path(baton.__file__).parent
    files = {
        f"{folder}/{path.name}": digest_of_file(path)
        for folder in DECISIVE
        for path in sorted((package / folder).glob("*.py"))
    }
    own = {f"project/{path.name}": digest_of_file(path) for path in sorted(project.glob("*.py"))}
    return digest_of(files | own)


def remember(platform: Platform, record: Record) -> None:
    """Write down how a run ended."""
    write_json(_file(platform, record.key), record)


def recall(platform: Platform, key: str) -> Record | None:
    """Give the record of a finished run, or None."""
    file = _file(platform, key)
    return record_from_json(file.read_bytes()) if file.is_file() else None


def records(platform: Platform) -> tuple[Record, ...]:
    """Give every finished run, oldest moment first."""
    found = [record_from_json(file.read_bytes()) for file in (platform.folder / "runs").glob("*.json")]
    return tuple(sorted(found, key=lambda record: (record.as_of, record.key)))


def record_from_json(content: bytes | str) -> Record:
    """Read a record back from its canonical JSON."""
    fields = json.loads(content)
    fields["as_of"] = datetime.fromisoformat(fields["as_of"])
    fields["verdict"] = verdict_from_json(canonical_json(fields["verdict"]))
    fields["evaluation"] = evaluation_from(fields["evaluation"])
    return Record(**fields)


def evaluation_from(fields: dict[str, Any]) -> Evaluation:
    """Read an evaluation back from its JSON."""
    metrics = {name: Measure(**measure) for name, measure in fields["metrics"].items()}
    slices = tuple(Slice(**{**part, "measure": Measure(**part["measure"])}) for part in fields["slices"])
    return Evaluation(**{**fields, "metrics": metrics, "slices": slices})


def _file(platform: Platform, key: str) -> Path:
    return platform.folder / "runs" / f"{key}.json"
