"""The plain answers that a model has to beat: a constant, one rule, and a linear model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.training.fit import fit, predict
from baton.training.labels import labels_of
from baton.training.rule import Rule, best_rule

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec
    from baton.training.fit import Fitted

# Evenly spread rows that a linear model learns about as much from as from all, in a second or two.
LINEAR_ROWS = 20_000
LINEAR_ITERATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A plain answer to the model's question, and what it is in words.

    Exactly one of `constant`, `rule` and `linear` answers: the same for every
    row, one of two, or a linear model's.
    """

    words: str
    constant: tuple[float, ...] = ()
    rule: Rule | None = None
    linear: Fitted | None = None

    def scores(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Answer rows in the shape of the task, as `predict` does."""
        if self.linear is not None:
            return predict(self.linear, _finite(frame, self.linear.features))
        if self.rule is not None:
            return _shaped(np.where(self.rule.holds(frame)[:, None], self.rule.inside, self.rule.outside))
        return _shaped(np.tile(self.constant, (len(frame), 1)))


def baselines(spec: ModelSpec, train: pd.DataFrame) -> Mapping[str, Baseline]:
    """Learn every baseline from the rows that the model learns from.

    Raises:
        TrainingFailed: The labels do not fit the task.
    """
    labels = labels_of(train, spec)
    return {
        "constant": _constant(spec, labels),
        "rule": _rule(spec, train, labels),
        "linear": _linear(spec, train),
    }


def _constant(spec: ModelSpec, labels: NDArray[np.float64]) -> Baseline:
    if spec.task == "regression":
        value, words = _centre(spec, labels)
        return Baseline(words=f"always {value:.4g}, {words}", constant=(value,))
    shares = np.bincount(labels.astype(np.int64), minlength=len(spec.label.classes)) / len(labels)
    if spec.task == "binary":
        return Baseline(words=f"always {shares[1]:.3g}, the share in training", constant=(float(shares[1]),))
    named = ", ".join(f"{name} {share:.3g}" for name, share in zip(spec.label.classes, shares, strict=True))
    return Baseline(words=f"always the shares in training: {named}", constant=tuple(shares.tolist()))


def _centre(spec: ModelSpec, labels: NDArray[np.float64]) -> tuple[float, str]:
    """Give the constant that the metric likes best."""
    match spec.gate.metric:
        case "pinball":
            return float(np.quantile(labels, spec.gate.quantile)), f"the {spec.gate.quantile:g} quantile in training"
        case "mae":
            return float(np.median(labels)), "the median in training"
        case _:
            return float(labels.mean()), "the mean in training"


def _rule(spec: ModelSpec, train: pd.DataFrame, labels: NDArray[np.float64]) -> Baseline:
    rule = best_rule(spec, train, labels, centre=lambda part: _centre(spec, part)[0])
    if rule is None:
        return Baseline(words="no feature divides the rows", constant=_constant(spec, labels).constant)
    return Baseline(words=rule.words, rule=rule)


def _linear(spec: ModelSpec, train: pd.DataFrame) -> Baseline:
    rows = train.iloc[:: -(-len(train) // LINEAR_ROWS)]
    # A rare class must not be lost between the picked rows.
    if spec.task != "regression" and rows["label"].nunique() < train["label"].nunique():
        rows = train
    limits: dict[str, Any] = {} if spec.task == "regression" else {"max_iter": LINEAR_ITERATIONS}
    training = spec.training.model_copy(update={"trainer": "linear", "parameters": limits, "calibration": "none"})
    plain = spec.model_copy(update={"training": training})
    fitted = fit(plain, _finite(rows, spec.features.names), threads=1)
    kind = "ridge" if spec.task == "regression" else "logistic"
    part = (
        f", on {len(rows)} evenly spread rows of {len(train)}" if len(rows) < len(train) else f", on {len(rows)} rows"
    )
    return Baseline(words=f"{kind} regression on all features{part}", linear=fitted)


def _finite(frame: pd.DataFrame, features: tuple[str, ...]) -> pd.DataFrame:
    """Take numbers that no float32 holds for missing: what trees can live with must not stop a baseline."""
    numbers = [name for name in features if frame[name].dtype.kind == "f"]
    inside = {name: frame[name].abs() <= np.finfo(np.float32).max for name in numbers}
    return frame.assign(**{name: frame[name].where(rows) for name, rows in inside.items() if not rows.all()})


def _shaped(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(columns[:, 0]) if columns.shape[1] == 1 else np.asarray(columns, dtype=np.float64)
