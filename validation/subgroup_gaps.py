"""Gaps between subgroups: is one group selected, found or wronged more often than another.

The subgroups of several columns are their combinations. The largest gap is
compared with the limit, with an interval that keeps rows of one block together
and is widened for the choice of the two extreme groups among all pairs:

    gap within the limit                     PASSED
    gap over it, low end of the interval not UNDECIDED  more rows are needed
    low end over the limit                   FAILED

So a gap that is seen is never promoted, and only a proven one is a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.verdict import Check, Outcome
from baton.validation.fairlearn_rates import rates
from baton.validation.row_groups import Grouping, crossed, grouped

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.policy import FairnessSpec, Task

# Chance that the low end lies above the true gap, over all pairs of groups.
ERROR_RATE = 0.05
PAIR = 2
LISTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rate:
    """What is compared: a mean of `amounts` over `counted` rows of each group."""

    name: str
    title: str
    predictions: NDArray[np.float64]
    amounts: NDArray[np.float64]
    counted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gap:
    """The two extreme groups with their rates, and the interval of the difference."""

    most: int
    least: int
    rates: pd.Series
    low: float
    high: float

    @property
    def size(self) -> float:
        return float(self.rates[self.most] - self.rates[self.least])


def subgroup_gaps(
    tests: Sequence[FairnessSpec],
    scores: NDArray[np.float64],
    rows: pd.DataFrame,
    labels: NDArray[np.float64],
    *,
    task: Task,
    text: Sequence[str],
    blocks: NDArray[np.int64] | None = None,
) -> tuple[Check, ...]:
    """Compare subgroups, one check for each declared test and one that names the groups too small to count.

    A group counts if the rate speaks of at least `minimum_rows` of its rows:
    a true positive rate of its positives. Groups are never left out silently.

    Args:
        tests: As declared; see `baton.validation.declared` for what is refused.
        scores: Shape `(rows,)`, or `(rows, classes)` of several classes.
        rows: The features.
        labels: Shape `(rows,)`.
        task: `error` is a share of wrong answers, of a number the mean absolute error.
        text: Which columns are text.
        blocks: Each row's block; each row is its own where left out.
    """
    codes = np.arange(len(labels)) if blocks is None else np.unique(blocks, return_inverse=True)[1]
    found = []
    for test in tests:
        groups = crossed([grouped(rows[name], text=name in set(text)) for name in test.columns])
        rate = _rate(test, scores, labels, task=task)
        found += _checks(test, rate, groups, labels, codes)
    return tuple(found)


def _rate(test: FairnessSpec, scores: NDArray[np.float64], labels: NDArray[np.float64], *, task: Task) -> _Rate:
    everything = np.ones(len(labels), dtype=bool)
    if task == "regression":
        title, wrong = "mean absolute error", np.abs(scores - labels)
        return _Rate(name="mean_absolute_error", title=title, predictions=scores, amounts=wrong, counted=everything)
    if task == "multiclass":
        predicted = np.argmax(scores, axis=1).astype(np.float64)
    else:
        predicted = (scores >= test.threshold).astype(np.float64)
    title = test.measure.replace("_", " ")
    match test.measure:
        case "error":
            wrong = (predicted != labels).astype(np.float64)
            return _Rate(name="error_rate", title=title, predictions=predicted, amounts=wrong, counted=everything)
        case "selection_rate":
            counted = everything
        case "true_positive_rate":
            counted = labels == 1
        case "false_positive_rate":
            counted = labels == 0
    return _Rate(name=test.measure, title=title, predictions=predicted, amounts=predicted, counted=counted)


def _checks(
    test: FairnessSpec, rate: _Rate, groups: Grouping, labels: NDArray[np.float64], blocks: NDArray[np.int64]
) -> list[Check]:
    counts = np.bincount(groups.codes[rate.counted], minlength=len(groups.names))
    large = np.flatnonzero(counts >= test.minimum_rows)
    small = np.flatnonzero(counts < test.minimum_rows)
    name = f"{test.measure} gap by {', '.join(test.columns)}"
    told = [_too_small(name, groups, counts, small, test)] if len(small) else []
    if len(large) < PAIR:
        why = f"{len(large)} of {len(groups.names)} subgroups have {test.minimum_rows} rows to count, two are needed"
        return [Check(name=name, outcome=Outcome.UNDECIDED, observed=None, required=test.gap, detail=why), *told]
    kept = rate.counted & np.isin(groups.codes, large)
    by_group = rates(rate.name, labels[kept], rate.predictions[kept], groups.codes[kept])
    gap = _gap(by_group, rate, groups.codes, blocks)
    return [_judged(test, gap, groups, counts, name=name, title=rate.title), *told]


def _gap(by_group: pd.Series, rate: _Rate, groups: NDArray[np.int64], blocks: NDArray[np.int64]) -> _Gap:
    most, least = int(by_group.idxmax()), int(by_group.idxmin())
    # Which is the highest and which the lowest is seen in the same rows: every ordered pair had its chance.
    pairs = math.perm(len(by_group), PAIR)
    width = NormalDist().inv_cdf(1 - ERROR_RATE / pairs) * _standard_error(rate, groups, blocks, most, least)
    size = float(by_group[most] - by_group[least])
    return _Gap(most=most, least=least, rates=by_group, low=size - width, high=size + width)


def _standard_error(rate: _Rate, groups: NDArray[np.int64], blocks: NDArray[np.int64], most: int, least: int) -> float:
    """Give the standard error of a difference of two means from what each block adds to it.

    Blocks of rows share luck, which the sums over blocks keep (Liang and
    Zeger, 1986, with the usual correction for few blocks).
    """
    pull = np.zeros(len(groups))
    for group, sign in ((most, 1.0), (least, -1.0)):
        rows = rate.counted & (groups == group)
        pull[rows] += sign * (rate.amounts[rows] - rate.amounts[rows].mean()) / rows.sum()
    used = rate.counted & ((groups == most) | (groups == least))
    sums = np.bincount(np.unique(blocks[used], return_inverse=True)[1], weights=pull[used])
    if len(sums) < PAIR:
        return math.inf
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.square(sums).sum()))


def _judged(
    test: FairnessSpec, gap: _Gap, groups: Grouping, counts: NDArray[np.int64], *, name: str, title: str
) -> Check:
    proven = Outcome.FAILED if gap.low > test.gap else Outcome.UNDECIDED
    ends = [f"{gap.rates[g]:.4g} for {groups.names[g]} ({counts[g]:,} rows)" for g in (gap.most, gap.least)]
    return Check(
        name=name,
        outcome=Outcome.PASSED if gap.size <= test.gap else proven,
        observed=finite(gap.size),
        required=test.gap,
        low=finite(gap.low),
        high=finite(gap.high),
        detail=f"{title} is {ends[0]} and {ends[1]}: a gap of {gap.size:.4g}, interval {gap.low:.4g} to"
        f" {gap.high:.4g}, at most {test.gap:g} is allowed",
    )


def _too_small(
    name: str, groups: Grouping, counts: NDArray[np.int64], small: NDArray[np.int64], test: FairnessSpec
) -> Check:
    # The largest first: they are the nearest to being counted.
    order = sorted(small.tolist(), key=lambda group: (-int(counts[group]), groups.names[group]))
    shown = ", ".join(f"{groups.names[group]} ({counts[group]:,})" for group in order[:LISTED])
    more = f" and {len(order) - LISTED} more" if len(order) > LISTED else ""
    return Check(
        name=f"{name}: too small",
        outcome=Outcome.NOTED,
        observed=float(len(small)),
        required=None,
        detail=f"subgroups under {test.minimum_rows} rows to count are not compared: {shown}{more}",
    )
