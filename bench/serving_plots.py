"""Pictures of the serving benchmarks: services side by side, and one service asked for more and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, THEIRS, BAD = "#1f6feb", "#9aa4b2", "#d1242f"


def draw_services(measured: Mapping[str, Mapping[str, float]], *, path: Path) -> Path:
    """Draw requests a second, p99 and the longest answer of each service as bars.

    Args:
        measured: By service `rps`, and `p99` and `max` in milliseconds.
        path: Where the picture goes.
    """
    names = sorted(measured, key=lambda name: measured[name]["rps"])
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = (("rps", "requests/s, 32 callers", False), ("p99", "p99, ms", True), ("max", "longest, ms", True))
    for axes, (key, title, stretched) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        values = [measured[name][key] for name in names]
        bars = axes.barh(names, values, color=[OURS if name == "baton" else THEIRS for name in names])
        axes.bar_label(bars, fmt="{:,.0f}" if key == "rps" else "{:,.1f}", padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.margins(x=0.25)
        if stretched:
            axes.set_xscale("log")
            axes.set_xlim(left=1, right=max(values) * 4)
        _plain(axes)
    return _saved(figure, path)


def draw_load(points: Sequence[Mapping[str, Any]], *, capacity: float, deadline_ms: float, path: Path) -> Path:
    """Draw what is answered in time, and the admitted p99, against what is asked for.

    Args:
        points: `rate` asked for and `good` answered in time, a second, and `p99` of what was admitted, ms.
        capacity: What a closed loop gets, a second.
        deadline_ms: Of each request.
        path: Where the picture goes.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [point["rate"] for point in points]
    left.plot([0, max(rates)], [0, max(rates)], ":", color=THEIRS, label="asked for")
    left.axhline(capacity, color=THEIRS, linewidth=1, label="capacity")
    left.plot(rates, [point["good"] for point in points], "o-", color=OURS, label="answered in time")
    left.set(xlabel="requests/s asked for", ylabel="requests/s", ylim=(0, 1.4 * capacity))
    left.legend(fontsize=8, frameon=False)
    right.axhline(deadline_ms, color=BAD, linewidth=1, label="deadline")
    right.plot(rates, [point["p99"] for point in points], "o-", color=OURS, label="p99 of admitted requests")
    right.set(xlabel="requests/s asked for", ylabel="ms", ylim=(0, 1.2 * deadline_ms))
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        _plain(axes)
    return _saved(figure, path)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    return path
