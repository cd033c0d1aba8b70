"""The pictures of a run: how it ranks, how it is calibrated, what the gate saw and where it is weak."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.evaluation import Evaluation
from baton.core.verdict import Outcome, Verdict
from baton.registry.verdict_text import plain_name
from baton.training.losses import score_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

INK, SOFT, LINE = "#1f2933", "#7b8794", "#d9dee4"
CHALLENGER, CHAMPION = "#0f6cbd", "#c2571a"
OUTCOMES = {Outcome.PASSED: "#1a7f4b", Outcome.FAILED: "#c0342b", Outcome.UNDECIDED: "#b7791f"}
DOTS_PER_INCH = 110
# Points. MLflow shows a figure about 800 pixels wide: the smallest words are 14 of them high.
SMALL, TEXT, TITLE = 9, 10, 11.5
# A curve of more points than this looks the same and takes longer to draw.
CURVE_POINTS = 400
# Standard errors either side of a slice's figure: about 90 %.
SLICE_ERRORS = 1.645

Scores = Mapping[str, "NDArray[np.float64]"]


def draw_figures(
    folder: Path,
    *,
    labels: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    evaluation: Evaluation,
    verdict: Verdict,
) -> dict[str, Path]:
    """Draw the figures of a run as PNG files.

    Args:
        folder: Where the files go; it is made if need be.
        labels: 0 or 1, shape `(rows,)`.
        challenger: Its scores, shape `(rows,)`.
        champion: The champion's scores of the same rows, or None.
        evaluation: Of the challenger, for the slices.
        verdict: For the intervals of its checks.

    Returns:
        Each figure's title and file, ready for `Run.figures`; without slices there is no figure of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"challenger": challenger} | ({} if champion is None else {"champion": champion})
    figures = {
        "ranking": _ranking(labels, scores),
        "calibration": _calibration(labels, scores),
        "gain": _gain(verdict),
    }
    if evaluation.slices:
        figures["slices"] = _slices(evaluation, verdict.metric)
    return {title: _save(figure, folder / f"{title}.png") for title, figure in figures.items()}


def _ranking(labels: NDArray[np.float64], scores: Scores) -> Any:
    figure, (roc, pr) = _panels(1, 2, size=(9.0, 4.2))
    roc.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    pr.axhline(labels.mean(), color=LINE, linewidth=1)
    for who, values in scores.items():
        false, true, precision = _curve(labels, values)
        roc.plot(false, true, color=_color(who), label=f"{who}, area {_area(false, true):.3f}")
        pr.plot(true, precision, color=_color(who), label=who)
    _title(roc, "ROC", "false positive rate", "true positive rate")
    _title(pr, "Precision and recall", "recall", "precision")
    pr.set(xlim=(0, 1), ylim=(0, 1))
    roc.set(xlim=(0, 1), ylim=(0, 1))
    roc.legend(loc="lower right", frameon=False, fontsize=TEXT)
    pr.text(0.02, labels.mean() - 0.04, f"base rate {labels.mean():.2f}", color=SOFT, fontsize=SMALL)
    return figure


def _calibration(labels: NDArray[np.float64], scores: Scores) -> Any:
    figure, (axes, histogram) = _panels(2, 1, size=(6.4, 6.2), heights=(3, 1))
    highest = 0.0
    for who, values in scores.items():
        bins = score_bins(values)
        mean = np.array([values[rows].mean() for rows in bins])
        share = np.array([labels[rows].mean() for rows in bins])
        axes.plot(mean, share, "o-", color=_color(who), markersize=4, label=who)
        histogram.hist(values, bins=50, range=(0, 1), histtype="step", color=_color(who))
        highest = max(highest, float(mean.max()), float(share.max()))
    top = min(1.0, highest * 1.08)
    axes.plot([0, top], [0, top], color=LINE, linewidth=1, zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top))
    histogram.set(xlim=(0, top))
    axes.legend(loc="upper left", frameon=False, fontsize=TEXT)
    _title(axes, "Calibration in 15 equally filled bins", "", "share of positive labels")
    _title(histogram, "", "score", "rows")
    return figure


def _gain(verdict: Verdict) -> Any:
    """Draw each check that has an interval: the interval, the mean, and the limit that the check holds it to."""
    checks = [check for check in verdict.checks if check.low is not None and check.high is not None]
    # Gains over the constant are many times larger and would hide the others.
    checks = checks[1:] or checks
    figure, axes = _panels(1, 1, size=(8.2, 1.5 + 0.55 * max(1, len(checks))))
    axes.axvline(0, color=SOFT, linewidth=1)
    for place, check in enumerate(checks):
        color = OUTCOMES[check.outcome]
        axes.plot([check.low, check.high], [place, place], color=color, linewidth=3, solid_capstyle="round")
        axes.plot([check.observed], [place], "o", color=color, markersize=8)
        axes.plot([check.required] * 2, [place - 0.35, place + 0.35], color=INK, linewidth=1.5, linestyle=":")
    names = [f"{plain_name(check.name)}\n{check.outcome.value}" for check in checks]
    axes.set_yticks(range(len(checks)), names)
    axes.set_ylim(len(checks) - 0.5, -0.5)
    level = verdict.policy.get("confidence", 0.0)
    title = f"{verdict.decision.value} on {verdict.rows:,} unseen rows in {verdict.blocks} blocks"
    _title(
        axes, title, f"{plain_name(verdict.metric)} gain with its {level:.0%} interval; dotted: what is required", ""
    )
    return figure


def _slices(evaluation: Evaluation, metric: str) -> Any:
    slices = evaluation.slices
    figure, axes = _panels(1, 1, size=(7.4, 1.3 + 0.26 * len(slices)))
    values = np.array([part.measure.value for part in slices])
    errors = np.nan_to_num([part.measure.standard_error * SLICE_ERRORS for part in slices])
    axes.axvline(evaluation.metrics[metric].value, color=SOFT, linewidth=1, linestyle="--")
    axes.errorbar(values, range(len(slices)), xerr=errors, fmt="o", color=CHALLENGER, markersize=4, elinewidth=1.5)
    axes.set_yticks(range(len(slices)), [f"{part.column} {part.value}  ({part.rows:,} rows)" for part in slices])
    axes.set_ylim(len(slices) - 0.5, -0.5)
    name = plain_name(metric)
    _title(axes, f"{name[:1].upper()}{name[1:]} by slice, with 90% intervals", f"{name}; dashed: all rows", "")
    return figure


def _curve(
    labels: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
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


def _area(false: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.trapezoid(true, false))


def _panels(rows: int, columns: int, *, size: tuple[float, float], heights: tuple[int, ...] | None = None) -> Any:
    """Make axes on a figure of its own: no pyplot, so no global state and no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Inches of white all around, so that no word touches the edge.
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, height_ratios=heights)
    for panel in np.ravel(axes):
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(LINE)
        panel.tick_params(colors=INK, labelsize=SMALL, color=LINE)
    return figure, axes


def _title(axes: Any, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=TITLE, color=INK, fontweight="bold")
    axes.set_xlabel(across, fontsize=TEXT, color=INK)
    axes.set_ylabel(up, fontsize=TEXT, color=INK)


def _color(who: str) -> str:
    return CHALLENGER if who == "challenger" else CHAMPION


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path)
    return path
