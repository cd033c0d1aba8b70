"""A drift report as words, for pages that show Markdown."""

from __future__ import annotations

from baton.core.drift_report import ColumnDrift, DriftReport

SHOWN = 12


def drift_line(report: DriftReport) -> str:
    """Say in one line what the window shows."""
    if report.score is None:
        return f"{report.rows:,} rows served: not enough to compare"
    loud = [column.name for column in report.columns if column.level.value in {"warn", "alarm"}]
    features = f"; {len(loud)} feature{'s' if len(loud) > 1 else ''} moved" if loud else ""
    score = report.score
    return f"{score.name} PSI {score.psi:.2f} ({score.level.value}) over {report.rows:,} rows{features}"


def drift_markdown(report: DriftReport) -> str:
    """Render a report as a Markdown table, the furthest features first."""
    lines = [
        f"**{drift_line(report)}**, {report.start:%Y-%m-%d} to {report.end:%Y-%m-%d}",
        "",
        "| column | PSI | limit | KS | missing | reference | new values | level |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    columns = sorted(report.columns, key=lambda column: -column.psi)[:SHOWN]
    lines += [_row(column) for column in ([report.score] if report.score else []) + columns]
    return "\n".join(lines)


def _row(column: ColumnDrift) -> str:
    ks = "" if column.ks is None else f"{column.ks:.3f}"
    level = "watched only" if column.silent else column.level.value
    return (
        f"| {column.name.replace('|', '/')} | {column.psi:.3f} | {column.limit:.2f} | {ks} | {column.missing:.1%} "
        f"| {column.missing_reference:.1%} | {column.new_values:.1%} | {level} |"
    )
