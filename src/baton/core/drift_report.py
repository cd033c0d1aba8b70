"""How far a window of served rows has moved from the champion's reference, and how good the answers were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How loud a finding is; `INSUFFICIENT` means too few rows to say."""

    OK = "ok"
    WARN = "warn"
    ALARM = "alarm"
    INSUFFICIENT = "insufficient-data"


class Sign(StrEnum):
    """By what a column shows that it has moved."""

    DISTRIBUTION = "distribution"
    MISSING = "missing"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """One column of a window beside its reference; `limit` is the PSI that alarms, and `why` says whose it is.

    Every figure is of the newest `over_days` of the window, those that decided
    its level by `sign`; `p_value` is the chance of as much without drift, None
    where the limit is the project's own. `outside` is the share beyond the
    reference's range. A column whose own variation passes the limit without
    any drift, or that names rows, is watched but never alarms (`silent`).
    """

    name: str
    psi: float
    ks: float | None
    missing: float
    missing_reference: float
    new_values: float
    limit: float
    why: str
    silent: bool
    level: Level
    outside: float = 0.0
    over_days: int = 0
    p_value: float | None = None
    sign: Sign = Sign.DISTRIBUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """A window of served rows judged against the reference profile of the model that served it."""

    model: str
    digest: str
    start: datetime
    end: datetime
    rows: int
    score: ColumnDrift | None
    columns: tuple[ColumnDrift, ...]

    @property
    def moved(self) -> tuple[ColumnDrift, ...]:
        """What alarms: the score first, then the features, the least likely without drift and the furthest first."""
        loud = sorted(
            (column for column in self.columns if column.level is Level.ALARM),
            key=lambda column: (1.0 if column.p_value is None else column.p_value, -column.psi),
        )
        return (*((self.score,) if self.score and self.score.level is Level.ALARM else ()), *loud)

    @property
    def level(self) -> Level:
        """The loudest finding of score and columns; insufficient where nothing could be compared."""
        if self.score is None:
            return Level.INSUFFICIENT
        levels = {self.score.level, *(c.level for c in self.columns)}
        return next((level for level in (Level.ALARM, Level.WARN) if level in levels), self.score.level)

    @property
    def drifted(self) -> bool:
        """Whether score or a column passed its alarm limit."""
        return self.level is Level.ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceReport:
    """How good the answers of a window were, from the labels that had arrived by `as_of`.

    `maturity` is the share of answered rows with a label, 0-1. `metrics` has
    every metric of the task, None where the labels cannot tell; labels that
    have come stand for those of their kind that have not, and `unweighted` has
    the same over the labels as they came. `young` rows are too new for that,
    and `corrected` labels replaced an earlier, other one. `calibration`
    is the mean answer minus the mean label; of several classes the mean chance
    of what was predicted minus the share that came true.
    """

    model: str
    digest: str
    start: datetime
    end: datetime
    as_of: datetime
    rows: int
    labelled: int
    auc: float | None
    log_loss: float | None
    brier: float | None
    calibration: float | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    unweighted: Mapping[str, float | None] = field(default_factory=dict)
    young: int = 0
    corrected: int = 0

    @property
    def maturity(self) -> float:
        """Share of the answered rows whose label had arrived."""
        return self.labelled / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """One metric as it is likely to be, with the interval that holds the realised one nine times in ten."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How good a window's answers are likely to be, without labels: a proxy, and shown as one.

    `reference` are the metrics of the champion's holdout. Where it is not
    `trusted`, `why` says what speaks against it.
    """

    metrics: Mapping[str, Estimated]
    reference: Mapping[str, float]
    trusted: bool
    why: str
