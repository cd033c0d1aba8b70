"""How often the interval of an estimate without labels holds what labels then say.

A model of two classes whose probabilities are off by a constant and a slope;
its holdout of 28 days has labels, the window of 14 days has none. Days shift
and tilt the truth by a luck of their own. Under *covariate shift* what is
asked moves; under *concept shift* the truth moves as well, which no
estimate without labels can see: there, `trusted` is what counts, once a tenth
of the labels has come. `naive` takes the rows' own chance for the only one.

    make bench-estimate          a table
    make bench-estimate JSON=1   one JSON object a line
    REPEATS=1000                 windows of each kind (200)
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from printed import Line, print_lines

from baton.core.outlook import Outlook
from baton.monitoring.estimate import CONTRADICTION, METRICS, estimate
from baton.training.metrics import measure
from baton.training.outlook import outlook

REPEATS = int(os.environ.get("REPEATS", "200"))
A_DAY, REFERENCE_DAYS, WINDOW_DAYS = 300, 28, 14
BEGIN = np.datetime64("2024-01-01")
# Name, shift of the log odds, their scale, luck of days, and shift of the truth.
WORLDS = (
    ("no shift", 0.0, 1.0, 0.2, 0.0),
    ("riskier rows", 1.0, 1.0, 0.2, 0.0),
    ("surer rows", 0.0, 1.5, 0.2, 0.0),
    ("riskier, lucky days", 0.7, 1.2, 0.5, 0.0),
    ("concept shift", 0.0, 1.0, 0.2, 0.8),
)


def days_of(
    rng: np.random.Generator, days: int, *, shift: float, scale: float, luck: float, concept: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.datetime64]]:
    """Give labels, scores and days."""
    day = np.repeat(np.arange(days), A_DAY)
    truth = rng.normal(-1.0 + shift, 1.2 * scale, size=len(day))
    lucky = truth * (1 + rng.normal(scale=luck / 4, size=days)[day]) + rng.normal(scale=luck, size=days)[day] + concept
    labels = (rng.random(len(day)) < 1 / (1 + np.exp(-lucky))).astype(np.float64)
    return labels, 1 / (1 + np.exp(-(1.4 * truth + 0.3))), BEGIN + day.astype("timedelta64[D]")


def measured() -> Iterator[Line]:
    """Estimate windows of every kind."""
    for world, (name, shift, scale, luck, concept) in enumerate(WORLDS):
        held: dict[str, list[bool]] = {metric: [] for metric in METRICS}
        naive: dict[str, list[bool]] = {metric: [] for metric in METRICS}
        widths: dict[str, list[float]] = {metric: [] for metric in METRICS}
        off: dict[str, list[float]] = {metric: [] for metric in METRICS}
        contradicted = []
        for seed in range(REPEATS):
            rng = np.random.default_rng([world, seed])
            known = outlook(*days_of(rng, REFERENCE_DAYS, shift=0.0, scale=1.0, luck=luck, concept=0.0))
            assert known is not None  # two classes on many days
            labels, scores, days = days_of(rng, WINDOW_DAYS, shift=shift, scale=scale, luck=luck, concept=concept)
            found = estimate(scores, days, known)
            alone = estimate(scores, days, _without_days(known))
            wide = estimate(scores, days, known, confidence=CONTRADICTION, answered=0.1)
            # The tenth whose labels have come.
            early = rng.random(len(labels)) < 0.1
            said = []
            for metric in METRICS:
                realised, each = measure(metric, labels, scores), found[metric]
                held[metric].append(each.low <= realised <= each.high)
                naive[metric].append(alone[metric].low <= realised <= alone[metric].high)
                widths[metric].append(each.high - each.low)
                off[metric].append(each.value - realised)
                said.append(not wide[metric].low <= measure(metric, labels[early], scores[early]) <= wide[metric].high)
            contradicted.append(any(said))
        for metric in METRICS:
            yield {
                "bench": "estimate",
                "world": name,
                "metric": metric,
                "coverage": round(float(np.mean(held[metric])), 4),
                "margin": round(float(1.96 * np.sqrt(0.09 / REPEATS)), 4),
                "naive_coverage": round(float(np.mean(naive[metric])), 4),
                "bias": round(float(np.mean(off[metric])), 5),
                "width": round(float(np.mean(widths[metric])), 4),
                "contradicted_by_a_tenth": round(float(np.mean(contradicted)), 4),
                "repeats": REPEATS,
            }


def _without_days(known: Outlook) -> Outlook:
    from dataclasses import replace

    return replace(known, shared=(0.0, 0.0, 0.0), error=(0.0, 0.0, 0.0), days=10_000)


if __name__ == "__main__":
    print_lines(measured(), title="Estimates without labels against what labels say")
