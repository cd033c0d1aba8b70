"""A model from rows, with everything that says which model it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import SourceMissing, TrainingFailed, listed
from baton.training.trainer import trainer_named

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained pipeline and what it was trained on.

    `digest` is the SHA-256 of what decides its scores, so two fits that
    answer alike are one model. `trained_until` is when the newest label that
    it saw became known; `base_rate` is the share of positive labels, 0-1.
    """

    pipeline: Any
    digest: str
    features: tuple[str, ...]
    rows: int
    base_rate: float
    trained_from: datetime
    trained_until: datetime
    spec_digest: str
    size_bytes: int


def fit(spec: ModelSpec, train: pd.DataFrame, *, threads: int) -> Fitted:
    """Train the declared model on the rows of `Split.train`.

    The same rows and the same spec give the same digest, in any process and
    with any number of threads.

    Raises:
        SpecInvalid: The trainer or one of its parameters is unknown.
        TrainingFailed: All labels are alike, the trainer gave up, or the
            model's scores are no probabilities.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    trainer = trainer_named(spec.training.trainer)
    pipeline = trainer.build(spec, threads=threads)
    labels = _labels(train)
    # A sum that BLAS splits over threads differs in its last bits.
    with threadpool_limits(limits=1, user_api="blas"):
        _train(pipeline, _features(train, spec.features.names), labels)
        content = trainer.content(pipeline)
    fitted = Fitted(
        pipeline=pipeline,
        digest=digest_of_bytes(canonical_json([spec.training.trainer, spec.features.names]) + content),
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
        Probability of a positive label, shape `(len(frame),)`, 0-1.

    Raises:
        SourceMissing: A feature column is missing.
        TrainingFailed: A score is not a number between 0 and 1.
    """
    scores = np.asarray(fitted.pipeline.predict_proba(_features(frame, fitted.features))[:, 1], dtype=np.float64)
    bad = ~((scores >= 0) & (scores <= 1))
    if bad.any():
        raise TrainingFailed(
            what=f"{int(bad.sum())} of {len(scores)} scores are no probabilities",
            why=f"the first is {scores[bad][0]}",
            fix="look for infinite feature values and extreme training.parameters",
        )
    return scores


def _features(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise SourceMissing(
            what=f"{len(missing)} feature columns are missing",
            why=f"the model takes {listed(missing)}",
            fix="build the snapshot again from this model.yaml",
        )
    return frame[list(names)]


def _labels(train: pd.DataFrame) -> NDArray[np.int64]:
    labels = train["label"].to_numpy(dtype=np.float64)
    found = sorted(set(labels.tolist()))
    if found != [0.0, 1.0]:
        raise TrainingFailed(
            what=f"the labels of {len(labels)} training rows are {listed(found) or 'none'}",
            why="a binary model learns from rows of both 0 and 1",
            fix="check the label column, or train on a longer window",
        )
    return labels.astype(np.int64)


def _train(pipeline: Any, features: pd.DataFrame, labels: NDArray[np.int64]) -> None:
    from lightgbm.basic import LightGBMError

    try:
        pipeline.fit(features, labels)
    except (LightGBMError, ValueError, np.linalg.LinAlgError) as error:
        raise TrainingFailed(
            what=f"the fit on {len(labels)} rows failed",
            why=str(error).splitlines()[0],
            fix="check training.parameters and the feature values",
        ) from error
