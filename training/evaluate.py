"""A model measured on rows that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from baton.core.digest import digest_of_frame
from baton.core.errors import EmptyWindow
from baton.core.evaluation import Evaluation, Measure, Slice
from baton.core.policy import METRICS, Metric
from baton.training.fit import Fitted, predict
from baton.training.losses import calibration_error, score_bins
from baton.training.metrics import influence, measure, standard_error

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec
    from baton.training.baselines import Baseline

# The most frequent values of each text feature that have enough rows to be measured.
SLICES_PER_COLUMN = 8
SLICE_ROWS = 200
LATENCY_CALLS = 15


def evaluate(
    fitted: Fitted, holdout: pd.DataFrame, spec: ModelSpec, *, baselines: Mapping[str, Baseline] | None = None
) -> Evaluation:
    """Measure every metric of the task with its standard error, overall and by slice, beside the baselines.

    Standard errors take the rows of a block to share their luck. Slices use
    the gate's metric; of two classes the calibration error is measured too.

    Args:
        fitted: The model; it must not have seen the holdout.
        holdout: Rows of `Split.holdout`.
        spec: Names the task, the text features and the gate's metric.
        baselines: What `baton.training.baselines` learned from the model's rows.

    Raises:
        EmptyWindow: There is no row, or all labels are alike.
    """
    labels = holdout["label"].to_numpy(dtype=np.float64)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - a metric needs labels that differ
        raise EmptyWindow(
            what=f"{len(labels)} holdout rows cannot judge a model",
            why="they are none, or their labels are all alike",
            fix="choose another as_of or a longer training.holdout_days",
        )
    scores = predict(fitted, holdout)
    codes = _codes(holdout["block"])
    metrics: dict[str, Measure] = {name: _measure(name, labels, scores, codes, spec) for name in METRICS[spec.task]}
    calibration = {"calibration_error": _calibration(labels, scores, codes)} if spec.task == "binary" else {}
    return Evaluation(
        model=fitted.digest,
        holdout=digest_of_frame(holdout),
        rows=len(holdout),
        blocks=int(codes.max()) + 1,
        metrics={**metrics, **calibration},
        slices=_slices(holdout, labels, scores, codes, spec),
        baselines={
            name: _values(labels, baseline.scores(holdout), spec) for name, baseline in (baselines or {}).items()
        },
        latency_ms=_latency(fitted, holdout),
        size_bytes=fitted.size_bytes,
    )


def _values(labels: NDArray[np.float64], scores: NDArray[np.float64], spec: ModelSpec) -> dict[str, float]:
    return {name: measure(name, labels, scores, quantile=spec.gate.quantile) for name in METRICS[spec.task]}


def _measure(
    metric: Metric,
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    codes: NDArray[np.int64],
    spec: ModelSpec,
) -> Measure:
    value, influences = influence(metric, labels, scores, quantile=spec.gate.quantile)
    return Measure(value=value, standard_error=standard_error(influences, codes))


def _calibration(labels: NDArray[np.float64], scores: NDArray[np.float64], codes: NDArray[np.int64]) -> Measure:
    """Measure the calibration error; a bin on the other side of its zero pulls the other way."""
    gaps = scores - labels
    influences = np.zeros(len(scores))
    for rows in score_bins(scores):
        # The error sums |sum of a bin's gaps| over all rows, so a row's weight moves it by its own signed gap.
        influences[rows] = np.sign(gaps[rows].mean()) * gaps[rows]
    value = calibration_error(labels, scores)
    return Measure(value=value, standard_error=standard_error(influences - value, codes))


def _slices(
    holdout: pd.DataFrame,
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    codes: NDArray[np.int64],
    spec: ModelSpec,
) -> tuple[Slice, ...]:
    found = []
    for column in spec.features.text:
        counts = holdout[column].value_counts()
        for value in counts.index[counts >= SLICE_ROWS][:SLICES_PER_COLUMN]:
            rows = (holdout[column] == value).to_numpy()
            # An AUC needs both classes, and a slice may have one.
            if len(set(labels[rows].tolist())) > 1:
                inside = _codes(codes[rows])
                measured = _measure(spec.gate.metric, labels[rows], scores[rows], inside, spec)
                found.append(Slice(column=column, value=str(value), rows=int(rows.sum()), measure=measured))
    return tuple(found)


def _codes(blocks: pd.Series[str] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the blocks that occur, none left out."""
    import pandas as pd

    return pd.factorize(np.asarray(blocks))[0].astype(np.int64)


def _latency(fitted: Fitted, holdout: pd.DataFrame) -> float:
    """Time the pipeline on one row; the median of a few calls, in milliseconds."""
    row = holdout.head(1)
    times = []
    for _ in range(LATENCY_CALLS):
        begun = time.perf_counter()
        predict(fitted, row)
        times.append(time.perf_counter() - begun)
    return float(np.median(times) * 1_000)
