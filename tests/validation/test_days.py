"""A day is compared with the days before it, by limits that those days set themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.validation.days import Scale, Statistic, outside
from baton.validation.duckdb_days import Stretch, compare_days

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-01-01", tz="UTC")
A_DAY, DAYS = 120, 40


def test_a_day_like_the_others_is_seldom_outside():
    """A value is beyond the range of 91 others by that range's whole width far less than once in 10,000 days."""
    rng = np.random.default_rng(3)
    series, newest = 40, 500
    rows = np.full(91 + newest, 900.0)
    made = [
        Statistic(column="c", name="mean", scale=Scale.NUMBER, values=rng.standard_t(5, size=len(rows)), rows=rows)
        for _ in range(series)
    ]
    # Heavy tails on purpose: 20,000 days, and at most two of them outside.
    assert len(outside(made, newest=newest, days=91, width=1.0)) <= 2


def test_a_season_moves_the_limits():
    rng = np.random.default_rng(4)
    values = 40 + 35 * np.sin(np.arange(730) / 365 * 2 * np.pi) + rng.normal(0, 5, size=730)
    season = Statistic(column="temp", name="mean", scale=Scale.NUMBER, values=values, rows=np.full(730, 72.0))
    assert outside([season], newest=639, days=91, width=1.0) == []


def _rows(days: int = DAYS) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    count = days * A_DAY
    known = START + pd.to_timedelta(np.sort(rng.random(count)) * days * 24, unit="h")
    return pd.DataFrame(
        {
            "order": np.arange(count),
            "shop": rng.choice(["ALB", "BOS"], size=count),
            "size": rng.lognormal(size=count),
            "paid": rng.random(count) < 0.7,
            "event_time": known - pd.Timedelta(hours=1),
            "known_time": known,
        }
    )


def _newest_day(rows: pd.DataFrame) -> pd.Series:
    return rows["known_time"] >= START + (DAYS - 1) * DAY


def _found(rows: pd.DataFrame, *, since: pd.Timestamp | None = None) -> list[str]:
    since = since or START + (DAYS - 1) * DAY
    known = rows["known_time"]
    stretch = Stretch(before=rows[known < since], since=since, until=START + DAYS * DAY)
    options = {"known_time": "known_time", "days": 91, "width": 1.0, "ignore": (), "timezone": "UTC"}
    return [f"{o.column} {o.statistic}" for o in compare_days(rows[known >= since], stretch, key=["order"], **options)]


@pytest.mark.parametrize("hours", [24, 1, 24 * 12])
def test_clean_days_are_inside_however_long_the_batch(hours):
    assert _found(_rows(), since=START + DAYS * DAY - pd.Timedelta(hours=hours)) == []


def _changed(**columns):
    def change(rows):
        newest = _newest_day(rows)
        return rows.assign(**{name: rows[name].mask(newest, with_) for name, with_ in columns.items()})

    return change


def _without(share):
    return lambda rows: rows[~_newest_day(rows) | (np.arange(len(rows)) % 100 >= share)]


FAULTS = {
    "constant": (_changed(size=1.0), "size distinct values"),
    "one value": (_changed(shop="ALB"), "shop share of 'BOS'"),
    "missing": (_changed(size=np.nan), "size share missing"),
    "never paid": (_changed(paid=False), "paid share true"),
    "old ids": (lambda rows: _changed(order=rows["order"] - A_DAY)(rows), "order share never seen before"),
    "far fewer rows": (_without(80), "None rows"),
    "another clock": (
        lambda rows: rows.assign(event_time=rows["event_time"].mask(_newest_day(rows), rows["known_time"] + 4 * DAY)),
        "event_time hours after known_time, mean",
    ),
    "a feed that stopped": (
        lambda rows: rows[rows["known_time"] < START + DAYS * DAY - pd.Timedelta(hours=12)],
        "known_time hours without rows at the end",
    ),
}


@pytest.mark.parametrize(("fault", "named"), FAULTS.values(), ids=FAULTS.keys())
def test_a_day_that_is_unlike_is_named_by_what_is(fault, named):
    """E7, E8 and E10: what no row shows by itself, its day does."""
    assert named in _found(fault(_rows()))


def test_a_fortnight_has_to_be_known_before_a_day_is_judged():
    rows = _rows(days=10)
    stretch = Stretch(until=START + 10 * DAY)
    options = {"known_time": "known_time", "days": 91, "width": 1.0, "ignore": (), "timezone": "UTC"}
    assert compare_days(_changed(size=1.0)(rows), stretch, key=["order"], **options) == []


def test_an_ignored_column_is_not_looked_at():
    rows = _changed(size=1.0)(_rows())
    since = START + (DAYS - 1) * DAY
    stretch = Stretch(before=rows[~_newest_day(rows)], since=since, until=START + DAYS * DAY)
    options = {"known_time": "known_time", "days": 91, "width": 1.0, "timezone": "UTC"}
    assert compare_days(rows[_newest_day(rows)], stretch, key=["order"], ignore=("size",), **options) == []
