"""How a model ranks, is calibrated and confuses what it tells apart: two classes or more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baton.registry.figure_panels import (
    INK,
    LINE,
    SMALL,
    SOFT,
    TEXT,
    Array,
    Scores,
    color_of,
    entitle,
    literal,
    panels,
    short,
)
from baton.training.losses import score_bins
from baton.training.metrics import predicted_class

# A curve of more points than this looks the same and takes longer to draw.
CURVE_POINTS = 400
# More curves than this cannot be told apart, more columns not be read.
MOST_CURVES = 8
MOST_COLUMNS = 12
# Share of a true class from which its cell is dark enough for white words.
DARK = 0.6
# Told apart by the colour-blind too.
COLORS = ("#0f6cbd", "#c2571a", "#1a7f4b", "#8e4ec6", "#b7791f", "#c0342b", "#0e7c86", "#6b7280")


def ranking(labels: Array, scores: Scores) -> Any:
    """Draw the ROC and precision over recall of two classes, each model a curve."""
    figure, roc, pr = _ranking_panels("")
    pr.axhline(labels.mean(), color=LINE, linewidth=1)
    for who, values in scores.items():
        false, true, precision = _curve(labels, values)
        roc.plot(false, true, color=color_of(who), label=f"{who}, area {_area(false, true):.3f}")
        pr.plot(true, precision, color=color_of(who), label=who)
    roc.legend(loc="lower right", frameon=False, fontsize=TEXT)
    # Above the line where there is no room below it.
    offset = 0.02 if labels.mean() < 0.1 else -0.045  # noqa: PLR2004 - a tenth of the axis holds a line of words
    pr.text(0.02, labels.mean() + offset, f"base rate {labels.mean():.2f}", color=SOFT, fontsize=SMALL)
    return figure


def ranking_by_class(labels: Array, scores: Scores, classes: Sequence[str]) -> Any:
    """Draw each class against the rest, the largest classes; the champion's curves are dashed."""
    figure, roc, pr = _ranking_panels(", each class against the rest")
    present = [c for c in _largest(labels, len(classes)) if 0 < np.count_nonzero(labels == c) < len(labels)]
    for color, c in zip(COLORS, present[:MOST_CURVES], strict=False):
        hits, areas = (labels == c).astype(np.float64), []
        for who, values in scores.items():
            false, true, precision = _curve(hits, values[:, c])
            areas.append(f"{_area(false, true):.3f}")
            style = {"color": color} if who == "challenger" else {"color": color, "linestyle": "--", "linewidth": 1}
            roc.plot(false, true, **style)
            pr.plot(true, precision, **style)
        roc.plot([], [], color=color, label=f"{short(classes[c])}, area {' / '.join(areas)}")
        pr.plot([], [], color=color, label=f"{short(classes[c])}, share {hits.mean():.2f}")
    left = len(present) - MOST_CURVES
    said = ["champion dashed"] * ("champion" in scores) + [f"{left} smaller classes not drawn"] * (left > 0)
    for axes in (roc, pr):
        place = "lower right" if axes is roc else "upper right"
        axes.legend(loc=place, fontsize=SMALL, framealpha=0.8, edgecolor="none", title="\n".join(said) or None)
    return figure


def calibration(labels: Array, scores: Scores) -> Any:
    """Draw the share of positive labels over the score."""
    return _calibration(
        {who: (labels, values) for who, values in scores.items()},
        title="Calibration in 15 equally filled bins",
        across="score",
        up="share of positive labels",
    )


def calibration_of_likeliest(labels: Array, scores: Scores) -> Any:
    """Draw how often the likeliest class came true over the chance that it was given."""
    truth = labels.astype(np.int64)
    given = {
        who: ((values.argmax(axis=1) == truth).astype(np.float64), values.max(axis=1)) for who, values in scores.items()
    }
    return _calibration(
        given,
        title="Calibration of the likeliest class in 15 equally filled bins",
        across="chance of the likeliest class",
        up="share that came true",
    )


