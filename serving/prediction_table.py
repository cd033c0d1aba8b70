"""Answered requests as Arrow tables, one row for each answered row: what the prediction log holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.profile import PREDICTED, SCORE, SCORE_PREFIX
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of
from baton.serving.answers import likeliest
from baton.serving.batcher import Scored
from baton.serving.predictor import Predictor

FEATURE_PREFIX = "feature."
CHAMPION = "champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answered request, kept as its arrays until it is written.

    `entities` and `moments` are empty where the caller gave none; its rows are
    then about nobody and of the moment in which they were served.
    """

    ids: Sequence[str]
    entities: Sequence[str]
    served_at: datetime
    moments: Sequence[datetime]
    rows: Rows
    scored: Scored
    predictor: Predictor
    cohort: str = CHAMPION


def as_table(batch: Sequence[Answered], *, fields: Collection[str] | None = None) -> Any:
    """Turn answered requests of one bundle into an Arrow table, one row for each answered row.

    Args:
        batch: Answered requests.
        fields: Features to hold; all where None.
    """
    import pyarrow as pa

    predictor = batch[0].predictor
    counts = np.array([len(answered.ids) for answered in batch])
    total = int(counts.sum())
    served = np.array([_micros(answered.served_at) for answered in batch])
    cohorts = [answered.cohort for answered in batch]
    columns: dict[str, Any] = {
        "id": pa.array([each for answered in batch for each in answered.ids], pa.string()),
        "entity": pa.array(
            [each for answered in batch for each in answered.entities or ("",) * len(answered.ids)], pa.string()
        ),
        "served_at": _moments(np.repeat(served, counts)),
        "moment": _moments(_told(batch, served, counts)),
        **_scores(batch, predictor),
        "digest": pa.repeat(pa.scalar(predictor.bundle.digest), total),
        "version": pa.repeat(pa.scalar(predictor.release.version), total),
        "epoch": pa.repeat(pa.scalar(predictor.release.epoch, pa.int64()), total),
        "cohort": pa.array(cohorts, pa.string()).take(pa.array(np.repeat(np.arange(len(batch)), counts))),
    }
    for part in ("queue_ms", "batch_ms", "compute_ms"):
        columns[part] = pa.array(np.repeat([getattr(answered.scored, part) for answered in batch], counts))
    return pa.table(columns | _features(batch, predictor, fields))


def by_predictor(taken: Iterable[Answered]) -> Iterator[list[Answered]]:
    """Part requests where the predictor changes, since a table's columns are one bundle's fields."""
    for _, group in groupby(taken, key=lambda answered: id(answered.predictor)):
        yield list(group)


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)


def _moments(micros: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(micros, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _told(batch: Sequence[Answered], served: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the moments that callers have told, and else when their rows were served."""
    if not any(answered.moments for answered in batch):
        return np.repeat(served, counts)
    told = [
        list(map(_micros, answered.moments)) or [at] * len(answered.ids)
        for answered, at in zip(batch, served.tolist(), strict=True)
    ]
    return np.array([each for some in told for each in some])


def _scores(batch: Sequence[Answered], predictor: Predictor) -> dict[str, Any]:
    """Give the answers: `score`, the chance or the number; of several classes `predicted` and each class's chance."""
    import pyarrow as pa

    scores = np.concatenate([answered.scored.scores for answered in batch])
    if predictor.bundle.task != "multiclass":
        return {SCORE: pa.array(scores, pa.float64())}
    each = {SCORE_PREFIX + name: pa.array(scores[:, at]) for at, name in enumerate(predictor.bundle.classes)}
    return {PREDICTED: pa.array(likeliest(predictor.bundle, scores), pa.string()), **each}


def _features(batch: Sequence[Answered], predictor: Predictor, allowed: Collection[str] | None) -> dict[str, Any]:
    """Give the features as used: numbers as doubles with null for missing, text with "" for missing."""
    import pyarrow as pa

    # Column by column in memory, which is how they are read from here on.
    numbers = np.ascontiguousarray(np.concatenate([answered.rows.numbers for answered in batch]).T, dtype=np.float64)
    texts = np.concatenate([answered.rows.texts for answered in batch])
    fields = predictor.bundle.fields
    by_name = {name: (numbers[at], pa.float64()) for at, name in enumerate(names_of(fields, NUMBER))} | {
        name: (texts[:, at], pa.string()) for at, name in enumerate(names_of(fields, TEXT))
    }
    return {
        FEATURE_PREFIX + field.name: pa.array(*by_name[field.name], from_pandas=True)
        for field in fields
        if allowed is None or field.name in allowed
    }
