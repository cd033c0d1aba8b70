"""Our statistics as Evidently's own metrics: it shows and stores them, and computes none of them.

Importing this module imports Evidently, which takes seconds; `evidently_report`
does so only when a report is drawn. Evidently's own PSI bins by equal width
over both windows together, so one value of 1e9 hides any drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from evidently.core.datasets import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.renderers.html_widgets import CounterData, GraphData, WidgetSize, counter, plotly_graph
from numpy.typing import NDArray

# Bars beyond these quantiles of the reference are drawn into the outermost
# ones, so that one absurd value does not flatten the picture.
DRAWN = (0.005, 0.995)
BARS = 30
MOST_TEXTS = 12
# Blue and orange are told apart by every kind of colour vision; the bars also have names.
COLOURS = {"reference": "#7a8ca3", "current": "#d9730d"}


class WindowRows(SingleValueMetric):  # type: ignore[misc]  # Evidently has no types
    """How many rows were judged, with the headline of the report."""

    class Config:  # noqa: D106
        type_alias = "baton:metric:WindowRows"

    rows: int
    title: str
    detail: str


class WindowRowsCalculation(SingleValueCalculation[WindowRows]):  # type: ignore[misc]
    """Show the headline."""

    metric: WindowRows

    def calculate(self, _context: Context, _current_data: Dataset, _reference_data: Dataset | None) -> SingleValue:
        """Give the number of rows."""
        result = self.result(self.metric.rows)
        result.widget = [counter(title="", counters=[CounterData(self.metric.detail, self.metric.title)])]
        return result

    def display_name(self) -> str:
        """Name the result as tests and people see it."""
        return "Rows in the window"


class PopulationStability(SingleValueMetric):  # type: ignore[misc]
    """The population stability index of one column, as it was judged, with both distributions."""

    class Config:  # noqa: D106
        type_alias = "baton:metric:PopulationStability"

    column: str
    psi: float
    title: str
    detail: str


class PopulationStabilityCalculation(SingleValueCalculation[PopulationStability]):  # type: ignore[misc]
    """Show a column's index with its two distributions."""

    metric: PopulationStability

    def calculate(self, _context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Give the judged value with a headline and a picture."""
        result = self.result(self.metric.psi)
        name = self.metric.column
        windows = {"reference": reference_data, "current": current_data}
        columns = {window: data.as_dataframe()[name] for window, data in windows.items() if data is not None}
        numeric = current_data.column(name).type.value == "num"
        bars = _number_bars(columns) if numeric else _text_bars(columns)
        result.widget = [
            counter(title="", counters=[CounterData(self.metric.detail, self.metric.title)], size=WidgetSize.HALF),
            plotly_graph(graph_data=GraphData("", bars, _layout()), size=WidgetSize.HALF),
        ]
        return result

    def display_name(self) -> str:
        """Name the result as tests and people see it."""
        return f"PSI of {self.metric.column}"


class KolmogorovSmirnov(SingleValueMetric):  # type: ignore[misc]
    """The Kolmogorov-Smirnov statistic of one column, as it was judged; its picture is the index's."""

    class Config:  # noqa: D106
        type_alias = "baton:metric:KolmogorovSmirnov"

    column: str
    ks: float


class KolmogorovSmirnovCalculation(SingleValueCalculation[KolmogorovSmirnov]):  # type: ignore[misc]
    """Carry a column's effect size into Evidently's result."""

    metric: KolmogorovSmirnov

    def calculate(self, _context: Context, _current_data: Dataset, _reference_data: Dataset | None) -> SingleValue:
        """Give the judged value; the index beside it says it in words."""
        result = self.result(self.metric.ks)
        result.widget = []
        return result

    def display_name(self) -> str:
        """Name the result as tests and people see it."""
        return f"KS of {self.metric.column}"


def _number_bars(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw numbers as shares of equal bins, the missing apart."""
    numbers = {window: column.to_numpy(dtype=np.float64) for window, column in columns.items()}
    finite = {window: values[np.isfinite(values)] for window, values in numbers.items()}
    basis = next((values for values in finite.values() if len(values)), np.zeros(1))
    low, high = np.quantile(basis, DRAWN)
    edges = np.linspace(low, high if high > low else low + 1.0, BARS + 1)
    middles = [float(middle) for middle in (edges[:-1] + edges[1:]) / 2]
    return [
        _bars(window, middles, np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0], len(numbers[window]))
        for window, values in finite.items()
    ]


def _text_bars(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw the most frequent texts of the reference as shares."""
    texts = {window: column.fillna("").astype(str).replace("", "(missing)") for window, column in columns.items()}
    basis = next((column for column in texts.values() if len(column)), None)
    names = list(basis.value_counts().index[:MOST_TEXTS]) if basis is not None else []
    return [
        _bars(window, names, column.value_counts().reindex(names, fill_value=0).to_numpy(), len(column))
        for window, column in texts.items()
    ]


def _bars(window: str, places: list[Any], counts: NDArray[Any], rows: int) -> dict[str, Any]:
    shares = [float(share) for share in counts / max(rows, 1)]
    return {"type": "bar", "name": window, "x": places, "y": shares, "marker": {"color": COLOURS[window]}}


def _layout() -> dict[str, Any]:
    return {
        "yaxis": {"title": {"text": "share of rows"}, "rangemode": "tozero"},
        "margin": {"t": 30, "b": 40},
        "legend": {"orientation": "h", "y": 1.12},
    }
