"""What is guessed of tables nobody has seen: made up, strange, and told in reasons."""

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import DataRefused, EmptyWindow, Misuse, SourceMissing
from baton.features.guess import Wishes, guess
from baton.features.look import looked_at
from baton.features.plain_names import plain_names

ROWS = 300


def table(**columns):
    rng = np.random.default_rng(3)
    hours = pd.date_range("2024-01-01", periods=ROWS, freq="3h")
    usual = {"size": rng.normal(size=ROWS).round(3), "city": rng.choice(["Ulm", "Bonn", "Köln"], ROWS), "when": hours}
    return pd.DataFrame({**usual, "y": rng.integers(0, 2, ROWS), **columns})


def planned(tmp_path, content, name="t.csv", **wishes):
    path = tmp_path / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path) if name.endswith("parquet") else content.to_csv(path, index=False)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with looked_at(str(path), tmp_path) as looked:
        return guess(looked, Wishes(**wishes)), looked


@pytest.mark.parametrize(
    ("label", "task", "classes"),
    [
        (np.arange(ROWS) % 2, "binary", ()),
        (np.arange(ROWS) < 6, "binary", ()),
        (np.where(np.arange(ROWS) % 3, "yes", "no"), "binary", ()),
        (np.where(np.arange(ROWS) % 3, "bad", "good"), "binary", ("bad", "good")),
        (np.arange(ROWS) % 2 + 1, "binary", ("1", "2")),
        (np.array(["a", "b", "c"])[np.arange(ROWS) % 3], "multiclass", ("a", "b", "c")),
        (np.arange(ROWS) % 4, "multiclass", ("0", "1", "2", "3")),
        (np.linspace(0, 9, ROWS), "regression", ()),
        (np.arange(ROWS) * 7 % 101, "regression", ()),
    ],
    ids=[
        "0 and 1",
        "2 % true",
        "yes and no",
        "two texts",
        "1 and 2",
        "three texts",
        "four numbers",
        "reals",
        "many wholes",
    ],
)
def test_a_label_says_its_task(tmp_path, label, task, classes):
    plan, _ = planned(tmp_path, table(y=label))
    assert (plan.label, plan.task, plan.classes) == ("y", task, classes)


def test_columns_that_say_nothing_or_too_much_are_left_out_and_said_so(tmp_path):
    frame = table(
        constant="x",
        empty=None,
        ident=[f"k{n * 7919 % ROWS:04}" for n in range(ROWS)],
        zip=[f"{n % 60:05}" for n in range(ROWS)],
        remark=["a long remark " * 6 + str(n % 9) for n in range(ROWS)],
        huge=[10**17 + n * 7919 % ROWS for n in range(ROWS)],
        closed_at=pd.date_range("2024-01-02", periods=ROWS, freq="3h"),
    )
    frame["answer"] = np.where(frame["y"] == 1, "will", "will not")
    plan, _ = planned(tmp_path, frame, label="y")
    said = {line.split(" is left out: ")[0] for line in plan.reasons if " is left out: " in line}
    assert said == {"constant", "empty", "ident", "remark", "huge", "answer"}
    # Leading zeros are a code's, not a number's.
    assert plan.features == ("size", "city", "zip")
    assert plan.kinds["zip"] == "text"
    assert (plan.event_time, plan.known_time, plan.key, plan.naive) == ("when", "closed_at", None, True)


def test_a_table_without_a_time_says_what_is_off(tmp_path):
    plan, _ = planned(tmp_path, table().drop(columns="when"))
    assert plan.event_time is None
    assert any("promises about time are OFF" in reason for reason in plan.reasons)
    told, _ = planned(tmp_path, table(), timeless=True)
    assert told.event_time is None
    assert "when is left out: another time, which may come after the event" in told.reasons


