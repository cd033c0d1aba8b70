"""How far a predicted number is from the true one."""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.registry.figure_panels import INK, LINE, SMALL, SOFT, TEXT, Array, Scores, color_of, entitle, panels

# From so many rows on, points hide each other and are counted in cells.
MANY_ROWS = 2_000
CELLS = 45
# Rows of a cell that would be white: one row is to be seen.
PALEST = 0.2
# Shares of the rows that an axis shows at least: one wild number must not hide the others.
SHOWN = (0.005, 0.995)
GROUPS = 10
WHISKER, BOX = (0.05, 0.95), (0.25, 0.75)


def predicted(labels: Array, scores: Scores) -> Any:
    """Draw the true number over the predicted one, each model in its own panel."""
    from matplotlib.colors import LogNorm

    figure, axes = panels(1, len(scores), size=(5.0 * len(scores), 4.9))
    low, high = _span(np.concatenate([labels, *scores.values()]))
    for panel, (who, values) in zip(np.ravel(axes), scores.items(), strict=True):
        inside = (np.minimum(labels, values) >= low) & (np.maximum(labels, values) <= high)
        if len(labels) < MANY_ROWS:
            panel.plot(values[inside], labels[inside], ".", color=color_of(who), markersize=4, alpha=0.5)
        else:
            ends = (low, high, low, high)
            cells = {"gridsize": CELLS, "cmap": "Blues", "mincnt": 1, "linewidths": 0, "extent": ends}
            panel.hexbin(values[inside], labels[inside], norm=LogNorm(vmin=PALEST), **cells)
        panel.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=":")
        panel.set(xlim=(low, high), ylim=(low, high))
        _say_outside(panel, int(np.count_nonzero(~inside)))
        entitle(panel, f"{who[:1].upper()}{who[1:]}", "predicted", "true")
    return figure


def residuals(labels: Array, scores: Scores) -> Any:
    """Draw the spread of true minus predicted in ten groups of rows, by what was predicted."""
    figure, axes = panels(1, 1, size=(8.2, 4.6))
    axes.axhline(0, color=SOFT, linewidth=1)
    for offset, (who, values) in zip(_offsets(len(scores)), scores.items(), strict=True):
        groups = [rows for rows in np.array_split(np.argsort(values, kind="stable"), GROUPS) if len(rows)]
        rest = labels - values
        found = np.array([np.quantile(rest[rows], [*WHISKER, *BOX, 0.5]) for rows in groups]).T
        places = np.arange(len(groups)) + offset
        axes.vlines(places, found[0], found[1], color=color_of(who), linewidth=1.5)
        axes.vlines(places, found[2], found[3], color=color_of(who), linewidth=6, alpha=0.55)
        axes.plot(places, found[4], "o", color=color_of(who), markersize=5, label=who)
        if who == "challenger":
            means = [f"{values[rows].mean():.4g}" for rows in groups]
            axes.set_xticks(range(len(groups)), means)
    if len(scores) > 1:
        # Errors mostly grow with the prediction.
        axes.legend(loc="upper left", frameon=False, fontsize=TEXT)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    title = "Residuals by tenths of the predictions: median, middle 50% and 90%"
    entitle(axes, title, "mean prediction of the challenger's tenth", "true minus predicted")
    return figure


def _span(values: Array) -> tuple[float, float]:
    low, high = (float(each) for each in np.quantile(values, SHOWN))
    room = 0.03 * (high - low) or max(1.0, abs(low)) * 0.05
    return low - room, high + room


def _say_outside(axes: Any, rows: int) -> None:
    if rows:
        words = f"{rows:,} more {'row' if rows == 1 else 'rows'} outside"
        axes.text(0.98, 0.02, words, transform=axes.transAxes, ha="right", color=SOFT, fontsize=SMALL)


def _offsets(count: int) -> list[float]:
    return [0.0] if count == 1 else [-0.14, 0.14]
