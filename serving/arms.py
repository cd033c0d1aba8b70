"""Score a request whose rows may go to two versions, and put the answers in its order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.serving.batcher import Scored
from baton.serving.ladder import StoodIn
from baton.serving.predictor import Predictor
from baton.serving.request_body import PredictionRequest

if TYPE_CHECKING:
    from baton.serving.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRows:
    """Each row's id, its scores and the version that gave them, in the request's order.

    `degraded` names what stood in for a model that failed, see `ladder`; `given`
    are the scores of each arm and whose they are.
    """

    ids: list[str]
    scores: NDArray[np.float64]
    versions: list[str]
    given: list[tuple[Predictor, Scored]]
    degraded: str = ""


async def answered_by_arms(engine: Engine, request: PredictionRequest) -> AnsweredRows:
    """Score each row with the version that it goes to; a batch never mixes them.

    Raises:
        DependencyDown: Too much is queued.
        TimeoutError: The answer took too long.
    """
    shares = engine.shares(request)
    results = await asyncio.gather(*(engine.answer(each.predictor, each.request) for each in shares))
    ids, versions = [""] * len(request.rows), [""] * len(request.rows)
    first = results[0][1].scores
    given = []
    scores = np.empty((len(ids), *first.shape[1:]), dtype=np.float64)
    for share, (names, scored) in zip(shares, results, strict=True):
        scores[list(share.places)] = scored.scores
        given.append((engine.answered_by(share.predictor, scored), scored))
        version = given[-1][0].release.version
        for place, name in zip(share.places, names, strict=True):
            ids[place], versions[place] = name, version
    degraded = ", ".join(sorted({scored.rung.value for _, scored in results if isinstance(scored, StoodIn)}))
    return AnsweredRows(ids=ids, scores=scores, versions=versions, given=given, degraded=degraded)
