"""Score a challenger beside the champion and keep the pairs; the caller never waits for it.

A thread takes what was answered from a short queue, scores it with the
challenger and writes pairs of answers. It rests three times as long as it
computes, so a slow challenger costs a quarter of a core and no more; what the
queue cannot hold is dropped and counted, and a challenger that keeps failing
is left alone.

A thread shares its process's memory. What a challenger may need is bounded
before it comes here, by the gate's memory budget.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.rollout import Arm
from baton.core.whole_file import replace_file
from baton.packaging.rows import Rows
from baton.serving.predictor import Predictor
from baton.serving.traffic import Traffic

log = logging.getLogger(__name__)

SHADOW = "shadow"
# A quarter of a core: so many times the time of a computation passes before the next.
REST = 3.0
LONGEST_REST_S = 5.0
MOST_ROWS = 2_000
# Failures in a row after which a challenger is left alone.
GIVEN_UP = 20
FLUSH_ROWS = 5_000
FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One answered request of a rollout: its rows, and the champion's answers and time."""

    rollout: str
    shadow: Predictor
    champion: Predictor
    ids: Sequence[str]
    entities: Sequence[str]
    served_at: datetime
    rows: Rows
    scores: NDArray[np.float64]
    milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A request with both answers; `milliseconds` are what each model computed for."""

    shown: Shown
    scores: NDArray[np.float64]
    milliseconds: float


class Shadow:
    """A bounded queue of answered requests, and the thread that answers them again."""

    def __init__(self, folder: Path, *, traffic: Traffic, most_rows: int = MOST_ROWS) -> None:
        self._folder = folder / SHADOW
        self._traffic = traffic
        self._most_rows = most_rows
        self._queue: deque[Shown] = deque()
        self._rows = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._pairs: list[Pair] = []
        self._written_at = time.monotonic()
        self._files = 0
        self._failures = 0
        self._failing: Predictor | None = None
        # Rows by what became of them: paired, dropped, failed, unwritten.
        self.fates: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def add(self, shown: Shown) -> None:
        """Queue an answered request, or drop and count it where the queue is full or the challenger given up."""
        count = len(shown.ids)
        with self._lock:
            taken = not self.gave_up(shown.shadow) and self._rows + count <= self._most_rows and not self._stopping
            if taken:
                self._queue.append(shown)
                self._rows += count
        if not taken:
            self.fates["dropped"] += count
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
            self._thread.start()
        self._wake.set()

    def gave_up(self, predictor: Predictor) -> bool:
        """Whether a challenger has failed so often that it is no longer asked."""
        return predictor is self._failing and self._failures >= GIVEN_UP

    def stop(self) -> None:
        """Write what was paired and stop; what is queued is not computed any more."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            # A challenger that hangs is not waited for: the thread ends with the process.
            self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            while self._queue and not self._stopping:
                with self._lock:
                    shown = self._queue.popleft()
                    self._rows -= len(shown.ids)
                started = time.perf_counter()
                self._answer(shown)
                time.sleep(min(LONGEST_REST_S, REST * (time.perf_counter() - started)))
                self._flush()
            self._flush()
        self._flush(at_once=True)

    def _answer(self, shown: Shown) -> None:
        if self.gave_up(shown.shadow):
            self.fates["dropped"] += len(shown.ids)
            return
        started = time.perf_counter()
        try:
            scores = shown.shadow.score(shown.rows)
        except Exception as error:  # noqa: BLE001 - whatever a shadow does, the champion's callers do not notice
            self._count_failure(shown, error)
            return
        self._failing, self._failures = None, 0
        took = (time.perf_counter() - started) * 1e3
        self._traffic.answered(Arm.CHALLENGER, took, _one_number(scores).tolist())
        self._pairs.append(Pair(shown=shown, scores=scores, milliseconds=took))
        self.fates["paired"] += len(shown.ids)

    def _count_failure(self, shown: Shown, error: Exception) -> None:
        self._failures = self._failures + 1 if self._failing is shown.shadow else 1
        self._failing = shown.shadow
        self.fates["failed"] += len(shown.ids)
        self._traffic.failed(Arm.CHALLENGER)
        if self._failures in {1, GIVEN_UP}:
            gave_up = self._failures == GIVEN_UP
            log.error("shadow_failed", extra={"reason": str(error), "gave_up": gave_up})

    def _flush(self, *, at_once: bool = False) -> None:
        rows = sum(len(pair.shown.ids) for pair in self._pairs)
        due = at_once or rows >= FLUSH_ROWS or time.monotonic() - self._written_at >= FLUSH_SECONDS
        if not rows or not due:
            return
        pairs, self._pairs, self._written_at = self._pairs, [], time.monotonic()
        # A folder for each rollout, so that a reader takes one rollout's pairs alone.
        for rollout, group in groupby(pairs, key=lambda pair: pair.shown.rollout):
            self._keep(rollout, list(group))

    def _keep(self, rollout: str, pairs: Sequence[Pair]) -> None:
        self._files += 1
        stamp = pairs[0].shown.served_at.strftime("%Y%m%dT%H%M%S%f")
        path = self._folder / rollout / f"{stamp}-{os.getpid()}-{self._files}.parquet"
        try:
            replace_file(path, partial(_write, pairs))
        except Exception as error:  # noqa: BLE001 - a full disk must not end the shadow, let alone the service
            self.fates["unwritten"] += sum(len(pair.shown.ids) for pair in pairs)
            log.warning("shadow_unwritten", extra={"reason": str(error)})


