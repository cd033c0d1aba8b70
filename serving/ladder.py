"""What answers where the model fails, each answer saying so.

    model -> champion -> previous champion -> cached answer -> constant -> 503

The champion stands in for a challenger, the champion before it for the
champion. A cached answer is the very model's own for the very same rows, kept
by its digest, so a promotion makes none of them stale. The constant is the
bundle's own fallback, the mean answer of its reference; nobody computed it for these rows,
so a project has to ask for it.

Too much work and a deadline that has passed are no failures of the model: they
are told as what they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import DependencyDown
from baton.packaging.rows import Rows
from baton.serving.answer_cache import AnswerCache
from baton.serving.batcher import Batcher, Scored
from baton.serving.breaker import PAUSE_S, Breaker, BreakerOpen
from baton.serving.predictor import Predictor
from baton.serving.turned_away import DeadlineExceeded, ModelFailed, Overloaded

Lowest = Literal["nothing", "previous", "cached", "constant"]
_DEPTH: dict[str, int] = {"nothing": 0, "champion": 1, "previous": 1, "cached": 2, "constant": 3}


class Rung(StrEnum):
    """Who stood in; the label of an answer, and its cohort in the prediction log and the metrics."""

    CHAMPION = "champion"
    PREVIOUS = "previous"
    CACHED = "cached"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoodIn(Scored):
    """Scores that are not those of the model that was asked; `by` is whose they are."""

    rung: Rung
    by: Predictor

    @property
    def cohort(self) -> str:
        """Its cohort: neither arm's, since neither gave it."""
        return f"degraded-{self.rung.value}"


class ModelBroken(ModelFailed):
    """The model fails on its own golden request too, so it is not the rows that are odd."""


class ModelDown(DependencyDown):
    """The model fails whatever it is asked, and nothing may stand in; `retry_after_s` is when it is asked again."""

    def __init__(self) -> None:
        super().__init__(
            what="the model does not answer", why="it fails on its own golden request", fix="try again later"
        )
        self.retry_after_s = PAUSE_S


class Ladder:
    """The batcher with a breaker for each model that has failed, and what stands in for it."""

    def __init__(
        self, batcher: Batcher, *, lowest: Lowest = "cached", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._batcher = batcher
        self._depth = _DEPTH[lowest]
        self._clock = clock
        self._cache = AnswerCache()
        # Nearly always empty: a model that has never failed has no breaker to be asked.
        self._breakers: WeakKeyDictionary[Predictor, Breaker] = WeakKeyDictionary()

    async def score(
        self, predictor: Predictor, rows: Rows, *, deadline: float, watch: Callable[[], None] | None = None
    ) -> Scored:
        """Score rows as the batcher does, unless the model is left alone for a moment.

        Raises:
            Overloaded: Too much is queued.
            DeadlineExceeded: The deadline has passed.
            ModelFailed: The model cannot score these rows.
            BreakerOpen: It fails on any, and one request at a time finds out whether it still does.
        """
        breaker = self._breakers.get(predictor) if self._breakers else None
        if breaker is not None:
            with breaker.guarding(_is_the_models):
                return await self._scored(predictor, rows, deadline, watch)
        try:
            return await self._scored(predictor, rows, deadline, watch)
        except ModelBroken:
            self._breakers[predictor] = Breaker(f"version {predictor.release.version}", clock=self._clock)
            raise

    async def stand_in(
        self,
        asked: Predictor,
        others: Sequence[tuple[Rung, Predictor]],
        rows: Rows,
        *,
        deadline: float,
        watch: Callable[[], None] | None = None,
    ) -> StoodIn | None:
        """Give what answers rows that the model has failed on, or None where nothing may.

        Args:
            asked: The model that has failed.
            others: Whom to ask instead, in this order.
            rows: The rows of one request.
            deadline: When its caller has no more use for an answer.
            watch: Called once if the answer takes long.

        Raises:
            Overloaded: Too much is queued.
            DeadlineExceeded: The deadline has passed.
        """
        for rung, other in others if self._depth >= _DEPTH["previous"] else ():
            with suppress(ModelFailed, BreakerOpen):
                scored = await self.score(other, rows, deadline=deadline, watch=watch)
                return _stood_in(rung, other, scored.scores, scored)
        if self._depth >= _DEPTH["cached"]:
            kept = self._cache.find(asked.bundle.digest, rows)
            if kept is not None:
                return _stood_in(Rung.CACHED, asked, kept)
        constant = asked.fallback if self._depth >= _DEPTH["constant"] else None
        return None if constant is None else _stood_in(Rung.CONSTANT, asked, _repeated(constant, len(rows)))

    async def _scored(
        self, predictor: Predictor, rows: Rows, deadline: float, watch: Callable[[], None] | None
    ) -> Scored:
        try:
            scored = await self._batcher.score(predictor, rows, deadline=deadline, watch=watch)
        except ModelFailed as error:
            if await self._is_broken(predictor, deadline):
                raise ModelBroken(error) from error
            raise
        if self._depth >= _DEPTH["cached"]:
            self._cache.keep(predictor.bundle.digest, rows, scored.scores)
        return scored

    async def _is_broken(self, predictor: Predictor, deadline: float) -> bool:
        """Ask what the model is known to answer: a caller's odd rows must not take it from all the others."""
        try:
            await self._batcher.score(predictor, predictor.golden, deadline=deadline)
        except ModelFailed:
            return True
        except (Overloaded, DeadlineExceeded):
            # There was no time to find out.
            return False
        return False


def _repeated(constant: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    return np.full(rows, constant[0]) if len(constant) == 1 else np.tile(constant, (rows, 1))


def _stood_in(rung: Rung, by: Predictor, scores: NDArray[np.float64], timed: Scored | None = None) -> StoodIn:
    return StoodIn(
        scores=scores,
        queue_ms=timed.queue_ms if timed else 0.0,
        batch_ms=timed.batch_ms if timed else 0.0,
        compute_ms=timed.compute_ms if timed else 0.0,
        batch_rows=timed.batch_rows if timed else len(scores),
        arrived=timed.arrived if timed else time.perf_counter(),
        rung=rung,
        by=by,
    )


def _is_the_models(error: BaseException) -> bool:
    return isinstance(error, ModelBroken)
