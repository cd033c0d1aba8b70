"""How long labels take, and what that makes of a metric over those that have come.

The rows that have answered are not the rows that were asked: a flight that is
late is known to be late later. Each label that has come therefore counts for
all of its kind that have not (inverse probability of censoring weights: Robins
and Rotnitzky, 1992). A label is seen only if it has come by now, so how fast
one of its kind comes is known from right-truncated times, by the product limit
in reversed time (Lagakos, Barraj and De Gruttola, Biometrika 75, 1988). A kind
is a label together with a score, since both may decide who answers early.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Kinds of score; with each label's value they are as many kinds of delay.
SCORE_KINDS = 10
# Numbers as labels are told apart in as many parts.
LABEL_KINDS = 3
# Fewer labels of a kind than this say nothing of its delay; the kind's score alone is asked.
KIND_LABELS = 50
# A row whose label has come with a smaller chance than this is too young to stand for others.
LEAST_CHANCE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """What each row counts for, 0 without a label, and which are too `young` to stand for others; shapes `(rows,)`."""

    weights: Numbers
    young: NDArray[np.bool_]


def reporting(delays: Numbers, ages: Numbers) -> tuple[Numbers, Numbers]:
    """Estimate how fast labels come, from those that have come.

    Args:
        delays: Time from prediction to label of each label that has come, shape `(labels,)`.
        ages: Time from its prediction until now, at least its delay, shape `(labels,)`.

    Returns:
        Delays in ascending order, and the chance that a label comes within
        each, given that it comes within the greatest age.
    """
    times, ends = np.unique(delays, return_counts=True)
    # Labels of a delay up to t, of rows that are at least t old: who could have been seen to take longer.
    up_to = np.searchsorted(np.sort(delays), times, side="right")
    too_young = np.searchsorted(np.sort(ages), times, side="left")
    risk = np.maximum(up_to - too_young, ends)
    survival = np.append(np.cumprod((1 - ends / risk)[::-1])[::-1][1:], 1.0)
    return times, survival


def censoring_weights(
    labels: Numbers, scores: Numbers, delays: Numbers, ages: Numbers, *, window: NDArray[np.bool_] | None = None
) -> Weighted:
    """Weigh the labels that have come so that they stand for all rows that were asked.

    Args:
        labels: Label of each row, NaN where it has not come, shape `(rows,)`.
        scores: One number of each row's answer, shape `(rows,)`.
        delays: Time from prediction to label, NaN without one, shape `(rows,)`.
        ages: Time from prediction until now, shape `(rows,)`.
        window: The rows that are weighed, all where left out; the others, older
            ones, only tell of delays longer than the window.

    Returns:
        The weights. Those of each kind of score sum to its number of rows, so
        whoever never answers is stood for by those of a like score who do.
    """
    asked = np.ones(len(labels), dtype=np.bool_) if window is None else window
    come = np.isfinite(labels)
    weights, young = np.zeros(len(labels)), np.zeros(len(labels), dtype=np.bool_)
    of_score, of_label = _parts(scores, SCORE_KINDS), _parts(labels, LABEL_KINDS)
    for kind in np.unique(of_score):
        inside = of_score == kind
        answered = inside & come
        for value in np.unique(of_label[answered]):
            one = answered & (of_label == value)
            known = one if one.sum() >= KIND_LABELS else answered
            chance = _chance(*reporting(delays[known], ages[known]), ages)
            weights[one] = 1 / np.maximum(chance[one], LEAST_CHANCE)
            # A row without a label may be of any kind: it is too young where the slowest kind hardly comes.
            young |= inside & (chance < LEAST_CHANCE)
        weights[young | ~asked] = 0.0
        total = weights[inside].sum()
        weights[inside] *= (inside & asked).sum() / total if total > 0 else 0.0
    return Weighted(weights=weights, young=young & asked)


def _chance(times: Numbers, chances: Numbers, ages: Numbers) -> Numbers:
    """Give the chance that a label has come within each age."""
    found: Numbers = np.append(0.0, chances)[np.searchsorted(times, ages, side="right")]
    return found


def _parts(values: Numbers, most: int) -> NDArray[np.int64]:
    """Number the values, few as they are, or else as many quantiles of them; what is missing is a part of its own."""
    present = values[np.isfinite(values)]
    distinct = np.unique(present)
    cuts = (
        (distinct[:-1] + distinct[1:]) / 2
        if len(distinct) <= most
        else np.unique(np.quantile(present, np.linspace(0, 1, most + 1)[1:-1]))
    )
    parts: NDArray[np.int64] = np.where(np.isfinite(values), np.searchsorted(cuts, values), len(cuts) + 1)
    return parts
