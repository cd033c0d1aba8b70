"""A model from rows, with everything that says which model it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import BatonError, TrainingFailed
from baton.core.policy import Task
from baton.training.calibration import Calibration, calibration
from baton.training.labels import labels_of
from baton.training.predict import feature_columns, predictions
from baton.training.split import newest
from baton.training.threads import repeatable
from baton.training.trainer import Trainer, content_of, trainer_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained pipeline and what it was trained on.

    `digest` is the SHA-256 of what decides its scores, so two fits that
    answer alike are one model. `classes` names the columns of its scores
    where the project names them. `trained_until` is when the newest label
    that it saw became known; `base_rate` is the mean label: the share of the
    second class of two, 0-1. `rows` counts those of the calibration too.
    """

    pipeline: Any
    digest: str
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...]
    rows: int
    base_rate: float
    trained_from: datetime
    trained_until: datetime
    spec_digest: str
    size_bytes: int


def fit(spec: ModelSpec, train: pd.DataFrame, *, threads: int, parameters: Mapping[str, Any] | None = None) -> Fitted:
    """Train the declared model on the rows of `Split.train`.

    The same rows and the same spec give the same digest, in any process and
    with any number of threads. Where the spec declares a calibration, the
    newest rows are kept for it.

    Args:
        spec: Declares task, features, trainer and calibration; its search for parameters is not run here.
        train: Rows ordered by time.
        threads: Threads of the fit.
        parameters: What a search has found, over the declared parameters.

    Raises:
        SpecInvalid: The trainer or one of its parameters is unknown, or it does not learn the task.
        TrainingFailed: The labels do not fit the task, the trainer gave up,
            memory or time ran out, or the model's scores are none.
    """
    settled = with_parameters(spec, parameters or {})
    trainer = trainer_of(settled)
    pipeline = _built(trainer, settled, threads=threads)
    labels = labels_of(train, spec)
    with repeatable(threads=threads):
        learned = _learn(spec, pipeline, train)
        content = _content(trainer, pipeline)
    fitted = Fitted(
        pipeline=pipeline,
        digest=digest_of_bytes(_identity(spec, learned) + content),
        task=spec.task,
        classes=tuple(spec.label.classes),
        calibration=learned,
        parameters=settled.training.parameters,
        features=spec.features.names,
        rows=len(train),
        base_rate=float(labels.mean()),
        trained_from=train["moment"].min().to_pydatetime(),
        trained_until=train["label_known"].max().to_pydatetime(),
        spec_digest=spec.digest,
        size_bytes=len(content),
    )
    predict(fitted, train.head(1_000))
    return fitted


def predict(fitted: Fitted, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Score rows.

    Returns:
        Of two classes the chance of the second, shape `(rows,)`; of more, the
        chance of each, shape `(rows, classes)`, each row summing to 1; of a
        regression the number, shape `(rows,)`.

    Raises:
        SourceMissing: A feature column is missing.
        TrainingFailed: A score is no number, or no chance between 0 and 1.
    """
    scores = predictions(fitted.pipeline, frame, task=fitted.task, features=fitted.features)
    return scores if fitted.calibration is None else fitted.calibration.apply(scores)


def with_parameters(spec: ModelSpec, parameters: Mapping[str, Any]) -> ModelSpec:
    """Give the spec with some trainer parameters replaced."""
    if not parameters:
        return spec
    merged = {**spec.training.parameters, **parameters}
    return spec.model_copy(update={"training": spec.training.model_copy(update={"parameters": merged})})


def _built(trainer: Trainer, spec: ModelSpec, *, threads: int) -> Any:
    try:
        return trainer.build(spec, threads=threads)
    except BatonError:
        raise
    except Exception as error:
        raise TrainingFailed(
            what=f"the trainer {spec.training.trainer} cannot build its pipeline",
            why=f"{type(error).__name__}: {error}",
            fix="correct the trainer, or training.parameters",
        ) from error


def _identity(spec: ModelSpec, learned: Calibration | None) -> bytes:
    training = spec.training
    return canonical_json([training.trainer, spec.task, spec.label.classes, spec.features.names, learned])


def _learn(spec: ModelSpec, pipeline: Any, train: pd.DataFrame) -> Calibration | None:
    """Fit the pipeline, and on newer rows than it has seen the calibration, where one is declared."""
    kind = spec.training.calibration
    if kind == "none":
        _train(spec, pipeline, train)
        return None
    parts = newest(train, share=spec.training.calibration_share, group=spec.training.group, purpose="calibration")
    _train(spec, pipeline, parts.older)
    scores = predictions(pipeline, parts.newest, task=spec.task, features=spec.features.names)
    return calibration(kind, parts.newest["label"].to_numpy(dtype=np.float64), scores)


def _train(spec: ModelSpec, pipeline: Any, rows: pd.DataFrame) -> None:
    # Labels are checked again: the newest rows may have taken a class with them.
    labels = labels_of(rows, spec)
    features = feature_columns(rows, spec.features.names)
    known = labels if spec.task == "regression" else labels.astype(np.int64)
    try:
        pipeline.fit(features, known)
    except Exception as error:
        raise _failed(error, rows=len(rows)) from error


def _content(trainer: Trainer, pipeline: Any) -> bytes:
    try:
        return content_of(trainer, pipeline)
    except Exception as error:
        raise TrainingFailed(
            what="the fitted model cannot say what it consists of",
            why=f"{type(error).__name__}: {error}",
            fix="define content(pipeline) in the trainer",
        ) from error


def _failed(error: Exception, *, rows: int) -> BatonError:
    """Say why a fit gave up; a plug-in may raise anything."""
    if isinstance(error, BatonError):
        return error
    said = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, MemoryError) or "bad_alloc" in said or "allocate memory" in said:
        return TrainingFailed(
            what=f"the fit on {rows} rows ran out of memory",
            why=said,
            fix="train on a shorter training.window_days or with smaller training.parameters, or give it more memory",
        )
    if isinstance(error, TimeoutError):
        return TrainingFailed(
            what=f"the fit on {rows} rows ran out of time",
            why=said,
            fix="train on a shorter training.window_days or with smaller training.parameters, or give it more time",
        )
    return TrainingFailed(
        what=f"the fit on {rows} rows failed", why=said, fix="check training.parameters and the feature values"
    )
