"""Rows land once, in order, whatever dies in between."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from baton.core.errors import Conflict, DataRefused, IntegrityBroken
from baton.features.landing import Landing

DAY = pd.Timedelta(days=1)
# Two days before the end of a month, so that a batch is more than one piece.
START = pd.Timestamp("2020-01-30", tz="UTC")


def _tables():
    rng = np.random.default_rng(5)
    known = START + pd.to_timedelta(rng.integers(0, 4 * 24 * 60, 200), unit="min")
    orders = pd.DataFrame({"order_id": [f"o{i:03}" for i in range(200)], "returned": rng.integers(0, 2, 200)})
    orders["event_time"] = orders["known_time"] = known
    visits = orders.rename(columns={"order_id": "shop"})[["shop", "event_time", "known_time"]]
    return {"orders": orders, "visits": visits}


@pytest.fixture
def tables():
    return _tables()


def _ingest(landing, tables, as_of):
    for batch in landing.pending(tables, as_of=as_of.to_pydatetime()).values():
        landing.quarantine(batch, batch.rows.iloc[:1].assign(reason="first"))
        landing.land(batch, batch.rows.iloc[1:])


def _contents(folder):
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_everything_known_before_as_of_lands_in_order(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    for batch in landing.pending(tables, as_of=START + 2 * DAY).values():
        landing.land(batch, batch.rows)
    known = tables["orders"][tables["orders"]["known_time"] < START + 2 * DAY]
    landed = landing.read("orders", as_of=START + 9 * DAY)
    pd.testing.assert_frame_equal(landed, known.sort_values(["known_time", "order_id"], ignore_index=True))
    earlier = landing.read("orders", as_of=START + DAY)
    assert earlier["known_time"].max() < START + DAY
    assert landing.landed_through("orders") == START + 2 * DAY


def test_a_day_can_land_in_pieces_and_reads_as_if_it_had_not(shop, tables, tmp_path):
    whole, pieces = Landing(tmp_path / "whole", shop), Landing(tmp_path / "pieces", shop)
    for landing, hours in ((whole, [100]), (pieces, [5, 7, 30, 31, 100])):
        for hour in hours:
            for batch in landing.pending(tables, as_of=START + pd.Timedelta(hours=hour)).values():
                landing.land(batch, batch.rows)
            landing.read_all(as_of=START + 9 * DAY)
    for name in tables:
        one, other = (landing.read(name, as_of=START + 9 * DAY) for landing in (whole, pieces))
        pd.testing.assert_frame_equal(one, other)


def test_a_piece_is_a_month_and_each_day_in_it_can_be_read_alone(shop, tables, tmp_path):
    _ingest(Landing(tmp_path / "l", shop), tables, START + 4 * DAY)
    pieces = sorted((tmp_path / "l/landed/orders").glob("*.parquet"))
    assert [piece.name[:8] for piece in pieces] == ["20200101", "20200201"]
    days = [pq.ParquetFile(piece).read_row_group(0).to_pandas()["known_time"] for piece in pieces]
    assert [day.dt.floor("D").unique().tolist() for day in days] == [[START], [START + 2 * DAY]]
    assert [pq.ParquetFile(piece).num_row_groups for piece in pieces] == [2, 2]


def test_a_digest_is_that_of_what_was_known_and_stays(shop, tables, tmp_path):
    landing, empty = Landing(tmp_path / "l", shop), Landing(tmp_path / "empty", shop)
    _ingest(landing, tables, START + DAY)
    digest = landing.digest(as_of=START + DAY)
    assert digest != empty.digest(as_of=START + DAY)
    for hours in (30, 50, 90):
        _ingest(landing, tables, START + pd.Timedelta(hours=hours))
        assert landing.digest(as_of=START + DAY) == digest
        assert Landing(tmp_path / "l", shop).digest(as_of=START + DAY) == digest
    assert landing.digest(as_of=START + 2 * DAY) != digest
    other = Landing(tmp_path / "other", shop)
    _ingest(other, {**tables, "orders": tables["orders"].assign(returned=0)}, START + DAY)
    assert other.digest(as_of=START + DAY) != digest


def test_landing_again_changes_nothing(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    batch = landing.pending(tables, as_of=START + DAY)["orders"]
    landing.land(batch, batch.rows)
    before = _contents(tmp_path / "l")
    landing.land(batch, batch.rows)
    assert _contents(tmp_path / "l") == before
    assert "orders" not in landing.pending(tables, as_of=START + DAY)
    assert len(landing.pending(tables, as_of=START + 2 * DAY)["orders"].rows) > 0


def test_a_batch_that_somebody_else_has_landed_is_a_conflict(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    old = landing.pending(tables, as_of=START + DAY)["orders"]
    new = landing.pending(tables, as_of=START + 2 * DAY)["orders"]
    landing.land(new, new.rows)
    with pytest.raises(Conflict, match="Ask for the pending batches again"):
        landing.land(old, old.rows)


def test_bad_rows_are_kept_with_their_reasons(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    _ingest(landing, tables, START + DAY)
    aside = landing.quarantined("orders")
    assert aside["reason"].tolist() == ["first"]
    assert not set(aside["order_id"]) & set(landing.read("orders", as_of=START + 9 * DAY)["order_id"])


def test_rows_of_mixed_types_can_be_set_aside_but_not_landed(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    mixed = {**tables, "orders": tables["orders"].assign(returned=["many", *[0] * 199])}
    batch = landing.pending(mixed, as_of=START + 9 * DAY)["orders"]
    landing.quarantine(batch, batch.rows.assign(reason="mixed"))
    with pytest.raises(DataRefused, match=r"(?i)give every column one type"):
        landing.land(batch, batch.rows)


def test_what_a_dead_process_left_is_not_read_and_not_kept(shop, tables, tmp_path):
    landing = Landing(tmp_path / "l", shop)
    _ingest(landing, tables, START + DAY)
    batch = landing.pending(tables, as_of=START + 2 * DAY)["orders"]
    landing.quarantine(batch, batch.rows.assign(reason="left"))
    landing._write(batch, batch.rows, "landed")
    count = len(landing.read("orders", as_of=START + 9 * DAY))
    assert count == len(Landing(tmp_path / "l", shop).read("orders", as_of=START + 9 * DAY))
    assert len(landing.quarantined("orders")) == 1
    later = landing.pending(tables, as_of=START + 1.5 * DAY)["orders"]
    landing.land(later, later.rows)
    assert landing.read("orders", as_of=START + 9 * DAY)["order_id"].is_unique
    assert len(landing.quarantined("orders")) == 1


def test_a_broken_watermark_is_named(shop, tmp_path):
    (tmp_path / "l/landed/orders").mkdir(parents=True)
    (tmp_path / "l/landed/orders/watermark.json").write_text("{}")
    with pytest.raises(IntegrityBroken, match="watermark of orders"):
        Landing(tmp_path / "l", shop).landed_through("orders")


DYING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_landing import START, DAY, _ingest, _tables
from baton.core.spec import load_spec
from baton.features.landing import Landing

left, moved = int(sys.argv[1]), Path.replace

def replace(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moved(self, target)
    if left == 1 and sys.argv[2] == "after":
        os.kill(os.getpid(), signal.SIGKILL)

Path.replace = replace
_ingest(Landing(Path({folder!r}), load_spec(Path({project!r}))), _tables(), START + 3 * DAY)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_and_run_again_it_ends_the_same(shop, tables, tmp_path, step, when):
    _ingest(Landing(tmp_path / "whole", shop), tables, START + 3 * DAY)
    folder = tmp_path / "killed"
    code = DYING.format(tests=__file__.rsplit("/", 1)[0], folder=str(folder), project=str(shop.folder))
    died = subprocess.run([sys.executable, "-c", code, str(step), when], check=False, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    assert _contents(folder) != _contents(tmp_path / "whole")
    _ingest(Landing(folder, shop), tables, START + 3 * DAY)
    assert _contents(folder) == _contents(tmp_path / "whole")


def test_a_flipped_byte_in_a_landed_piece_is_noticed(shop, tables, tmp_path):
    landing = Landing(tmp_path, shop)
    batch = landing.pending(tables, as_of=START + DAY)["orders"]
    landing.land(batch, batch.rows)
    (piece,) = (tmp_path / "landed" / "orders").glob("*.parquet")
    content = bytearray(piece.read_bytes())
    content[len(content) // 4] ^= 0xFF
    piece.write_bytes(content)
    with pytest.raises(IntegrityBroken, match="cannot be read"):
        Landing(tmp_path, shop).read("orders", as_of=START + 2 * DAY)
