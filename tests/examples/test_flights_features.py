"""The flights' features are what a loop over the raw rows gives, and never change afterwards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.features.asof_join import NOTHING, newest_known

HOUR = pd.Timedelta(hours=1)
AS_OF = pd.Timestamp("2013-02-14T13:20Z")


@pytest.fixture(scope="module")
def tables(known):
    return known(AS_OF)


@pytest.fixture(scope="module")
def views(definitions, tables):
    return definitions.views(tables, as_of=AS_OF)


@pytest.fixture(scope="module")
def sample(definitions, tables):
    rows = definitions.request(tables)
    return rows[rows["prediction_time"] < AS_OF].sample(80, random_state=3)


@pytest.mark.parametrize("early", ["2013-01-01T12:00Z", "2013-01-20T00:00Z", "2013-02-10T09:00Z", "2013-02-13T23:59Z"])
def test_what_is_known_early_is_the_beginning_of_what_is_known_later(definitions, known, views, early):
    early = pd.Timestamp(early)
    for name, before in definitions.views(known(early), as_of=early).items():
        later = views[name]
        assert (before["event_timestamp"] < early).all()
        pd.testing.assert_frame_equal(before, later[later["event_timestamp"] < early].reset_index(drop=True))


@pytest.mark.parametrize("early", ["2013-01-03T11:30Z", "2013-02-13T20:00Z"])
def test_a_request_is_final_at_its_prediction_time(definitions, known, tables, early):
    before = definitions.request(known(early))
    before = before[before["prediction_time"] < pd.Timestamp(early)].set_index("flight_id")
    pd.testing.assert_frame_equal(before, definitions.request(tables).set_index("flight_id").loc[before.index])


def _as_of(spec, views, rows, name):
    view = spec.features.views[name]
    place = newest_known(
        rows, views[name], on=[view.entity], moment="prediction_time", event="event_timestamp", ttl=view.ttl
    )
    values = views[name][list(view.values)].reindex(np.where(place == NOTHING, -1, place))
    return values.set_axis(rows.index, axis=0)


def _rate(events, column, hours, moment):
    inside = events[(events["known_time"] <= moment) & (events["known_time"] > moment - hours * HOUR)]
    return (inside[column].sum() + 0.22 * 5.0) / (len(inside) + 5.0)


@pytest.mark.parametrize(
    ("view", "feature", "table", "hours", "every", "after"),
    [
        ("origin_hourly", "origin_dep15_3h", "departures", 3, 1, 0),
        ("origin_hourly", "origin_dep15_24h", "departures", 24, 1, 0),
        ("carrier_origin_hourly", "co_dep15_6h", "departures", 6, 1, 0),
        ("dest_3hourly", "dest_arr15_24h", "arrivals", 24, 3, 0),
        ("carrier_daily", "carrier_arr15_7d", "arrivals", 24 * 7, 24, 9),
        ("route_daily", "route_arr15_28d", "arrivals", 24 * 28, 24, 9),
    ],
)
def test_a_rate_by_the_clock_is_that_of_a_loop(  # noqa: PLR0917 - fixtures and a table
    spec, tables, views, sample, view, feature, table, hours, every, after
):
    entity = spec.features.views[view].entity
    events = _events(tables, table)
    found = _as_of(spec, views, sample, view)[feature]
    for index, row in sample.iterrows():
        own = events[(events[entity] == row[entity]) & (events["known_time"] <= row["prediction_time"])]
        # The step of the clock at or before the prediction.
        step = (row["prediction_time"] - after * HOUR).floor(f"{every}h") + after * HOUR
        begun = len(own) and own["known_time"].min() <= step
        expected = _rate(own, "late", hours, step) if begun else np.nan
        np.testing.assert_allclose(found[index], expected, rtol=1e-12)


@pytest.mark.parametrize(("view", "feature"), [("flight_event", "flight_arr15_28d"), ("tail_event", "tail_arr15_28d")])
def test_a_rate_at_landing_is_that_of_a_loop(  # noqa: PLR0917 - fixtures and a table
    spec, tables, views, sample, view, feature
):
    entity = spec.features.views[view].entity
    events = _events(tables, "arrivals")
    found = _as_of(spec, views, sample, view)
    for index, row in sample.iterrows():
        own = events[(events[entity] == row[entity]) & (events["known_time"] <= row["prediction_time"])]
        newest = own["known_time"].max() if row[entity] and len(own) else None
        expected = np.nan if newest is None else _rate(own, "late", 24 * 28, newest)
        np.testing.assert_allclose(found.loc[index, feature], expected, rtol=1e-12)
        if view == "tail_event" and newest is not None:
            assert found.loc[index, "tail_last_arr_delay"] in own.loc[own["known_time"] == newest, "arr_delay"].tolist()


def test_means_counts_loads_and_weather_are_those_of_a_loop(spec, tables, views, sample):
    departures, schedule, weather = _events(tables, "departures"), tables["schedule"], tables["weather"]
    hourly, seen = _as_of(spec, views, sample, "origin_hourly"), _as_of(spec, views, sample, "weather_hourly")
    for index, row in sample.iterrows():
        moment, step = row["prediction_time"], row["prediction_time"].floor("h")
        own = departures[departures["origin"] == row["origin"]]
        inside = own[(own["known_time"] <= step) & (own["known_time"] > step - 3 * HOUR)]
        if (own["known_time"] <= step).any():
            assert hourly.loc[index, "origin_departures_3h"] == len(inside)
            np.testing.assert_allclose(hourly.loc[index, "origin_depmean_3h"], inside["dep_delay"].mean())
        near = (schedule["sched_dep"] - moment - 2 * HOUR).abs() <= HOUR / 2
        assert row["sched_load"] == (near & (schedule["origin"] == row["origin"])).sum()
        known = weather[(weather["origin"] == row["origin"]) & (weather["known_time"] <= moment)]
        known = known[known["known_time"] >= moment - 6 * HOUR].sort_values("known_time")
        np.testing.assert_equal(seen.loc[index, "weather_temp"], known["temp"].iloc[-1] if len(known) else np.nan)


def test_a_january_without_new_rows_stays_as_it_was(definitions, known):
    """Long after the last row there is nothing more to say, and nothing grows."""
    tables = known("2013-01-10T00:00Z")
    soon = definitions.views(tables, as_of=pd.Timestamp("2013-03-01T00:00Z"))
    late = definitions.views(tables, as_of=pd.Timestamp("2033-03-01T00:00Z"))
    for name, view in soon.items():
        pd.testing.assert_frame_equal(view, late[name])


def _events(tables, table):
    events = tables[table].copy()
    if table == "departures":
        events["late"] = events["dep_delay"] > 15
        return events.assign(carrier_origin=events["carrier"] + "|" + events["origin"])
    events["route"] = events["origin"] + "|" + events["dest"]
    return events.assign(flight_number=events["carrier"] + events["flight"].astype(str) + "|" + events["route"])
