"""What a trainer promises of one task: each look gives what is wrong, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from baton.core.digest import digest_of_frame
from baton.core.errors import BatonError, SpecInvalid
from baton.training.fit import Fitted, fit, predict
from baton.training.generated import generated_rows
from baton.training.metrics import measure
from baton.training.repeatability import Steps, steps
from baton.training.trainer import trainer_of

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec

    Export = Callable[[Fitted, pd.DataFrame, ModelSpec], object]
    Look = Callable[[], str | None]

# A parameter that no library has.
STRANGER = "no_such_parameter"
CHANCE = 0.5
STRANGE_ROWS = 50
ROWS_ALONE = 5
ALONE_TOLERANCE = 1e-6
CALIBRATION_SHARE = 0.3
# What to look for when a step differs.
REASONS = {
    "rows": "the rows are not the same",
    "encode": "the encoders make other columns of the same rows",
    "fit": "the estimator answers otherwise; seed everything random in it, and let threads decide nothing",
    "calibrate": "the calibration has other values",
    "content": "the scores agree but not their content; define content(pipeline) without what only tells of the run",
}


def promises(spec: ModelSpec, rows: pd.DataFrame, fitted: Fitted, export: Export | None) -> Mapping[str, Look]:
    """Give every look at a trainer of one task, by what it promises."""
    looks: dict[str, Look] = {
        "answers in the shape of the task": partial(_shapes, spec, rows, fitted),
        "learns more than a constant": partial(_learns, spec, fitted),
        "scores unseen text and missing numbers": partial(_strange, rows, fitted),
        "scores a row alone as among others": partial(_alone, rows, fitted),
        "leaves its input as it was": partial(_untouched, spec, rows),
        "refuses an unknown parameter": partial(_parameters, spec, rows),
        "is the same model twice in a process": partial(_again, spec, rows, fitted),
    }
    if spec.task != "regression":
        looks["calibrates, the same way twice"] = partial(_calibrates, spec, rows)
    if export is not None:
        looks["can be exported"] = partial(_exports, spec, rows, fitted, export)
    return looks


def difference(one: Steps, other: Steps) -> str | None:
    """Say which step of two trainings differs first, and what to look for; None where none does."""
    step = one.difference(other)
    return None if step is None else f"the step {step!r} differs: {REASONS[step]}"


def _shapes(spec: ModelSpec, rows: pd.DataFrame, fitted: Fitted) -> str | None:
    found = predict(fitted, rows).shape
    expected = (len(rows), len(spec.label.classes)) if spec.task == "multiclass" else (len(rows),)
    return None if found == expected else f"shape {found}, expected {expected}"


def _learns(spec: ModelSpec, fitted: Fitted) -> str | None:
    fresh = generated_rows(spec.task, seed=1)
    labels = fresh["label"].to_numpy(dtype=np.float64)
    scores = predict(fitted, fresh)
    if spec.task == "regression":
        found, constant = measure("rmse", labels, scores), float(labels.std())
        return None if found < constant else f"RMSE {found:.3f} on fresh rows, a constant has {constant:.3f}"
    found = measure("auc", labels, scores)
    return None if found > CHANCE else f"AUC {found:.3f} on fresh rows"


def _strange(rows: pd.DataFrame, fitted: Fitted) -> str | None:
    strange = rows.head(STRANGE_ROWS).assign(depot="never seen", weight=np.nan, load=np.nan)
    return None if np.isfinite(predict(fitted, strange)).all() else "a score is no number"


def _alone(rows: pd.DataFrame, fitted: Fitted) -> str | None:
    together = predict(fitted, rows.head(ROWS_ALONE))
    alone = np.concatenate([predict(fitted, rows.iloc[[at]]) for at in range(ROWS_ALONE)])
    gap = float(np.abs(together - alone).max())
    return None if gap <= ALONE_TOLERANCE * max(1.0, float(np.abs(together).max())) else f"scores differ by {gap:.3g}"


def _untouched(spec: ModelSpec, rows: pd.DataFrame) -> str | None:
    """Give the pipeline the frame itself, which Baton otherwise copies."""
    pipeline = trainer_of(spec).build(spec, threads=1)
    features, labels = rows[list(spec.features.names)].copy(), rows["label"].to_numpy(copy=True)
    labels = labels if spec.task == "regression" else labels.astype(np.int64)
    before, known = digest_of_frame(features), labels.copy()
    pipeline.fit(features, labels)
    if digest_of_frame(features) != before or not np.array_equal(labels, known):
        return "the fit changes the rows that it is given"
    (pipeline.predict if spec.task == "regression" else pipeline.predict_proba)(features)
    return None if digest_of_frame(features) == before else "scoring changes the rows that it is given"


def _parameters(spec: ModelSpec, rows: pd.DataFrame) -> str | None:
    try:
        fit(spec, rows, threads=1, parameters={STRANGER: 1})
    except SpecInvalid as error:
        return None if STRANGER in str(error) else f"it does not name {STRANGER!r}: {error}"
    except BatonError as error:
        return f"it is taken until the training fails: {error}"
    return f"{STRANGER!r} was taken without a word; see baton.training.parameters"


def _again(spec: ModelSpec, rows: pd.DataFrame, fitted: Fitted) -> str | None:
    return difference(steps(fitted, rows), steps(fit(spec, rows, threads=1), rows))


def _calibrates(spec: ModelSpec, rows: pd.DataFrame) -> str | None:
    settings = {"calibration": "sigmoid", "calibration_share": CALIBRATION_SHARE}
    calibrated = spec.model_copy(update={"training": spec.training.model_copy(update=settings)})
    one, other = (steps(fit(calibrated, rows, threads=1), rows) for _ in range(2))
    return difference(one, other)


def _exports(spec: ModelSpec, rows: pd.DataFrame, fitted: Fitted, export: Export) -> None:
    export(fitted, rows, spec)
