"""How good a model is on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric's value with its standard error, from resampled blocks of rows."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The metric on the rows where one column has one value."""

    column: str
    value: str
    rows: int
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model measured on one holdout, overall, by slice and beside its baselines."""

    model: str
    holdout: str
    rows: int
    blocks: int
    metrics: Mapping[str, Measure]
    slices: tuple[Slice, ...] = ()
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency_ms: float
    size_bytes: int
