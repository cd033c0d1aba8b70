"""Everything that was answered is on disk after a stop, or counted as dropped."""

import threading
import time
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton.serving.batcher import Scored
from baton.serving.metrics import Metrics
from baton.serving.prediction_log import PredictionLog
from baton.serving.prediction_table import Answered
from baton.serving.predictor import load_predictor

NOW = datetime(2013, 4, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def answered(sealed, state, release):
    predictors = [load_predictor(state, release(number), max_batch_rows=8) for number in (0, 1)]

    def make(start, stop, *, number=0):
        part = sealed.table.part(start, stop)
        scored = Scored(
            scores=predictors[number].score(part), queue_ms=0.1, batch_ms=0.2, compute_ms=0.3, batch_rows=stop - start
        )
        ids = [f"id-{at}" for at in range(start, stop)]
        moments = [NOW] * len(ids)
        return Answered(
            ids=ids,
            entities=ids,
            served_at=NOW,
            moments=moments,
            rows=part,
            scored=scored,
            predictor=predictors[number],
        )

    return make


def log_of(state, **limits):
    log = PredictionLog(state, metrics=Metrics(), **limits)
    log.start()
    return log


def read(state):
    return [pq.read_table(path).to_pylist() for path in sorted((state / "predictions").glob("*.parquet"))]


def test_a_row_is_read_back_as_it_was_answered(answered, sealed, state):
    log = log_of(state)
    log.add(answered(0, 10))
    log.stop()

    (rows,) = read(state)
    assert [row["id"] for row in rows] == [f"id-{at}" for at in range(10)]
    first = rows[0]
    expected = sealed.requests[0]
    assert {name: first[f"feature.{name}"] or None for name in expected} == {k: v or None for k, v in expected.items()}
    assert first["score"] == pytest.approx(sealed.scores[sealed.bundles[0].digest][0], abs=1e-6)
    assert first["served_at"] == first["moment"] == NOW
    assert (first["digest"], first["version"], first["epoch"]) == (sealed.bundles[0].digest, "1", 1)
    assert (first["cohort"], first["queue_ms"], first["batch_ms"], first["compute_ms"]) == ("champion", 0.1, 0.2, 0.3)
    assert {row["feature.delay"] is None for row in rows} == {True, False}


def test_each_file_holds_one_bundles_answers(answered, state):
    log = log_of(state)
    for number in (0, 0, 1):
        log.add(answered(number, number + 1, number=number))
    log.stop()

    assert sorted(len(rows) for rows in read(state)) == [1, 2]


def test_a_full_queue_drops_and_counts(answered, state):
    log = PredictionLog(state, metrics=Metrics(), most_rows=15)
    for _ in range(3):
        log.add(answered(0, 10))
    log.start()
    log.stop()

    assert sum(map(len, read(state))) == 10
    text = log._metrics.render()[0].decode()
    assert 'baton_log_rows_total{fate="dropped"} 20.0' in text
    assert 'baton_log_rows_total{fate="written"} 10.0' in text


def test_a_queue_that_fills_is_thinned_out_evenly(answered, state):
    """F10: what is kept is of all times alike."""
    log = PredictionLog(state, metrics=Metrics(), most_rows=1_000)
    row = answered(0, 1)
    for _ in range(5_000):
        log.add(row)

    assert 900 < log._rows <= 1_000
    assert "dropped" in log._metrics.render()[0].decode()


def test_a_disk_that_hangs_delays_nobody(answered, state, monkeypatch):
    """F10: answers are queued while it hangs, and written when it is back."""
    back = threading.Event()
    write = PredictionLog._write
    monkeypatch.setattr(PredictionLog, "_write", lambda self, batch: back.wait(10) and write(self, batch))
    log = log_of(state, flush_seconds=0.01)
    log.add(answered(0, 1))
    time.sleep(0.1)
    before = time.thread_time()
    for _ in range(200):
        log.add(answered(1, 2))
    assert time.thread_time() - before < 1.0
    back.set()
    log.stop()

    assert sum(map(len, read(state))) == 201


def test_only_the_fields_that_may_be_logged_are(answered, state):
    """K2."""
    log = log_of(state, fields={"delay"})
    log.add(answered(0, 3))
    log.stop()

    (rows,) = read(state)
    assert {name for name in rows[0] if name.startswith("feature.")} == {"feature.delay"}


def test_who_says_no_moment_is_answered_for_now(answered, state):
    log = log_of(state)
    log.add(replace(answered(0, 2), moments=(), entities=()))
    log.add(answered(2, 4))
    log.stop()

    (rows,) = read(state)
    assert {row["moment"] for row in rows} == {NOW}
    assert [row["entity"] for row in rows] == ["", "", "id-2", "id-3"]


def test_a_disk_that_cannot_be_written_fails_no_one(answered, state):
    (state / "predictions").write_text("a file is in the way")
    log = log_of(state)
    log.add(answered(0, 10))
    log.stop()

    assert 'baton_log_rows_total{fate="failed"} 10.0' in log._metrics.render()[0].decode()


def test_no_draft_is_left_behind(answered, state):
    log = log_of(state)
    log.add(answered(0, 1))
    log.stop()

    assert all(path.suffix == ".parquet" for path in (state / "predictions").iterdir())
    assert np.isfinite([row["score"] for rows in read(state) for row in rows]).all()
