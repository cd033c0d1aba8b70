"""Standard errors from resampled blocks of rows.

Flights of one day share its weather, so 28,000 rows of a month say as much as
a few hundred independent ones. Drawing whole days with replacement keeps that
dependence; drawing rows would make every interval several times too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The pairs of an AUC are counted by block and block. More blocks than this are
# joined with their neighbours, which is as valid and changes no figure visibly.
MOST_BLOCKS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """Blocks of rows and how often each is drawn in every resample.

    `codes` has each row's block, shape `(rows,)`; `draws` counts each block's
    draws, shape `(resamples, blocks)`. Two models measured on one resampling
    are compared pairwise.
    """

    codes: NDArray[np.int64]
    draws: NDArray[np.float64]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.draws.shape[1])

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Resampling:
        """Keep some rows under the same draws."""
        return Resampling(codes=self.codes[rows], draws=self.draws)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the mean of the rows' values in each resample; NaN where a resample has no row."""
        sums = np.bincount(self.codes, weights=values, minlength=self.blocks)
        rows = np.bincount(self.codes, minlength=self.blocks).astype(np.float64)
        return _ratio((self.draws * sums).sum(axis=1), (self.draws * rows).sum(axis=1))

    def auc(self, labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the area under the ROC curve in each resample; NaN where a resample has one class.

        The pairs won by each (block of the positive, block of the negative)
        are counted once; a resample then weighs that matrix by its draws:
        AUC = w' U w / (w'p · w'n).
        """
        positive = labels > 0
        _, ranks = np.unique(scores, return_inverse=True)
        positives, negatives = self.codes[positive], self.codes[~positive]
        won = np.empty((self.blocks, self.blocks))
        for block in range(self.blocks):
            counts = np.bincount(ranks[~positive][negatives == block], minlength=len(scores))
            below = np.cumsum(counts) - counts / 2
            won[:, block] = np.bincount(positives, weights=below[ranks[positive]], minlength=self.blocks)
        # Counts of pairs are exact in float64, so no order of summing changes a bit.
        pairs = (self.draws @ np.bincount(positives, minlength=self.blocks)) * (
            self.draws @ np.bincount(negatives, minlength=self.blocks)
        )
        return _ratio(((self.draws @ won) * self.draws).sum(axis=1), pairs)


def resampling(blocks: ArrayLike, *, resamples: int, seed: int) -> Resampling:
    """Draw blocks with replacement, as many as there are.

    Args:
        blocks: The block of each row, a day or a text that sorts by time.
        resamples: Number of resamples.
        seed: The same seed and blocks give the same draws.
    """
    names, codes = np.unique(np.asarray(blocks, dtype=np.str_), return_inverse=True)
    count = min(len(names), MOST_BLOCKS)
    if len(names) > count:
        codes = codes * count // len(names)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return Resampling(codes=codes.astype(np.int64), draws=draws.astype(np.float64))


def standard_error(resampled: NDArray[np.float64]) -> float:
    """Give the standard deviation over the resamples that could be measured; NaN where they do not vary or are not."""
    measured = resampled[np.isfinite(resampled)]
    # One block gives the same figure in every resample: no error known, not none.
    return float(measured.std(ddof=1)) if len(measured) > 1 and np.ptp(measured) > 0 else float("nan")


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio
