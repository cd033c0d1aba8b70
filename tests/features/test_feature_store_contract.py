"""What every feature store does, the real one and the one in memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import EmptyWindow, SourceMissing
from baton.features.feast_store import FeastFeatureStore
from baton.testing.feature_store import MemoryFeatureStore

NOON = pd.Timestamp("2020-01-03T12:00Z").to_pydatetime()


@pytest.fixture(params=["feast", "memory"])
def store(request, shop, tmp_path):
    return FeastFeatureStore(tmp_path / "store", shop) if request.param == "feast" else MemoryFeatureStore(shop)


@pytest.fixture
def rows():
    rng = np.random.default_rng(11)
    return pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in range(60)],
            "placed": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rng.integers(-5, 110, 60), unit="h"),
            "shop": rng.choice(["x", "y", "z", "nobody", None], 60),
            "town": rng.choice(["t", "u"], 60),
        },
        index=rng.permutation(60),
    )


def test_rows_come_back_as_they_went_in(store, views, rows):
    store.publish(views)
    joined = store.historical(rows, moment="placed")
    pd.testing.assert_frame_equal(joined[list(rows.columns)], rows)
    assert list(joined.columns) == [*rows.columns, "visits", "mood", "heat"]


def test_values_are_those_known_at_the_moment_and_young_enough(store, views, rows):
    store.publish(views)
    joined = store.historical(rows, moment="placed")
    for _, row in joined.iterrows():
        history = views["shop_visits"].query("shop == @row.shop and event_timestamp <= @row.placed")
        history = history[row.placed - history["event_timestamp"] <= pd.Timedelta(hours=6)]
        expected = history.sort_values("event_timestamp")["visits"].iloc[-1] if len(history) else np.nan
        np.testing.assert_equal(row.visits, expected)


def test_a_value_counts_from_its_very_moment_and_to_the_end_of_its_ttl(store):
    at = pd.Timestamp("2020-01-01T00:00Z")
    store.publish(
        {
            "shop_visits": pd.DataFrame({"shop": ["x"], "event_timestamp": [at], "visits": [3.0]}),
            "town_mood": pd.DataFrame({"town": ["t"], "event_timestamp": [at], "mood": ["good"], "heat": [1.0]}),
        }
    )
    second = pd.Timedelta(seconds=1)
    moments = [at - second, at, at + pd.Timedelta(hours=6), at + pd.Timedelta(hours=6) + second]
    rows = pd.DataFrame({"placed": moments, "shop": "x", "town": "t"})
    joined = store.historical(rows, moment="placed")
    np.testing.assert_array_equal(joined["visits"], [np.nan, 3.0, 3.0, np.nan])
    np.testing.assert_array_equal(joined["heat"], [np.nan, 1.0, 1.0, 1.0])
    assert joined["mood"].fillna("").tolist() == ["", "good", "good", "good"]


def test_online_answers_what_the_join_gives_at_the_same_moment(store, views):
    store.publish(views)
    store.materialize(as_of=NOON)
    entities = [{"shop": s, "town": t} for s in ("x", "y", "z", "nobody") for t in ("t", "u", "v")]
    offline = store.historical(pd.DataFrame(entities).assign(now=pd.Timestamp(NOON)), moment="now")
    online = store.online(entities)
    for name in ("visits", "heat"):
        np.testing.assert_array_equal(online[name], offline[name])
    assert online["mood"].fillna("").tolist() == offline["mood"].fillna("").tolist()


def test_online_shows_no_value_from_the_future_after_going_back_in_time(store, views):
    store.publish(views)
    store.materialize(as_of=NOON)
    early = pd.Timestamp("2020-01-01T02:00Z").to_pydatetime()
    store.materialize(as_of=early)
    entities = [{"shop": s, "town": "t"} for s in ("x", "y", "z")]
    offline = store.historical(pd.DataFrame(entities).assign(now=pd.Timestamp(early)), moment="now")
    np.testing.assert_array_equal(store.online(entities)["visits"], offline["visits"])


def test_publishing_again_replaces_history(store, views, rows):
    store.publish(views)
    store.historical(rows, moment="placed")
    store.publish({name: view.iloc[:0] for name, view in views.items()})
    assert store.historical(rows, moment="placed")[["visits", "heat"]].isna().all(axis=None)


def test_online_before_materialising_is_refused(store, views):
    store.publish(views)
    with pytest.raises(EmptyWindow, match=r"(?i)materialize the store first"):
        store.online([{"shop": "x", "town": "t"}])


def test_joining_before_publishing_is_refused(store, rows):
    with pytest.raises(EmptyWindow, match=r"(?i)publish the views"):
        store.historical(rows, moment="placed")


def test_publishing_half_the_views_is_refused(store, views):
    with pytest.raises(SourceMissing, match="town_mood"):
        store.publish({"shop_visits": views["shop_visits"]})


def test_feast_is_imported_without_checks_and_others_keep_theirs():
    code = (
        "import typeguard; before = typeguard.typechecked\n"
        "from baton.features.feast_store import _unchecked\n"
        "with _unchecked():\n    import feast\n"
        "assert typeguard.typechecked is before\n"
        "assert not hasattr(feast.Entity.__init__, '__wrapped__')\n"
        "feast.Entity(name='e', description=3)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
