"""What all figures of a run share: colours, sizes of words, empty panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Each model's scores by who it is, the challenger first.
Scores = Mapping[str, Array]

INK, SOFT, LINE = "#1f2933", "#7b8794", "#d9dee4"
CHALLENGER, CHAMPION = "#0f6cbd", "#c2571a"
DOTS_PER_INCH = 110
# Points. MLflow shows a figure about 800 pixels wide: the smallest words are 14 of them high.
SMALL, TEXT, TITLE = 9, 10, 11.5
# Longest name beside an axis; a longer one would leave no room for the axis.
LONGEST_NAME = 32


def panels(rows: int, columns: int, *, size: tuple[float, float], heights: Sequence[float] | None = None) -> Any:
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


def entitle(axes: Any, title: str, across: str, up: str) -> None:
    """Write a panel's title and what its axes show."""
    axes.set_title(literal(title), loc="left", fontsize=TITLE, color=INK, fontweight="bold")
    axes.set_xlabel(literal(across), fontsize=TEXT, color=INK)
    axes.set_ylabel(literal(up), fontsize=TEXT, color=INK)


def color_of(who: str) -> str:
    """Give the colour of the challenger or the champion."""
    return CHALLENGER if who == "challenger" else CHAMPION


def literal(name: str) -> str:
    """Give a text as it is drawn: matplotlib reads what stands between dollar signs as a formula."""
    return name.replace("$", r"\$")


def short(name: str) -> str:
    """Give a name that leaves room for what it names."""
    plain = " ".join("".join(char if char.isprintable() else " " for char in name[: 4 * LONGEST_NAME]).split())
    return literal(plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "…")


def save(figure: Any, path: Path) -> Path:
    """Write a figure as a file."""
    figure.savefig(path)
    return path
