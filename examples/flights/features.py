"""The 29 features of a flight: 10 known from its schedule, 19 looked up as of two hours before departure.

Each function is one definition, used for training, for serving and in tests.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.features.trailing import Trailing, trailing

LATE_MINUTES = 15
# Late rates are drawn towards the year's usual share, as if by so many more flights.
USUAL_RATE = 0.22
PRIOR_FLIGHTS = 5.0
NEAR = pd.Timedelta(minutes=30)
# Daily rates are computed at 09:00 UTC, when the night is over in New York.
DAILY_HOUR = 9
HOUR = 3_600_000_000_000  # nanoseconds

Tables = Mapping[str, pd.DataFrame]


def request(tables: Tables) -> pd.DataFrame:
    """Give one row per scheduled flight: its keys, its prediction time and what its schedule says.

    The schedule is published a day ahead, so by its prediction time a flight's
    neighbours within half an hour are all there and `sched_load` is final.
    """
    schedule = tables["schedule"]
    planes = tables["planes"].drop_duplicates("tailnum", keep="last").set_index("tailnum")
    rows = schedule[["flight_id", "prediction_time", "carrier", "origin", "dest", "tailnum"]].copy()
    rows["minute_of_day"] = schedule["minute_of_day"].astype(np.float64)
    rows["weekday"] = schedule["weekday"].astype(np.float64)
    rows["distance"] = schedule["distance"].astype(np.float64)
    rows["sched_duration"] = _scheduled_minutes(schedule)
    rows["sched_load"] = _scheduled_load(schedule)
    rows["plane_age"] = 2013.0 - schedule["tailnum"].map(planes["year"])
    rows["seats"] = schedule["tailnum"].map(planes["seats"]).astype(np.float64)
    rows["carrier_origin"] = _joined(schedule, "carrier", "origin")
    rows["route"] = _joined(schedule, "origin", "dest")
    rows["flight_number"] = _flight_number(schedule)
    rows["tailnum"] = schedule["tailnum"].fillna("")
    return rows


def views(tables: Tables, *, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Give the eight as-of tables: entity, the moment the values became known, and the values.

    A row once given is never rewritten: whatever is computed at a later
    `as_of` begins with the same rows, since a row counts only what was known
    by its own moment and no row is at `as_of` or beyond.
    """
    departures = _known(tables["departures"], as_of, ["origin", "carrier", "dep_delay", "known_time"])
    departures["late"] = departures["dep_delay"] > LATE_MINUTES
    departures["carrier_origin"] = _joined(departures, "carrier", "origin")
    arrivals = _known(
        tables["arrivals"],
        as_of,
        ["carrier", "flight", "origin", "dest", "tailnum", "arr_delay", "late", "known_time"],
    )
    arrivals["route"] = _joined(arrivals, "origin", "dest")
    arrivals["flight_number"] = _flight_number(arrivals)
    return {
        "origin_hourly": _origin_hourly(departures, as_of=as_of),
        "carrier_origin_hourly": _rate(departures, "carrier_origin", "co_dep15_6h", Steps(6, every=1), as_of=as_of),
        "dest_3hourly": _rate(arrivals, "dest", "dest_arr15_24h", Steps(24, every=3), as_of=as_of),
        "carrier_daily": _rate(
            arrivals, "carrier", "carrier_arr15_7d", Steps(24 * 7, every=24, after=DAILY_HOUR), as_of=as_of
        ),
        "route_daily": _rate(
            arrivals, "route", "route_arr15_28d", Steps(24 * 28, every=24, after=DAILY_HOUR), as_of=as_of
        ),
        "flight_event": _at_landing(arrivals, "flight_number", "flight_arr15_28d"),
        "tail_event": _at_landing(
            arrivals[arrivals["tailnum"].notna()], "tailnum", "tail_arr15_28d", last="tail_last_arr_delay"
        ),
        "weather_hourly": _weather(_known(tables["weather"], as_of, list(tables["weather"].columns))),
    }


