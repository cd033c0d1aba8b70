"""How far a served window has moved from the reference of the model that served it.

Every column is compared in the bins that were frozen with the model, so one
absurd value moves one row into an open end bin and no bin edge, and missing
values and unknown categories have bins of their own. Distance is measured,
not significance: with 25,000 rows a shift of a hundredth of a standard
deviation is significant and of no account.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.core.policy import DriftSpec
from baton.core.profile import ColumnProfile, Profile, population_stability
from baton.monitoring.prediction_window import FEATURE_PREFIX

if TYPE_CHECKING:
    import pandas as pd

Numbers = NDArray[np.float64]

THREADS = 2


def judge(
    window: pd.DataFrame,
    profile: Profile,
    policy: DriftSpec,
    *,
    model: str,
    digest: str,
    start: datetime,
    end: datetime,
) -> DriftReport:
    """Judge every feature and the score of a window against the champion's reference.

    Of several classes the score is what was predicted: the shares of the
    likeliest classes. The chances of the classes are judged like features, as
    explanations. Quantile bins of a class that is nearly impossible on most
    rows lie between one chance in a million and another, and move far without
    any row being called otherwise.

    Args:
        window: Answered rows as `read_predictions` gives them. A feature that
            the log does not hold counts as missing in every row.
        profile: The reference that was sealed with the champion.
        policy: Limits and the fewest rows on which they count.
        model: Name of the model.
        digest: Digest of the champion's bundle.
        start: Start of the window.
        end: End of the window.

    Returns:
        A report with one finding per column. A window with no rows has none,
        one with fewer than `policy.minimum_rows` has them all as insufficient.
    """
    rows = len(window)
    if rows == 0:
        return DriftReport(model=model, digest=digest, start=start, end=end, rows=0, score=None, columns=())
    # A feature that passes the warning line within its own reference is drawn
    # by its seasons: it is watched, and says nothing about this window.
    explaining = [*((_values(window, each), each) for each in profile.columns), *_chances(window, profile)]

    def explain(values: pd.Series, column: ColumnProfile) -> ColumnDrift:
        return measure(values, column, policy, silent=column.floor >= policy.warn)

    with ThreadPoolExecutor(THREADS) as pool:
        # Sorting, most of the work, leaves the interpreter to others.
        columns = tuple(pool.map(explain, *zip(*explaining, strict=True)))
    # The score is what alarms, so it is never silent. A champion that has been
    # trained on an odd month has that month in its floor: the one of October has
    # a floor of 0.54 from September, and would be silent when it is needed most.
    score = measure(window[profile.score.name], profile.score, policy)
    return DriftReport(model=model, digest=digest, start=start, end=end, rows=rows, score=score, columns=columns)


def measure(values: pd.Series, reference: ColumnProfile, policy: DriftSpec, *, silent: bool = False) -> ColumnDrift:
    """Compare one column of a window with its reference.

    Args:
        values: The window's values, shape `(rows,)`, at least one row.
        reference: The column's frozen bins, quantiles and floor.
        policy: Limits and the fewest rows on which they count.
        silent: Whether the column is watched only and never alarms.
    """
    values = _typed(values, reference.kind)
    counts = reference.count(values)
    rows = len(values)
    psi = population_stability(reference.shares, counts)
    return ColumnDrift(
        name=reference.name,
        psi=psi,
        ks=_ks(values, reference),
        missing=float(counts[-1] / rows),
        missing_reference=reference.missing,
        new_values=float(counts[-2] / rows) if reference.kind == "text" else 0.0,
        limit=policy.alarm,
        why=_why(reference, policy, rows=rows, silent=silent),
        silent=silent,
        level=_level(psi, policy, rows=rows, silent=silent),
    )


def kolmogorov_smirnov(quantiles: Numbers, values: Numbers) -> float:
    """Measure the largest gap between a window's cumulative distribution and the reference's.

    The reference is known by evenly spaced quantiles, so the gap is exact to
    one step between them: 0.005 for 201 quantiles. It is an effect size and
    does not grow with the number of rows, unlike its p-value.

    Args:
        quantiles: Evenly spaced quantiles of the reference, lowest first, shape `(points,)`.
        values: The window's values, shape `(rows,)`, at least one, no NaN.

    Returns:
        The two-sample Kolmogorov-Smirnov statistic, 0-1.

    Example:
        >>> reference = np.linspace(0.0, 1.0, 201)
        >>> round(kolmogorov_smirnov(reference, np.linspace(0.5, 1.5, 1_001)), 2)
        0.5
    """
    # Between two values of the window its share is constant and the reference's
    # only rises, so the largest gap lies at one of them, on one of its sides.
    points, counts = np.unique(values, return_counts=True)
    up_to = np.cumsum(counts) / len(values)
    below = up_to - counts / len(values)
    after = np.abs(up_to - _up_to(quantiles, points))
    before = np.abs(below - _below(quantiles, points))
    return float(max(after.max(), before.max()))


def _up_to(quantiles: Numbers, points: Numbers) -> Numbers:
    """Give the reference's share of values up to each point."""
    return _between(quantiles, points, np.searchsorted(quantiles, points, side="right"))


