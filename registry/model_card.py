"""The model card of a run: what it answers, on what it rests and how good it is, from measured facts alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from baton.core.evaluation import Evaluation, Measure
from baton.core.run import Run
from baton.core.verdict import Verdict
from baton.registry.verdict_text import plain_name, plain_words, verdict_line

# MLflow keeps 5,000 characters of a description.
LONGEST = 5_000
SLICES = 10
# MLflow sets the columns of a table without any space between them.
GAP = "&emsp; | "
# The tag of a run that holds what its model answers.
QUESTION = "baton.question"


def model_card(run: Run) -> str:
    """Write a run's card in Markdown, at most 5,000 characters."""
    snapshot = run.snapshot
    span = f"{snapshot.start:%Y-%m-%d} to {snapshot.end:%Y-%m-%d}"
    data = (
        f"Trained and judged on {snapshot.rows:,} labelled rows of {span},"
        f" as known on {snapshot.as_of:%Y-%m-%d} (snapshot `{snapshot.digest[:12]}`)."
    )
    facts = (
        f"Takes {len(run.bundle.fields)} features. One row takes {run.evaluation.latency_ms:.1f} ms in the training"
        f" pipeline. Model `{run.bundle.model_digest[:12]}`, bundle `{run.bundle.digest[:12]}`."
    )
    # What decides comes first: a card that is too long is cut at its end.
    parts = [
        # The list of versions shows the beginning, without its Markdown.
        verdict_line(run.verdict),
        f"**{run.tags.get(QUESTION) or run.name}** {data}",
        _verdict(run.verdict),
        _metrics(run.evaluation),
        facts,
        _slices(run.evaluation, run.verdict.metric),
    ]
    return "\n\n".join(part for part in parts if part)[:LONGEST]


def model_description(run: Run) -> str:
    """Write what stays the same from version to version: the question, and what the aliases mean."""
    aliases = (
        "The alias `champion` is the version that serves, `challenger` the newest one that was judged, `previous`"
        " the champion before: `baton rollback` goes back to it. Each version's description is its model card."
    )
    return "\n\n".join(part for part in (run.tags.get(QUESTION), aliases) if part)


def _verdict(verdict: Verdict) -> str:
    rows = [
        [plain_name(check.name), check.outcome.value, plain_words(check.detail, metric=verdict.metric)]
        for check in verdict.checks
    ]
    first = "the constant base rate, since there is no champion yet"
    against = f"champion `{verdict.champion[:12]}` of epoch {verdict.epoch}" if verdict.champion else first
    title = f"### Verdict: {verdict.decision.value}\n\nJudged to {verdict.intent}, against {against}."
    return f"{title}\n\n{_table(['check', 'outcome', 'finding'], rows)}"


def _metrics(evaluation: Evaluation) -> str:
    names = list(evaluation.baselines)
    rows = [
        [plain_name(name), _figure(measure)] + [_number(evaluation.baselines[baseline].get(name)) for baseline in names]
        for name, measure in evaluation.metrics.items()
    ]
    table = _table(["metric", "value (standard error)", *(f"{name} baseline" for name in names)], rows)
    return f"### On {evaluation.rows:,} unseen rows in {evaluation.blocks} blocks\n\n{table}"


def _slices(evaluation: Evaluation, metric: str) -> str:
    if not evaluation.slices:
        return ""
    # The largest slices say most; the evaluation holds them all.
    largest = sorted(evaluation.slices, key=lambda part: -part.rows)[:SLICES]
    rows = [[f"{part.column} = {part.value}", f"{part.rows:,}", _figure(part.measure)] for part in largest]
    return f"### Largest slices\n\n{_table(['slice', 'rows', f'{plain_name(metric)} (standard error)'], rows)}"


def _figure(measure: Measure) -> str:
    error = f" ({measure.standard_error:.4f})" if math.isfinite(measure.standard_error) else ""
    return f"{measure.value:.4f}{error}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(names: list[str], rows: Iterable[list[str]]) -> str:
    texts = [GAP.join(cell.replace("|", "/") for cell in line) for line in [names, *rows]]
    return "\n".join(f"| {line} |" for line in [texts[0], " | ".join(["---"] * len(names)), *texts[1:]])
