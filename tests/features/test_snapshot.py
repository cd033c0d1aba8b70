"""A snapshot holds what was known, once, under one name."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import DataRefused, EmptyWindow, IntegrityBroken, SourceMissing
from baton.core.spec import load_spec
from baton.features.feast_store import FeastFeatureStore
from baton.features.landing import Landing
from baton.features.snapshot import find, frame, freeze, refresh, traffic
from baton.features.source import load_definitions, read_tables
from baton.testing.feature_store import MemoryFeatureStore

THREE_WEEKS = pd.Timestamp("2013-01-22T05:00Z").to_pydatetime()
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("snapshots")


@pytest.fixture(scope="module")
def snapshot(flights, landed, folder):
    return freeze(flights, *landed, as_of=THREE_WEEKS, folder=folder)


@pytest.fixture(scope="module")
def rows(snapshot):
    return frame(snapshot)


def test_columns_are_in_the_models_order(flights, snapshot, rows):
    assert snapshot.columns == ("id", "moment", "block", "label", "label_known", *flights.features.names)
    assert tuple(rows.columns) == snapshot.columns
    assert len(rows) == snapshot.rows > 17_000
    assert rows["moment"].is_monotonic_increasing
    assert rows["id"].is_unique


def test_only_labels_known_by_then_are_in(rows):
    assert (rows["label_known"] < THREE_WEEKS).all()
    assert (rows["label_known"] > rows["moment"]).all()
    assert set(rows["label"]) == {0.0, 1.0}


def test_numbers_are_what_the_exported_model_sees_and_text_is_never_missing(flights, rows):
    for name in flights.features.names:
        if name in flights.features.text:
            assert rows[name].map(type).eq(str).all()
        else:
            single = rows[name].to_numpy().astype(np.float32).astype(np.float64)
            np.testing.assert_array_equal(rows[name], single)


def test_a_block_is_the_local_day(rows):
    local = rows["moment"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")
    assert (rows["block"] == local).all()


@pytest.mark.parametrize(("block", "example"), [("hour", "2013-01-01T03"), ("none", None)])
def test_blocks_can_be_hours_or_single_rows(flights, landed, folder, block, example):
    prediction = flights.prediction.model_copy(update={"block": block})
    spec = flights.model_copy(update={"prediction": prediction})
    spec._folder = flights.folder
    blocks = frame(freeze(spec, *landed, as_of=THREE_WEEKS, folder=folder))
    assert blocks["block"].iloc[0] == (example or blocks["id"].iloc[0])


def test_start_leaves_out_earlier_rows_and_changes_no_other(flights, landed, folder, rows):
    start = THREE_WEEKS - WEEK
    later = frame(freeze(flights, *landed, as_of=THREE_WEEKS, folder=folder, start=start))
    pd.testing.assert_frame_equal(later, rows[rows["moment"] >= start].reset_index(drop=True))


def test_the_same_rows_frozen_again_are_the_same_snapshot(flights, landed, folder, snapshot):
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert freeze(flights, *landed, as_of=THREE_WEEKS, folder=folder) == snapshot
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert find(folder, snapshot.digest) == snapshot


AGAIN = """
import pickle, sys
from pathlib import Path
import pandas as pd
from baton.core.spec import load_spec
from baton.features.feast_store import FeastFeatureStore
from baton.features.landing import Landing
from baton.features.snapshot import freeze
from baton.features.source import load_definitions

spec, folder = load_spec(Path(sys.argv[1])), Path(sys.argv[2])
landing, store = Landing(folder / "landing", spec), FeastFeatureStore(folder / "features", spec)
as_of = pd.Timestamp(sys.argv[3]).to_pydatetime()
print(freeze(spec, landing, load_definitions(spec), store, as_of=as_of, folder=folder / "again").digest)
"""


def test_another_process_freezes_the_same_digest(flights, landed, snapshot):
    home = landed[0]._folder.parent
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AGAIN, str(flights.folder), str(home), THREE_WEEKS.isoformat()],
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split()[-1] == snapshot.digest


def test_a_changed_byte_is_found(flights, landed, tmp_path):
    snapshot = freeze(flights, *landed, as_of=THREE_WEEKS, folder=tmp_path, start=THREE_WEEKS - WEEK)
    content = bytearray(snapshot.path.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.path.write_bytes(content)
    with pytest.raises(IntegrityBroken, match="has other bytes"):
        frame(snapshot)
    snapshot.path.unlink()
    with pytest.raises(IntegrityBroken, match="Freeze it again"):
        frame(snapshot)


def test_an_unknown_digest_is_named(folder):
    with pytest.raises(SourceMissing, match="no snapshot cafe"):
        find(folder, "cafe")


def test_nothing_is_frozen_from_nothing(flights, landed, tmp_path):
    _, definitions, store = landed
    with pytest.raises(EmptyWindow, match="nothing has landed for schedule"):
        freeze(flights, Landing(tmp_path, flights), definitions, store, as_of=THREE_WEEKS, folder=tmp_path)
    with pytest.raises(EmptyWindow, match="no row to freeze"):
        freeze(flights, *landed, as_of=THREE_WEEKS, folder=tmp_path, start=THREE_WEEKS + WEEK)


def test_traffic_is_the_same_rows_as_training_without_labels(flights, landed, rows):
    landing, definitions, store = landed
    start, end = THREE_WEEKS - timedelta(days=4), THREE_WEEKS - timedelta(days=2)
    tables = landing.read_all(as_of=THREE_WEEKS)
    served = traffic(flights, tables, definitions, store, start=start, end=end)
    assert "label" not in served
    assert served["moment"].between(start, end, inclusive="left").all()
    both = served[served["id"].isin(rows["id"])].reset_index(drop=True)
    trained = rows[rows["id"].isin(served["id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(both, trained[both.columns])
    assert len(served) > len(both) > 1_500


def test_features_of_a_row_are_the_same_whatever_the_as_of(flights, landed, tables, rows, tmp_path):
    early = THREE_WEEKS - timedelta(days=3, hours=7)
    landing, definitions, _ = landed
    store = FeastFeatureStore(tmp_path / "store", flights)
    refresh(flights, landing, definitions, store, as_of=early)
    before = frame(freeze(flights, landing, definitions, store, as_of=early, folder=tmp_path))
    pd.testing.assert_frame_equal(before, rows[rows["label_known"] < early].reset_index(drop=True))


def test_a_store_that_is_older_than_the_rows_is_refused(flights, landed, tmp_path):
    landing, definitions, _ = landed
    store = FeastFeatureStore(tmp_path / "store", flights)
    refresh(flights, landing, definitions, store, as_of=THREE_WEEKS - timedelta(days=3))
    with pytest.raises(DataRefused, match="not what was known"):
        freeze(flights, landing, definitions, store, as_of=THREE_WEEKS, folder=tmp_path)


def test_the_real_store_and_the_one_in_memory_freeze_the_same(shop, tmp_path):
    spec, definitions = load_spec(shop.folder), load_definitions(shop)
    landing, as_of = Landing(tmp_path / "l", spec), pd.Timestamp("2020-02-01T00:00Z").to_pydatetime()
    for batch in landing.pending(read_tables(spec), as_of=as_of).values():
        landing.land(batch, batch.rows)
    digests = set()
    for name, store in (("feast", FeastFeatureStore(tmp_path / "s", spec)), ("memory", MemoryFeatureStore(spec))):
        refresh(spec, landing, definitions, store, as_of=as_of)
        # A folder each: in one, the second would find the work of the first.
        digests.add(freeze(spec, landing, definitions, store, as_of=as_of, folder=tmp_path / name).digest)
    assert len(digests) == 1
