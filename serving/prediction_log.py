"""Remember what was answered: Parquet files that monitoring reads, written behind the answers.

Answering only appends to a bounded queue in memory. A thread writes what has
gathered about once a second, each file whole or not at all, and takes a tenth
of a core at most. What it or the disk cannot follow is thinned out evenly,
dropped and counted: a log must never slow or stop a service.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
# A row that waits for the disk takes about a kilobyte.
MOST_ROWS = 60_000
# From this share of the queue on, fewer and fewer requests are kept, so that what is kept is of all times alike.
THINNED_FROM = 0.5
# Share of a core that writing may take, and how many seconds of it can be saved up.
CORE_SHARE = 0.1
CREDIT_SECONDS = 0.1


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


class PredictionLog:
    """A queue of answered requests and the thread that writes it to `predictions/`."""

    def __init__(
        self,
        folder: Path,
        *,
        metrics: Metrics,
        flush_seconds: float = 1.0,
        most_rows: int = MOST_ROWS,
        fields: Collection[str] | None = None,
    ) -> None:
        """Prepare a log.

        Args:
            folder: The model's state folder.
            metrics: Where the fates of rows are counted.
            flush_seconds: How often is written what has gathered.
            most_rows: Most rows that wait.
            fields: Features that may be written; all where None.
        """
        self._folder = folder / PREDICTIONS
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._most_rows = most_rows
        self._fields = fields
        self._queue: deque[Answered] = deque()
        self._rows = 0
        self._kept = 0.0
        self._files = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._write_for_ever, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Start to write."""
        # Now and not with the first answers, which would wait for it.
        import pyarrow.parquet  # noqa: F401 - for the module cache

        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Queue an answered request, or drop and count it where the queue is full."""
        rows = len(answered.ids)
        with self._lock:
            taken = self._room_for(rows)
            if taken:
                self._queue.append(answered)
                self._rows += rows
        if not taken:
            self._metrics.log_rows.labels("dropped").inc(rows)
        elif self._rows >= FLUSH_ROWS:
            self._wake.set()

    def stop(self) -> None:
        """Write what is queued and stop."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _room_for(self, rows: int) -> bool:
        """Whether a request is kept: all of them, then a share that falls with the room that is left."""
        filled = self._rows / self._most_rows
        if self._rows + rows > self._most_rows:
            return False
        if filled <= THINNED_FROM:
            return True
        self._kept += (1 - filled) / (1 - THINNED_FROM)
        kept = self._kept >= 1
        self._kept -= kept
        return kept

    def _write_for_ever(self) -> None:
        credit, rested = CREDIT_SECONDS, time.monotonic()
        while not self._stopping.is_set():
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            before = time.thread_time()
            self._flush()
            now = time.monotonic()
            credit = min(credit + CORE_SHARE * (now - rested), CREDIT_SECONDS) - (time.thread_time() - before)
            rested = now
            if credit < 0:
                self._stopping.wait(-credit / CORE_SHARE)
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            taken, self._queue, self._rows = self._queue, deque(), 0
        for batch in _files(taken):
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
        write = partial(pq.write_table, as_table(batch, fields=self._fields), compression="zstd")
        replace_file(self._folder / name, write)


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


def _files(taken: Sequence[Answered]) -> Iterator[list[Answered]]:
    """Part requests into files: each holds one bundle's answers, since fields differ, and so many rows at most."""
    for _, group in groupby(taken, key=lambda answered: id(answered.predictor)):
        batch: list[Answered] = []
        rows = 0
        for answered in group:
            if batch and rows + len(answered.ids) > FLUSH_ROWS:
                yield batch
                batch, rows = [], 0
            batch.append(answered)
            rows += len(answered.ids)
        yield batch


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