@pytest.mark.parametrize(
    ("texts", "form", "naive"),
    [
        (["2024-01-01T10:00:00Z"] * 2, None, False),
        (["2024-01-01 10:00", "2024-01-02T10:00:00+02:00"], None, True),
        (["31.12.2023", "01.01.2024"], "%d.%m.%Y", True),
        (["12/31/2023 10:00", "01/01/2024 11:30"], "%m/%d/%Y %H:%M", True),
        (["20231231", "20240101"], "%Y%m%d", True),
        (["1704103200", "1704106800"], "epoch_s", False),
        (["1704103200000", "1704106800000"], "epoch_ms", False),
    ],
    ids=["zoned", "two kinds", "dots", "month first", "digits", "seconds", "milliseconds"],
)
def test_a_time_is_found_as_it_is_written(tmp_path, texts, form, naive):
    """J2: a time that names no zone is told from one that does."""
    plan, _ = planned(tmp_path, table(when=np.resize(texts, ROWS)).rename(columns={"when": "date"}), label="y")
    assert plan.event_time == "date"
    assert plan.forms.get("date") == form
    assert plan.naive is naive


def test_a_day_that_may_be_a_month_is_said_to_be_unclear(tmp_path):
    plan, _ = planned(tmp_path, table(when=np.resize(["01/02/2024", "03/04/2024"], ROWS)), label="y")
    assert "when may be written as %d/%m/%Y or %m/%d/%Y: %d/%m/%Y is taken" in plan.reasons


def test_a_key_is_unique_and_named_like_one(tmp_path):
    plan, _ = planned(tmp_path, table(order_id=np.random.default_rng(1).permutation(ROWS) + 1000))
    assert plan.key == "order_id"
    twice, _ = planned(tmp_path, table(order_id=np.arange(ROWS) // 2))
    assert twice.key is None


SPREADSHEET = "\ufeffGröße;select;select;1st;名前;Späte Ankunft\r\n" + "".join(
    f'{n},5;"a\r\n;{n % 3}";{n % 5};1.{n:03},25;{n % 4};{"ja" if n % 3 else "nein"}\r\n' for n in range(60)
)


def test_a_spreadsheets_file_has_plain_names_and_numbers(tmp_path):
    plan, looked = planned(tmp_path, SPREADSHEET, label="Späte Ankunft")
    assert [look.name for look in looked.columns] == [
        "grosse",
        "select",
        "select_2",
        "c_1st",
        "column_5",
        "spate_ankunft",
    ]
    form = looked.source.csv
    assert (form.separator, form.decimal, form.thousands, form.encoding) == (";", ",", ".", "utf-8")
    assert (plan.label, plan.kinds["grosse"], plan.kinds["c_1st"], plan.kinds["select"]) == (
        "spate_ankunft",
        "number",
        "number",
        "text",
    )
    old, again = planned(tmp_path, SPREADSHEET[1:].replace("名前", "x").encode("cp1252"), label="grosse")
    assert (again.source.csv.encoding, old.task) == ("cp1252", "regression")


def test_names_stay_apart_whatever_they_are():
    assert plain_names(["a b", "a_b", "A-B", "", "!", "9", "ß%"]) == [
        "a_b",
        "a_b_2",
        "a_b_3",
        "column_4",
        "column_5",
        "c_9",
        "ss_pct",
    ]


@pytest.mark.parametrize(
    ("content", "name", "error", "message"),
    [
        ("", "t.csv", DataRefused, "is empty"),
        ("a,b\n", "t.csv", EmptyWindow, "has no rows"),
        ("a,b\n1,2\n3\n", "t.csv", DataRefused, "Expected Number of Columns"),
        ("a,b\n1,2\n1,2\n", "t.csv", Misuse, "no column can be the label"),
        (b"PAR1 half", "t.parquet", DataRefused, "cannot be read"),
        (b"a,b\n\x00\x01,\xff\n", "t.csv", Exception, ""),
    ],
    ids=["nothing", "a header", "cut off", "all alike", "half a Parquet", "bytes"],
)
def test_what_cannot_begin_a_project_is_one_line(tmp_path, content, name, error, message):
    """E10: damage and emptiness are told before anything is written."""
    with pytest.raises(error, match=message) as refused:
        planned(tmp_path, content, name=name)
    assert "\n" not in str(refused.value)


def test_a_source_or_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceMissing, match=r"no csv file at none\.csv"), looked_at("none.csv", tmp_path):
        pass
    with pytest.raises(Misuse, match="no table is named"), looked_at("postgresql://u:secret@h/d", tmp_path) as _:
        pass
    with pytest.raises(Misuse, match="there is no column 'z'"):
        planned(tmp_path, table(), label="z")
    with pytest.raises(Misuse, match="city is no event time"):
        planned(tmp_path, table(), event_time="city")
