"""The as-of join agrees with a loop, whatever the order and whenever values were corrected."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from baton.features.asof_join import NOTHING, newest_known

START = pd.Timestamp("2020-01-01", tz="UTC")


def _frames(seed):
    rng = np.random.default_rng(seed)
    hours = rng.integers(0, 60, 150)
    history = pd.DataFrame(
        {
            "who": rng.choice(["a", "b", "c"], 150),
            "kind": rng.choice(["p", "q"], 150),
            "event": START + pd.to_timedelta(hours, unit="h"),
            # Distinct, so that the newest is one value and not several.
            "created": START + pd.to_timedelta(hours, unit="h") + pd.to_timedelta(rng.permutation(150) * 7, unit="min"),
        }
    )
    rows = pd.DataFrame(
        {
            "who": rng.choice(["a", "b", "c", "nobody", None], 200),
            "kind": rng.choice(["p", "q"], 200),
            "moment": START + pd.to_timedelta(rng.integers(-5, 90, 200), unit="h"),
        }
    )
    return rows, history


def _loop(row, history, on, *, created, ttl):
    known = history[np.logical_and.reduce([history[key] == row[key] for key in on])]
    known = known[(known["event"] <= row.moment) & (known["created"] <= row.moment if created else True)]
    if known.empty:
        return NOTHING
    newest = known.sort_values(["event", "created"]).iloc[-1]
    return NOTHING if ttl is not None and row.moment - newest["event"] > ttl else newest.name


@pytest.mark.parametrize("on", [["who"], ["who", "kind"]], ids=["one key", "two keys"])
@pytest.mark.parametrize("ttl", [None, timedelta(hours=5)], ids=["for ever", "five hours"])
@pytest.mark.parametrize("created", [None, "created"], ids=["event time", "event and created time"])
def test_each_row_finds_what_a_loop_finds(on, ttl, created):
    rows, history = _frames(3)
    found = newest_known(rows, history, on=on, moment="moment", event="event", created=created, ttl=ttl)
    for (_, row), place in zip(rows.iterrows(), found, strict=True):
        expected = _loop(row, history, on, created=created, ttl=ttl)
        if created is None and expected != NOTHING:
            # Without a created time, values of one event time are equally new.
            keys = [*on, "event"]
            assert history.loc[place, keys].equals(history.loc[expected, keys])
        else:
            assert place == expected


def test_a_correction_is_not_joined_before_it_was_made():
    day = pd.Timedelta(days=1)
    history = pd.DataFrame({"who": "a", "event": START, "created": [START, START + 2 * day]})
    rows = pd.DataFrame({"who": "a", "moment": [START + day, START + 3 * day]})
    found = newest_known(rows, history, on=["who"], moment="moment", event="event", created="created")
    assert found.tolist() == [0, 1]


def test_no_history_finds_nothing():
    rows, history = _frames(1)
    assert (newest_known(rows, history.iloc[:0], on=["who"], moment="moment", event="event") == NOTHING).all()
    assert len(newest_known(rows.iloc[:0], history, on=["who"], moment="moment", event="event")) == 0
