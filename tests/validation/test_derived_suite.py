"""What a table's own rows suggest holds on them, and not on rows that are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.spec import ModelSpec, TableSpec, spec_from
from baton.settings import Settings, quiet_vendors
from baton.validation.derived_suite import derive_expectations
from baton.validation.great_expectations_suite import DataTests

DAYS, A_DAY = 30, 40
TABLE = TableSpec(key=["order"])


def _rows(seed: int, *, days: int = DAYS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    count = days * A_DAY
    known = pd.date_range("2024-03-01", periods=days, freq="D", tz="UTC").repeat(A_DAY)
    return pd.DataFrame(
        {
            "order": [f"O-{seed}{number:05d}" for number in range(count)],
            "shop": rng.choice(["ALB", "BOS", "CHI"], size=count),
            "size": rng.lognormal(2, 0.5, size=count),
            "change": rng.normal(size=count),
            "stars": rng.integers(1, 6, size=count),
            "note": rng.choice(["left at the door", "Grüße", "-"], size=count),
            "gift": np.where(rng.random(count) < 0.2, None, "RED"),
            "event_time": known,
            "known_time": known + pd.Timedelta(hours=2),
        }
    )


@pytest.fixture(scope="module")
def suite():
    return derive_expectations(_rows(1), TABLE)


@pytest.fixture(scope="module")
def check(suite, tmp_path_factory):
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("home")))
    tests = DataTests(tmp_path_factory.mktemp("checks"), _spec(suite))
    return lambda rows: tests.check("orders", rows, batch="some")


def _spec(suite) -> ModelSpec:
    table = {**TABLE.model_dump(), "expectations": [each.model_dump() for each in suite]}
    return spec_from(
        {
            "name": "shop",
            "source": {"reader": "source.py:read", "tables": {"orders": table}},
            "features": {"request": ["size"]},
            "prediction": {"id": "order", "moment": "event_time"},
            "label": {"table": "orders", "column": "stars"},
        }
    )


def test_other_days_of_the_same_shop_pass(check):
    checked = check(_rows(2, days=20))
    assert checked.report.failures == ()
    assert checked.report.passed


def test_every_test_can_be_written_down_and_read_again(suite):
    assert _spec(suite).source.tables["orders"].expectations == suite


def _with(**columns):
    return lambda rows: rows.assign(**{name: change(rows[name]) for name, change in columns.items()})


FIRST = np.arange(5 * A_DAY) == 3
FAULTS = {
    "a column is missing": (lambda rows: rows.drop(columns="size"), "columns"),
    "a column too many": (lambda rows: rows.assign(extra=1), "columns"),
    "a column is renamed": (lambda rows: rows.rename(columns={"size": "sizes"}), "columns"),
    "a number became text": (_with(size=lambda size: size.astype(str)), "size"),
    "a text became numbers": (_with(shop=lambda shop: shop.map({"ALB": 1, "BOS": 2, "CHI": 3})), "shop"),
    "cents for euros": (_with(size=lambda size: size * 100), "size"),
    "signs are turned": (_with(size=lambda size: -size), "size"),
    "infinity": (_with(size=lambda size: size.mask(FIRST, np.inf)), "size"),
    "a code that never was": (_with(stars=lambda stars: stars.mask(FIRST, 17)), "stars"),
    "nothing where there was always something": (_with(shop=lambda shop: shop.mask(FIRST)), "shop"),
    "missing far more often": (_with(gift=lambda gift: gift.where(FIRST)), "gift"),
    "a space at the end": (_with(shop=lambda shop: shop.mask(FIRST, "ALB ")), "shop"),
    "another case": (_with(shop=lambda shop: shop.mask(FIRST, "alb")), "shop"),
    "a formula": (_with(note=lambda note: note.mask(FIRST, "=cmd|' /C calc'!A0")), "note"),
    "one day's shops are all new": (_with(shop=lambda _: "ZRH"), "shop"),
    "one order twice at one moment": (lambda rows: pd.concat([rows, rows.iloc[[0]].assign(size=5.5)]), "order"),
}


@pytest.mark.parametrize(("fault", "place"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_wrong_is_found(check, fault, place):
    """E1, E2, E3, E5, E7 and E8: a fault stops the batch, or its rows are set aside."""
    checked = check(fault(_rows(2, days=5)))
    assert not checked.report.passed or 1 <= len(checked.bad) <= 2
    assert any(place in (failure.column or failure.detail or place) for failure in checked.report.failures)
    assert checked.report.failures


def test_another_order_of_columns_passes(check):
    """E1: reordering alone passes."""
    assert check(_rows(2, days=5).iloc[:, ::-1]).report.failures == ()


def test_a_few_new_values_pass(check):
    """E7: one new value in a hundred is no fault."""
    rows = _rows(2, days=5)
    assert check(rows.assign(shop=rows["shop"].mask(np.arange(len(rows)) % 100 == 0, "ZRH"))).report.passed


def test_one_fault_in_the_window_does_not_widen_the_range():
    rows = _rows(1)
    rows.loc[3, "size"] = 1e9
    (between,) = [
        each.arguments
        for each in derive_expectations(rows, TABLE)
        if each.type == "expect_column_values_to_be_between" and each.arguments["column"] == "size"
    ]
    assert between["max_value"] < 1_000


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_handful_of_rows_suggests_what_it_can(count):
    assert derive_expectations(_rows(1).head(count), TABLE)


def test_rows_that_are_there_twice_are_dropped_and_counted(check):
    """E5: an exact duplicate is dropped and counted; two rows that differ are a conflict, and stop the batch."""
    rows = _rows(2, days=5)
    checked = check(pd.concat([rows, rows.head(7)]))
    assert (checked.report.passed, len(checked.good)) == (True, len(rows))
    assert [(failure.severity, failure.unexpected) for failure in checked.report.failures] == [("warn", 7)]


def test_a_row_that_is_set_aside_does_not_make_its_day_odd(suite, tmp_path):
    """E3: one value of 1e9 moves a day's mean, but not once its row is set aside."""
    rows = _rows(1)
    known = rows["known_time"]
    since, until = known.max().floor("D"), known.max().floor("D") + pd.Timedelta(days=1)
    newest = rows[known >= since].copy()
    newest.iloc[3, newest.columns.get_loc("size")] = 1e9
    tests = DataTests(tmp_path, _spec(suite))
    assert tests.looks_back("orders") == pd.Timedelta(days=92)
    checked = tests.check("orders", newest, batch="b", before=rows[known < since], since=since, until=until)
    assert (checked.report.passed, len(checked.bad)) == (True, 1)
    stopped = tests.check("orders", newest.iloc[:0], batch="b", before=rows[known < since], since=since, until=until)
    assert [failure.examples[0] for failure in stopped.report.failures] == ["table rows"]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_label_that_a_number_decides_cannot_be_flipped(tmp_path, share):
    """E4: flipped labels of 5, 10 and 30 % contradict the number that decides them, row by row."""
    rows = _rows(1).assign(late=lambda table: (table["change"] > 0.5).astype(int))
    tests = DataTests(tmp_path, _spec(derive_expectations(rows, TABLE)))
    newer = _rows(2, days=5).assign(late=lambda table: (table["change"] > 0.5).astype(int))
    assert tests.check("orders", newer, batch="clean").report.failures == ()
    flipped = np.random.default_rng(5).random(len(newer)) < share
    report = tests.check("orders", newer.assign(late=newer["late"] ^ flipped), batch="flipped").report
    assert not report.passed
    assert sum(failure.unexpected for failure in report.failures if failure.column == "late") == flipped.sum()
