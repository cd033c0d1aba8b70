"""What the service answered, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """One answered row: its features as used, its answer, and who computed it in what time.

    `score` is the chance of class 1, or a regression's number; of several
    classes it is None, `predicted` the likeliest and `scores` has each one's
    chance.
    `served_at` is the service's clock, `moment` the prediction moment that the
    caller states (the same when it states none). Timings are milliseconds.
    """

    id: str
    entity: str
    served_at: datetime
    moment: datetime
    features: Mapping[str, float | str | None]
    score: float | None = None
    predicted: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    digest: str
    version: str
    epoch: int
    cohort: str
    queue_ms: float
    batch_ms: float
    compute_ms: float
