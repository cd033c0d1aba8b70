"""The model card of a run: what it answers, on what it rests and how good it is, from measured facts alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from baton.core.evaluation import Evaluation, Measure
from baton.core.run import Run
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.mlflow_words import one_line
from baton.registry.verdict_text import plain_name, plain_words, verdict_line

# MLflow keeps 5,000 characters of a description.
LONGEST = 5_000
SLICES = 10
# More rows than this are not read; the undone ones come first.
CHECKS = 14
CELL = 180
# MLflow sets the columns of a table without any space between them.
GAP = "&emsp; | "
# The tag of a run that holds what its model answers.
QUESTION = "baton.question"
URGENCY = (Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED, Outcome.NOTED)
INTENTS = {
    "refresh": "Judged as a refresh: the same recipe on newer data",
    "replace": "Judged as a replacement: another recipe, to be proven better",
    "bootstrap": "Judged as the first champion",
}
ANSWERS = {
    "binary": "the chance of a 1",
    "multiclass": "the chance of each of {count} classes",
    "regression": "a number",
}
# Where the run comes from, as its tags name it.
ORIGINS = {"commit": "commit", "code": "code", "config": "configuration", "lock": "lock file"}


def model_card(run: Run) -> str:
    """Write a run's card in Markdown, at most 5,000 characters; parts that no longer fit are left out."""
    # What decides comes first, and the list of versions shows the beginning, without its Markdown.
    parts = [
        one_line(verdict_line(run.verdict)),
        f"**{_text(run.tags.get(QUESTION) or run.name)}** {_data(run)}",
        _verdict(run.verdict),
        _metrics(run.evaluation),
        _facts(run),
        _slices(run.evaluation, run.verdict.metric),
    ]
    card = ""
    for part in filter(None, parts):
        if len(card) + len(part) + 2 <= LONGEST:
            card += f"{part}\n\n"
    return card.strip()


def model_description(run: Run) -> str:
    """Write what stays the same from version to version: the question, and what the aliases mean."""
    aliases = (
        "The alias `champion` is the version that serves, `challenger` the newest one that was judged, `previous`"
        " the champion before: `baton rollback` goes back to it. Each version's description is its model card."
        "\n\nMove `champion` by hand to promote a judged version, or to go back to an older champion."
    )
    question = run.tags.get(QUESTION)
    return "\n\n".join(part for part in (_text(question) if question else None, aliases) if part)


def _data(run: Run) -> str:
    snapshot = run.snapshot
    return (
        f"Trained and judged on {snapshot.rows:,} labelled rows of {snapshot.start:%Y-%m-%d} to"
        f" {snapshot.end:%Y-%m-%d}, as known on {snapshot.as_of:%Y-%m-%d} (snapshot `{snapshot.digest[:12]}`)."
    )


def _facts(run: Run) -> str:
    answer = ANSWERS[run.bundle.task].format(count=len(run.bundle.classes))
    if run.bundle.task == "binary" and run.bundle.classes:
        answer = f"the chance of {_text(run.bundle.classes[-1])}"
    origins = [
        f"{title} `{_text(run.tags[f'baton.{name}'])[:12]}`" for name, title in ORIGINS.items() if _has(run, name)
    ]
    origin = f" From {', '.join(origins)}." if origins else ""
    count = len(run.bundle.fields)
    return (
        f"Takes {count} feature{'' if count == 1 else 's'} and gives {answer}. One row takes"
        f" {run.evaluation.latency_ms:.1f} ms in the training pipeline. Model `{run.bundle.model_digest[:12]}`,"
        f" bundle `{run.bundle.digest[:12]}`.{origin}"
    )


def _has(run: Run, name: str) -> bool:
    return bool(run.tags.get(f"baton.{name}"))


def _verdict(verdict: Verdict) -> str:
    urgent = sorted(verdict.checks, key=lambda check: URGENCY.index(check.outcome))[:CHECKS]
    # In the order in which they were made.
    rows = [_check(check, verdict.metric) for check in verdict.checks if check in urgent]
    first = "the constant answer, since there is no champion yet"
    against = f"champion `{verdict.champion[:12]}` of epoch {verdict.epoch}" if verdict.champion else first
    how = f"{INTENTS[verdict.intent]}, against {against}."
    if verdict.champion:
        how += f" Intervals of {100 * (1 - 2 * verdict.alpha):.4g}%: {_text(verdict.method)}."
    left = len(verdict.checks) - len(rows)
    more = f"\n\n{left} more checks that decided nothing stand in `verdict.json`." if left else ""
    table = _table(["check", "outcome", "finding"], rows)
    return f"### Verdict: {verdict.decision.value}\n\n{how}\n\n{table}{more}"


def _check(check: Check, metric: str) -> list[str]:
    return [plain_name(check.name), check.outcome.value, plain_words(check.detail, metric=metric)]


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
    error = f" ({_number(measure.standard_error)})" if math.isfinite(measure.standard_error) else ""
    return f"{_number(measure.value)}{error}"


def _number(value: float | None) -> str:
    """Give four decimals, or four figures of a number that is large."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"  # noqa: PLR2004 - from here on decimals say little


def _text(text: str) -> str:
    """Give a text from outside as one line that is neither HTML nor part of a table."""
    line = one_line(text, longest=CELL)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "/").replace("`", "'")


def _table(names: list[str], rows: Iterable[list[str]]) -> str:
    texts = [GAP.join(_text(cell) for cell in line) for line in [names, *rows]]
    return "\n".join(f"| {line} |" for line in [texts[0], " | ".join(["---"] * len(names)), *texts[1:]])
