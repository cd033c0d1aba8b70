"""A metric over late labels against the metric over all of them.

Rows of thirty days, looked at when the last of them is asked; sixty days
before them tell of longer delays. Delays have a median of seven days and long
tails; some labels never come. Who answers early
differs: nobody in particular, those with a high score, or those of one label,
who take twice as long. `naive` takes the labels that have come as they are,
`mature` only rows of days from which nearly all have come, `weighted` is
Baton's. Bias and root mean square error are over the repeats, against the AUC of
all labels; `rows` is what a metric stands for.

    make bench-delay             a table
    make bench-delay JSON=1      one JSON object a line
    REPEATS=200                  windows of each kind (40)
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from printed import Line, print_lines

from baton.monitoring.label_delay import censoring_weights
from baton.training.metrics import measure
from baton.training.weighted_metrics import measure as weighted

REPEATS = int(os.environ.get("REPEATS", "40"))
# Rows of the window, and two windows before it that tell how long labels take.
ROWS, DAYS, MEDIAN_DAYS, WINDOWS = 20_000, 30.0, 7.0, 3
NEVER = 0.1
# The window of a model is four weeks; labels of its last day have hardly begun to come.
MATURE_DAYS = 21.0
WORLDS = ("nobody in particular", "high scores answer early", "positives answer late", "score and label")


def window(world: str, seed: int) -> tuple[np.ndarray, ...]:
    """Give scores, all labels, ages and delays (infinite where none comes) of a window and those before it."""
    rng = np.random.default_rng([WORLDS.index(world), seed])
    logit = rng.normal(-1.0, 1.2, size=ROWS * WINDOWS)
    # The model ranks worse where its score is high, so that it matters who answers.
    truth = (
        rng.random(ROWS * WINDOWS) < 1 / (1 + np.exp(-np.where(logit > -0.5, 0.4 * logit - 0.3, 1.3 * logit)))
    ).astype(float)
    slow = np.ones(ROWS * WINDOWS)
    if world in ("high scores answer early", "score and label"):
        slow *= np.exp(-0.5 * (logit + 1.0))
    if world in ("positives answer late", "score and label"):
        slow *= np.where(truth > 0, 2.0, 1.0)
    delays = MEDIAN_DAYS / np.median(slow) * slow * np.exp(rng.normal(scale=0.7, size=ROWS * WINDOWS))
    delays[rng.random(ROWS * WINDOWS) < NEVER] = np.inf
    return logit, truth, rng.uniform(0, DAYS * WINDOWS, size=ROWS * WINDOWS), delays


def measured() -> Iterator[Line]:
    """Compare the three ways in every world."""
    for world in WORLDS:
        errors: dict[str, list[float]] = {"naive": [], "mature": [], "weighted": []}
        share, young = [], []
        for seed in range(REPEATS):
            scores, truth, ages, delays = window(world, seed)
            asked = ages < DAYS
            oracle = measure("auc", truth[asked], scores[asked])
            told = delays <= ages
            labels = np.where(told, truth, np.nan)
            found = censoring_weights(labels, scores, np.where(told, delays, np.nan), ages, window=asked)
            come = told & asked
            mature = come & (ages >= MATURE_DAYS)
            errors["naive"].append(measure("auc", truth[come], scores[come]) - oracle)
            errors["mature"].append(measure("auc", truth[mature], scores[mature]) - oracle)
            errors["weighted"].append(weighted("auc", truth[come], scores[come], found.weights[come]) - oracle)
            share.append(come.sum() / asked.sum())
            young.append(found.young.sum() / asked.sum())
        for name, each in errors.items():
            yield {
                "bench": "delay",
                "world": world,
                "metric": "auc",
                "way": name,
                "median_delay_days": MEDIAN_DAYS,
                "maturity": round(float(np.mean(share)), 3),
                "too_young": round(float(np.mean(young)), 3) if name == "weighted" else None,
                "bias": round(float(np.mean(each)), 5),
                "margin": round(float(1.96 * np.std(each) / np.sqrt(REPEATS)), 5),
                "rmse": round(float(np.sqrt(np.mean(np.square(each)))), 5),
                "repeats": REPEATS,
            }


if __name__ == "__main__":
    print_lines(measured(), title="AUC over the labels that have come, against all of them")
