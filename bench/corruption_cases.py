"""Ways in which a day's rows go wrong: each is a name, a table of the flights, and what is done to its rows.

A case takes the rows of one day, the day before's, and a generator of chance. It
gives the rows as they would arrive, or raises what reading them raises.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

Frame = pd.DataFrame
Chance = np.random.Generator
Change = Callable[[Frame, Frame, Chance], Frame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way in which a table's day goes wrong; `fault` is the row of the catalogue of faults that it belongs to."""

    name: str
    table: str
    fault: str
    change: Change


CASES: list[Case] = []


def case(name: str, table: str, fault: str) -> Callable[[Change], Change]:
    """Add a function to the corpus."""

    def added(change: Change) -> Change:
        CASES.append(Case(name=name, table=table, fault=fault, change=change))
        return change

    return added


def scaled(name: str, table: str, column: str, by: float) -> None:
    """Add a case in which a column is in another unit."""
    case(name, table, "E8")(lambda rows, _, __: rows.assign(**{column: rows[column] * by}))


scaled("unit x100", "departures", "dep_delay", 100)
scaled("unit x1,000", "arrivals", "arr_delay", 1_000)
scaled("unit x0.01", "weather", "pressure", 0.01)
scaled("sign flip", "arrivals", "arr_delay", -1)
scaled("miles for kilometres", "schedule", "distance", 1.609)


@case("Fahrenheit to Celsius", "weather", "E8")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(temp=(rows["temp"] - 32) / 1.8, dewp=(rows["dewp"] - 32) / 1.8)


@case("constant column", "departures", "E8")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(dep_delay=0.0)


