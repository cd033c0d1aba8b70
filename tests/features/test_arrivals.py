"""Inputs without code: what lands of files and databases, once, whatever they hold and whatever is killed."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import Conflict, DataRefused, SourceMissing, SpecInvalid
from baton.core.spec import spec_from
from baton.features.arrivals import arrivals
from baton.features.landing import Landing

NOW = datetime(2024, 3, 1, tzinfo=timezone.utc)
COLUMNS = {"id": "text", "at": "time", "amount": "number", "paid": "truth", "city": "text"}
ROWS = "id,at,amount,paid,city\na,2024-01-01T10:00:00Z,1.5,yes,Ulm\nb,2024-01-02T10:00:00+02:00,,no,\n"


def project(folder, declared=None, **taken):
    content = {
        "name": "t",
        "source": {
            "inputs": {"i": {"path": "rows.csv", "columns": COLUMNS, **taken}},
            "tables": {"rows": {"key": ["id"], "input": "i", "event_time": "at", **(declared or {})}},
        },
        "features": {"request": ["amount"]},
        "prediction": {"id": "id", "moment": "at"},
        "label": {"table": "rows", "column": "paid"},
    }
    spec = spec_from(content)
    spec._folder = folder
    return spec


def land(spec, *, as_of=NOW, batch_rows=1000, folder=None, stop_after=None):
    """Land what is new; gives the landed rows and what was counted."""
    place = (folder or spec.folder) / "landing"
    landing = Landing(place, spec)
    with arrivals(spec, landing, "rows", folder=place, as_of=as_of, batch_rows=batch_rows) as arriving:
        if arriving is None:
            return landing.read("rows", as_of=as_of), None
        for number, arrived in enumerate(arriving.batches()):
            if number == stop_after:
                return landing.read("rows", as_of=as_of), arriving
            if arrived.bad is not None:
                landing.quarantine(arrived.batch, arrived.bad)
            arriving.note(arrived.batch)
            landing.land(arrived.batch, arrived.batch.rows)
        arriving.finish()
    return landing.read("rows", as_of=as_of), arriving


def test_text_becomes_values_with_times_in_utc(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    rows, arriving = land(project(tmp_path))
    assert arriving.rows == 2
    assert rows["at"].tolist() == [pd.Timestamp("2024-01-01T10:00Z"), pd.Timestamp("2024-01-02T08:00Z")]
    assert rows["known_time"].tolist() == rows["at"].tolist()
    assert rows["paid"].tolist() == [1.0, 0.0]
    assert rows["amount"].iloc[0] == 1.5
    assert rows[["amount", "city"]].iloc[1].isna().all()
    assert str(rows["at"].dtype) == "datetime64[ns, UTC]"


def test_what_has_landed_lands_once_whatever_is_read_again(tmp_path):
    spec = project(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    land(spec)
    rows, again = land(spec, as_of=NOW + timedelta(days=1))
    assert (len(rows), again.rows) == (2, 0)
    # Without the list of files everything is read again, and still nothing is new.
    (tmp_path / "landing" / "arrivals" / "rows" / "files.json").unlink()
    rows, again = land(spec, as_of=NOW + timedelta(days=2))
    assert (len(rows), again.rows) == (2, 0)


def test_a_correction_and_a_late_row_become_known_when_they_land(tmp_path):
    spec = project(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    before, _ = land(spec)
    late = "c,2024-01-01T00:00:00Z,7,no,Ulm\n"
    (tmp_path / "rows.csv").write_text(ROWS.replace("1.5", "2.5") + late)
    later = NOW + timedelta(days=3)
    rows, arriving = land(spec, as_of=later)
    assert arriving.rows == 2
    pd.testing.assert_frame_equal(rows.head(2), before)
    new = rows.iloc[2:]
    assert new[["id", "amount"]].to_numpy().tolist() == [["a", 2.5], ["c", 7.0]]
    assert ((new["known_time"] >= NOW) & (new["known_time"] < later)).all()
    assert new["at"].tolist() == [pd.Timestamp("2024-01-01T10:00Z"), pd.Timestamp("2024-01-01T00:00Z")]


def test_in_a_file_that_is_rewritten_a_row_may_come_back_and_in_a_folder_it_is_old_news(tmp_path):
    (tmp_path / "d").mkdir()
    state, log = project(tmp_path / "d"), project(tmp_path / "d", path="*.csv")
    found = {}
    for spec, name in ((state, "rows.csv"), (log, "rows{}.csv")):
        for day, amount in enumerate(["1.5", "2.5", "1.5"]):
            (tmp_path / "d" / name.format(day)).write_text(ROWS.replace("1.5", amount) + "\n" * day)
            rows, _ = land(spec, as_of=NOW + timedelta(days=day), folder=tmp_path / name)
        found[name] = rows[rows["id"] == "a"]["amount"].tolist()
        (tmp_path / "d" / "rows.csv").unlink(missing_ok=True)
    assert found == {"rows.csv": [1.5, 2.5, 1.5], "rows{}.csv": [1.5, 2.5]}


def test_rows_of_the_future_wait(tmp_path):
    spec = project(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    early = datetime(2024, 1, 2, tzinfo=timezone.utc)
    rows, arriving = land(spec, as_of=early)
    assert (rows["id"].tolist(), arriving.waiting) == (["a"], 1)
    rows, arriving = land(spec)
    assert (rows["id"].tolist(), arriving.waiting) == (["a", "b"], 0)


def test_a_label_that_has_not_come_is_no_row_and_lands_when_it_comes(tmp_path):
    spec = project(tmp_path, {"columns": ["id", "paid"], "present": ["paid"], "known_after_hours": 48})
    (tmp_path / "rows.csv").write_text(ROWS.replace("no,", ","))
    rows, _ = land(spec)
    assert rows["id"].tolist() == ["a"]
    assert rows["known_time"].iloc[0] == pd.Timestamp("2024-01-03T10:00Z")
    (tmp_path / "rows.csv").write_text(ROWS)
    rows, _ = land(spec, as_of=NOW + timedelta(days=1))
    assert rows["id"].tolist() == ["a", "b"]
    assert rows["known_time"].iloc[1] > pd.Timestamp(NOW)


def test_a_process_that_dies_between_two_batches_is_finished_by_the_next(tmp_path):
    lines = [f"r{n},2024-01-{1 + n // 10:02}T{n % 10:02}:00:00Z,{n},yes,Ulm" for n in range(200)]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(COLUMNS), *lines]))
    spec = project(tmp_path)
    rows, _ = land(spec, batch_rows=60, stop_after=2)
    assert 0 < len(rows) < 200
    # Hashes that were written before the watermark moved count for nothing.
    place = tmp_path / "landing"
    landing = Landing(place, spec)
    with arrivals(spec, landing, "rows", folder=place, as_of=NOW, batch_rows=60) as arriving:
        arriving.note(next(arriving.batches()).batch)
    rows, _ = land(spec, batch_rows=50)
    assert sorted(rows["amount"]) == list(range(200))
    assert rows["known_time"].is_monotonic_increasing


def test_rows_without_an_id_get_one_of_their_content_and_equal_rows_are_told_apart(tmp_path):
    (tmp_path / "rows.csv").write_text("amount,paid\n1,yes\n1,yes\n2,no\n")
    columns = {"amount": "number", "paid": "truth"}
    spec = project(
        tmp_path,
        {"key": ["row_id"], "event_time": "event_time", "times": "landing"},
        columns=columns,
        row_id=["amount"],
    )
    rows, _ = land(spec)
    assert rows["row_id"].nunique() == 3
    assert rows["row_id"].str.len().tolist().count(16) == 2
    assert (rows["known_time"] < pd.Timestamp(NOW)).all()
    assert (rows["event_time"] == rows["known_time"]).all()
    (tmp_path / "rows.csv").write_text("amount,paid\n1,yes\n1,yes\n2,no\n3,no\n")
    again, arriving = land(spec, as_of=NOW + timedelta(days=1))
    assert arriving.rows == 1
    assert again["row_id"].tolist()[:3] == rows["row_id"].tolist()


def test_a_folder_lands_each_row_once_whatever_its_files_repeat(tmp_path):
    spec = project(tmp_path, path="in")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "1.csv").write_text(ROWS)
    (tmp_path / "in" / "deep" / "2.csv").write_text(ROWS)
    (tmp_path / "in" / "3.csv").write_text(ROWS + "c,2024-01-03T00:00:00Z,1,no,\n")
    rows, arriving = land(spec)
    assert rows["id"].tolist() == ["a", "b", "c"]
    assert arriving.repeated == 2


def test_two_that_read_at_once_do_not_meet(tmp_path):
    spec = project(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    landing = Landing(tmp_path, spec)
    with (
        arrivals(spec, landing, "rows", folder=tmp_path, as_of=NOW),
        pytest.raises(Conflict, match="read already"),
        arrivals(spec, landing, "rows", folder=tmp_path, as_of=NOW),
    ):
        pass


@pytest.mark.parametrize(
    ("written", "taken", "found"),
    [
        (ROWS, {}, ["2024-01-01T10:00Z", "2024-01-02T08:00Z"]),
        (ROWS.replace(":00+02:00", "+0200"), {}, ["2024-01-01T10:00Z", "2024-01-02T08:00Z"]),
        (
            ROWS.replace("T10:00:00Z", " 10:00"),
            {"timezone": "Europe/Berlin"},
            ["2024-01-01T09:00Z", "2024-01-02T08:00Z"],
        ),
        (
            ROWS.replace("2024-01-01T10:00:00Z", "2024-10-27 02:30"),
            {"timezone": "Europe/Berlin"},
            ["2024-10-27T01:30Z"],
        ),
        (
            ROWS.replace("2024-01-01T10:00:00Z", "2024-03-31 02:30"),
            {"timezone": "Europe/Berlin"},
            ["2024-03-31T01:30Z"],
        ),
        (ROWS.replace("2024-01-01T10:00:00Z", "2024-02-29"), {"timezone": "UTC"}, ["2024-02-29T00:00Z"]),
        (
            "id,at,amount,paid,city\na,31.12.2023 13:00,1,yes,\n",
            {"timezone": "UTC", "formats": {"at": "%d.%m.%Y %H:%M"}},
            ["2023-12-31T13:00Z"],
        ),
        (
            "id,at,amount,paid,city\na,1704103200,1,yes,\nb,1704103200.0,1,yes,\n",
            {"formats": {"at": "epoch_s"}},
            ["2024-01-01T10:00Z"] * 2,
        ),
        ("id,at,amount,paid,city\na,1704103200000,1,yes,\n", {"formats": {"at": "epoch_ms"}}, ["2024-01-01T10:00Z"]),
    ],
    ids=[
        "zoned",
        "no seconds",
        "naive beside zoned",
        "an hour twice",
        "an hour that is not",
        "a leap day",
        "a form",
        "seconds",
        "milliseconds",
    ],
)
def test_a_time_is_what_it_says_or_of_the_declared_zone(tmp_path, written, taken, found):
    """J2: clocks that change, leap days, and texts of two zones in one column."""
    (tmp_path / "rows.csv").write_text(written)
    rows, _ = land(project(tmp_path, **taken), as_of=datetime(2025, 1, 1, tzinfo=timezone.utc))
    times = rows.set_index("id")["at"]
    assert [times[name] for name in "ab"[: len(found)]] == [pd.Timestamp(each) for each in found]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x,2024-01-01 10:00,1,yes,", "at is no time with a zone: 2024-01-01 10:00"),
        ("x,soon,1,yes,", "at is no time with a zone: soon"),
        ("x,,1,yes,", "at is missing"),
        ("x,2024-01-01T10:00:00Z,much,yes,", "amount is no number: much"),
        ("x,2024-01-01T10:00:00Z,1,perhaps,", "paid is no yes or no: perhaps"),
        (
            "x,2024-02-30T10:00:00Z,much,yes,",
            "at is no time with a zone: 2024-02-30T10:00:00Z; amount is no number: much",
        ),
    ],
    ids=["naive", "no time", "no time at all", "no number", "no truth", "two at once"],
)
def test_what_is_no_value_is_set_aside_with_the_reason(tmp_path, line, reason):
    """E6: a time without a zone is refused with what is missing, and nothing turns into a missing value in silence."""
    (tmp_path / "rows.csv").write_text(ROWS + line + "\n")
    spec = project(tmp_path)
    rows, _ = land(spec)
    assert rows["id"].tolist() == ["a", "b"]
    assert Landing(tmp_path / "landing", spec).quarantined("rows")["reason"].str.replace(
        "; at is missing", ""
    ).tolist() == [reason]
    # It is set aside once.
    (tmp_path / "landing" / "arrivals" / "rows" / "files.json").unlink()
    land(spec, as_of=NOW + timedelta(days=1))
    assert len(Landing(tmp_path / "landing", spec).quarantined("rows")) == 1


EXCEL = (
    '\ufeffName;Datum;"Größe (cm)";"ja/nein";Größe (cm)\r\n'
    '"0001";01.02.2024;1.234,5;ja;"zwei\r\nZeilen; Ende"\r\n0002;02.02.2024;-0,5;;\r\n'
)


def test_a_file_as_spreadsheets_write_it(tmp_path):
    for encoding in ("utf-8", "utf-16", "cp1252"):
        (tmp_path / "rows.csv").write_bytes((EXCEL if encoding == "utf-8" else EXCEL[1:]).encode(encoding))
        spec = project(
            tmp_path,
            columns={"id": "text", "at": "time", "amount": "number", "said": "text", "note": "text"},
            names={"id": "Name", "at": "Datum", "amount": "Größe (cm)", "said": "ja/nein", "note": "Größe (cm).2"},
            csv={"separator": ";", "decimal": ",", "thousands": ".", "encoding": encoding},
            formats={"at": "%d.%m.%Y"},
            timezone="Europe/Berlin",
        )
        rows, _ = land(spec, folder=tmp_path / encoding)
        assert rows["id"].tolist() == ["0001", "0002"]
        assert rows["amount"].tolist() == [1234.5, -0.5]
        assert rows["note"].tolist()[0] == "zwei\r\nZeilen; Ende"
        assert rows["at"].iloc[0] == pd.Timestamp("2024-01-31T23:00Z")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (ROWS.replace("amount", "amuont"), "no column 'amount', unknown column 'amuont'"),
        (
            ROWS.replace("id,at", "id,more,at", 1).replace("a,2", "a,,2", 1).replace("b,2", "b,,2", 1),
            "unknown column 'more'",
        ),
        ("", "is empty"),
        (ROWS + "c,2024-01-03T00", "Expected Number of Columns: 5 Found: 2"),
        (ROWS.replace("Ulm", "Köln").encode("latin-1"), "can't decode byte"),
        (ROWS.replace("city", "stad\xe9").encode("latin-1"), "can't decode byte"),
        (ROWS + 'c,2024-01-03T00:00:00Z,1,no,"Ul', "quote"),
    ],
    ids=["renamed", "one more", "nothing at all", "cut off", "another encoding", "in the header", "cut off in quotes"],
)
def test_a_csv_file_that_is_not_what_was_declared_is_refused_in_one_line(tmp_path, written, message):
    """E1, E10: columns are named, damage is told, and nothing has landed."""
    (tmp_path / "rows.csv").write_bytes(written if isinstance(written, bytes) else written.encode())
    spec = project(tmp_path)
    with pytest.raises(DataRefused, match=message) as refused:
        land(spec)
    assert "\n" not in str(refused.value)
    assert Landing(tmp_path / "landing", spec).landed_through("rows") is None
    assert not [*(tmp_path / "landing").rglob("*.parquet"), *(tmp_path / "landing").rglob("*.duckdb")]


def test_columns_in_another_order_are_the_same_columns(tmp_path):
    """E1: reordering alone passes."""
    frame = pd.read_csv(pd.io.common.StringIO(ROWS), dtype=str)
    frame[["city", "paid", "at", "id", "amount"]].to_csv(tmp_path / "rows.csv", index=False)
    rows, _ = land(project(tmp_path))
    assert rows["amount"].tolist()[0] == 1.5


def test_a_retyped_column_stops_at_its_first_rows(tmp_path):
    """E1: a number that has become text is no missing value."""
    pd.DataFrame(
        {"id": ["a"], "at": [pd.Timestamp("2024-01-01", tz="UTC")], "amount": ["ten"], "paid": [True], "city": [None]}
    ).to_parquet(tmp_path / "rows.parquet")
    spec = project(tmp_path, path="rows.parquet", format="parquet")
    land(spec)
    assert Landing(tmp_path / "landing", spec).quarantined("rows")["reason"].tolist() == ["amount is no number: ten"]


def test_a_parquet_file_keeps_its_values_and_half_of_one_is_refused(tmp_path):
    """E10: half-written Parquet."""
    frame = pd.DataFrame(
        {
            "id": ["a", "b"],
            "at": pd.to_datetime(["2024-01-01T00:00:00.123456Z", "2024-01-02T00:00:00.5Z"]),
            "amount": np.array([0.1 + 0.2, np.nan]),
            "paid": [True, False],
            "city": ["Ulm", None],
        }
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    spec = project(tmp_path, path="rows.parquet", format="parquet")
    rows, _ = land(spec)
    assert rows["amount"].iloc[0] == 0.1 + 0.2
    assert rows["at"].tolist() == frame["at"].tolist()
    assert rows["paid"].tolist() == [1, 0]
    content = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataRefused, match=r"rows.parquet cannot be read"):
        land(spec, as_of=NOW + timedelta(days=1))


def test_a_table_of_duckdb(tmp_path):
    import duckdb

    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute(f"CREATE TABLE s.orders AS {_values()}")
    spec = project(tmp_path, path=None, database="shop.duckdb", table="s.orders")
    rows, _ = land(spec)
    assert rows["id"].tolist() == ["a", "b"]
    with pytest.raises(SourceMissing, match="no database at"):
        land(project(tmp_path, path=None, database="none.duckdb", table="t"), as_of=NOW + timedelta(days=1))
    with pytest.raises(DataRefused, match="does not exist"):
        land(project(tmp_path, path=None, database="shop.duckdb", table="t"), as_of=NOW + timedelta(days=1))


def _values():
    return (
        "SELECT * FROM (VALUES ('a', TIMESTAMPTZ '2024-01-01 10:00:00+00', 1.5::DOUBLE PRECISION, true, 'Ulm'),"
        " ('b', TIMESTAMPTZ '2024-01-02 08:00:00+00', NULL, false, NULL)) AS v (id, \"at\", amount, paid, city)"
    )


def test_a_table_of_postgresql_is_read_as_of_one_moment_and_its_corrections_are_versions(tmp_path, postgres_url):
    import psycopg

    def told(statement):
        with psycopg.connect(postgres_url) as connection:
            connection.execute(statement)

    told(f'CREATE TABLE "Orders" AS {_values()}')
    spec = project(tmp_path, path=None, database=postgres_url, table="public.Orders")
    rows, _ = land(spec)
    assert rows["at"].tolist() == [pd.Timestamp("2024-01-01T10:00Z"), pd.Timestamp("2024-01-02T08:00Z")]
    assert rows["paid"].tolist() == [1, 0]
    told("""UPDATE "Orders" SET amount = 9 WHERE id = 'a'""")
    rows, _ = land(spec, as_of=NOW + timedelta(days=1))
    assert rows[rows["id"] == "a"]["amount"].tolist() == [1.5, 9]
    told('ALTER TABLE "Orders" ADD COLUMN more int')
    with pytest.raises(DataRefused, match="unknown column 'more'"):
        land(spec, as_of=NOW + timedelta(days=2))
    with pytest.raises(SourceMissing, match='"none" does not exist'):
        land(project(tmp_path, path=None, database=postgres_url, table="none"), as_of=NOW + timedelta(days=2))


def test_files_on_s3(tmp_path, monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        store = boto3.client("s3")
        store.create_bucket(Bucket="rows")
        store.put_object(Bucket="rows", Key="in/1.csv", Body=ROWS.encode())
        spec = project(tmp_path, path="s3://rows/in")
        rows, _ = land(spec)
        assert len(rows) == 2
        store.put_object(
            Bucket="rows", Key="in/2.csv", Body=(ROWS.splitlines()[0] + "\nc,2024-01-05T00:00:00Z,1,no,\n").encode()
        )
        rows, arriving = land(spec, as_of=NOW + timedelta(days=1))
        assert (rows["id"].tolist(), arriving.rows) == (["a", "b", "c"], 1)
        with pytest.raises(SourceMissing, match="no csv file at s3://rows/none"):
            land(project(tmp_path, path="s3://rows/none"), as_of=NOW + timedelta(days=2))
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("table", "taken", "message"),
    [
        ({"key": ["no"]}, {}, "rows takes 'no', which its input does not give"),
        ({"event_time": "city"}, {}, "rows.city is no time"),
        ({}, {"path": None}, "say either path or database"),
        ({}, {"database": "x"}, "say either path or database"),
        ({}, {"path": None, "database": "x"}, "database and table go together"),
        ({}, {"timezone": "Berlin"}, "'Berlin' is no time zone"),
        ({}, {"names": {"no": "x"}}, "names names no column: no"),
        ({"input": "j"}, {}, "rows.input 'j' is not among inputs"),
        ({"input": None}, {}, "rows has no input, and there is no reader"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_an_input_that_cannot_be_is_refused(table, taken, message):
    with pytest.raises(SpecInvalid, match=message):
        project(Path(), table, **taken)
