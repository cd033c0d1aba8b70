"""One request's work in the batcher's queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from baton.packaging.rows import Rows
from baton.serving.predictor import Predictor
from baton.serving.turned_away import DeadlineExceeded

if TYPE_CHECKING:
    from baton.serving.batcher import Scored


@dataclass(slots=True, kw_only=True)
class Job:
    """Rows that wait for their scores; `expected_ms` is how long that was expected to take, 0 where nothing waited."""

    predictor: Predictor
    rows: Rows
    answer: asyncio.Future[Scored]
    arrived: float
    deadline: float
    expected_ms: float
    watch: Callable[[], None] | None

    def expire(self, now: float, *, answered: float = -math.inf) -> None:
        """End the wait where the deadline has passed, or will have when it is answered."""
        if max(now, answered) >= self.deadline and not self.answer.done():
            self.answer.set_exception(DeadlineExceeded(waited_ms=(now - self.arrived) * 1e3))
