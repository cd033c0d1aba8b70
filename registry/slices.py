"""Groups of rows on which a challenger must not be worse, however good it is on the whole.

A slice is small, so most of them could lose five points without anybody being
able to tell. Those are reported and decide nothing. The others are *powered*:
a true drop of the policy's size would be seen with the policy's power at the
strictest level of Holm's test, which shares one error rate among all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.policy import SliceSpec, Task
from baton.core.verdict import Check, Outcome
from baton.registry.bout import Bout
from baton.registry.paired import DECIMALS, DELTA, PAIRED_T, Blocks, paired_difference
from baton.registry.paired_interval import Array, Difference, difference
from baton.training.metrics import influence, predicted_class

# A ranking of fewer rows of a class than this is an accident.
LEAST_OF_A_CLASS = 10
# What is compared on a slice. Each is a share, so that five points mean the
# same everywhere: the gain of accuracy, or of RMSE in the champion's RMSE.
MEASURES: dict[Task, str] = {"binary": "auc", "multiclass": "accuracy", "regression": "relative rmse"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGain:
    """The challenger's gain over the champion on one slice.

    `weight` is what the gain's variance falls with: rows, or of a ranking what
    the rarer class leaves of them.
    """

    name: str
    rows: int
    weight: float
    gain: Difference


def slice_checks(bout: Bout, policy: SliceSpec) -> list[Check]:
    """Check every slice, the largest first; without a champion there is nothing to be worse than."""
    if bout.champion is None or not bout.slices:
        return []
    found = levelled([_measured(bout, name, rows) for name, rows in bout.slices.items()])
    powered = powered_slices(found, policy)
    failed = dropped_slices(powered, policy)
    level = policy.error_rate / max(1, len(powered))
    names, bad = {each.name for each in powered}, {each.name for each in failed}
    return [
        _check(each, policy, level=level, measure=MEASURES[bout.task], outcome=_outcome(each.name, names, bad))
        for each in sorted(found, key=lambda each: (-each.rows, each.name))
    ]


def levelled(found: Sequence[SliceGain]) -> list[SliceGain]:
    """Raise errors that came out smaller than is typical of the slice's weight.

    Of many small slices those whose error is small by luck would be called
    powered first, and then be proven wrong too often. So the error of each is
    at least what the middle one among all slices would have at its weight.
    """
    measured = [each for each in found if each.gain.standard_error > 0]
    typical = float(np.median([each.gain.standard_error**2 * each.weight for each in measured] or [0.0]))
    return [
        replace(
            each, gain=replace(each.gain, standard_error=max(each.gain.standard_error, (typical / each.weight) ** 0.5))
        )
        if each in measured
        else each
        for each in found
    ]


def powered_slices(found: Sequence[SliceGain], policy: SliceSpec) -> list[SliceGain]:
    """Choose the most slices of which each would show the drop at an even share of the error rate.

    Power falls with the number of slices that share the rate, so the number
    is the largest of which as many are powered when it shares.
    """
    for count in range(len(found), 0, -1):
        power = {each.name: each.gain.power(policy.drop, policy.error_rate / count) for each in found}
        strong = [each for each in found if power[each.name] >= policy.power]
        if len(strong) >= count:
            return sorted(strong, key=lambda each: (-power[each.name], each.name))[:count]
    return []


def dropped_slices(powered: Sequence[SliceGain], policy: SliceSpec) -> list[SliceGain]:
    """Give the slices whose drop is proven, by Holm's step-down test (Holm 1979)."""
    ordered = sorted(powered, key=lambda each: each.gain.chance_of_no_drop())
    for place, each in enumerate(ordered):
        if each.gain.chance_of_no_drop() > policy.error_rate / (len(ordered) - place):
            return ordered[:place]
    return ordered


def slice_gain(task: Task, labels: Array, challenger: Array, champion: Array, blocks: Blocks) -> Difference:
    """Give the gain of the slice's measure with its error.

    Binary: AUC, of what the slice's rows rank among themselves. Multiclass:
    the share of rows called rightly. Regression: how much smaller the RMSE
    is, as a share of the champion's.
    """
    if task == "binary":
        if min(np.count_nonzero(labels), np.count_nonzero(labels == 0)) < LEAST_OF_A_CLASS:
            return Difference(mean=float("nan"), standard_error=float("nan"), freedom=1.0, skewness=0.0, method="none")
        return paired_difference("auc", labels, challenger, champion, blocks)
    if task == "multiclass":
        truth = labels.astype(np.int64)
        gains = (predicted_class(challenger) == truth).astype(np.float64) - (predicted_class(champion) == truth)
        mean = float(gains.mean())
        return difference(mean, gains - mean, blocks.codes, method=PAIRED_T)
    ours, of_ours = influence("rmse", labels, challenger)
    theirs, of_theirs = influence("rmse", labels, champion)
    if theirs == 0:
        # Nothing is smaller than no error at all: any error is an endless drop.
        return Difference(mean=0.0 if ours == 0 else -1.0, standard_error=0.0, freedom=1.0, skewness=0.0, method=DELTA)
    share = ours / theirs
    return difference(1 - share, (share * of_theirs - of_ours) / theirs, blocks.codes, method=DELTA)


def _measured(bout: Bout, name: str, rows: NDArray[np.bool_]) -> SliceGain:
    assert bout.champion is not None
    count = int(np.count_nonzero(rows))
    if count == 0:
        nothing = Difference(mean=float("nan"), standard_error=float("nan"), freedom=1.0, skewness=0.0, method="none")
        return SliceGain(name=name, rows=0, weight=0.0, gain=nothing)
    labels = bout.labels[rows]
    gain = slice_gain(bout.task, labels, bout.challenger[rows], bout.champion[rows], bout.blocks.part(rows))
    positives = np.count_nonzero(labels)
    weight = positives * (count - positives) / count if bout.task == "binary" else float(count)
    return SliceGain(name=name, rows=count, weight=weight, gain=gain)


def _outcome(name: str, powered: set[str], failed: set[str]) -> Outcome:
    return Outcome.NOTED if name not in powered else Outcome.FAILED if name in failed else Outcome.PASSED


def _check(each: SliceGain, policy: SliceSpec, *, level: float, measure: str, outcome: Outcome) -> Check:
    gain = each.gain
    low, high = gain.interval(level)
    power = gain.power(policy.drop, level)
    observed, low_, high_ = (_rounded(number) for number in (gain.mean, low, high))
    if observed is None or low_ is None or high_ is None:
        said = f"{each.rows:,} rows of {each.name} are too few to tell"
    else:
        said = f"{measure} gain {observed:+.4f} on the {each.rows:,} rows of {each.name}"
        said += f", interval {low_:+.4f} to {high_:+.4f}"
        said += f"; a drop of {policy.drop:g} would be seen with power {power:.2f}"
    words = {Outcome.FAILED: ": worse than the champion", Outcome.NOTED: ", too little to decide"}.get(outcome, "")
    return Check(
        name=f"slice {each.name}",
        outcome=outcome,
        observed=observed,
        required=0.0,
        low=low_,
        high=high_,
        detail=f"{said}{words}",
    )


def _rounded(number: float) -> float | None:
    known = finite(number)
    return None if known is None else round(known, DECIMALS)
