"""A drift report drawn by Evidently, with our numbers: what it shows is what was judged."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.drift_report import ColumnDrift, DriftReport
from baton.core.whole_file import replace_file

if TYPE_CHECKING:
    import pandas as pd

# Evidently copies its reference several times; a sample draws the same picture.
DRAWN_ROWS = 20_000


def render(reference: pd.DataFrame, current: pd.DataFrame, report: DriftReport, *, path: Path) -> Path:
    """Draw one HTML file that needs no network, and Evidently's own result as JSON beside it.

    Args:
        reference: Training rows, or a sample of them: the features by name, and
            the answers as in the prediction log.
        current: The window's rows with the same columns; they may be none, as
            may the values of a column.
        report: The judgement of that window. Its numbers are shown as they are.
        path: Where the HTML goes; the JSON takes the suffix `.json`.

    Returns:
        `path`.
    """
    # Evidently ships its usage statistics switched on.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently.core.report import Report

    columns = [column for column in (report.score, *report.columns) if column is not None]
    texts = [column.name for column in columns if _holds_text(column, reference, current)]
    numeric = [column.name for column in columns if column.name not in texts]
    with warnings.catch_warnings():
        # It takes means and shares of columns in which there is nothing.
        warnings.simplefilter("ignore", RuntimeWarning)
        snapshot = Report(_metrics(report, columns)).run(
            _dataset(current, numeric, texts),
            _dataset(reference, numeric, texts),
            timestamp=report.end,
            name=f"{report.model} drift",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, snapshot.get_html_str(as_iframe=False).encode())
    replace_file(path.with_suffix(".json"), json.dumps(snapshot.dict(), default=str, sort_keys=True).encode())
    return path


def numbers(path: Path) -> dict[str, dict[str, float]]:
    """Read PSI and KS by column back from the result that Evidently stored beside a report."""
    found: dict[str, dict[str, float]] = {}
    for metric in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["metrics"]:
        settings = metric["config"]
        statistic = next((name for name in ("psi", "ks") if name in settings), None)
        if statistic is not None:
            found.setdefault(settings["column"], {})[statistic] = metric["value"]
    return found


def _metrics(report: DriftReport, columns: list[ColumnDrift]) -> list[Any]:
    from baton.monitoring.evidently_metrics import KolmogorovSmirnov, PopulationStability, WindowRows

    title = f"{report.model}, {report.start:%d %b %Y} to {report.end:%d %b %Y}: {report.level.value}"
    detail = f"{report.rows:,} answered rows against the reference of bundle {report.digest[:12]}"
    metrics: list[Any] = [WindowRows(rows=report.rows, title=title, detail=detail)]
    # The loudest first, after the score: that is what one opens the report for.
    for column in sorted(columns, key=lambda c: (c is not report.score, c.silent, -c.psi)):
        metrics.append(
            PopulationStability(column=column.name, psi=column.psi, title=_title(column), detail=_detail(column))
        )
        if column.ks is not None:
            metrics.append(KolmogorovSmirnov(column=column.name, ks=column.ks))
    return metrics


def _title(column: ColumnDrift) -> str:
    state = "watched only" if column.silent else column.level.value
    return f"{column.name}: PSI {column.psi:.4f} ({state})"


def _detail(column: ColumnDrift) -> str:
    ks = "" if column.ks is None else f"KS {column.ks:.4f}. "
    new = f" New values {column.new_values:.1%}." if column.new_values else ""
    return (
        f"{ks}Missing {column.missing:.1%}, reference {column.missing_reference:.1%}.{new} "
        f"Alarm at {column.limit:.2f}: {column.why}."
    )


def _holds_text(column: ColumnDrift, reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    """Say whether a column is text; one with a KS is not, one with no value at all is drawn as numbers."""
    frames = [frame for frame in (reference, current) if column.name in frame]
    return column.ks is None and any(isinstance(value, str) for frame in frames for value in frame[column.name])


def _dataset(frame: pd.DataFrame, numeric: list[str], texts: list[str]) -> Any:
    """Name every column's kind, which Evidently would else guess, wrongly where there are no values."""
    import numpy as np
    from evidently.core.datasets import DataDefinition, Dataset

    drawn = frame if len(frame) <= DRAWN_ROWS else frame.sample(DRAWN_ROWS, random_state=0)
    drawn = drawn.reindex(columns=[*numeric, *texts]).astype(dict.fromkeys(numeric, np.float64))
    kinds = {"numerical_columns": numeric, "categorical_columns": texts}
    absent: dict[str, list[str]] = {f"{kind}_columns": [] for kind in ("text", "datetime", "unknown", "list")}
    return Dataset.from_pandas(drawn, data_definition=DataDefinition(**kinds, **absent))
