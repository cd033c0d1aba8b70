"""A frozen training table and the report of the data tests that it passed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Labelled rows with their features as known at each prediction moment, frozen to a file.

    The file is Parquet with the columns of `columns`, ordered by prediction
    moment and id. `digest` is the SHA-256 of the content, not of the file.
    """

    path: Path
    digest: str
    columns: tuple[str, ...]
    rows: int
    start: datetime
    end: datetime
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One expectation that a batch did not meet."""

    expectation: str
    column: str | None
    severity: str
    unexpected: int
    examples: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What the data tests found in one batch of one table."""

    table: str
    batch: str
    suite: str
    rows: int
    expectations: int
    failures: tuple[Failure, ...]
    quarantined: int

    @property
    def passed(self) -> bool:
        """Whether the batch may go on; a suite with no expectations passes nothing."""
        return self.expectations > 0 and not any(failure.severity == "stop" for failure in self.failures)
