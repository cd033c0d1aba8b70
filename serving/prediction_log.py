"""Remember what was answered: Parquet files that monitoring reads, written behind the answers.

Answering appends to a bounded queue in memory; every few hundred rows are laid
out as an Arrow table there and then, in less than a millisecond. A thread
writes what has gathered about once a second, each file whole or not at all,
and takes a tenth of a core at most. So all that this thread does for long is
done outside of the interpreter: one that held it would make each answer wait
for its turn. What it or the disk cannot follow is thinned out evenly, dropped
and counted: a log must never slow or stop a service.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from baton.core.whole_file import replace_file
from baton.serving.give_way import give_way
from baton.serving.metrics import Metrics
from baton.serving.prediction_table import Answered, as_table, by_predictor
from baton.serving.predictor import Predictor

log = logging.getLogger(__name__)

PREDICTIONS = "predictions"
# So many requests or rows are laid out together: fewer cost more each, more hold up the answers between.
GATHER_REQUESTS, GATHER_ROWS = 256, 4_096
FLUSH_ROWS = 20_000
# A row that waits for the disk takes up to a kilobyte.
MOST_ROWS = 40_000
# From this share of the queue on, fewer and fewer requests are kept, so that what is kept is of all times alike.
THINNED_FROM = 0.5
# Share of a core that writing may take, and how many seconds of it can be saved up.
CORE_SHARE = 0.1
CREDIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Answers of one predictor, laid out; `served_at` is the first one's moment."""

    predictor: Predictor
    served_at: datetime
    table: Any

    @property
    def rows(self) -> int:
        """Rows of the table."""
        rows: int = self.table.num_rows
        return rows


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
        self._loose: list[Answered] = []
        self._loose_rows = 0
        self._gathered: list[Gathered] = []
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
                self._loose.append(answered)
                self._loose_rows += rows
                self._rows += rows
        if not taken:
            self._metrics.log_rows.labels("dropped").inc(rows)
            return
        if len(self._loose) >= GATHER_REQUESTS or self._loose_rows >= GATHER_ROWS:
            self._gather()
        if self._rows >= FLUSH_ROWS:
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

    def _gather(self) -> None:
        """Lay out what was answered since the last time."""
        with self._lock:
            taken, self._loose, self._loose_rows = self._loose, [], 0
        for batch in by_predictor(taken):
            first = batch[0]
            table = self._tried(partial(as_table, batch, fields=self._fields), sum(len(each.ids) for each in batch))
            if table is not None:
                with self._lock:
                    self._gathered.append(Gathered(predictor=first.predictor, served_at=first.served_at, table=table))

    def _write_for_ever(self) -> None:
        give_way()
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
        self._gather()
        with self._lock:
            taken, self._gathered = self._gathered, []
        for tables in _files(taken):
            rows = sum(each.rows for each in tables)
            with self._lock:
                self._rows -= rows
            if self._tried(partial(self._write, tables), rows):
                self._metrics.log_rows.labels("written").inc(rows)

    def _tried(self, work: Callable[[], Any], rows: int) -> Any:
        """Do some work for so many rows; None where it failed, which is counted and said once."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a full disk or a lost folder must not end the log
            self._metrics.log_rows.labels("failed").inc(rows)
            self._say(str(error), rows)
            return None

    def _say(self, reason: str, rows: int) -> None:
        if reason != self._said:
            self._said = reason
            log.error("prediction_log_failed", extra={"reason": reason, "rows": rows})

    def _write(self, tables: Sequence[Gathered]) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._files += 1
        stamp = tables[0].served_at.strftime("%Y%m%dT%H%M%S%f")
        path = self._folder / f"{stamp}-{os.getpid()}-{self._files}.parquet"
        whole = pa.concat_tables([each.table for each in tables]).combine_chunks()
        replace_file(path, partial(pq.write_table, whole, compression="zstd"))
        return path


def _files(taken: Sequence[Gathered]) -> Iterator[list[Gathered]]:
    """Part tables into files: each holds one bundle's answers, since fields differ, and so many rows at most."""
    for _, group in groupby(taken, key=lambda gathered: id(gathered.predictor)):
        tables: list[Gathered] = []
        rows = 0
        for gathered in group:
            if tables and rows + gathered.rows > FLUSH_ROWS:
                yield tables
                tables, rows = [], 0
            tables.append(gathered)
            rows += gathered.rows
        yield tables
