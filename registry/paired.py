"""How much better one model is than another on the same rows, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.core.policy import Metric
from baton.registry.left_out import left_out
from baton.registry.paired_interval import Array, Difference, difference
from baton.training.metrics import HIGHER_IS_BETTER, ROW_LOSSES, influence

# Verdicts are compared byte by byte; the last bits of a sum differ between processors.
DECIMALS = 9
DELONG, PAIRED_T, DELTA = "DeLong", "paired t", "delta method"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Which rows share luck: each row's block as a number, 0 to `count` - 1."""

    codes: NDArray[np.int64]
    count: int

    @property
    def independent(self) -> bool:
        """Whether every row is a block of its own."""
        return self.count == len(self.codes)

    def part(self, rows: NDArray[np.bool_]) -> Blocks:
        """Keep some rows; a block without rows is none."""
        codes = self.codes[rows]
        there = np.bincount(codes, minlength=self.count) > 0
        return Blocks(codes=(np.cumsum(there) - 1)[codes], count=int(there.sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The challenger's metric less the champion's, higher is better, with its interval."""

    mean: float
    low: float
    high: float
    standard_error: float
    method: str


def blocks_of(names: NDArray[np.object_]) -> Blocks:
    """Number the blocks of rows by their names, shape `(rows,)`."""
    import pandas as pd

    codes, found = pd.factorize(names)
    return Blocks(codes=codes.astype(np.int64), count=len(found))


def paired_gain(
    metric: Metric,
    labels: Array,
    challenger: Array,
    champion: Array,
    blocks: Blocks,
    *,
    alpha: float,
    quantile: float = 0.5,
) -> Gain:
    """Measure the gain of a challenger over a champion, both scored on the same rows.

    Args:
        metric: What is compared.
        labels: 0 and 1, class indices or numbers, shape `(rows,)`.
        challenger: Scores, shape `(rows,)` or `(rows, classes)`.
        champion: Scores, likewise.
        blocks: Which rows share luck.
        alpha: Largest chance that the true gain lies below the interval, and as much above it.
        quantile: Quantile of the pinball loss.

    Returns:
        The gain in the metric's unit, rounded to nine decimals; a loss counts
        as the champion's minus the challenger's. One block gives an interval
        without ends.
    """
    found = paired_difference(metric, labels, challenger, champion, blocks, quantile=quantile)
    low, high = found.interval(alpha)
    return Gain(
        mean=round(found.mean, DECIMALS),
        low=round(low, DECIMALS),
        high=round(high, DECIMALS),
        standard_error=round(found.standard_error, DECIMALS),
        method=found.method,
    )


def paired_difference(
    metric: Metric, labels: Array, challenger: Array, champion: Array, blocks: Blocks, *, quantile: float = 0.5
) -> Difference:
    """Give the gain before an error rate is chosen.

    Rows on their own: DeLong's test for the AUC of two classes (DeLong, DeLong
    and Clarke-Pearson 1988), the paired t test for means of row losses, the
    delta method for the rest. Rows in blocks: the same with each block left
    out in turn, which for the AUC agrees with Obuchowski's test (1997) where
    blocks are many, and is wider where they are few.
    """
    ours, of_ours = influence(metric, labels, challenger, quantile=quantile)
    theirs, of_theirs = influence(metric, labels, champion, quantile=quantile)
    sign = 1.0 if metric in HIGHER_IS_BETTER else -1.0
    mean, influences = sign * (ours - theirs), sign * (of_ours - of_theirs)
    if metric == "auc" and labels_are_two(challenger) and blocks.independent and math.isfinite(mean):
        return _delong(mean, influences, labels > 0, blocks)
    without = None if blocks.independent else _without(metric, labels, challenger, champion, blocks)
    method = method_of(metric, challenger, blocks)
    return difference(
        mean, influences, blocks.codes, method=method, without=None if without is None else sign * without
    )


def _without(metric: Metric, labels: Array, challenger: Array, champion: Array, blocks: Blocks) -> Array | None:
    """Give the difference of the metrics without each block, where it has to be measured."""
    ours = left_out(metric, labels, challenger, blocks.codes, blocks.count)
    theirs = left_out(metric, labels, champion, blocks.codes, blocks.count)
    return None if ours is None or theirs is None else ours - theirs


def method_of(metric: Metric, scores: Array, blocks: Blocks) -> str:
    """Name the paired method that fits the metric and the rows."""
    ranked = metric == "auc" and labels_are_two(scores)
    name = DELONG if ranked else PAIRED_T if metric in ROW_LOSSES else DELTA
    return name if blocks.independent else f"clustered {name}"


def labels_are_two(scores: Array) -> bool:
    """Whether one score a row says it all."""
    return scores.ndim == 1


def _delong(mean: float, influences: Array, positive: NDArray[np.bool_], blocks: Blocks) -> Difference:
    """Give DeLong's own variance, of two samples that divide by one less than they have, with Welch's freedom."""
    sizes = np.array([positive.sum(), (~positive).sum()], dtype=np.float64)
    rows = len(positive)
    if sizes.min() < 2:  # noqa: PLR2004 - one row of a class has no spread
        return Difference(mean=mean, standard_error=math.nan, freedom=1.0, skewness=0.0, method=DELONG)
    # `difference` multiplies by rows / (rows - 1); these make it size / (size - 1) of each class.
    scale = np.sqrt(sizes / (sizes - 1) * (rows - 1) / rows)
    scaled = influences * np.where(positive, scale[0], scale[1])
    parts = np.array([np.square(scaled[side]).sum() for side in (positive, ~positive)])
    total = float(np.square(parts).dot(1 / (sizes - 1)))
    freedom = float(parts.sum() ** 2 / total) if total > 0 else float(rows - 2)
    return difference(mean, scaled, blocks.codes, method=DELONG, freedom=freedom)
