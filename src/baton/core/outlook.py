"""What a model's probabilities were worth on days that it had not seen: the ground of an estimate without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The calibration of a model of two classes on its holdout, and how it differs from day to day.

    The chance of a 1 is `sigmoid(intercept + slope * logit(score))`. Each day
    adds a shift and a tilt of its own to that, with the covariance `shared`
    (shift, both, tilt), where a tilt is per unit of `logit(score) - centre`;
    `persistence` is the correlation of a day's with the next one's. `error` is
    the covariance of intercept and slope from the chance of the rows alone.
    `metrics` are the holdout's own.
    """

    rows: int
    days: int
    intercept: float
    slope: float
    centre: float
    shared: tuple[float, float, float]
    error: tuple[float, float, float]
    persistence: float
    metrics: Mapping[str, float] = field(default_factory=dict)