def _below(quantiles: Numbers, points: Numbers) -> Numbers:
    """Give the reference's share of values below each point; it differs where one value is frequent."""
    return _between(quantiles, points, np.searchsorted(quantiles, points, side="left"))


def _between(quantiles: Numbers, points: Numbers, above: NDArray[np.intp]) -> Numbers:
    """Interpolate the share between the quantiles either side of each point."""
    steps = len(quantiles) - 1
    high = np.clip(above, 1, steps)
    low, width = quantiles[high - 1], quantiles[high] - quantiles[high - 1]
    part = np.divide(points - low, width, out=np.zeros(len(points)), where=(width > 0) & np.isfinite(points))
    inside = (high - 1 + np.clip(part, 0.0, 1.0)) / steps
    return np.where(above == 0, 0.0, np.where(above > steps, 1.0, inside))


def _ks(values: pd.Series, reference: ColumnProfile) -> float | None:
    if reference.kind == "text" or not reference.quantiles:
        return None
    numbers = values.to_numpy(dtype=np.float64)
    present = numbers[~np.isnan(numbers)]
    return kolmogorov_smirnov(np.asarray(reference.quantiles), present) if len(present) else None


def _values(window: pd.DataFrame, column: ColumnProfile) -> pd.Series:
    import pandas as pd

    name = FEATURE_PREFIX + column.name
    return window[name] if name in window else pd.Series(None, index=window.index, dtype=object, name=column.name)


def _chances(window: pd.DataFrame, profile: Profile) -> list[tuple[pd.Series, ColumnProfile]]:
    return [(window[column.name], column) for column in profile.classes]


def _typed(values: pd.Series, kind: str) -> pd.Series:
    """Give text as objects and numbers as floats, whatever a day with nothing but missing values was stored as."""
    return values.astype(object) if kind == "text" else values.astype(np.float64)


def _level(psi: float, policy: DriftSpec, *, rows: int, silent: bool) -> Level:
    if rows < policy.minimum_rows:
        return Level.INSUFFICIENT
    if silent or psi < policy.warn:
        return Level.OK
    return Level.ALARM if psi >= policy.alarm else Level.WARN


def _why(reference: ColumnProfile, policy: DriftSpec, *, rows: int, silent: bool) -> str:
    if rows < policy.minimum_rows:
        return f"{rows:,} rows are fewer than the {policy.minimum_rows:,} on which the limit counts"
    if silent:
        return f"silent: without drift it reaches {reference.floor:.2f}, the warning line is {policy.warn:.2f}"
    return f"the project's limit; without drift it reaches {reference.floor:.2f}"
