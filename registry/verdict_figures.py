"""What the gate saw: the intervals of its checks, and where the model is weak."""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.core.evaluation import Evaluation
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.figure_panels import CHALLENGER, INK, SMALL, SOFT, entitle, panels, short
from baton.registry.verdict_text import plain_name

OUTCOMES = {
    Outcome.PASSED: "#1a7f4b",
    Outcome.FAILED: "#c0342b",
    Outcome.UNDECIDED: "#b7791f",
    Outcome.NOTED: "#7b8794",
}
# What a person looks at first.
URGENCY = (Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED, Outcome.NOTED)
MOST_CHECKS = 12
MOST_SLICES = 30
# Standard errors either side of a slice's figure: about 90 %.
SLICE_ERRORS = 1.645
OVER_CHAMPION = ("better_on_average", "not_worse", "proven_better")
OVER_SIMPLE = ("beats_constant", "not_worse_than_")


def gain(verdict: Verdict) -> Any:
    """Draw the checks that have an interval: the interval, the mean, and the limit that it is held to.

    Gains over simple models are many times larger than those over the champion,
    and slices have another unit: each kind has an axis of its own.
    """
    kinds = _kinds(verdict)
    heights = [0.9 + len(checks) for checks in kinds.values()] or [1.0]
    size = (8.2, 0.9 + 0.55 * sum(heights))
    figure, axes = panels(max(1, len(kinds)), 1, size=size, heights=heights)
    title = f"{verdict.decision.value} on {verdict.rows:,} unseen rows in {verdict.blocks} blocks"
    if not kinds:
        axes.set_yticks([])
        entitle(axes, title, "no check has an interval", "")
    for place, (panel, (what, checks)) in enumerate(zip(np.ravel(axes), kinds.items(), strict=False)):
        _draw_checks(panel, checks)
        entitle(panel, "" if place else title, what, "")
    return figure


def slices(evaluation: Evaluation, metric: str) -> Any:
    """Draw the metric on each slice beside the metric on all rows, the largest slices where there are many."""
    largest = sorted(evaluation.slices, key=lambda part: -part.rows)[:MOST_SLICES]
    shown = [part for part in evaluation.slices if part in largest]
    figure, axes = panels(1, 1, size=(7.4, 1.3 + 0.26 * len(shown)))
    values = np.array([part.measure.value for part in shown])
    errors = np.nan_to_num([part.measure.standard_error * SLICE_ERRORS for part in shown])
    overall = evaluation.metrics.get(metric)
    if overall is not None:
        axes.axvline(overall.value, color=SOFT, linewidth=1, linestyle="--")
    axes.errorbar(values, range(len(shown)), xerr=errors, fmt="o", color=CHALLENGER, markersize=4, elinewidth=1.5)
    axes.set_yticks(range(len(shown)), [f"{short(f'{p.column} {p.value}')}  ({p.rows:,} rows)" for p in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    name = plain_name(metric)
    left = len(evaluation.slices) - len(shown)
    more = f"; {left} smaller slices are not drawn" if left else ""
    title = f"{name[:1].upper()}{name[1:]} by slice, with 90% intervals"
    entitle(axes, title, f"{name}; dashed: all rows{more}", "")
    return figure


def _kinds(verdict: Verdict) -> dict[str, list[Check]]:
    """Give the checks of each axis under what the axis shows, at most `MOST_CHECKS`, the undone first."""
    known = [check for check in verdict.checks if None not in {check.low, check.high, check.observed}]
    # Sorting keeps the order of the verdict among equals.
    most_urgent = sorted(known, key=lambda check: (URGENCY.index(check.outcome), _is_slice(check)))[:MOST_CHECKS]
    percent = f"{100 * (1 - 2 * verdict.alpha):.4g}%"
    metric = plain_name(verdict.metric)
    kinds = {
        f"{metric} gain over the champion with its {percent} interval; dotted: what is required": [
            check for check in most_urgent if check.name in OVER_CHAMPION
        ],
        f"gain over simple models with its {percent} interval": [
            check for check in most_urgent if check.name.startswith(OVER_SIMPLE)
        ],
        "slices and model tests, each in its own unit": [check for check in most_urgent if _is_slice(check)],
    }
    return {what: checks for what, checks in kinds.items() if checks}


def _is_slice(check: Check) -> bool:
    return check.name not in OVER_CHAMPION and not check.name.startswith(OVER_SIMPLE)


def _draw_checks(axes: Any, checks: list[Check]) -> None:
    axes.axvline(0, color=SOFT, linewidth=1)
    for place, check in enumerate(checks):
        color = OUTCOMES[check.outcome]
        axes.plot([check.low, check.high], [place, place], color=color, linewidth=3, solid_capstyle="round")
        axes.plot([check.observed], [place], "o", color=color, markersize=8)
        if check.required is not None:
            axes.plot([check.required] * 2, [place - 0.35, place + 0.35], color=INK, linewidth=1.5, linestyle=":")
    names = [f"{short(plain_name(check.name))}\n{check.outcome.value}" for check in checks]
    axes.set_yticks(range(len(checks)), names, fontsize=SMALL)
    axes.set_ylim(len(checks) - 0.5, -0.5)
