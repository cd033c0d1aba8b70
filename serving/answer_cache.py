"""The newest answers of each model, by its digest and the rows: what it would say again."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from baton.packaging.rows import Rows

# Of small requests, which come again; two megabytes with thirty features.
MOST_ANSWERS = 2_048
MOST_ROWS = 4
_Key = tuple[str, bytes, tuple[object, ...]]


class AnswerCache:
    """A bounded number of answers, oldest out first.

    The digest is part of the key. So an answer is never taken for another
    model's, and nothing needs to be emptied when the champion changes.
    """

    def __init__(self, *, most: int = MOST_ANSWERS) -> None:
        self._most = most
        self._answers: OrderedDict[_Key, NDArray[np.float64]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, digest: str, rows: Rows, scores: NDArray[np.float64]) -> None:
        """Remember an answer; requests of many rows hardly come twice, and are not worth their memory."""
        if len(rows) > MOST_ROWS:
            return
        # A copy: the scores are a view of the whole batch's.
        self._answers[_key(digest, rows)] = scores.copy()
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def find(self, digest: str, rows: Rows) -> NDArray[np.float64] | None:
        """Give what this model has answered to these rows, or None."""
        return self._answers.get(_key(digest, rows))


def _key(digest: str, rows: Rows) -> _Key:
    return digest, rows.numbers.tobytes(), tuple(rows.texts.ravel().tolist())
