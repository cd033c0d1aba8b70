"""What the service answered, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """One answered row: its features as used, its score, and who computed it in what time.

    `served_at` is the service's clock, `moment` the prediction moment that the
    caller states (the same when it states none). Timings are milliseconds.
    """

    id: str
    entity: str
    served_at: datetime
    moment: datetime
    features: Mapping[str, float | str | None]
    score: float
    digest: str
    version: str
    epoch: int
    cohort: str
    queue_ms: float
    batch_ms: float
    compute_ms: float
