"""A verdict as words: one line for a log, a table for a page or a terminal."""

from __future__ import annotations

from baton.core.verdict import Check, Verdict

# Markdown: numbers stand to the right, words to the left.
ALIGNED = ["---", "---", "---:", "---:", "---:", "---"]
MARKS = {"passed": "yes", "failed": "NO", "undecided": "not yet", "noted": "noted"}
# What begins the name of a check on a slice; what follows is the slice's own name.
SLICE = "slice "


def plain_name(name: str) -> str:
    """Give a metric's or a check's name as a person writes it: `log_loss` is log loss."""
    return name.replace("_", " ")


def check_name(check: Check) -> str:
    """Give a check's name as a person writes it; a slice keeps the names of its column and value."""
    return check.name if check.name.startswith(SLICE) else plain_name(check.name)


def plain_words(text: str, *, metric: str) -> str:
    """Give a sentence with the metric's name as a person writes it."""
    return text.replace(metric, plain_name(metric))


def verdict_line(verdict: Verdict) -> str:
    """Say in one line what was decided and why."""
    return f"{verdict.decision.value}: {plain_words(verdict.reason, metric=verdict.metric)}"


def verdict_rows(verdict: Verdict) -> tuple[list[str], list[list[str]]]:
    """Give the header and one row per check, as text."""
    header = ["check", "passed", "observed", "required", "interval", "why"]
    return header, [_row(check, metric=verdict.metric) for check in verdict.checks]


def verdict_markdown(verdict: Verdict) -> str:
    """Render every check as a row of a Markdown table."""
    against = "a constant" if verdict.champion is None else f"the champion of epoch {verdict.epoch}"
    header, rows = verdict_rows(verdict)
    lines = [
        f"## {verdict.decision.value}",
        "",
        f"**{plain_words(verdict.reason, metric=verdict.metric)}**",
        "",
        f"{verdict.model}: challenger `{verdict.challenger[:12]}` against {against}, {_evidence(verdict)}.",
        "",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in cells[:-1])} |" for cells in (header, ALIGNED, *rows)),
        "",
        # Sentences in a table of numbers would push it off the page.
        *(f"- {row[0]}: {row[-1]}" for row in rows),
    ]
    if verdict.rows_needed is not None:
        lines += ["", f"About {verdict.rows_needed:,} rows would decide."]
    return "\n".join(lines)


def _evidence(verdict: Verdict) -> str:
    return f"{verdict.rows:,} rows in {verdict.blocks:,} blocks, {plain_name(verdict.metric)}, {verdict.method}"


def _row(check: Check, *, metric: str) -> list[str]:
    interval = "" if check.low is None or check.high is None else f"{check.low:+.4f} to {check.high:+.4f}"
    mark = MARKS[check.outcome.value]
    why = plain_words(check.detail, metric=metric)
    return [check_name(check), mark, _number(check.observed), _number(check.required), interval, why]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")
