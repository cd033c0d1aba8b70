"""Which rows lie beyond everything that the model has learned from.

A tree answers an age of 900 as calmly as one of 90. The reference profile in
the bundle knows the lowest and highest value of each number, so an answer can
say that nothing like its row was seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baton.core.bundle import Field
from baton.core.profile import Profile
from baton.packaging.rows import NUMBER, Rows, names_of
from baton.serving.request_schema import Problems

OUT_OF_RANGE = "out_of_training_range"


class TrainingRange:
    """The lowest and highest value of each number field in the reference; a missing value is in every range."""

    def __init__(self, profile: Profile, fields: Sequence[Field]) -> None:
        quantiles = {column.name: column.quantiles for column in profile.columns}
        self._names = names_of(fields, NUMBER)
        # A field that the reference never had a value of has no range to leave.
        ends = [quantiles.get(name) or (-np.inf, np.inf) for name in self._names]
        # Rounded as the rows are, so that the extremes themselves are inside.
        self._least = np.array([each[0] for each in ends], dtype=np.float32)
        self._most = np.array([each[-1] for each in ends], dtype=np.float32)

    def outside(self, rows: Rows) -> list[int]:
        """Give the places of the rows with a number beyond its range."""
        numbers = rows.numbers
        # Counting is quicker than numpy's `any`, which is a function of Python.
        if not np.count_nonzero(numbers < self._least) and not np.count_nonzero(numbers > self._most):
            return []
        places: list[int] = np.flatnonzero(self._beyond(rows).any(axis=1)).tolist()
        return places

    def refuse(self, rows: Rows) -> None:
        """Say which numbers are beyond their range.

        Raises:
            RequestRefused: There is one.
        """
        problems = Problems()
        for row, column in np.argwhere(self._beyond(rows)):
            problems.add("", f"{self._names[column]} of row {row} is beyond the training range")
        if problems:
            problems.refuse()

    def _beyond(self, rows: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return (rows.numbers < self._least) | (rows.numbers > self._most)
