"""Remember what was answered: Parquet files that monitoring reads, written behind the answers.

Answering only appends to a bounded queue in memory. A thread writes what has
gathered about once a second, each file whole or not at all. Where the disk
cannot follow, rows are dropped and counted: a log must never stop a service.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from baton.core.profile import PREDICTED, SCORE, SCORE_PREFIX
from baton.core.whole_file import replace_file
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of
from baton.serving.answers import likeliest
from baton.serving.batcher import Scored
from baton.serving.metrics import Metrics
from baton.serving.predictor import Predictor

log = logging.getLogger(__name__)

PREDICTIONS = "predictions"
FEATURE_PREFIX = "feature."
CHAMPION = "champion"
FLUSH_ROWS = 20_000
MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answered request, kept as its arrays until it is written."""

    ids: Sequence[str]
    entities: Sequence[str]
    served_at: datetime
    moments: Sequence[datetime]
    rows: Rows
    scored: Scored
    predictor: Predictor


class PredictionLog:
    """A queue of answered requests and the thread that writes it to `predictions/`."""

    def __init__(
        self, folder: Path, *, metrics: Metrics, flush_seconds: float = 1.0, most_rows: int = MOST_ROWS
    ) -> None:
        self._folder = folder / PREDICTIONS
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._most_rows = most_rows
        self._queue: deque[Answered] = deque()
        self._rows = 0
        self._files = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._said = ""
        self._thread = threading.Thread(target=self._write_for_ever, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Queue an answered request, or drop and count it where the queue is full."""
        with self._lock:
            full = self._rows + len(answered.ids) > self._most_rows
            if not full:
                self._queue.append(answered)
                self._rows += len(answered.ids)
        if full:
            self._metrics.log_rows.labels("dropped").inc(len(answered.ids))
        elif self._rows >= FLUSH_ROWS:
            self._wake.set()

    def stop(self) -> None:
        """Write what is queued and stop."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _write_for_ever(self) -> None:
        while not self._stopping:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            taken, self._queue, self._rows = self._queue, deque(), 0
        # Fields differ from bundle to bundle, so each file holds one bundle's answers.
        for _, group in groupby(taken, key=lambda answered: id(answered.predictor)):
            batch = list(group)
            rows = sum(len(answered.ids) for answered in batch)
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - a full disk or a lost folder must not end the log
                self._metrics.log_rows.labels("failed").inc(rows)
                self._say(str(error), rows)
            else:
                self._metrics.log_rows.labels("written").inc(rows)

    def _say(self, reason: str, rows: int) -> None:
        if reason != self._said:
            self._said = reason
            log.error("prediction_log_failed", extra={"reason": reason, "rows": rows})

    def _write(self, batch: Sequence[Answered]) -> None:
        import pyarrow.parquet as pq

        self._files += 1
        stamp = batch[0].served_at.strftime("%Y%m%dT%H%M%S%f")
        name = f"{stamp}-{os.getpid()}-{self._files}.parquet"
        write = partial(pq.write_table, as_table(batch), compression="zstd")
        replace_file(self._folder / name, write)


def as_table(batch: Sequence[Answered]) -> Any:
    """Turn answered requests of one bundle into an Arrow table, one row for each answered row."""
    import pyarrow as pa

    predictor = batch[0].predictor
    counts = [len(answered.ids) for answered in batch]
    total = sum(counts)
    moment = pa.timestamp("us", tz="UTC")
    columns: dict[str, Any] = {
        "id": pa.array([each for answered in batch for each in answered.ids], pa.string()),
        "entity": pa.array([each for answered in batch for each in answered.entities], pa.string()),
        "served_at": pa.array([a.served_at for a, n in zip(batch, counts, strict=True) for _ in range(n)], moment),
        "moment": pa.array([each for answered in batch for each in answered.moments], moment),
        **_scores(batch, predictor),
        "digest": pa.repeat(pa.scalar(predictor.bundle.digest), total),
        "version": pa.repeat(pa.scalar(predictor.release.version), total),
        "epoch": pa.repeat(pa.scalar(predictor.release.epoch, pa.int64()), total),
        "cohort": pa.repeat(pa.scalar(CHAMPION), total),
    }
    for part in ("queue_ms", "batch_ms", "compute_ms"):
        columns[part] = pa.array(np.repeat([getattr(answered.scored, part) for answered in batch], counts))
    return pa.table(columns | _features(batch, predictor))


def _scores(batch: Sequence[Answered], predictor: Predictor) -> dict[str, Any]:
    """Give the answers: `score`, the chance or the number; of several classes `predicted` and each class's chance."""
    import pyarrow as pa

    scores = np.concatenate([answered.scored.scores for answered in batch])
    if predictor.bundle.task != "multiclass":
        return {SCORE: pa.array(scores, pa.float64())}
    each = {SCORE_PREFIX + name: pa.array(scores[:, at]) for at, name in enumerate(predictor.bundle.classes)}
    return {PREDICTED: pa.array(likeliest(predictor.bundle, scores), pa.string()), **each}


def _features(batch: Sequence[Answered], predictor: Predictor) -> dict[str, Any]:
    """Give the features as used: numbers as doubles with null for missing, text with "" for missing."""
    import pyarrow as pa

    numbers = np.concatenate([answered.rows.numbers for answered in batch]).astype(np.float64)
    texts = np.concatenate([answered.rows.texts for answered in batch])
    fields = predictor.bundle.fields
    by_name = {name: pa.array(numbers[:, at], from_pandas=True) for at, name in enumerate(names_of(fields, NUMBER))} | {
        name: pa.array(texts[:, at], pa.string()) for at, name in enumerate(names_of(fields, TEXT))
    }
    return {FEATURE_PREFIX + field.name: by_name[field.name] for field in fields}
