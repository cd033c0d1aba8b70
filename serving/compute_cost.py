"""How long a batch takes, learned from the batches before it."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

from baton.serving.predictor import Predictor

# Weight of the newest batch: some twenty batches are remembered.
NEWEST = 0.05
# Batches that differ less than this in size, as a share of their mean size, tell nothing of what a row costs.
ALIKE = 0.02
# Waits that were expected to be shorter than this tell nothing of how good expectations are.
JUDGED_MS = 5.0
# Weight of the newest wait.
NEWEST_WAIT = 0.2
# A processor that others have a share in makes all take longer; beyond this it is a stall.
SLOWEST = 10.0


class ComputeCost:
    """A line through the batches: so many milliseconds for any batch, and so many more for each row.

    Both are means that forget. A batch of a usual size is expected to take
    what such batches took, whatever the slope.
    """

    __slots__ = ("_ms", "_rows", "_rows_ms", "_rows_squared", "_slope")

    def __init__(self) -> None:
        self._rows = self._ms = self._rows_squared = self._rows_ms = math.nan
        self._slope = 0.0

    @property
    def known(self) -> bool:
        """Whether a batch was seen."""
        return not math.isnan(self._rows)

    @property
    def row_ms(self) -> float:
        """What one row more costs, in milliseconds."""
        return self._slope

    def learn(self, rows: int, ms: float) -> None:
        """Take the measurement of a batch."""
        if not self.known:
            self._rows, self._ms, self._rows_squared, self._rows_ms = rows, ms, rows * rows, rows * ms
            self._slope = ms / rows
            return
        self._rows += NEWEST * (rows - self._rows)
        self._ms += NEWEST * (ms - self._ms)
        self._rows_squared += NEWEST * (rows * rows - self._rows_squared)
        self._rows_ms += NEWEST * (rows * ms - self._rows_ms)
        spread = self._rows_squared - self._rows * self._rows
        if spread > (ALIKE * self._rows) ** 2:
            # A row costs something, and no more than a batch that holds nothing but rows.
            slope = (self._rows_ms - self._rows * self._ms) / spread
            self._slope = min(max(slope, 0.0), self._ms / self._rows)

    def expect(self, rows: int) -> float:
        """Give the milliseconds that a batch of so many rows is expected to take; infinity before the first."""
        if not self.known:
            return math.inf
        return max(self._ms + self._slope * (rows - self._rows), 0.0)

    def expect_all(self, rows: int, *, most: int) -> float:
        """Give the milliseconds of so many rows in batches of at most `most`."""
        whole, rest = divmod(rows, most)
        return whole * self.expect(most) + (self.expect(rest) if rest else 0.0)


class Expectation:
    """What batches of each predictor are expected to take, and how much longer work then really waits."""

    __slots__ = ("_costs", "_slowness")

    def __init__(self) -> None:
        self._costs: WeakKeyDictionary[Predictor, ComputeCost] = WeakKeyDictionary()
        self._slowness = 1.0

    @property
    def slowness(self) -> float:
        """By how much what is expected has to be multiplied; at least 1."""
        return max(self._slowness, 1.0)

    def of(self, predictor: Predictor) -> ComputeCost:
        """What is known of a predictor's time, from its warm-up on."""
        cost = self._costs.get(predictor)
        if cost is None:
            cost = self._costs[predictor] = ComputeCost()
            for rows, ms in getattr(predictor, "warmed", ()):
                cost.learn(rows, ms)
        return cost

    def judge(self, expected_ms: float, ms: float) -> None:
        """Take how long work has really waited: the loop has more to do, and the processor others to serve."""
        if expected_ms >= JUDGED_MS:
            self._slowness += NEWEST_WAIT * (min(ms / expected_ms, SLOWEST) - self._slowness)
