"""Windows over the prediction log."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from baton.core.errors import EmptyWindow, IntegrityBroken
from baton.monitoring import prediction_window
from baton.monitoring.prediction_window import PredictionLog, features_of, read_predictions

DAY = timedelta(days=1)


def test_a_window_holds_its_first_moment_and_not_its_last(world: SimpleNamespace, tmp_path: Path) -> None:
    world.write(tmp_path, "a.parquet", world.answered(world.features(30, seed=1), days=3))
    rows = read_predictions(tmp_path, start=world.start + DAY, end=world.start + 2 * DAY)
    assert len(rows) == 10
    assert rows["moment"].min() == world.start + DAY
    assert rows["moment"].max() < world.start + 2 * DAY


def test_times_are_aware_utc_and_rows_are_in_order(world: SimpleNamespace, tmp_path: Path) -> None:
    rows = world.answered(world.features(20, seed=1), days=2)
    world.write(tmp_path, "a.parquet", rows.sample(frac=1, random_state=0))
    read = read_predictions(tmp_path, start=world.start, end=world.start + 2 * DAY)
    assert str(read["moment"].dt.tz) == "UTC"
    assert read["moment"].is_monotonic_increasing


def test_the_newest_answer_of_one_entity_and_moment_counts(world: SimpleNamespace, tmp_path: Path) -> None:
    first = world.answered(world.features(10, seed=1), days=1)
    again = first.assign(served_at=first["served_at"] + pd.Timedelta(seconds=5), score=0.5)
    # The newer one lies in the file that sorts first.
    world.write(tmp_path, "b.parquet", first)
    world.write(tmp_path, "a.parquet", again)
    read = read_predictions(tmp_path, start=world.start, end=world.start + DAY)
    assert len(read) == 10
    assert (read["score"] == 0.5).all()


def test_a_shadow_stands_beside_the_champion_and_digest_picks_one(world: SimpleNamespace, tmp_path: Path) -> None:
    champion = world.answered(world.features(10, seed=1), days=1)
    world.write(tmp_path, "a.parquet", champion)
    world.write(tmp_path, "b.parquet", champion.assign(cohort="shadow", digest="b" * 64))
    assert len(read_predictions(tmp_path, start=world.start, end=world.start + DAY)) == 20
    assert len(read_predictions(tmp_path, start=world.start, end=world.start + DAY, digest=world.digest)) == 10


def test_rows_that_name_no_entity_are_all_kept(world: SimpleNamespace, tmp_path: Path) -> None:
    rows = world.answered(world.features(10, seed=1), days=1).assign(entity="", moment=pd.Timestamp(world.start))
    world.write(tmp_path, "a.parquet", rows)
    assert len(read_predictions(tmp_path, start=world.start, end=world.start + DAY)) == 10


def test_a_log_without_files_is_an_empty_window(world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(EmptyWindow, match="no predictions"):
        read_predictions(tmp_path / "nowhere", start=world.start, end=world.start + DAY)


def test_a_window_without_length_is_refused(world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(EmptyWindow, match="not before"):
        read_predictions(tmp_path, start=world.start, end=world.start)


def test_a_quiet_window_has_columns_and_no_rows(world: SimpleNamespace, tmp_path: Path) -> None:
    world.write(tmp_path, "a.parquet", world.answered(world.features(10, seed=1), days=1))
    rows = read_predictions(tmp_path, start=world.start + 5 * DAY, end=world.start + 6 * DAY)
    assert rows.empty
    assert list(features_of(rows).columns) == ["delay", "weekday", "gust", "carrier"]


def test_unfinished_files_are_left_alone_and_broken_ones_are_named(world: SimpleNamespace, tmp_path: Path) -> None:
    world.write(tmp_path, "a.parquet", world.answered(world.features(10, seed=1), days=1))
    (tmp_path / ".b.parquet").write_bytes(b"half")
    (tmp_path / "_tmp").mkdir()
    (tmp_path / "_tmp" / "c.parquet").write_bytes(b"half")
    assert len(read_predictions(tmp_path, start=world.start, end=world.start + DAY)) == 10
    (tmp_path / "d.parquet").write_bytes(b"half")
    with pytest.raises(IntegrityBroken, match=r"d\.parquet"):
        read_predictions(tmp_path, start=world.start, end=world.start + DAY)


def test_a_file_that_goes_away_while_reading_is_left_out(
    world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(tmp_path, "a.parquet", world.answered(world.features(10, seed=1), days=1))
    goes = world.write(
        tmp_path, "b.parquet", world.answered(world.features(10, seed=2), days=1, start=world.start + DAY)
    )
    listed = prediction_window._files

    def listing(folder: Path) -> list[object]:
        found = list(listed(folder))
        goes.unlink()
        return found

    monkeypatch.setattr(prediction_window, "_files", listing)
    assert len(read_predictions(tmp_path, start=world.start, end=world.start + 3 * DAY)) == 10


def test_a_feature_that_was_missing_all_day_fits_the_other_days(world: SimpleNamespace, tmp_path: Path) -> None:
    world.write(tmp_path, "a.parquet", world.answered(world.features(10, seed=1), days=1))
    empty = world.answered(world.features(10, seed=2), days=1, start=world.start + DAY)
    empty["feature.delay"] = None
    empty["feature.carrier"] = None
    world.write(tmp_path, "b.parquet", empty)
    rows = read_predictions(tmp_path, start=world.start, end=world.start + 2 * DAY)
    assert rows["feature.delay"].isna().sum() == 10
    assert rows["feature.delay"].dtype == float


def test_a_log_reads_new_files_only_and_all_where_one_has_changed(
    world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = prediction_window._load

    def load(path: str, *, columns: list[str] | None = None) -> object:
        if columns is None:
            read.append(Path(path).name)
        return real(path, columns=columns)

    monkeypatch.setattr(prediction_window, "_load", load)
    log = PredictionLog(tmp_path)
    week = {"start": world.start, "end": world.start + 9 * DAY}
    world.write(tmp_path, "a.parquet", world.answered(world.features(10, seed=1), days=1))
    assert len(log.read(**week)) == 10
    world.write(tmp_path, "b.parquet", world.answered(world.features(10, seed=2), days=1, start=world.start + DAY))
    assert len(log.read(**week)) == log.count(**week) == 20
    assert len(log.read(start=world.start + DAY, end=world.start + 9 * DAY)) == 10
    assert read == ["a.parquet", "b.parquet"]
    world.write(tmp_path, "a.parquet", world.answered(world.features(12, seed=1), days=1))
    assert len(log.read(**week)) == 22
    assert read[2:] == ["a.parquet", "b.parquet"]
    (tmp_path / "b.parquet").unlink()
    assert log.read(start=world.start + DAY, end=world.start + 9 * DAY).empty


def test_what_a_log_forgets_it_reads_again(world: SimpleNamespace, tmp_path: Path) -> None:
    for day in range(3):
        rows = world.answered(world.features(10, seed=day), days=1, start=world.start + day * DAY)
        world.write(tmp_path, f"{day}.parquet", rows)
    log = PredictionLog(tmp_path)
    days = {"start": world.start, "end": world.start + 3 * DAY}
    before = log.read(**days)
    log.forget(before=world.start + 1.5 * DAY)
    assert log._table.num_rows < 20
    pd.testing.assert_frame_equal(
        log.read(start=world.start + 2 * DAY, end=world.start + 3 * DAY), before.tail(10).reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(log.read(**days), before)
    assert log.count(**days) == 30


def test_a_log_without_a_file_counts_none(tmp_path: Path, world: SimpleNamespace) -> None:
    assert PredictionLog(tmp_path / "none").count(start=world.start, end=world.start + DAY) == 0


def test_a_daily_look_at_four_weeks_is_quick(world: SimpleNamespace, tmp_path: Path) -> None:
    for day in range(29):
        rows = world.answered(world.features(900, seed=day), days=1, start=world.start + day * DAY)
        world.write(tmp_path, f"{day:02d}.parquet", rows)
    log = PredictionLog(tmp_path)
    log.read(start=world.start, end=world.start + 28 * DAY)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        rows = log.read(start=world.start + DAY, end=world.start + 29 * DAY)
        took.append(time.perf_counter() - began)
    assert len(rows) == 28 * 900
    # 0.05 s on two cores; the bound leaves room for a busy machine.
    assert min(took) < 0.5
