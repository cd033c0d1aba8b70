"""How much a reference differs from day to day without any drift: what a limit has to know.

Rows of one day share its weather, so a window of 28,000 rows may say as much as
250 independent ones. A chi-square statistic of such rows is a weighted sum of
chi-squares, and its weights are the eigenvalues of the shares' covariance in
the metric of the reference (Rao and Scott, JASA 76, 1981). Their sum and the
sum of their squares are all that a limit needs (Satterthwaite, 1946).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

WEEK = 7
# A weekday that has been seen this often has a distribution of its own.
WEEKS = 4
# A day of fewer rows says nothing of how days differ.
DAY_ROWS = 20
# A column that moves more slowly than this cannot be told from one that drifts.
SLOWEST = 0.99
# Standard errors by which the correlation of days is taken for larger than it seems: too small a one costs
# false alarms of long windows, too large a one blinds them.
CAUTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How the days of a reference differ beyond the chance of their rows, for one column.

    `weekdays` has the shares in the column's bins on each weekday, Monday
    first, and `weekday_days` how many days of each there were; both are empty
    where the reference is shorter than four weeks. `spread` and
    `spread_square` are the sums of the between-day covariance's eigenvalues
    and of their squares, in the metric of the reference; `persistence` is the
    correlation of a day's deviation with the next one's, 0-1. `missing` and
    `outside` are the variances between days of those shares.
    """

    days: int
    weekdays: tuple[tuple[float, ...], ...] = ()
    weekday_days: tuple[int, ...] = ()
    spread: float = 0.0
    spread_square: float = 0.0
    persistence: float = 0.0
    missing: float = 0.0
    outside: float = 0.0

    def freedom(self) -> float:
        """Count the independent days from which `spread` is known, at least 1.

        The variance of an autocorrelated series is known as well as that of
        `(1 - r^2) / (1 + r^2)` as many independent values (Bartlett, 1946).
        """
        known = (self.days - len(self.weekday_days or (1,))) * (1 - self.persistence**2) / (1 + self.persistence**2)
        return max(known, 1.0)

    def inflation(self, days: int) -> float:
        """Give by how much autocorrelation raises the variance of a mean over some days, at least 1."""
        lags = np.arange(1, days)
        return 1 + 2 * float(np.sum((1 - lags / max(days, 1)) * self.persistence**lags))


def variation(counts: Numbers, weekdays: NDArray[np.int64], *, missing: Numbers, outside: Numbers) -> Variation:
    """Measure how the days of a reference differ in one column.

    Args:
        counts: Rows of each day in each bin, shape `(days, bins)`, days in order.
        weekdays: Weekday of each day, 0 is Monday, shape `(days,)`.
        missing: Rows of each day with no value, shape `(days,)`.
        outside: Rows of each day beyond the reference's range, shape `(days,)`.

    Returns:
        The variation; nothing but the number of days where they are fewer than two.
    """
    rows = counts.sum(axis=1)
    told = rows >= DAY_ROWS
    days = int(told.sum())
    if days <= 1:
        return Variation(days=days)
    counts, weekdays, rows = counts[told], weekdays[told], rows[told]
    whole = counts.sum(axis=0) / rows.sum()
    of_weekday = np.bincount(weekdays, minlength=WEEK)
    seasonal = bool((of_weekday >= WEEKS).all())
    expected = np.tile(whole, (WEEK, 1))
    if seasonal:
        sums = np.stack([counts[weekdays == day].sum(axis=0) for day in range(WEEK)])
        expected = sums / sums.sum(axis=1, keepdims=True)
    # A bin that is nearly empty would make every deviation infinite.
    scale = np.sqrt(np.maximum(whole, 0.5 / rows.sum()))
    moved = (counts / rows[:, None] - expected[weekdays]) / scale
    fitted = WEEK if seasonal else 1
    total = moved.T @ moved / (days - fitted)
    chance = (np.diag(whole) - np.outer(whole, whole)) / np.outer(scale, scale) * np.mean(1 / rows)
    between = np.clip(np.linalg.eigvalsh(total - chance), 0.0, None)
    spread = float(between.sum())
    return Variation(
        days=days,
        weekdays=tuple(tuple(float(round(s, 6)) for s in each) for each in expected) if seasonal else (),
        weekday_days=tuple(int(d) for d in of_weekday) if seasonal else (),
        spread=spread,
        spread_square=float(np.square(between).sum()),
        persistence=_persistence(moved, total, spread),
        missing=_between(missing[told], rows),
        outside=_between(outside[told], rows),
    )


def _persistence(moved: Numbers, total: Numbers, spread: float) -> float:
    """Estimate the lag-one correlation of what days share; chance is not carried over to the next day."""
    if spread <= 0:
        return 0.0
    days = len(moved)
    raw = float(np.sum(moved[1:] * moved[:-1])) / (days - 1) / spread
    # In a short series it is underestimated by (1 + 3 r) / days (Kendall, Biometrika 41, 1954).
    bias = (1 + 3 * max(raw, 0.0)) / days
    error = float(np.sqrt(np.sum(total**2) / days)) / spread
    return float(np.clip(raw + bias + CAUTION * error, 0.0, SLOWEST))


def _between(found: Numbers, rows: Numbers) -> float:
    """Give the variance between days of a share, beyond the chance of its rows."""
    share = float(found.sum() / rows.sum())
    chance = share * (1 - share) * float(np.mean(1 / rows))
    return max(float(np.var(found / rows, ddof=1)) - chance, 0.0)
