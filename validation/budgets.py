"""What a challenger costs beside the champion: time for a row, size of the file, memory once loaded.

Measured once, when the challenger is judged; the verdict keeps the figures.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from baton.core.errors import EmptyWindow
from baton.core.verdict import Check, Outcome
from baton.validation.behaviour import even
from baton.validation.memory_probe import memory_bytes

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.policy import BudgetSpec

# A scored row, ready to be asked again: what a model file answers to each row of a frame.
Call = Callable[[], object]
Loader = Callable[[Path, "pd.DataFrame"], Sequence[Call]]

# Rows that are asked in turn, so that no cache has all of them.
ROWS = 64
WARM_UP = 16
ROUNDS = 600
# A slow model is asked less often.
LEAST_ROUNDS = 32
SECONDS = 2.0
# Memory comes in pages: less than this is measured as this.
LEAST_MEMORY = 64 << 10
MILLI = 1e3
MEBI = 1 << 20


def budgets(
    budget: BudgetSpec, challenger: Path, champion: Path | None, rows: pd.DataFrame, *, load: Loader
) -> tuple[Check, ...]:
    """Measure latency, size and memory of two model files; without a champion they are only told.

    Args:
        budget: Limits, in multiples of the champion's.
        challenger: Its ONNX file.
        champion: The champion's, if there is one.
        rows: Rows to score, with the features of both.
        load: Loads a model file and gives a call for each row, which scores
            that row alone and does nothing else.

    Raises:
        EmptyWindow: There is no row to score.
        DependencyDown: A model's memory could not be measured.
    """
    if rows.empty:
        raise EmptyWindow(what="no rows to time", why="the frame is empty", fix="choose a longer holdout")
    files = [challenger] if champion is None else [challenger, champion]
    some = rows.iloc[even(len(rows), ROWS)]
    latencies = latency_ms(*(load(file, some) for file in files))
    sizes = [file.stat().st_size / MEBI for file in files]
    memories = [max(found, LEAST_MEMORY) / MEBI for found in memory_bytes(*files)]
    return (
        _check("latency", latencies, "a row takes", "ms", budget.latency_ratio),
        _check("size", sizes, "the model file has", "MiB", budget.size_ratio),
        _check("memory", memories, "the loaded model takes", "MiB", budget.memory_ratio),
    )


def latency_ms(*models: Sequence[Call]) -> list[float]:
    """Give the median time of a call of each model.

    The models are asked in turn, one row each, so that whatever else the
    machine does slows all of them.
    """
    for calls in models:
        for round_ in range(WARM_UP):
            calls[round_ % len(calls)]()
    times: list[list[float]] = [[] for _ in models]
    enabled = gc.isenabled()
    gc.disable()
    try:
        until = time.perf_counter() + SECONDS
        for round_ in range(ROUNDS):
            if round_ >= LEAST_ROUNDS and time.perf_counter() > until:
                break
            # Whoever comes second finds warm caches: they take turns at that too.
            for place in range(len(models))[:: 1 if round_ % 2 else -1]:
                times[place].append(_timed(models[place][round_ % len(models[place])]))
    finally:
        if enabled:
            gc.enable()
    return [median(found) * MILLI for found in times]


def _timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _check(name: str, figures: Sequence[float], title: str, unit: str, limit: float) -> Check:
    own = f"{title} {figures[0]:.3g} {unit}"
    if len(figures) == 1:
        return Check(
            name=f"budget {name}",
            outcome=Outcome.NOTED,
            observed=figures[0],
            required=None,
            detail=f"{own}; there is no champion to compare it with",
        )
    ratio = figures[0] / figures[1]
    return Check(
        name=f"budget {name}",
        outcome=Outcome.PASSED if ratio <= limit else Outcome.FAILED,
        observed=ratio,
        required=limit,
        detail=f"{own}, the champion's {figures[1]:.3g}: {ratio:.3g} times as much, at most {limit:g} is allowed",
    )
