"""Everything that one service runs: the predictors, the batcher, the log, the metrics and the edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from baton.core.rollout import Arm
from baton.packaging.rows import Rows
from baton.serving.batcher import Batcher, Scored
from baton.serving.breaker import BreakerOpen
from baton.serving.edge import Edge
from baton.serving.extraction import ExtractionWatch
from baton.serving.feedback import Feedback
from baton.serving.ladder import Ladder, ModelBroken, ModelDown, Rung, StoodIn
from baton.serving.metrics import Metrics
from baton.serving.online_features import OnlineFeatures
from baton.serving.otel_spans import Spans
from baton.serving.prediction_ids import new_ids
from baton.serving.prediction_log import PredictionLog
from baton.serving.prediction_table import Answered
from baton.serving.predictor import Predictor
from baton.serving.request_body import PredictionRequest
from baton.serving.router import Router
from baton.serving.serving_settings import ServingSettings
from baton.serving.shadow import Shadow, Shown
from baton.serving.swap import Champion
from baton.serving.turned_away import DeadlineExceeded, ModelFailed, Overloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a request that one arm answers: which of its rows, and what they are."""

    predictor: Predictor
    request: PredictionRequest
    places: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The running parts of one service."""

    settings: ServingSettings
    metrics: Metrics
    champion: Champion
    batcher: Batcher
    ladder: Ladder
    log: PredictionLog
    edge: Edge
    feedback: Feedback
    shadow: Shadow
    extraction: ExtractionWatch
    online: OnlineFeatures
    # Of nearly all services there are none.
    spans: Spans | None = None
    # Set once the service is asked to end: it is not ready any more, and answers what still comes.
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(
        self,
        predictor: Predictor,
        request: PredictionRequest,
        *,
        started: float | None = None,
        deadline: float | None = None,
        watch: Callable[[], None] | None = None,
    ) -> tuple[tuple[str, ...], Scored]:
        """Score a checked request and remember it; gives the ids of its rows and their scores.

        Args:
            predictor: What scores them.
            request: Rows that were checked for it.
            started: When the request came in, by `time.perf_counter`; now if not said.
            deadline: When its caller has no more use for an answer; `timeout_seconds` from the start if not said.
            watch: Called once if the answer takes long.

        Raises:
            Overloaded: Too much is queued to answer in time.
            DeadlineExceeded: The deadline has passed.
            ModelFailed: The model cannot score these rows.
        """
        if deadline is None:
            deadline = (started or time.perf_counter()) + self.settings.timeout_seconds
        router = self.champion.router
        try:
            scored = await self.ladder.score(predictor, request.rows, deadline=deadline, watch=watch)
        except (Overloaded, DeadlineExceeded, ModelFailed, BreakerOpen) as error:
            self._count(error, predictor, router)
            if isinstance(error, Overloaded | DeadlineExceeded):
                raise
            # Nobody comes here while the model answers; see `ladder`.
            scored = await self._stand_in(error, predictor, request, deadline=deadline, watch=watch)
        predictor = self.answered_by(predictor, scored)
        now = datetime.now(timezone.utc)
        ids = new_ids(len(request.rows), now)
        self.log.add(
            Answered(
                ids=ids,
                entities=request.entities,
                served_at=now,
                moments=request.moments,
                rows=request.rows,
                scored=scored,
                predictor=predictor,
                cohort=self.cohort(predictor, scored),
            )
        )
        if router is not None and router.challenger is not None and not isinstance(scored, StoodIn):
            self._count_rollout(
                router,
                Shown(
                    rollout=router.release.rollout,
                    shadow=router.challenger,
                    champion=predictor,
                    ids=ids,
                    entities=request.entities or ("",) * len(ids),
                    served_at=now,
                    rows=request.rows,
                    scores=scored.scores,
                    milliseconds=scored.compute_ms,
                ),
            )
        return ids, _rounded(scored, self.settings.score_decimals)

    def look_at(self, caller: str, predictor: Predictor, rows: Rows) -> list[int]:
        """Look at checked rows before they are scored; gives the places of those beyond the training range.

        Raises:
            RequestRefused: There are some, and the settings refuse them.
        """
        self.extraction.saw(caller, rows)
        outside = predictor.range.outside(rows)
        if outside:
            self.metrics.out_of_range.inc(len(outside))
            if self.settings.out_of_range == "refuse":
                predictor.range.refuse(rows)
        return outside

    def turn_away(self, predictor: Predictor, *, deadline: float) -> None:
        """Refuse a request that cannot be answered in time, before its rows are read, which takes longer than a no.

        Raises:
            Overloaded: Too much is queued to answer in time.
            DeadlineExceeded: The deadline has passed.
        """
        try:
            self.batcher.admit(predictor, 1, now=time.perf_counter(), deadline=deadline)
        except (Overloaded, DeadlineExceeded) as error:
            self._count(error, predictor, self.champion.router)
            raise

    def sent(self, predictor: Predictor, scored: Scored, *, started: float) -> None:
        """Count an answer that is written, and where the time since its request came in has gone."""
        ended = time.perf_counter()
        cohort = self.cohort(predictor, scored)
        self.metrics.answered(
            scored,
            parse_ms=(scored.arrived - started) * 1e3,
            total_ms=(ended - started) * 1e3,
            version=predictor.release.version,
            cohort=cohort,
        )
        if self.spans is not None:
            self.spans.parts(scored, predictor, cohort=cohort, started=started, ended=ended)

    def answered_by(self, asked: Predictor, scored: Scored) -> Predictor:
        """Give whose the scores are: those of the predictor that was asked, unless another stood in."""
        return scored.by if isinstance(scored, StoodIn) else asked

    def cohort(self, predictor: Predictor, scored: Scored) -> str:
        """Name the side of a rollout that an answer counts for; of what stood in it is neither."""
        if isinstance(scored, StoodIn):
            return scored.cohort
        router = self.champion.router
        return Arm.CHAMPION.value if router is None else router.cohort(predictor).value

    def shares(self, request: PredictionRequest) -> list[Share]:
        """Part a request by the arms that answer its rows; nearly always all go to one."""
        router = self.champion.router
        assert router is not None, "a request was checked for a champion"
        if router.weight <= 0 or router.weight >= 1:
            return [Share(predictor=router.arm(""), request=request, places=range(len(request.rows)))]
        # Who says nothing of what a row is about is drawn anew each time, which keeps the share.
        entities = request.entities or new_ids(len(request.rows), datetime.now(timezone.utc))
        arms: dict[int, tuple[Predictor, list[int]]] = {}
        for place, entity in enumerate(entities):
            arm = router.arm(entity)
            arms.setdefault(id(arm), (arm, []))[1].append(place)
        if len(arms) == 1:
            return [Share(predictor=router.arm(entities[0]), request=request, places=range(len(request.rows)))]
        return [
            Share(predictor=predictor, request=_part(request, places), places=places)
            for predictor, places in arms.values()
        ]

    async def _stand_in(
        self,
        error: ModelFailed | BreakerOpen,
        asked: Predictor,
        request: PredictionRequest,
        *,
        deadline: float,
        watch: Callable[[], None] | None,
    ) -> StoodIn:
        """Have another answer, and say so; where none may, the refusal says whether it is the rows or the model."""
        champion, previous = self.champion.current, self.champion.previous
        others = [(Rung.CHAMPION, champion)] if champion is not None and champion is not asked else []
        others += [(Rung.PREVIOUS, previous)] if previous is not None else []
        stood = await self.ladder.stand_in(asked, others, request.rows, deadline=deadline, watch=watch)
        if stood is None:
            raise ModelDown if isinstance(error, ModelBroken | BreakerOpen) else error
        self.metrics.degraded.labels(stood.rung.value).inc()
        return stood

    def _count(self, error: Exception, predictor: Predictor, router: Router | None) -> None:
        match error:
            case Overloaded():
                self.metrics.overloaded.inc()
            case DeadlineExceeded():
                self.metrics.deadline_exceeded.inc()
            case _:
                self.metrics.model_errors.inc()
                if router is not None and router.challenger is not None:
                    self.champion.traffic.failed(router.cohort(predictor))

    def _count_rollout(self, router: Router, shown: Shown) -> None:
        scores = shown.scores if shown.scores.ndim == 1 else shown.scores.max(axis=1)
        self.champion.traffic.answered(router.cohort(shown.champion), shown.milliseconds, scores.tolist())
        if router.shadow is not None:
            self.shadow.add(shown)


@asynccontextmanager
async def running(
    settings: ServingSettings, *, spans: Spans | None = None, beside: Engine | None = None
) -> AsyncIterator[Engine]:
    """Start all parts, with the champion loaded if there is one; stop them in reverse and flush the log.

    Args:
        settings: Which model is served, and within what limits.
        spans: Where requests are told of, if anywhere.
        beside: The engine of another model in this service, with whose edge, spans and end it goes.
    """
    metrics = Metrics()
    champion = Champion(settings.folder, model=settings.model, max_batch_rows=settings.max_batch_rows, metrics=metrics)
    batcher = Batcher(max_batch_rows=settings.max_batch_rows, max_wait_ms=settings.max_wait_ms)
    engine = Engine(
        settings=settings,
        metrics=metrics,
        champion=champion,
        batcher=batcher,
        ladder=Ladder(batcher, lowest=settings.degrade_to),
        log=PredictionLog(
            settings.folder, metrics=metrics, flush_seconds=settings.log_seconds, fields=settings.loggable
        ),
        edge=beside.edge if beside else Edge(settings, refused=lambda reason: metrics.refusals.labels(reason).inc()),
        feedback=Feedback(settings.folder),
        shadow=Shadow(settings.folder, traffic=champion.traffic),
        extraction=ExtractionWatch(alarm=metrics.extraction_suspects.inc),
        online=OnlineFeatures(settings, metrics=metrics),
        spans=beside.spans if beside else spans,
        leaving=beside.leaving if beside else asyncio.Event(),
    )
    if beside is None:
        await engine.edge.open()
    engine.feedback.start()
    engine.log.start()
    engine.batcher.start()
    await engine.champion.look()
    following = asyncio.create_task(engine.champion.follow(poll_seconds=settings.poll_seconds))
    try:
        yield engine
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await engine.batcher.stop()
        await asyncio.to_thread(engine.shadow.stop)
        await asyncio.to_thread(engine.log.stop)
        await engine.feedback.stop()
        if beside is None:
            await engine.edge.close()
        await engine.online.close()


def _rounded(scored: Scored, decimals: int | None) -> Scored:
    """Give what callers are told; the log keeps all digits."""
    return scored if decimals is None else replace(scored, scores=scored.scores.round(decimals))


def _part(request: PredictionRequest, places: Sequence[int]) -> PredictionRequest:
    """Give some rows of a request."""
    return PredictionRequest(
        rows=request.rows.take(places),
        entities=tuple(request.entities[at] for at in places) if request.entities else (),
        moments=tuple(request.moments[at] for at in places) if request.moments else (),
        flags=tuple(request.flags[at] for at in places) if request.flags else (),
    )
