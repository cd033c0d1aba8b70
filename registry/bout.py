"""The rows on which models are compared, checked: what cannot be judged is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baton.core.errors import NotPromotable, listed
from baton.core.policy import METRICS, Metric, Task
from baton.registry.arguments import Arguments, columns_of, is_constant
from baton.registry.paired import Blocks, Gain, blocks_of, paired_gain
from baton.registry.paired_interval import Array

# Scores are served as float32, so the chances of many classes add up to 1 only nearly.
SUM_TOLERANCE = 1e-3
CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """Labels, scores, blocks and slices of one holdout."""

    task: Task
    labels: Array
    challenger: Array
    champion: Array | None
    baselines: Mapping[str, Array]
    slices: Mapping[str, NDArray[np.bool_]]
    blocks: Blocks
    alpha: float
    quantile: float

    def gain_over(self, who: str, scores: Array, metric: Metric) -> Gain:
        """Measure the challenger's gain over other scores.

        Raises:
            NotPromotable: The metric is not a number on these rows.
        """
        gain = paired_gain(
            metric, self.labels, self.challenger, scores, self.blocks, alpha=self.alpha, quantile=self.quantile
        )
        # NaN is no better than anything, and no worse: nothing can follow from it.
        if np.isnan(gain.mean):
            raise NotPromotable(
                what=f"{metric} of challenger and {who} cannot be compared",
                why="it is not a number on these rows",
                fix="judge on a longer holdout, or by a metric that every label allows",
            )
        return gain


def bout_of(arguments: Arguments) -> Bout:
    """Check the arguments' rows and give them as arrays.

    Raises:
        EmptyWindow: There are no rows.
        NotPromotable: The arguments cannot be judged, and the message names why.
    """
    _check_metric(arguments)
    columns = columns_of(arguments)
    labels = columns["label"]
    challenger = np.asarray(arguments.challenger_scores, dtype=np.float64)
    _check_labels(labels, arguments.task, challenger)
    champion = arguments.champion_scores
    if CONSTANT not in arguments.baselines:
        raise NotPromotable(
            what="the constant baseline is missing",
            why=f"the baselines are {listed(sorted(arguments.baselines)) or 'none'}",
            fix="give what the training rows say without a model: base rate, mean or quantile",
        )
    return Bout(
        task=arguments.task,
        labels=labels,
        challenger=_checked("challenger", challenger, challenger, arguments.task),
        champion=None if champion is None else _checked("champion", champion, challenger, arguments.task),
        baselines={
            name: _checked(f"baseline {name}", _spread(value, challenger, arguments.task), challenger, arguments.task)
            for name, value in arguments.baselines.items()
        },
        slices={name: np.asarray(rows, dtype=np.bool_) for name, rows in arguments.slices.items()},
        blocks=blocks_of(columns["block"]),
        alpha=arguments.gate.alpha,
        quantile=arguments.gate.quantile,
    )


def check_parties(arguments: Arguments) -> None:
    """Refuse a champion without scores, and scores of other rows than the holdout's.

    Raises:
        NotPromotable: What was given does not belong together.
    """
    champion, scores = arguments.champion, arguments.champion_scores
    if (champion is None) != (scores is None):
        raise NotPromotable(
            what="the champion's digest and scores do not come together",
            why=f"the digest is {champion!r}, and scores are {'missing' if scores is None else 'given'}",
            fix="give both, or neither for the first champion",
        )
    strangers = {who: rows for who, rows in arguments.scored_on.items() if rows != arguments.holdout}
    if strangers:
        who, rows = min(strangers.items())
        raise NotPromotable(
            what=f"the scores of {listed(sorted(strangers))} are of another data set",
            why=f"{who} was scored on {rows[:12]}, and the holdout is {arguments.holdout[:12]}",
            fix="score exactly the rows of the holdout",
        )


def _check_metric(arguments: Arguments) -> None:
    known = METRICS[arguments.task]
    if arguments.gate.metric not in known:
        raise NotPromotable(
            what=f"{arguments.gate.metric} is no metric of {arguments.task}",
            why=f"the metrics are {listed(known)}",
            fix="set gate.metric to one of them",
        )


def _check_labels(labels: Array, task: Task, scores: Array) -> None:
    if task == "regression":
        fits, needed = bool(np.isfinite(labels).all()), "numbers are needed"
    elif task == "binary":
        fits, needed = set(np.unique(labels)[:3].tolist()) == {0.0, 1.0}, "both 0 and 1 are needed"
    else:
        classes = scores.shape[1] if scores.ndim > 1 else 0
        found = np.unique(labels)
        fits = len(found) > 1 and set(found.tolist()) <= set(range(classes))
        needed = f"two or more of the classes 0 to {classes - 1} are needed"
    if not fits:
        raise NotPromotable(
            what="the labels cannot tell models apart",
            why=f"they take the values {np.unique(labels)[:4].tolist()}, and {needed}",
            fix="check the label column, or judge on a longer holdout",
        )


def _spread(value: ArrayLike, challenger: Array, task: Task) -> Array:
    numbers = np.asarray(value, dtype=np.float64)
    fits = numbers.ndim == 0 or numbers.shape == challenger.shape[1:]
    return np.broadcast_to(numbers, challenger.shape) if is_constant(value, task) and fits else numbers


def _checked(who: str, scores: ArrayLike, challenger: Array, task: Task) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != challenger.shape:
        raise NotPromotable(
            what=f"{who} scores and challenger scores are not of the same rows and classes",
            why=f"their shapes are {values.shape} and {challenger.shape}",
            fix="score exactly the rows of the holdout, with the same classes",
        )
    bad = _not_usable(values, task)
    if bad.any():
        kind = "numbers" if task == "regression" else "probabilities"
        raise NotPromotable(
            what=f"{int(bad.sum())} of {len(values)} {who} scores are no {kind}",
            why=f"the first is {values[bad][0].tolist()}",
            fix="score again with a model that gives numbers"
            + ("" if task == "regression" else " between 0 and 1, over the classes 1 in total"),
        )
    return values


def _not_usable(values: Array, task: Task) -> NDArray[np.bool_]:
    if task == "regression":
        return ~np.isfinite(values)
    # A comparison with NaN is false, so NaN is refused here too.
    inside = (values >= 0) & (values <= 1)
    if task == "binary":
        return ~inside
    usable: NDArray[np.bool_] = inside.all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE)
    return ~usable
