"""The join over Parquet agrees with a loop, however history is cut, ordered, corrected, zoned and typed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton.features import asof_history
from baton.features.asof_history import History, as_known, newest_known_of_each
from baton.features.asof_join import NOTHING, Questions, nanoseconds
from baton.testing.reference_join import reference_join

# The night before Europe's clocks go forward.
START = datetime(2024, 3, 30, 22, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
NAMES = st.sampled_from(["a", "b", "B", "", None])
TIMES = st.integers(0, 40).map(lambda at: START + at * 7 * MINUTE)
HISTORIES = st.lists(
    st.fixed_dictionaries(
        {"who": NAMES, "kind": st.sampled_from([1, 2]), "event": TIMES, "late": st.sampled_from([-30, 0, 0, 7, 90])}
    ),
    max_size=30,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "who": st.sampled_from(["a", "b", "B", "", None, "nobody"]),
            "kind": st.sampled_from([1, 2, 3]),
            "moment": TIMES,
        }
    ),
    max_size=20,
)
CASES = {
    "history": HISTORIES,
    "rows": ROWS,
    "on": st.sampled_from([["who"], ["kind"], ["who", "kind"]]),
    "ttl": st.sampled_from([None, timedelta(0), timedelta(minutes=14), timedelta(minutes=20)]),
    "corrected": st.booleans(),
    "ordered": st.booleans(),
    "group": st.integers(1, 8),
    "unit": st.sampled_from(["ms", "us", "ns"]),
    "zone": st.sampled_from([None, "UTC", "America/New_York", "Asia/Kathmandu"]),
    "batched": st.booleans(),
}
HEALTH = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def _agrees(history, rows, *, on, ttl, corrected, ordered, group, unit, zone, batched):
    if ordered:
        # Stable, as the store publishes it.
        history = sorted(history, key=lambda value: ([str(value[key]) for key in on], value["event"]))
    for at, value in enumerate(history):
        value["created"] = value["event"] + value["late"] * MINUTE if corrected else value["event"]
        value["place"] = at
    expected = reference_join(rows, history, on=on, ttl=ttl)
    times = pa.timestamp(unit, tz=zone)
    fields = {"who": pa.string(), "kind": pa.int64(), "event": times, "created": times, "place": pa.int64()}
    columns = {name: [value[name] for value in history] for name in fields}
    if zone is None:
        # Times without a zone are UTC.
        columns |= {name: [at.replace(tzinfo=None) for at in columns[name]] for name in ("event", "created")}
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in fields.items()})
    asked = pd.DataFrame({name: [row[name] for row in rows] for name in ("who", "kind")}, dtype=object)
    moments = pd.Series(pd.DatetimeIndex([row["moment"] for row in rows], tz="UTC"))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if batched:
            patch.setattr(asof_history, "MOST_ROWS", 0)
            patch.setattr(asof_history, "BATCH_ROWS", 2)
            patch.setattr(asof_history, "PART_ROWS", 3)
        path = Path(folder) / "view.parquet"
        pq.write_table(table, path, row_group_size=group)
        questions = Questions([asked[key] for key in on], nanoseconds(moments.dt.tz_convert(zone or "UTC")), ttl=ttl)
        store = History(path=path, keys=on, event="event", created="created" if corrected else None)
        found = as_known(questions, store, ["place"])
    # Rows in are rows out, in order.
    assert found.num_rows == len(rows)
    assert found["place"].fill_null(NOTHING).to_pylist() == expected


@settings(max_examples=150, **HEALTH)
@given(**CASES)
def test_each_row_finds_what_a_loop_finds(**case):
    """E13: late corrections, ties, missing and look-alike entities, zones: no leak, no lost row."""
    _agrees(**case)


@pytest.mark.long
@settings(max_examples=10_000, **HEALTH)
@given(**CASES)
def test_ten_thousand_histories_are_joined_as_a_loop_joins_them(**case):
    """E13: the same on ten thousand random histories."""
    _agrees(**case)


def test_answers_that_were_replaced_are_let_go_of(tmp_path, monkeypatch):
    monkeypatch.setattr(asof_history, "PART_ROWS", 1)
    at = [pd.Timestamp(START) + number * MINUTE for number in range(50)]
    pd.DataFrame({"who": "a", "event": at, "value": range(50)}).to_parquet(tmp_path / "v.parquet", row_group_size=1)
    questions = Questions([pd.Series(["a", None])], nanoseconds(pd.Series([at[-1], at[-1]])))

    found = as_known(questions, History(path=tmp_path / "v.parquet", keys=["who"], event="event"), ["value"])

    assert found["value"].to_pylist() == [49, None]


@pytest.mark.parametrize(("had", "asked"), [(["7", "8"], [7, 8]), ([7, 8], ["7", "8"])], ids=["text", "number"])
def test_the_number_7_and_the_text_7_are_two_entities(tmp_path, had, asked):
    """E14: a key of another type finds nothing, never another entity's value."""
    at = pd.Timestamp(START)
    pd.DataFrame({"who": had, "event": at, "value": 1.0}).to_parquet(tmp_path / "v.parquet")
    questions = Questions([pd.Series(asked, dtype=object)], nanoseconds(pd.Series([at, at])))

    found = as_known(questions, History(path=tmp_path / "v.parquet", keys=["who"], event="event"), ["value"])

    assert found["value"].to_pylist() == [None, None]


def test_the_newest_of_each_entity_is_found_across_parts(tmp_path):
    hours = pd.date_range(START, periods=9, freq="h")
    frame = pd.DataFrame({"who": [*"abcabcab", None], "event": hours, "value": range(9)})
    frame.to_parquet(tmp_path / "v.parquet", row_group_size=2)
    history = History(path=tmp_path / "v.parquet", keys=["who"], event="event")

    newest = newest_known_of_each(history, ["value"], start=hours[1].to_pydatetime(), end=hours[6].to_pydatetime())

    assert sorted(zip(newest["who"].to_pylist(), newest["value"].to_pylist(), strict=True)) == [
        ("a", 6),
        ("b", 4),
        ("c", 5),
    ]
