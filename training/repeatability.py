"""Which step of a training differed, where two trainings of the same rows did not give the same model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import canonical_json, digest_of, digest_of_bytes, digest_of_frame
from baton.training.predict import feature_columns, predictions
from baton.training.threads import repeatable

if TYPE_CHECKING:
    import pandas as pd

    from baton.training.fit import Fitted

PROBE_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A digest of what each step of a training gave, in the order of the steps.

    `rows` are what it was trained on, `encode` what its encoders make of them,
    `fit` the raw scores, `calibrate` the calibration, and `content` the whole
    model.
    """

    rows: str
    encode: str
    fit: str
    calibrate: str
    content: str

    def difference(self, other: Steps) -> str | None:
        """Name the first step that differs; those after it only follow. None where all agree."""
        return next((step.name for step in fields(self) if getattr(self, step.name) != getattr(other, step.name)), None)


def steps(fitted: Fitted, train: pd.DataFrame) -> Steps:
    """Give the digests of a training's steps, measured on evenly spread rows of what it was trained on."""
    features = feature_columns(train, fitted.features)
    probe = features.iloc[:: -(-len(train) // PROBE_ROWS)]
    with repeatable(threads=1):
        encoded = _encoded(fitted.pipeline, probe)
        scores = predictions(fitted.pipeline, probe, task=fitted.task, features=fitted.features)
    return Steps(
        rows=digest_of_frame(features.assign(label=train["label"])),
        encode=digest_of_bytes(encoded),
        fit=digest_of_bytes(scores.tobytes()),
        calibrate=digest_of(fitted.calibration),
        content=fitted.digest,
    )


def _encoded(pipeline: Any, probe: pd.DataFrame) -> bytes:
    """Give what reaches the estimator; a pipeline without steps before it is its own encoder."""
    if len(getattr(pipeline, "steps", ())) < 2:  # noqa: PLR2004 - encoder and estimator
        return b""
    values = pipeline[:-1].transform(probe)
    dense = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    return canonical_json(dense.tolist()) if dense.dtype == object else np.ascontiguousarray(dense).tobytes()
