"""What was set aside can be looked at and let in, once, by somebody who says why."""

from __future__ import annotations

import pandas as pd
import pytest

from baton.core.errors import Conflict, DataRefused, Misuse
from baton.features.landing import Landing
from baton.features.quarantine import Quarantine, _write_first

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2020-01-01T00:00Z")
NOW = (START + 3 * DAY + pd.Timedelta(hours=5)).to_pydatetime()
SAID = {"who": "ann", "why": "the storm was real", "at": NOW}


def _orders(day: int) -> pd.DataFrame:
    known = pd.date_range(START + day * DAY, periods=6, freq="1h")
    orders = pd.DataFrame({"order_id": [f"{day}-{n}" for n in range(6)], "returned": range(6), "event_time": known})
    return orders.assign(known_time=known)


def _ingest(landing, quarantine, until, rows, aside):
    (batch,) = (
        b for b in landing.pending({"orders": rows, "visits": rows}, as_of=until).values() if b.table == "orders"
    )
    bad = batch.rows["order_id"].isin(aside)
    landing.quarantine(batch, batch.rows[bad].assign(reason="returned fails"))
    landing.land(batch, pd.concat([batch.rows[~bad], quarantine.released(batch)], ignore_index=True))


@pytest.fixture
def zone(shop, tmp_path):
    landing = Landing(tmp_path, shop)
    quarantine = Quarantine(tmp_path, shop, landing)
    rows = pd.concat([_orders(0), _orders(1), _orders(2)])
    for day, aside in ((1, ["0-3", "0-5"]), (2, ["1-0"]), (3, [])):
        _ingest(landing, quarantine, (START + day * DAY).to_pydatetime(), rows, aside)
    return landing, quarantine


def test_rows_wait_with_their_reason_under_a_number_that_stays(zone):
    _, quarantine = zone
    waiting = quarantine.waiting("orders")
    assert waiting[["number", "order_id"]].to_numpy().tolist() == [[1, "0-3"], [2, "0-5"], [3, "1-0"]]
    assert set(waiting["reason"]) == {"returned fails"}
    quarantine.release("orders", [2], **SAID)
    assert quarantine.waiting("orders")["number"].tolist() == [1, 3]


def test_a_released_row_lands_known_from_then_on_and_once(zone):
    landing, quarantine = zone
    made = quarantine.release("orders", [3, 1], **SAID)
    assert (made.numbers, made.who, made.why) == ((1, 3), "ann", "the storm was real")
    before = landing.read("orders", as_of=NOW)
    for day in (4, 5):
        _ingest(landing, quarantine, (START + day * DAY).to_pydatetime(), _orders(0).iloc[:0], [])
    landed = landing.read("orders", as_of=START + 9 * DAY)
    late = landed[landed["order_id"].isin(["0-3", "1-0"])]
    assert late["known_time"].tolist() == [pd.Timestamp(NOW)] * 2
    assert late["event_time"].tolist() == [START + pd.Timedelta(hours=3), START + DAY]
    # What was known before is what it was.
    pd.testing.assert_frame_equal(landing.read("orders", as_of=NOW), before)
    assert quarantine.releases("orders") == (made,)


@pytest.mark.parametrize(
    ("numbers", "said", "problem"),
    [
        ([1], {"why": " "}, "nothing says why"),
        ([], {}, "no row was named"),
        ([9], {}, "row 9 is not waiting"),
        ([1], {"at": START.to_pydatetime()}, "has landed through 2020-01-04"),
    ],
    ids=["no reason", "no row", "no such row", "in the past"],
)
def test_a_release_that_cannot_be_says_why(zone, numbers, said, problem):
    with pytest.raises(Misuse, match=problem):
        zone[1].release("orders", numbers, **SAID | said)


def test_a_row_is_released_once(zone):
    zone[1].release("orders", [1], **SAID)
    with pytest.raises(Misuse, match="row 1 is not waiting"):
        zone[1].release("orders", [1], **SAID)


def test_a_table_that_is_none_is_named(zone):
    with pytest.raises(Misuse, match="no table 'order'"):
        zone[1].waiting("order")


def test_of_two_at_once_one_is_told(zone, tmp_path):
    _write_first(tmp_path / "one.json", b"{}")
    with pytest.raises(Conflict):
        _write_first(tmp_path / "one.json", b"{}")
    assert not list(tmp_path.glob(".one*"))


def test_a_release_that_died_before_its_record_is_none(zone, tmp_path):
    _landing, quarantine = zone
    quarantine.release("orders", [1], **SAID)
    (tmp_path / "releases" / "orders" / "000001.json").unlink()
    assert quarantine.waiting("orders")["number"].tolist() == [1, 2, 3]
    assert quarantine.release("orders", [2], **SAID).numbers == (2,)


def test_text_among_numbers_stays_out(zone):
    landing, quarantine = zone
    bad = _orders(3).iloc[:1].assign(returned="many")
    (batch,) = (
        b
        for b in landing.pending({"orders": bad, "visits": bad}, as_of=START + 5 * DAY).values()
        if b.table == "orders"
    )
    landing.quarantine(batch, bad.assign(reason="text"))
    landing.land(batch, bad.iloc[:0])
    with pytest.raises(DataRefused, match="do not have the types"):
        quarantine.release("orders", [4], **SAID | {"at": (START + 6 * DAY).to_pydatetime()})
