"""How far a served window has moved from the reference of the model that served it.

Every column is counted in the bins that were frozen with the model, so one
absurd value moves one row into an open end bin and no bin edge. Missing values
and unknown categories have bins of their own. A window is judged over several
lengths, all of which end now: a day for what breaks at once, the whole for
what creeps.

A calibrated limit is reached without drift once in a known number of looks,
and counts only where the distance is worth something as well: with a million
rows a shift of a hundredth of a standard deviation is significant and of no
account.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.drift_report import ColumnDrift, DriftReport, Level, Sign
from baton.core.policy import DriftSpec
from baton.core.profile import ColumnProfile, Profile, population_stability
from baton.monitoring.limits import Span, chance_of_growth, expected_shares, null_of
from baton.monitoring.prediction_window import FEATURE_PREFIX
from baton.monitoring.window_counts import FineBins, WindowCounts, count, fine_bins

if TYPE_CHECKING:
    import pandas as pd

Numbers = NDArray[np.float64]

# Days of the shorter looks: what breaks shows within one, what creeps over the whole window.
SHORT_SPANS = (1, 3, 7)
# On fewer rows PSI is no chi-square: some bin is empty by chance.
SPAN_ROWS = 200
# Without drift no column that can be judged reaches a PSI like this.
HOPELESS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The newest days of a window."""

    days: int
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """One column over one part of the window: its finding, and how unlikely the least likely sign of it is."""

    finding: ColumnDrift
    rank: tuple[int, float, int]


