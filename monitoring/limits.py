"""What a column may show without drift: a limit that knows the rows, the days and the false-alarm budget.

PSI is nearly a chi-square statistic over the number of rows. Rows of one day
are alike, so it is judged by Rao and Scott's correction (JASA 76, 1981) with
the reference's own variation between days, in the F form that allows for how
few days that is known from (Thomas and Rao, JASA 82, 1987). A share that grows
(missing, out of range, new) is compared as two Poisson counts (Przyborowski
and Wilenski, Biometrika 31, 1940), which rare values need and frequent ones
are only made too careful by; PSI sees those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from baton.core.profile import ColumnProfile
from baton.core.variation import WEEK, Variation

Numbers = NDArray[np.float64]

# More degrees of freedom than this are as good as infinitely many.
MOST_FREEDOM = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of a window over which something is judged: rows of each of its days, and the days' weekdays."""

    rows: Numbers
    weekdays: NDArray[np.int64]

    @property
    def total(self) -> float:
        """Number of rows."""
        return float(self.rows.sum())

    @property
    def days(self) -> int:
        """Number of days that have rows."""
        return int((self.rows > 0).sum())

    @property
    def by_weekday(self) -> Numbers:
        """Share of the rows on each weekday, shape `(7,)`."""
        shares: Numbers = np.bincount(self.weekdays, weights=self.rows, minlength=WEEK) / self.total
        return shares

    def day_weight(self, variation: Variation) -> float:
        """Give the variance of the span's mean, in variances of one day's mean."""
        return float(np.square(self.rows / self.total).sum()) * variation.inflation(self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """The distribution of a column's PSI over a span without drift: `mean` times an F variable."""

    mean: float
    freedom: float
    freedom_of_days: float

    def chance(self, psi: float) -> float:
        """Give the chance of at least this PSI."""
        return float(special.fdtrc(self.freedom, self.freedom_of_days, psi / self.mean))

    def limit(self, alpha: float) -> float:
        """Give the PSI that is reached with this chance."""
        return float(self.mean * special.fdtri(self.freedom, self.freedom_of_days, 1 - alpha))


def expected_shares(column: ColumnProfile, span: Span) -> Numbers:
    """Give the reference's shares in the judged bins, on the weekdays of the span where it knows them."""
    varied = column.variation
    if varied is None or not varied.weekdays:
        return column.pooled(np.asarray(column.shares))
    shares: Numbers = span.by_weekday @ np.asarray(varied.weekdays)
    shares /= shares.sum()
    return shares


def null_of(column: ColumnProfile, span: Span, *, reference_rows: int) -> Null:
    """Give the distribution of PSI over a span without drift, from the column's own variation.

    Args:
        column: The reference.
        span: The rows that are judged.
        reference_rows: Number of rows of the reference.
    """
    varied = column.variation or Variation(days=1)
    bins = int(np.count_nonzero(column.pooled(np.asarray(column.shares))))
    seen = np.asarray(varied.weekday_days, dtype=np.float64)
    # Each weekday's own shares come from a part of the reference alone.
    part = float(np.sum(np.square(span.by_weekday) / seen)) if len(seen) else 1 / max(varied.days, 1)
    between = span.day_weight(varied) + part * varied.inflation(varied.days)
    chance = 1 / span.total + part * max(varied.days, 1) / reference_rows
    clustered = varied.spread * between
    mean = clustered + max(bins - 1, 1) * chance
    square = varied.spread_square * between**2 + 2 * clustered * chance + max(bins - 1, 1) * chance**2
    freedom_of_days = varied.freedom() * (mean / clustered) ** 2 if clustered > 0 else MOST_FREEDOM
    return Null(mean=mean, freedom=mean**2 / square, freedom_of_days=min(freedom_of_days, MOST_FREEDOM))


def chance_of_growth(
    found: float, span: Span, *, share: float, reference_rows: int, variance: float, variation: Variation | None
) -> float:
    """Give the chance of at least so many rows of a kind without drift.

    Args:
        found: Rows of the kind in the span.
        span: The rows that are judged.
        share: Share of the kind in the reference.
        reference_rows: Number of rows of the reference.
        variance: Variance of the share between days.
        variation: The column's variation, for how long a deviation lasts.
    """
    before = share * reference_rows
    # Half a row more than was seen, so that a kind that never came is not impossible.
    hedged = (before + 0.5) / (reference_rows + 1)
    between = span.day_weight(variation) * variance if variation else 0.0
    effect = 1 + between * span.total / (hedged * (1 - hedged) or 1.0)
    ratio = span.total / (span.total + reference_rows)
    return float(special.betainc(found / effect, before / effect + 1, ratio)) if found > 0 else 1.0