def confusion(labels: Array, scores: Array, classes: Sequence[str]) -> Any:
    """Draw how the rows of each true class are called, as shares; the smaller of many classes are one."""
    names, truth, called = _merged(labels.astype(np.int64), predicted_class(scores), classes)
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (truth, called), 1)
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(1.0, rows)
    side = 2.2 + 0.62 * len(names)
    figure, axes = panels(1, 1, size=(side + 0.8, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, call), share in np.ndenumerate(shares):
        color = "white" if share > DARK else INK
        axes.text(call, true, f"{share:.0%}", ha="center", va="center", fontsize=SMALL, color=color)
    ticks = range(len(names))
    axes.set_yticks(ticks, [f"{name}  ({count:,.0f})" for name, count in zip(names, rows[:, 0], strict=True)])
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.spines[:].set_visible(False)
    entitle(axes, "What the challenger calls each true class", "called", "true class (rows)")
    return figure


def _ranking_panels(of: str) -> tuple[Any, Any, Any]:
    figure, (roc, pr) = panels(1, 2, size=(9.6, 4.6))
    roc.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    entitle(roc, f"ROC{of}", "false positive rate", "true positive rate")
    entitle(pr, "Precision and recall", "recall", "precision")
    for axes in (roc, pr):
        axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure, roc, pr


def _calibration(given: dict[str, tuple[Array, Array]], *, title: str, across: str, up: str) -> Any:
    figure, (axes, histogram) = panels(2, 1, size=(6.4, 6.2), heights=(3, 1))
    points: list[float] = []
    for who, (hits, values) in given.items():
        bins = score_bins(values)
        mean, share = (np.array([each[rows].mean() for rows in bins]) for each in (values, hits))
        axes.plot(mean, share, "o-", color=color_of(who), markersize=4, label=who)
        histogram.hist(values, bins=50, range=(0, 1), histtype="step", color=color_of(who))
        points += [float(each) for ends in (mean, share) for each in (ends.min(), ends.max())]
    top = min(1.0, max(points) * 1.08 + 0.01)
    # Chances of the likeliest class begin far above 0.
    low = max(0.0, min(points) - 0.05) if min(points) > 0.25 else 0.0  # noqa: PLR2004 - a quarter of white is too much
    axes.plot([low, top], [low, top], color=LINE, linewidth=1, zorder=0)
    axes.set(xlim=(low, top), ylim=(low, top))
    histogram.set(xlim=(low, top))
    axes.legend(loc="upper left", frameon=False, fontsize=TEXT)
    entitle(axes, title, "", up)
    entitle(histogram, "", across, "rows")
    return figure


def _merged(truth: Any, called: Any, classes: Sequence[str]) -> tuple[list[str], Any, Any]:
    order = _largest(truth, len(classes))
    shown = order if len(order) <= MOST_COLUMNS else order[: MOST_COLUMNS - 1]
    place = np.full(len(classes), len(shown))
    place[shown] = np.arange(len(shown))
    others = [literal(f"{len(order) - len(shown)} others")] if len(shown) < len(order) else []
    return [short(classes[c]) for c in shown] + others, place[truth], place[called]


def _largest(labels: Any, count: int) -> list[int]:
    rows = np.bincount(labels.astype(np.int64), minlength=count)
    return [int(c) for c in np.argsort(-rows, kind="stable")]


def _curve(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Give false positive rate, true positive rate and precision at falling thresholds."""
    order = np.argsort(-scores, kind="stable")
    # Rows with one score are called positive together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[last]
    called = last + 1.0
    points = np.unique(np.linspace(0, len(last) - 1, CURVE_POINTS).astype(int))
    hits, called = hits[points], called[points]
    start = np.zeros(1)
    false = np.append(start, (called - hits) / max(1.0, len(labels) - labels.sum()))
    true = np.append(start, hits / max(1.0, labels.sum()))
    return false, true, np.append((hits / called)[:1], hits / called)


def _area(false: Array, true: Array) -> float:
    return float(np.trapezoid(true, false))
