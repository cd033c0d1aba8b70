"""The year as the source gives it: its size, its two times and its natural faults."""

from __future__ import annotations

import pandas as pd
import pytest

from baton.features.source import read_tables
from baton.settings import Settings, quiet_vendors
from baton.validation.great_expectations_suite import DataTests


def test_the_year_is_all_there(year):
    assert {name: len(table) for name, table in year.items()} == {
        "schedule": 336_776,
        "departures": 328_521,
        "arrivals": 327_346,
        "weather": 26_115,
        "planes": 3_322,
    }
    assert year["schedule"]["flight_id"].is_unique
    assert year["arrivals"]["late"].mean() == pytest.approx(0.241, abs=0.005)


def test_a_caller_may_change_the_tables_that_it_was_given(spec, year):
    tables = read_tables(spec)
    tables["weather"]["temp"] = 0.0
    tables["schedule"].loc[0, "dest"] = "???"
    again = read_tables(spec)
    for name in ("weather", "schedule"):
        pd.testing.assert_frame_equal(again[name], year[name])


def test_nothing_that_happens_is_known_before_it_happens(year):
    for name in ("departures", "arrivals", "weather"):
        assert (year[name]["known_time"] >= year[name]["event_time"]).all()


def test_every_label_comes_after_its_prediction_and_within_the_declared_wait(spec, year):
    both = year["arrivals"].merge(year["schedule"][["flight_id", "prediction_time"]], on="flight_id")
    wait = (both["known_time"] - both["prediction_time"]) / pd.Timedelta(hours=1)
    assert wait.min() > 0
    assert wait.max() <= spec.label.wait_hours


@pytest.fixture(scope="module")
def checks(spec, tmp_path_factory):
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("home")))
    return DataTests(tmp_path_factory.mktemp("checks"), spec)


def _day(table, day):
    return table[table["known_time"].dt.floor("D") == pd.Timestamp(day, tz="UTC")]


def test_the_wind_of_a_thousand_miles_an_hour_is_set_aside(checks, year):
    checked = checks.check("weather", _day(year["weather"], "2013-02-12"), batch="2013-02-12")
    assert checked.report.passed
    assert checked.bad["wind_speed"].round().tolist() == [1048]
    assert checked.bad[["origin", "event_time"]].iloc[0].tolist() == ["EWR", pd.Timestamp("2013-02-12T08:00Z")]
    assert len(checked.good) == 71


def test_the_day_without_weather_is_told(checks, year):
    report = checks.check("weather", _day(year["weather"], "2013-12-31"), batch="2013-12-31").report
    assert report.passed
    assert [f.expectation for f in report.failures] == ["expect_table_row_count_to_be_between"]


def test_no_month_of_real_rows_is_stopped(checks, year):
    aside = 0
    for name, table in year.items():
        for month, rows in table.groupby(table["known_time"].dt.strftime("%Y-%m")):
            report = checks.check(name, rows, batch=month).report
            assert report.passed, report
            aside += report.quarantined
    assert aside == 1


@pytest.mark.long
def test_no_day_of_sixty_is_stopped(checks, year):
    days = pd.date_range("2013-01-02", "2013-12-28", periods=60).strftime("%Y-%m-%d")
    for name in ("schedule", "departures", "arrivals", "weather"):
        stamps = year[name]["known_time"].dt.strftime("%Y-%m-%d")
        for day, rows in year[name][stamps.isin(days)].groupby(stamps):
            assert checks.check(name, rows, batch=day).report.passed
