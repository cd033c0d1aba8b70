"""A verdict as words: one line for a log, a table for a page or a terminal."""

from __future__ import annotations

from baton.core.verdict import Check, Verdict

MARKS = {"passed": "yes", "failed": "NO", "undecided": "not yet"}


def verdict_line(verdict: Verdict) -> str:
    """Say in one line what was decided and why."""
    return f"{verdict.decision.value}: {verdict.reason}"


def verdict_rows(verdict: Verdict) -> tuple[list[str], list[list[str]]]:
    """Give the header and one row per check, as text."""
    header = ["check", "passed", "observed", "required", "interval", "why"]
    return header, [_row(check) for check in verdict.checks]


def verdict_markdown(verdict: Verdict) -> str:
    """Render every check as a row of a Markdown table."""
    against = "a constant" if verdict.champion is None else f"the champion of epoch {verdict.epoch}"
    header, rows = verdict_rows(verdict)
    lines = [
        f"## {verdict.decision.value}",
        "",
        f"{verdict.model}: challenger `{verdict.challenger[:12]}` against {against}, {_evidence(verdict)}.",
        "",
        *("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)),
    ]
    if verdict.rows_needed is not None:
        lines += ["", f"About {verdict.rows_needed:,} rows would decide."]
    return "\n".join(lines)


def _evidence(verdict: Verdict) -> str:
    return f"{verdict.rows:,} rows in {verdict.blocks} blocks, {verdict.metric.replace('_', ' ')}"


def _row(check: Check) -> list[str]:
    interval = "" if check.low is None or check.high is None else f"{check.low:+.4f} to {check.high:+.4f}"
    mark = MARKS[check.outcome.value]
    return [check.name, mark, _number(check.observed), _number(check.required), interval, check.detail]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
