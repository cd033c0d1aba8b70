"""How far a measured gain may be from the true one: quantiles that stay honest with few and unequal blocks.

Three things make the usual `mean ± t * error` too narrow where rows come in a
dozen blocks and the error rate of one decision is small. Each is met here by
a closed formula, so a verdict can be computed again to the last byte:

- a large block pulls the mean towards itself and looks typical: the error is
  the jackknife's, which leaves each block out in turn (CV3 of MacKinnon,
  Nielsen and Webb, Journal of Applied Econometrics, 2023);
- unequal blocks count for fewer: degrees of freedom are Satterthwaite's for
  blocks that each have one shock in common (Bell and McCaffrey 2002);
- gains that are small on most days and very bad on a few make `t` skewed:
  its quantile is corrected for the skewness that was seen, where that makes
  the interval longer, by half at most (Hall, On the removal of skewness by
  transformation, JRSS B, 1992).

What this costs and buys is measured in docs/adr/0007.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Below this skewness the correction is lost in rounding.
STRAIGHT = 1e-6
# The correction's own formula runs away where skewness is great; half as long
# again keeps most of what it buys and does not hide a gain that is plain to see.
LONGEST = 1.5
# Power is told for an error that the true one exceeds in one of 20 cases: of
# many slices those that seem exact are often those whose error came out small.
SURE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A measured gain before any error rate is chosen.

    `skewness` is that of the gain itself, so it shrinks with the root of the
    number of blocks. `standard_error` is NaN where one block tells nothing.
    """

    mean: float
    standard_error: float
    freedom: float
    skewness: float
    method: str

    def interval(self, alpha: float) -> tuple[float, float]:
        """Give the ends that the true gain is below, or above, with a chance of at most `alpha` each."""
        if math.isnan(self.standard_error):
            return -math.inf, math.inf
        down, up = (_quantile(alpha, self.freedom, skewness) for skewness in (self.skewness, -self.skewness))
        return self.mean - down * self.standard_error, self.mean + up * self.standard_error

    def chance_of_no_drop(self) -> float:
        """Give the p-value of the gain against "not below zero"; the upper end at that level is zero."""
        from scipy.special import stdtr

        if math.isnan(self.standard_error):
            return 1.0
        if self.standard_error == 0:
            return 0.0 if self.mean < 0 else 1.0
        drop = -self.mean / self.standard_error
        if drop <= 0:
            return 1.0
        straight = max(drop / LONGEST, min(drop, _straightened(drop, -self.skewness)))
        return float(stdtr(self.freedom, -straight))

    def power(self, drop: float, alpha: float) -> float:
        """Give the chance that a true drop of this size ends with the upper end below zero, cautiously."""
        from scipy.special import chdtri, nctdtr, ndtr

        if math.isnan(self.standard_error):
            return 0.0
        if self.standard_error == 0:
            return 1.0
        needed = _quantile(alpha, self.freedom, -self.skewness)
        error = self.standard_error * math.sqrt(self.freedom / float(chdtri(self.freedom, SURE)))
        seen = drop / error
        power = 1 - float(nctdtr(self.freedom, seen, needed))
        # The series gives up on drops of very many errors, where the normal is as good.
        return power if math.isfinite(power) else float(ndtr(seen - needed))


def difference(
    mean: float,
    influences: Array,
    codes: NDArray[np.int64],
    *,
    method: str,
    freedom: float | None = None,
    without: Array | None = None,
) -> Difference:
    """Give a gain with its error from each row's influence on it.

    Args:
        mean: The gain.
        influences: Of each row, summing to about zero, shape `(rows,)`.
        codes: Each row's block, 0 to blocks - 1, shape `(rows,)`.
        method: What to call it.
        freedom: Degrees of freedom, where the caller knows better than the blocks.
        without: The gain with each block left out, shape `(blocks,)`, where influences do not say it.
    """
    rows = np.bincount(codes).astype(np.float64)
    count = len(rows)
    if count < 2:  # noqa: PLR2004 - one block has no spread
        return Difference(mean=mean, standard_error=math.nan, freedom=1.0, skewness=0.0, method=method)
    sums: Array = np.bincount(codes, weights=influences).astype(np.float64)
    moves = sums / (len(influences) - rows) if without is None else mean - without
    return Difference(
        mean=mean,
        standard_error=float(np.sqrt((count - 1) / count * np.square(moves).sum())),
        freedom=_freedom(rows) if freedom is None else freedom,
        skewness=_skewness(moves),
        method=method,
    )


def _freedom(rows: Array) -> float:
    """Give Satterthwaite's degrees of freedom; of equal blocks one less than there are."""
    effective = np.square(np.square(rows).sum()) / (rows**4).sum()
    return max(1.0, float(effective * (len(rows) - 1) / len(rows)))


def _skewness(moves: Array) -> float:
    """Give the skewness of the sum of what each block moves, adjusted for few blocks as sample skewness is."""
    count = len(moves)
    squares = float(np.square(moves).sum())
    if count < 3 or squares == 0:  # noqa: PLR2004 - two blocks are always symmetric
        return 0.0
    return float((moves**3).sum() / squares**1.5 * math.sqrt(count * (count - 1)) / (count - 2))


def _quantile(alpha: float, freedom: float, skewness: float) -> float:
    """Give how many standard errors the low end lies below the gain."""
    from scipy.special import stdtrit

    plain = float(-stdtrit(freedom, alpha))
    if abs(skewness) < STRAIGHT:
        return plain
    corrected = 3 / skewness * (math.cbrt(1 + skewness * (plain - skewness / 6)) - 1)
    return min(max(plain, corrected), LONGEST * plain)


def _straightened(statistic: float, skewness: float) -> float:
    """Give what `_quantile` undoes: the statistic as it would be without skewness."""
    cubic = statistic + skewness * statistic**2 / 3 + skewness**2 * statistic**3 / 27
    return cubic + skewness / 6