@case("swapped columns, codes", "schedule", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(origin=rows["dest"], dest=rows["origin"])


@case("swapped columns, numbers", "schedule", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(minute_of_day=rows["sched_arr_time"], sched_arr_time=rows["minute_of_day"])


@case("missing column", "arrivals", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.drop(columns="tailnum")


@case("extra column", "arrivals", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(comment="")


@case("renamed column", "departures", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.rename(columns={"dep_delay": "departure_delay"})


@case("retyped column, number to text", "departures", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(dep_delay=rows["dep_delay"].astype(str))


@case("retyped column, text to number", "arrivals", "E1")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(tailnum=np.arange(len(rows)))


@case("null flood, 30 %", "weather", "E2")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(temp=rows["temp"].mask(chance.random(len(rows)) < 0.3))


@case("null flood of a column that has some", "schedule", "E2")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(tailnum=rows["tailnum"].mask(chance.random(len(rows)) < 0.7))


@case("labels missing, 30 %", "arrivals", "E2")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(late=rows["late"].mask(chance.random(len(rows)) < 0.3))


@case("nulls as -999", "weather", "E3")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(humid=rows["humid"].mask(chance.random(len(rows)) < 0.1, -999.0))


def one_row(name: str, table: str, column: str, value: float | str, fault: str = "E3") -> None:
    """Add a case in which a single value is impossible."""

    def change(rows: Frame, _: Frame, chance: Chance) -> Frame:
        return rows.assign(**{column: rows[column].mask(np.arange(len(rows)) == chance.integers(len(rows)), value)})

    case(name, table, fault)(change)


one_row("one value of 1e9", "departures", "dep_delay", 1e9)
one_row("one +infinity", "arrivals", "arr_delay", np.inf)
one_row("one -infinity", "weather", "wind_speed", -np.inf)
one_row("one negative distance", "schedule", "distance", -100.0)
one_row("a formula in a cell", "schedule", "tailnum", "=cmd|' /C calc'!A0", "E10")
one_row("a blank at the end of a category", "schedule", "carrier", "UA ", "E7")
one_row("another case of a category", "arrivals", "origin", "jfk", "E7")
one_row("a broken character", "schedule", "dest", "S\ufffdN", "E10")


@case("new categories, 20 %", "schedule", "E7")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(dest=rows["dest"].mask(chance.random(len(rows)) < 0.2, "ZRH"))


@case("one category takes all", "schedule", "E7")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(carrier="UA")


@case("label flip, 10 %", "arrivals", "E4")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(late=np.where(chance.random(len(rows)) < 0.1, 1 - rows["late"], rows["late"]))


@case("label flip, 30 %", "arrivals", "E4")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(late=np.where(chance.random(len(rows)) < 0.3, 1 - rows["late"], rows["late"]))


@case("labels shuffled", "arrivals", "E4")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows.assign(late=chance.permutation(rows["late"].to_numpy()))


@case("batch twice, to the byte", "departures", "E5")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return pd.concat([rows, rows], ignore_index=True)


@case("yesterday's batch again", "arrivals", "E5")
def _(_: Frame, before: Frame, __: Chance) -> Frame:
    again = {name: before[name] + pd.Timedelta(days=1) for name in ("event_time", "known_time")}
    return before.assign(**again)


@case("conflicting duplicates", "arrivals", "E5")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return pd.concat([rows, rows.iloc[:5].assign(arr_delay=rows["arr_delay"].iloc[:5] + 3)], ignore_index=True)


@case("ids used again", "departures", "E5")
def _(rows: Frame, before: Frame, chance: Chance) -> Frame:
    ids = before["flight_id"].to_numpy()
    return rows.assign(flight_id=ids[chance.integers(len(ids), size=len(rows))])


@case("future timestamps", "departures", "E6")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    future = rows["event_time"] + pd.Timedelta(days=3650)
    return rows.assign(event_time=rows["event_time"].mask(chance.random(len(rows)) < 0.1, future))


@case("timestamps without a zone", "arrivals", "E6")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.assign(event_time=rows["event_time"].dt.tz_localize(None))


@case("local time taken for UTC", "departures", "E6")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    local = rows["event_time"].dt.tz_convert("America/New_York").dt.tz_localize(None).dt.tz_localize("UTC")
    return rows.assign(event_time=local)


@case("all clocks five hours late", "departures", "E6")
def _(rows: Frame, before: Frame, __: Chance) -> Frame:
    both = pd.concat([before.iloc[-len(before) // 3 :], rows])
    shifted = both.assign(**{n: both[n] + pd.Timedelta(hours=5) for n in ("event_time", "known_time")})
    day = rows["known_time"].iloc[0].floor("D")
    inside = (shifted["known_time"] >= day) & (shifted["known_time"] < day + pd.Timedelta(days=1))
    return pd.DataFrame(shifted.loc[inside])


@case("a feed that stopped in the morning", "departures", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    until = rows["known_time"].iloc[0].floor("D") + pd.Timedelta(hours=14)
    return pd.DataFrame(rows.loc[rows["known_time"] < until])


@case("0 rows", "departures", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows.iloc[:0]


@case("volume drop, 80 %", "schedule", "E10")
def _(rows: Frame, _: Frame, chance: Chance) -> Frame:
    return rows[chance.random(len(rows)) < 0.2]


@case("volume explosion, x4", "schedule", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    parts = [rows.assign(flight_id=rows["flight_id"].str.replace("-", f"{n}-", n=1)) for n in range(1, 4)]
    return pd.concat([rows, *parts], ignore_index=True)


@case("one origin is missing", "departures", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    return rows[rows["origin"] != "EWR"]


@case("a CSV file that ends in the middle", "departures", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    text = rows.to_csv(index=False)
    return pd.read_csv(io.StringIO(text[: len(text) // 3]), parse_dates=["event_time", "known_time"])


@case("a Parquet file that is half written", "departures", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    whole = io.BytesIO()
    rows.to_parquet(whole)
    return pd.read_parquet(io.BytesIO(whole.getvalue()[: whole.tell() // 2]))


@case("text in another encoding", "schedule", "E10")
def _(rows: Frame, _: Frame, __: Chance) -> Frame:
    text = rows.assign(dest="Zürich").to_csv(index=False).encode("latin-1")
    return pd.read_csv(io.BytesIO(text), parse_dates=["event_time", "known_time"])
