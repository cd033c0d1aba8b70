"""Rankings with each block of rows left out: what the jackknife of few blocks needs.

A ranking compares rows across blocks, so what a block does to it depends on
the others, and influences, which look at one block at a time, miss that part
of its variance. Leaving each block out in turn does not: the jackknife's
variance errs upwards, never downwards on average (Efron and Stein, The
jackknife estimate of variance, Annals of Statistics, 1981).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baton.core.policy import Metric
from baton.registry.paired_interval import Array

# Of more blocks than this what influences miss is lost in the rest, and each
# one left out of a PR curve costs a pass over all rows.
MOST_BLOCKS = 64


def left_out(metric: Metric, labels: Array, scores: Array, codes: NDArray[np.int64], blocks: int) -> Array | None:
    """Give the metric without each block.

    Args:
        metric: What is measured.
        labels: 0 and 1 or class indices, shape `(rows,)`.
        scores: Shape `(rows,)` or `(rows, classes)`.
        codes: Each row's block, 0 to `blocks` - 1, shape `(rows,)`.
        blocks: Number of blocks.

    Returns:
        Shape `(blocks,)`; None where the rows' influences say it as well, or
        where a class is gone with a block.
    """
    if metric == "auc" and scores.ndim == 1:
        found = _auc(labels > 0, scores, codes, blocks)
    elif metric == "auc":
        present = [c for c in range(scores.shape[1]) if 0 < np.count_nonzero(labels == c) < len(labels)]
        found = np.mean([_auc(labels == c, scores[:, c], codes, blocks) for c in present], axis=0)
    elif metric == "pr_auc" and blocks <= MOST_BLOCKS:
        found = _average_precision(labels > 0, scores, codes, blocks)
    else:
        return None
    return found if np.isfinite(found).all() else None


def _auc(positive: NDArray[np.bool_], scores: Array, codes: NDArray[np.int64], blocks: int) -> Array:
    """Take each block's pairs off all pairs: those of its positives, those of its negatives, and not both twice."""
    distinct, ranks = np.unique(scores, return_inverse=True)
    up, down = (np.bincount(codes[side], minlength=blocks) for side in (positive, ~positive))
    below, above = _won(positive, ranks, len(distinct))
    by_up = np.bincount(codes[positive], weights=below[ranks[positive]], minlength=blocks)
    by_down = np.bincount(codes[~positive], weights=above[ranks[~positive]], minlength=blocks)
    within = _within(positive, ranks + codes * len(distinct), codes, down)
    pairs = (up.sum() - up).astype(np.float64) * (down.sum() - down)
    won = by_up.sum() - by_up - by_down + within
    without: Array = np.divide(won, pairs, out=np.full(blocks, np.nan), where=pairs > 0)
    return without


def _won(positive: NDArray[np.bool_], ranks: NDArray[np.int64], count: int) -> tuple[Array, Array]:
    """Give, for each distinct score, the negatives below it and the positives above it; a tie counts half."""
    negatives = np.bincount(ranks[~positive], minlength=count)
    positives = np.bincount(ranks[positive], minlength=count)
    return np.cumsum(negatives) - negatives / 2, positives.sum() - np.cumsum(positives) + positives / 2


def _within(
    positive: NDArray[np.bool_], keys: NDArray[np.int64], codes: NDArray[np.int64], down: NDArray[np.int64]
) -> Array:
    """Count the pairs won inside each block; keys order rows by block, then by score."""
    distinct, ranks = np.unique(keys, return_inverse=True)
    below, _ = _won(positive, ranks, len(distinct))
    before = np.cumsum(down) - down
    inside = below[ranks[positive]] - before[codes[positive]]
    return np.bincount(codes[positive], weights=inside, minlength=len(down)).astype(np.float64)


def _average_precision(positive: NDArray[np.bool_], scores: Array, codes: NDArray[np.int64], blocks: int) -> Array:
    distinct, ranks = np.unique(scores, return_inverse=True)
    count = len(distinct)
    hits, called = np.bincount(ranks[positive], minlength=count), np.bincount(ranks, minlength=count)
    without = np.full(blocks, np.nan)
    for block in range(blocks):
        rows = codes == block
        here = hits - np.bincount(ranks[rows & positive], minlength=count)
        there = np.maximum(_from_the_top(called - np.bincount(ranks[rows], minlength=count)), 1)
        if here.any():
            without[block] = float((here * (_from_the_top(here) / there)).sum() / here.sum())
    return without


def _from_the_top(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(counts[::-1])[::-1]
