"""Golden requests: few rows that matter, and what a new model answers to them.

They go with a bundle, so that whoever serves it can ask whether it still
answers as it did when it was sealed; and they show a person how two models
differ, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.verdict import Check, Outcome
from baton.validation.behaviour import even, level

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.policy import Task

# A move of a tenth is one that people notice; of a number, a tenth of the answers' spread.
NOTABLE = 0.1
# Rows looked at for each fact: another of them may show more facts at once.
CANDIDATES = 8


def golden_rows(
    frame: pd.DataFrame, scores: NDArray[np.float64], *, text: Sequence[str], count: int
) -> NDArray[np.int64]:
    """Choose rows that show most of what a model meets.

    Half are evenly spread by score, from the lowest to the highest. The others
    show, as many at once as there are, what those do not: a category, a
    missing value, a feature's lowest and highest value.

    Args:
        frame: One row per prediction; the features only.
        scores: Shape `(rows,)` or `(rows, classes)`.
        text: Which features are text.
        count: Number of rows; all rows where there are fewer.

    Returns:
        Places of the rows, in their order, the same on every run.
    """
    if len(frame) <= count:
        return np.arange(len(frame))
    by_score = np.argsort(level(scores), kind="stable")
    picked = list(by_score[even(len(frame), -(-count // 2))])
    facts = _facts(frame, set(text))
    candidates = np.unique(np.concatenate([rows[even(len(rows), CANDIDATES)] for rows in facts]))
    shows = np.array([np.isin(candidates, rows) for rows in facts])
    owed = ~np.array([np.isin(picked, rows).any() for rows in facts])
    while len(picked) < count and owed.any():
        best = int(np.argmax(shows[owed].sum(axis=0)))
        picked.append(candidates[best])
        owed &= ~shows[:, best]
    # Where nothing is left to show, the scores between.
    spare = np.setdiff1d(by_score[even(len(frame), 2 * count)], picked)
    picked += list(spare[even(len(spare), count - len(picked))])
    return np.sort(np.array(picked, dtype=np.int64))


def golden(
    champion: NDArray[np.float64], challenger: NDArray[np.float64], *, task: Task, names: Sequence[str] = ()
) -> Check:
    """Tell how a challenger's answers to golden requests differ from the champion's; it decides nothing.

    Args:
        champion: Its answers, shape `(requests,)` or `(requests, classes)`.
        challenger: Its answers to the same requests.
        task: Numbers are compared in the spread of the champion's answers.
        names: What each request is about; its place where left out.
    """
    if champion.shape != challenger.shape or not len(champion):
        detail = f"answers of shape {champion.shape} and {challenger.shape} are not of the same requests"
        return Check(name="golden requests", outcome=Outcome.NOTED, observed=None, required=None, detail=detail)
    move = np.abs(challenger - champion)
    move = move if move.ndim == 1 else move.max(axis=1)
    limit = NOTABLE * (float(np.std(champion)) or 1.0) if task == "regression" else NOTABLE
    place = int(np.argmax(move))
    who = names[place] if names else f"request {place + 1}"
    return Check(
        name="golden requests",
        outcome=Outcome.NOTED,
        observed=finite(move[place]),
        required=None,
        detail=f"{int((move > limit).sum())} of {len(move)} golden answers move by more than {limit:.4g};"
        f" most for {who}, from {_answer(champion[place])} to {_answer(challenger[place])}",
    )


def _answer(scores: NDArray[np.float64]) -> str:
    return f"{scores:.4g}" if scores.ndim == 0 else " / ".join(f"{score:.4g}" for score in scores)


def _facts(frame: pd.DataFrame, text: set[str]) -> list[NDArray[np.int64]]:
    """Give the rows that show each fact, at least one row each."""
    found = []
    for name in frame.columns:
        column = frame[name]
        if name in text:
            codes, _ = column.fillna("").factorize(sort=True)
            order = np.argsort(codes, kind="stable")
            found += np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
            continue
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        missing = np.isnan(numbers)
        found += [np.flatnonzero(missing)] if missing.any() else []
        if not missing.all():
            found += [np.flatnonzero(numbers == end) for end in (np.nanmin(numbers), np.nanmax(numbers))]
    return found