def _write(pairs: Sequence[Pair], path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(as_table(pairs), path, compression="zstd")


def as_table(pairs: Sequence[Pair]) -> Any:
    """Turn pairs into an Arrow table, one row for each answered row.

    `difference` is the challenger's answer less the champion's; of several
    classes half the summed distance of their chances, 0 for the same answer.
    """
    import pyarrow as pa

    counts = [len(pair.shown.ids) for pair in pairs]
    champion = np.concatenate([_one_number(pair.shown.scores) for pair in pairs])
    challenger = np.concatenate([_one_number(pair.scores) for pair in pairs])
    apart = np.concatenate([_apart(pair.scores, pair.shown.scores) for pair in pairs])
    moment = pa.timestamp("us", tz="UTC")

    def each(values: Sequence[Any]) -> Any:
        return np.repeat(np.asarray(values), counts)

    return pa.table(
        {
            "id": pa.array([row for pair in pairs for row in pair.shown.ids], pa.string()),
            "entity": pa.array([row for pair in pairs for row in pair.shown.entities], pa.string()),
            "served_at": pa.array(
                [pair.shown.served_at for pair, count in zip(pairs, counts, strict=True) for _ in range(count)], moment
            ),
            "champion": pa.array(champion, pa.float64()),
            "challenger": pa.array(challenger, pa.float64()),
            "difference": pa.array(apart, pa.float64()),
            "champion_ms": pa.array(each([pair.shown.milliseconds for pair in pairs]), pa.float64()),
            "challenger_ms": pa.array(each([pair.milliseconds for pair in pairs]), pa.float64()),
            "champion_digest": pa.array(
                each([pair.shown.champion.bundle.digest for pair in pairs]).tolist(), pa.string()
            ),
            "challenger_digest": pa.array(
                each([pair.shown.shadow.bundle.digest for pair in pairs]).tolist(), pa.string()
            ),
        }
    )


def _one_number(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give one number for each answer: of several classes the chance of the likeliest."""
    return scores if scores.ndim == 1 else np.asarray(scores.max(axis=1))


def _apart(challenger: NDArray[np.float64], champion: NDArray[np.float64]) -> NDArray[np.float64]:
    return challenger - champion if champion.ndim == 1 else np.asarray(np.abs(challenger - champion).sum(axis=1) / 2)