@dataclass(frozen=True, slots=True)
class Steps:
    """A window of `hours`, looked at `every` so many hours, `after` so many hours past midnight UTC."""

    hours: int
    every: int = dataclasses.field(kw_only=True)
    after: int = dataclasses.field(default=0, kw_only=True)

    @property
    def window(self) -> pd.Timedelta:
        """How far back a value looks."""
        return pd.Timedelta(hours=self.hours)

    def number(self, times: pd.Series) -> NDArray[np.int64]:
        """Number the first step at or after each time, counted from 1970."""
        nanoseconds = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]").view(np.int64)
        number: NDArray[np.int64] = -((self.after * HOUR - nanoseconds) // (self.every * HOUR))
        return number

    def moment(self, numbers: NDArray[np.int64]) -> pd.DatetimeIndex:
        """Give the moment of each numbered step."""
        return pd.DatetimeIndex((self.after * HOUR + numbers * (self.every * HOUR)).view("datetime64[ns]"), tz="UTC")


def _known(table: pd.DataFrame, as_of: pd.Timestamp, columns: list[str]) -> pd.DataFrame:
    known = (table["known_time"] < as_of).to_numpy()
    return table[columns].copy() if known.all() else table.loc[known, columns]


def _origin_hourly(departures: pd.DataFrame, *, as_of: pd.Timestamp) -> pd.DataFrame:
    day, three = Steps(24, every=1), pd.Timedelta(hours=3)
    at = _grid(departures, "origin", day, as_of=as_of)
    late = trailing(departures, entity="origin", time="known_time", value="late")
    delay = trailing(departures, entity="origin", time="known_time", value="dep_delay")
    at["origin_dep15_3h"] = _share(late, at, "origin", window=three)
    at["origin_dep15_24h"] = _share(late, at, "origin", window=day.window)
    at["origin_depmean_3h"] = delay.mean(at, entity="origin", time="event_timestamp", window=three)
    at["origin_departures_3h"] = late.count(at, entity="origin", time="event_timestamp", window=three)
    return _changes(at, "origin")


def _rate(events: pd.DataFrame, entity: str, name: str, steps: Steps, *, as_of: pd.Timestamp) -> pd.DataFrame:
    at = _grid(events, entity, steps, as_of=as_of)
    late = trailing(events, entity=entity, time="known_time", value="late")
    at[name] = _share(late, at, entity, window=steps.window)
    return _changes(at, entity)


def _at_landing(arrivals: pd.DataFrame, entity: str, name: str, *, last: str | None = None) -> pd.DataFrame:
    at = arrivals[[entity, "known_time"]].rename(columns={"known_time": "event_timestamp"})
    at = at.drop_duplicates().reset_index(drop=True)
    late = trailing(arrivals, entity=entity, time="known_time", value="late")
    at[name] = _share(late, at, entity, window=pd.Timedelta(days=28))
    if last is not None:
        delay = trailing(arrivals, entity=entity, time="known_time", value="arr_delay")
        at[last] = delay.latest(at, entity=entity, time="event_timestamp")
    return at


def _weather(weather: pd.DataFrame) -> pd.DataFrame:
    renamed = weather.drop(columns=["event_time"]).rename(columns={"known_time": "event_timestamp"})
    values = [c for c in renamed.columns if c not in ("origin", "event_timestamp")]
    return renamed.rename(columns={c: f"weather_{c}" for c in values}).reset_index(drop=True)


def _share(late: Trailing, at: pd.DataFrame, entity: str, *, window: pd.Timedelta) -> NDArray[np.float64]:
    return late.mean(at, entity=entity, time="event_timestamp", window=window, prior=USUAL_RATE, weight=PRIOR_FLIGHTS)


def _grid(events: pd.DataFrame, entity: str, steps: Steps, *, as_of: pd.Timestamp) -> pd.DataFrame:
    """List each entity at every step of the clock, from its first event until its window has emptied or `as_of`.

    Steps are multiples of the clock, not of the data, and an entity begins
    with its own first event: both keep rows from changing as data grows.
    """
    known = events.groupby(entity, sort=True)["known_time"]
    newest = known.max()
    first = steps.number(known.min())
    # The step at `as_of` itself would still miss what becomes known at that moment.
    last = np.minimum(steps.number(newest + steps.window), steps.number(pd.Series([as_of])) - 1)
    count = np.maximum(last - first + 1, 0)
    number = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return pd.DataFrame({entity: np.repeat(newest.index.to_numpy(), count), "event_timestamp": steps.moment(number)})


def _changes(at: pd.DataFrame, entity: str) -> pd.DataFrame:
    """Keep a step only where a value differs from the step before; as of any moment, the answer is the same."""
    values = at.drop(columns=[entity, "event_timestamp"])
    before = values.shift()
    same = ((values == before) | (values.isna() & before.isna())).all(axis=1) & (at[entity] == at[entity].shift())
    return at[~same].reset_index(drop=True)


def _flight_number(flights: pd.DataFrame) -> pd.Series:
    number = _joined(flights, "carrier", "flight", by="")
    return _joined(flights.assign(number=number), "number", "origin", "dest")


def _joined(rows: pd.DataFrame, *columns: str, by: str = "|") -> pd.Series:
    """Join texts and numbers row by row; each combination is spelt out once, however often it is flown."""
    combination = np.zeros(len(rows), dtype=np.int64)
    for column in columns:
        codes, values = pd.factorize(rows[column])
        combination = combination * len(values) + codes
    places, combinations = pd.factorize(combination)
    first = np.empty(len(combinations), dtype=np.int64)
    first[places[::-1]] = np.arange(len(rows))[::-1]
    names = functools.reduce(lambda one, other: one + by + other, (rows[c].iloc[first].astype(str) for c in columns))
    return pd.Series(names.to_numpy()[places], index=rows.index)


def _scheduled_minutes(schedule: pd.DataFrame) -> pd.Series:
    """Give the scheduled block time on the clock, 0 to 1,440 minutes; zones are left to the model."""
    arrival = schedule["sched_arr_time"] // 100 * 60 + schedule["sched_arr_time"] % 100
    return ((arrival - schedule["minute_of_day"]) % 1440).astype(np.float64)


def _scheduled_load(schedule: pd.DataFrame) -> NDArray[np.float64]:
    """Count the departures scheduled at the same origin within half an hour either side, itself included."""
    counts = trailing(schedule.assign(one=1.0), entity="origin", time="sched_dep", value="one")
    later = schedule.assign(until=schedule["sched_dep"] + NEAR)
    window = 2 * NEAR + pd.Timedelta(1, unit="ns")
    return counts.count(later, entity="origin", time="until", window=window)
