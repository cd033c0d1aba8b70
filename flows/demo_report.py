"""What a telling leaves to look at: the story, Evidently's report, Data Docs, and where everything is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from baton.core.digest import finite
from baton.flows.sealed_model import facts, score
from baton.monitoring.story import Link, Month, Service, Story, Timing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from baton.core.drift_report import DriftReport
    from baton.flows.replay import Replay
    from baton.flows.teller import Step

# Evidently draws the reference; this many rows draw the same picture as all.
REFERENCE_ROWS = 20_000


def publish(replay: Replay, *, months: Sequence[Month], timings: Sequence[Timing], step: Step) -> Story:
    """Write every report of a telling and give the story."""
    from baton.monitoring.story_report import render

    baton = replay.platform
    at = replay.watcher.newest()
    docs = baton.data_tests.build_docs()
    evidently = _evidently(replay, at)
    story = Story(
        project=baton.spec.name,
        question=baton.spec.question,
        outcome=_outcome(months),
        stale_label="first champion, never retrained",
        as_of=at.end,
        warn=baton.spec.drift.warn,
        alarm=baton.spec.drift.alarm,
        months=tuple(months),
        days=tuple(replay.diary.days),
        verdicts=tuple(replay.diary.verdicts),
        events=tuple(replay.diary.events),
        service=_service(replay),
        links=_links(replay, docs=docs, evidently=evidently),
        timings=tuple(timings),
    )
    path = render(story, baton.reports / "story.html")
    tally = replay.callers.tally
    step.done(f"{path.name}: {tally.requests:,} requests, {tally.lost} lost, {replay.diary.swaps} swaps under load")
    return story


def _evidently(replay: Replay, report: DriftReport) -> Path:
    from baton.features.snapshot import find, frame
    from baton.monitoring.evidently_report import render
    from baton.monitoring.prediction_window import judged_columns, with_answers

    baton = replay.platform
    champion = replay.watcher.champion()
    rows = frame(find(baton.snapshots, facts(champion)["snapshot"]))
    sample = rows.sample(min(REFERENCE_ROWS, len(rows)), random_state=baton.spec.seed)
    names = list(baton.spec.features.names)
    reference = with_answers(sample[names], score(champion, sample), classes=champion.bundle.classes)
    window = replay.watcher.window(as_of=report.end)
    current = judged_columns(window)
    return render(reference, current, report, path=baton.reports / "drift.html")


def _outcome(months: Sequence[Month]) -> str:
    """Say in one sentence what retraining was worth."""
    pairs = [
        (month.auc_retrained, month.auc_stale)
        for month in months
        if month.auc_retrained is not None and month.auc_stale is not None
    ]
    if not pairs:
        return "No month has labels yet."
    retrained, stale = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    lost = [month.label for month in months if (month.gain or 0) < 0]
    honest = f" Retraining lost in {', '.join(lost)}." if lost else ""
    gain = (
        f"the champion ranks better by {retrained - stale:.4f} AUC a month"
        if retrained > stale
        else "nothing is gained"
    )
    return f"Retrained when time or drift asks for it, {gain} ({retrained:.4f} against {stale:.4f}).{honest}"


def _service(replay: Replay) -> Service:
    tally = replay.callers.tally
    return Service(
        requests=tally.requests,
        rows=tally.rows,
        lost=tally.lost,
        p50_ms=finite(tally.quantile(0.5)),
        p99_ms=finite(tally.quantile(0.99)),
        swaps=replay.diary.swaps,
    )


def _links(replay: Replay, *, docs: Path, evidently: Path) -> tuple[Link, ...]:
    baton = replay.platform
    home = os.path.relpath(baton.settings.home)
    up = f"baton up --project {os.path.relpath(baton.spec.folder)} --home {home}"
    return (
        Link(title="Data Docs", target=os.path.relpath(docs, baton.reports)),
        Link(title="Drift by Evidently", target=evidently.name),
        Link(title="MLflow, Prefect and the service", target=up),
        Link(
            title="Why the champion is champion",
            target=f"baton why --project {os.path.relpath(baton.spec.folder)} --home {home}",
        ),
    )
