"""Score the rows of several requests in one batch, and let none of them suffer for another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton.packaging.rows import Rows, stack
from baton.serving.predictor import Predictor
from baton.serving.turned_away import ModelFailed

Scores = NDArray[np.float64]


def score_parts(predictor: Predictor, parts: Sequence[Rows]) -> list[Scores | Exception]:
    """Give each request's scores, or why it alone has none.

    All are scored together; where that fails, each by itself.
    """
    try:
        return _cut(predictor.score(stack(parts)), parts)
    except Exception:  # noqa: BLE001 - whatever fails a batch must not fail its neighbours
        return [_alone(predictor, part) for part in parts]


def _cut(scores: Scores, parts: Sequence[Rows]) -> list[Scores | Exception]:
    results: list[Scores | Exception] = []
    start = 0
    for part in parts:
        stop = start + len(part)
        results.append(scores[start:stop])
        start = stop
    return results


def _alone(predictor: Predictor, rows: Rows) -> Scores | Exception:
    try:
        return predictor.score(rows)
    except Exception as error:  # noqa: BLE001 - handed to its own caller
        failed = ModelFailed(error)
        failed.__cause__ = error
        return failed
