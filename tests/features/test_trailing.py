"""Windows over events agree with a loop over the same events."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.features.trailing import trailing

START = pd.Timestamp("2020-01-01", tz="UTC")


@pytest.fixture(params=[0, 1, 2])
def events(request):
    rng = np.random.default_rng(request.param)
    frame = pd.DataFrame(
        {
            "who": rng.choice(["a", "b", "c", None], 300),
            # Whole hours, so that events tie with each other and with moments.
            "known": START + pd.to_timedelta(rng.integers(0, 200, 300), unit="h"),
            "value": rng.integers(-20, 100, 300).astype(float),
        }
    )
    frame.loc[rng.random(300) < 0.1, "value"] = np.nan
    return frame


@pytest.fixture
def at(events):
    rng = np.random.default_rng(9)
    moments = START + pd.to_timedelta(rng.integers(-10, 220, 400), unit="h")
    return pd.DataFrame({"who": rng.choice(["a", "b", "c", "nobody", None], 400), "moment": moments})


def _inside(events, row, window):
    kept = events[(events["who"] == row.who) & events["value"].notna() & (events["known"] <= row.moment)]
    return kept if window is None else kept[kept["known"] > row.moment - window]


@pytest.mark.parametrize("hours", [1, 6, 1_000], ids=["one hour", "six hours", "all of it"])
def test_counts_and_means_are_those_of_a_loop(events, at, hours):
    window = pd.Timedelta(hours=hours)
    found = trailing(events, entity="who", time="known", value="value")
    counts = found.count(at, entity="who", time="moment", window=window)
    means = found.mean(at, entity="who", time="moment", window=window)
    drawn = found.mean(at, entity="who", time="moment", window=window, prior=5.0, weight=2.0)
    for i, row in enumerate(at.itertuples()):
        values = _inside(events, row, window)["value"]
        assert counts[i] == len(values)
        np.testing.assert_allclose(means[i], values.mean() if len(values) else np.nan)
        np.testing.assert_allclose(drawn[i], (values.sum() + 10.0) / (len(values) + 2.0))


def test_latest_is_the_newest_known(events, at):
    unique = events.drop_duplicates(["who", "known"])
    latest = trailing(unique, entity="who", time="known", value="value").latest(at, entity="who", time="moment")
    for i, row in enumerate(at.itertuples()):
        known = _inside(unique, row, None).sort_values("known")["value"]
        np.testing.assert_equal(latest[i], known.iloc[-1] if len(known) else np.nan)


def test_an_event_counts_at_its_own_moment_and_not_a_window_later():
    events = pd.DataFrame({"who": ["a"], "known": [START], "value": [1.0]})
    hour = pd.Timedelta(hours=1)
    at = pd.DataFrame({"who": "a", "moment": [START - hour, START, START + hour]})
    found = trailing(events, entity="who", time="known", value="value")
    assert found.count(at, entity="who", time="moment", window=hour).tolist() == [0.0, 1.0, 0.0]


def test_no_events_give_no_values():
    events = pd.DataFrame({"who": ["a"], "known": [START], "value": [1.0]}).iloc[:0]
    at = pd.DataFrame({"who": ["a"], "moment": [START]})
    found = trailing(events, entity="who", time="known", value="value")
    assert np.isnan(found.latest(at, entity="who", time="moment")).all()
    assert found.count(at, entity="who", time="moment", window=pd.Timedelta(hours=1)).tolist() == [0.0]