def judge(
    window: pd.DataFrame,
    profile: Profile,
    policy: DriftSpec,
    *,
    model: str,
    digest: str,
    start: datetime,
    end: datetime,
    zone: str = "UTC",
) -> DriftReport:
    """Judge every feature and the score of a window against the champion's reference.

    Of several classes the score is what was predicted: the shares of the
    likeliest classes. The chances of the classes are judged like features, as
    explanations. Quantile bins of a class that is nearly impossible on most
    rows lie between one chance in a million and another, and move far without
    any row being called otherwise.

    Args:
        window: Answered rows as `read_predictions` gives them, oldest first. A
            feature that the log does not hold counts as missing in every row.
        profile: The reference that was sealed with the champion.
        policy: Limits and the fewest rows on which they count.
        model: Name of the model.
        digest: Digest of the champion's bundle.
        start: Start of the window.
        end: End of the window.
        zone: Where a weekday begins.

    Returns:
        A report with one finding per column. A window with no rows has none,
        one with fewer than `policy.minimum_rows` has them all as insufficient.
    """
    newest = window if policy.window_rows is None else window.tail(policy.window_rows)
    columns = {str(name).removeprefix(FEATURE_PREFIX): newest[name] for name in newest if _is_judged(str(name))}
    days = max(-(-int((end - start).total_seconds()) // 86_400), 1)
    counted = count(columns, newest["moment"], fine_bins(profile), end=end, days=days, zone=zone)
    return judge_counts(counted, profile, policy, model=model, digest=digest, start=start)


def judge_counts(
    counted: WindowCounts, profile: Profile, policy: DriftSpec, *, model: str, digest: str, start: datetime
) -> DriftReport:
    """Judge a window that has been counted; see `judge`."""
    rows = int(counted.rows.sum())
    facts: dict[str, Any] = {"model": model, "digest": digest, "start": start, "end": counted.end, "rows": rows}
    if rows == 0:
        return DriftReport(**facts, score=None, columns=())
    judging = _Judging(counted, profile, policy)
    columns = tuple(judging.column(column) for column in (*profile.columns, *profile.classes))
    return DriftReport(**facts, score=judging.column(profile.score, is_score=True), columns=columns)


class _Judging:
    """The limits of one look at all columns."""

    def __init__(self, counted: WindowCounts, profile: Profile, policy: DriftSpec) -> None:
        self._counted = counted
        self._policy = policy
        self._rows = profile.rows
        self._parts = list(_parts(counted, calibrated=policy.limits == "calibrated"))
        columns = [column for column in (*profile.columns, *profile.classes, profile.score) if not column.id_like]
        # Bonferroni over columns, lengths and signs, however these depend on each other.
        self._alpha = policy.alpha / (max(len(columns), 1) * len(self._parts) * len(Sign))

    def column(self, reference: ColumnProfile, *, is_score: bool = False) -> ColumnDrift:
        fine, counts = FineBins(reference), self._counted.counts[reference.name]
        if self._policy.limits == "textbook" or reference.variation is None:
            return self._textbook(reference, fine, counts, is_score=is_score)
        sights = [self._calibrated(reference, fine, counts, part) for part in self._parts]
        return min(sights, key=lambda sight: sight.rank).finding

    def _textbook(
        self, reference: ColumnProfile, fine: FineBins, counts: NDArray[np.int64], *, is_score: bool
    ) -> ColumnDrift:
        """Judge by the project's own lines.

        A feature that passes the warning line within its own reference is drawn
        by its seasons: it is watched, and says nothing about this window. The
        score is what alarms, so it is never silent: a champion that has been
        trained on an odd month has that month in its floor.
        """
        policy, whole = self._policy, self._parts[-1]
        found = _measured(reference, fine, counts, whole, reference.pooled(np.asarray(reference.shares)))
        seasonal = reference.floor >= policy.warn and not is_score
        level = Level.ALARM if found["psi"] >= policy.alarm else Level.WARN if found["psi"] >= policy.warn else Level.OK
        why = f"the project's limit; without drift it reaches {reference.floor:.2f}"
        if seasonal:
            why = f"silent: without drift it reaches {reference.floor:.2f}, the warning line is {policy.warn:.2f}"
        return self._finding(reference, found, level=level, why=why, limit=policy.alarm, silent=seasonal)

    def _calibrated(self, reference: ColumnProfile, fine: FineBins, counts: NDArray[np.int64], part: _Part) -> _Sight:
        """Judge one part of the window by what the reference's own days show."""
        policy, span, varied = self._policy, part.span, reference.variation
        assert varied is not None  # a reference without it is judged by the project's lines
        found = _measured(reference, fine, counts, part, expected_shares(reference, span))
        null = null_of(reference, span, reference_rows=self._rows)
        limit = max(null.limit(self._alpha), policy.effect)
        outside = reference.shares[-2] if reference.kind == "text" else reference.outside
        chances = {Sign.DISTRIBUTION: null.chance(found["psi"])}
        counts_as = {Sign.DISTRIBUTION: found["psi"] >= policy.effect}
        beyond = found["new_values"] + found["outside"]
        for sign, share, usual, variance in (
            (Sign.MISSING, found["missing"], reference.missing, varied.missing),
            (Sign.OUTSIDE, beyond, outside, varied.outside),
        ):
            chances[sign] = chance_of_growth(
                share * span.total, span, share=usual, reference_rows=self._rows, variance=variance, variation=varied
            )
            counts_as[sign] = share - usual >= policy.effect_share
        sign = min(
            (each for each in Sign if counts_as[each]), key=lambda each: chances[each], default=Sign.DISTRIBUTION
        )
        chance = chances[sign]
        loud = counts_as[sign] and span.total >= SPAN_ROWS
        level = Level.ALARM if chance < self._alpha else Level.WARN if chance < self._alpha * policy.looks else Level.OK
        finding = self._finding(
            reference,
            found,
            level=level if loud else Level.OK,
            why=_why(sign, found, reference, limit=limit, days=part.days, outside=outside),
            limit=limit,
            silent=null.limit(self._alpha) > HOPELESS,
            chance=chance,
            sign=sign,
        )
        # The least likely of what is loud decides; where nothing is, the whole window is shown.
        order = [Level.ALARM, Level.WARN].index(finding.level) if finding.level in (Level.ALARM, Level.WARN) else 2
        return _Sight(finding=finding, rank=(order, chance if order < 2 else 0.0, -part.days))  # noqa: PLR2004 - not loud

    def _finding(
        self,
        reference: ColumnProfile,
        found: dict[str, float],
        *,
        level: Level,
        why: str,
        limit: float,
        silent: bool,
        chance: float | None = None,
        sign: Sign = Sign.DISTRIBUTION,
    ) -> ColumnDrift:
        rows = int(self._counted.rows.sum())
        if reference.id_like:
            silent, why = True, f"silent: {reference.distinct:,} different values name rows, as an id does"
        if rows < self._policy.minimum_rows:
            level = Level.INSUFFICIENT
            why = f"{rows:,} rows are fewer than the {self._policy.minimum_rows:,} on which the limit counts"
        elif silent:
            level = Level.OK
            why = why if why.startswith("silent") else "silent: its own days move too slowly for a window to tell drift"
        present = found.pop("present")
        ks = found.pop("ks") if present and reference.kind == "number" and reference.quantiles else None
        return ColumnDrift(
            name=reference.name,
            psi=found["psi"],
            ks=ks,
            missing=found["missing"],
            missing_reference=reference.missing,
            new_values=found["new_values"],
            outside=found["outside"],
            limit=limit,
            why=why,
            silent=silent,
            level=level,
            over_days=int(found["days"]),
            p_value=chance,
            sign=sign,
        )


def kolmogorov_smirnov(fine: FineBins, counts: NDArray[np.int64]) -> float:
    """Measure the largest gap between a window's cumulative distribution and the reference's.

    The reference is known by evenly spaced quantiles, so the gap is exact to
    one step between them: 0.005 for 201 quantiles. It is an effect size and
    does not grow with the number of rows, unlike its p-value.

    Args:
        fine: The bins of a number's reference.
        counts: Rows in each of them, missing last, shape `(fine.size,)`.

    Returns:
        The two-sample Kolmogorov-Smirnov statistic, 0-1; NaN of no values.

    Example:
        >>> import pandas as pd
        >>> from baton.core.profile import profile_column
        >>> values = pd.Series(np.linspace(0.0, 1.0, 1_001), name="x")
        >>> fine = FineBins(profile_column(values, kind="number"))
        >>> counts = np.bincount(fine.codes(values + 0.5), minlength=fine.size)
        >>> round(kolmogorov_smirnov(fine, counts), 2)
        0.5
    """
    present = counts[:-1].sum()
    if not present or not len(fine.cuts):
        return float("nan")
    up_to = np.cumsum(counts[:-2]) / present
    quantiles = np.asarray(fine.column.quantiles)
    above = np.searchsorted(quantiles, fine.cuts, side="right")
    return float(np.abs(up_to - _between(quantiles, fine.cuts, above)).max())


def _between(quantiles: Numbers, points: Numbers, above: NDArray[np.intp]) -> Numbers:
    """Interpolate the reference's share up to each point between the quantiles either side of it."""
    steps = len(quantiles) - 1
    high = np.clip(above, 1, steps)
    low, width = quantiles[high - 1], quantiles[high] - quantiles[high - 1]
    part = np.divide(points - low, width, out=np.zeros(len(points)), where=(width > 0) & np.isfinite(points))
    inside = (high - 1 + np.clip(part, 0.0, 1.0)) / steps
    return np.where(above == 0, 0.0, np.where(above > steps, 1.0, inside))


def _parts(counted: WindowCounts, *, calibrated: bool) -> Iterator[_Part]:
    """Give the parts of the window that are judged, the shortest first and the whole last."""
    whole = len(counted.rows)
    for days in (*(short for short in SHORT_SPANS if calibrated and short < whole), whole):
        rows = counted.rows[:days].astype(np.float64)
        if rows.sum() > 0:
            yield _Part(days=days, span=Span(rows=rows, weekdays=counted.weekdays[:days]))


def _measured(
    reference: ColumnProfile, fine: FineBins, counts: NDArray[np.int64], part: _Part, expected: Numbers
) -> dict[str, float]:
    """Measure one part of a window in one column."""
    inside = counts[: part.days].sum(axis=0)
    rows = float(inside.sum())
    text = reference.kind == "text"
    return {
        "psi": population_stability(expected, fine.judged(inside)),
        "ks": float("nan") if text else kolmogorov_smirnov(fine, inside),
        "missing": float(inside[-1] / rows),
        "new_values": float(inside[-2] / rows) if text else 0.0,
        "outside": 0.0 if text else float(fine.outside(inside) / rows),
        "present": rows - float(inside[-1]),
        "days": float(part.days),
    }


def _why(
    sign: Sign, found: dict[str, float], reference: ColumnProfile, *, limit: float, days: int, outside: float
) -> str:
    over = "the last day" if days == 1 else f"the last {days} days"
    match sign:
        case Sign.MISSING:
            return f"{found['missing']:.1%} missing over {over}, {reference.missing:.1%} in the reference"
        case Sign.OUTSIDE:
            kind = "new" if reference.kind == "text" else "out of range"
            now = found["new_values"] + found["outside"]
            return f"{now:.1%} {kind} over {over}, {outside:.1%} in the reference"
        case _:
            return f"over {over} its own days stay under {limit:.2f} without drift"


def _is_judged(name: str) -> bool:
    return name.startswith((FEATURE_PREFIX, "score")) or name == "predicted"
