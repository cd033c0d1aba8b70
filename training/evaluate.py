"""A model measured on rows that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from baton.core.digest import digest_of_frame
from baton.core.errors import EmptyWindow
from baton.core.evaluation import Evaluation, Measure, Slice
from baton.training.fit import Fitted, predict
from baton.training.losses import auc, calibration_error, log_losses, score_bins, squared_errors
from baton.training.resampling import Resampling, resampling, standard_error

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec

# The most frequent values of each text feature that have enough rows to be measured.
SLICES_PER_COLUMN = 8
SLICE_ROWS = 200
LATENCY_CALLS = 15


def evaluate(fitted: Fitted, holdout: pd.DataFrame, spec: ModelSpec) -> Evaluation:
    """Measure AUC, log loss and Brier score with standard errors, overall and by slice.

    The slices and the constant baseline use the gate's metric and all metrics
    respectively; the baseline scores every row with the training base rate.

    Args:
        fitted: The model; it must not have seen the holdout.
        holdout: Rows of `Split.holdout`.
        spec: Names the text features, the gate's metric and the seed.

    Raises:
        EmptyWindow: There is no row, or all labels are alike.
    """
    labels = holdout["label"].to_numpy(dtype=np.float64)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - both classes
        raise EmptyWindow(
            what=f"{len(labels)} holdout rows cannot judge a model",
            why="they are none, or their labels are all alike",
            fix="choose another as_of or a longer training.holdout_days",
        )
    scores = predict(fitted, holdout)
    draws = resampling(holdout["block"].to_numpy(), resamples=spec.gate.resamples, seed=spec.seed)
    constant = constant_metrics(labels, fitted.base_rate)
    return Evaluation(
        model=fitted.digest,
        holdout=digest_of_frame(holdout),
        rows=len(holdout),
        blocks=draws.blocks,
        metrics={name: _measure(name, labels, scores, draws) for name in ("auc", "log_loss", "brier")}
        | {"calibration_error": _calibration(labels, scores, draws)},
        slices=_slices(holdout, labels, scores, draws, spec),
        baselines={"constant": constant},
        latency_ms=_latency(fitted, holdout),
        size_bytes=fitted.size_bytes,
    )


def constant_metrics(labels: NDArray[np.float64], rate: float) -> Mapping[str, float]:
    """Give the metrics of a model that answers every row with the same rate."""
    scores = np.full(len(labels), rate)
    return {
        "auc": auc(labels, scores),
        "log_loss": float(log_losses(labels, scores).mean()),
        "brier": float(squared_errors(labels, scores).mean()),
    }


def _measure(metric: str, labels: NDArray[np.float64], scores: NDArray[np.float64], draws: Resampling) -> Measure:
    if metric == "auc":
        return Measure(value=auc(labels, scores), standard_error=standard_error(draws.auc(labels, scores)))
    losses = (log_losses if metric == "log_loss" else squared_errors)(labels, scores)
    return Measure(value=float(losses.mean()), standard_error=standard_error(draws.mean(losses)))


def _calibration(labels: NDArray[np.float64], scores: NDArray[np.float64], draws: Resampling) -> Measure:
    """Measure the calibration error; a resample keeps the bins of the whole."""
    resampled = np.zeros(len(draws.draws))
    for rows in score_bins(scores):
        resampled += np.abs(draws.part(rows).mean((scores - labels)[rows])) * len(rows) / len(scores)
    return Measure(value=calibration_error(labels, scores), standard_error=standard_error(resampled))


def _slices(
    holdout: pd.DataFrame,
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    draws: Resampling,
    spec: ModelSpec,
) -> tuple[Slice, ...]:
    found = []
    for column in spec.features.text:
        counts = holdout[column].value_counts()
        for value in counts.index[counts >= SLICE_ROWS][:SLICES_PER_COLUMN]:
            rows = (holdout[column] == value).to_numpy()
            # An AUC needs both classes, and a slice may have one.
            if 0 < labels[rows].mean() < 1:
                measure = _measure(spec.gate.metric, labels[rows], scores[rows], draws.part(rows))
                found.append(Slice(column=column, value=str(value), rows=int(rows.sum()), measure=measure))
    return tuple(found)


def _latency(fitted: Fitted, holdout: pd.DataFrame) -> float:
    """Time the pipeline on one row; the median of a few calls, in milliseconds."""
    row = holdout.head(1)
    times = []
    for _ in range(LATENCY_CALLS):
        begun = time.perf_counter()
        predict(fitted, row)
        times.append(time.perf_counter() - begun)
    return float(np.median(times) * 1_000)
